//! What each answer looks like.

use axum::Json;
use bytes::Bytes;
use http::{StatusCode, header};
use nxmesh_core::{Error, ErrorKind};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Operation, Output, operation::Answer};
use crate::http::{ApiError, Created, Located, Made, Object, Shown};

impl<T: Output> Output for Result<T, ApiError> {
    fn describe(operation: &mut Operation) {
        T::describe(operation);
        // Whatever may fail asks the store, which may not answer.
        let unavailable = ApiError::of(&Error::new(ErrorKind::Unavailable, ""));
        operation.fails(unavailable.status(), None);
        let internal = ApiError::of(&Error::new(ErrorKind::Internal, ""));
        operation.fails(internal.status(), None);
    }
}

impl<T: ToSchema> Output for Json<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schemas.refer::<T>();
        operation.answers(StatusCode::OK, "What was asked for.", Some(schema), &[]);
    }
}

impl<T: ToSchema> Output for Shown<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schemas.refer::<T>();
        operation.answers(StatusCode::OK, "What it would do.", Some(schema), &[]);
    }
}

impl<T: ToSchema> Output for Object<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schemas.refer::<T>();
        let headers = [header::ETAG.as_str()];
        operation.answers(StatusCode::OK, "The object as it is now.", Some(schema), &headers);
    }
}

impl<T: ToSchema> Output for Created<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schemas.refer::<T>();
        let headers = [header::ETAG.as_str(), header::LOCATION.as_str()];
        operation.answers(StatusCode::CREATED, "The object that was made.", Some(schema), &headers);
    }
}

impl<T: ToSchema> Output for Made<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schemas.refer::<T>();
        let headers = [header::LOCATION.as_str()];
        operation.answers(StatusCode::CREATED, "What was made.", Some(schema), &headers);
    }
}

impl<T: ToSchema> Output for Located<Json<T>> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schemas.refer::<T>();
        let headers = [header::LOCATION.as_str()];
        operation.answers(StatusCode::OK, "What came of it.", Some(schema), &headers);
    }
}

/// Only [`NO_CONTENT`](StatusCode::NO_CONTENT) goes without a body.
impl Output for StatusCode {
    fn describe(operation: &mut Operation) {
        operation.answers(Self::NO_CONTENT, "It is done.", None, &[]);
    }
}

impl Output for &'static str {
    fn describe(operation: &mut Operation) {
        operation.answers.insert(
            StatusCode::OK.as_u16(),
            Answer {
                description: "It is well.",
                media: "text/plain",
                schema: Some(json!({"type": "string"})),
                headers: Vec::new(),
            },
        );
    }
}

/// JSON that is at hand as text.
impl Output for ([(http::HeaderName, &'static str); 1], Bytes) {
    fn describe(operation: &mut Operation) {
        let any: Value = json!({"type": "object"});
        operation.answers(StatusCode::OK, "What was asked for.", Some(any), &[]);
    }
}
