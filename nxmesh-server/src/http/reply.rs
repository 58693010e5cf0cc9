use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use nxmesh_core::ETag;
use serde::Serialize;

/// An object, with the tag of its state.
pub(crate) struct Object<T>(pub(crate) T, pub(crate) ETag);

/// An object that was made, with its tag and its path.
pub(crate) struct Created<T>(pub(crate) T, pub(crate) ETag, pub(crate) String);

/// What would be, or is now: nothing was changed, and whoever asks again is answered anew.
pub(crate) struct Shown<T>(pub(crate) T);

/// Marks an answer that goes with no change.
#[derive(Debug, Clone, Copy)]
pub(super) struct NothingChanged;

impl<T: Serialize> IntoResponse for Shown<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.0).into_response();
        response.extensions_mut().insert(NothingChanged);
        response
    }
}

/// Something that was made and has no tag, with its path.
pub(crate) struct Made<T>(pub(crate) T, pub(crate) String);

/// What came of a command, with the path where it can be seen.
pub(crate) struct Located<T>(pub(crate) T, pub(crate) String);

impl<T: Serialize> IntoResponse for Object<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.0).into_response();
        if let Ok(tag) = HeaderValue::from_str(&self.1.to_string()) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let Self(object, tag, path) = self;
        (StatusCode::CREATED, Located(Object(object, tag), path)).into_response()
    }
}

impl<T: Serialize> IntoResponse for Made<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, Located(Json(self.0), self.1)).into_response()
    }
}

impl<T: IntoResponse> IntoResponse for Located<T> {
    fn into_response(self) -> Response {
        let mut response = self.0.into_response();
        if let Ok(path) = HeaderValue::from_str(&self.1) {
            response.headers_mut().insert(header::LOCATION, path);
        }
        response
    }
}
