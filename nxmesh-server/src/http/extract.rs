use std::{collections::HashMap, marker::PhantomData, str::FromStr};

use axum::{
    extract::{
        DefaultBodyLimit, FromRequest, FromRequestParts, Path, Query, Request,
        rejection::BytesRejection,
    },
    http::request::Parts,
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{StatusCode, header};
use nxmesh_core::{
    Actor, Error, FieldCode, Id, IfMatch, MergePatch, Mesh, PageRequest, RevisionNumber, from_json,
    tenancy::WorkspaceId,
};
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use crate::http::{ApiError, Budget, RequestId, watch::note_actor};

/// The largest body that is read; a larger one is a 413.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Who asks, by the access token or API key of the request.
#[derive(Debug, Clone)]
pub(crate) struct Authenticated(pub(crate) Actor);

impl FromRequestParts<Mesh> for Authenticated {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, mesh: &Mesh) -> Result<Self, ApiError> {
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(known.clone());
        }
        let missing =
            || ApiError::unauthorized("log in, and send `Authorization: Bearer ACCESS_TOKEN`");
        let header = parts.headers.get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
        let (scheme, token) = header.and_then(|it| it.split_once(' ')).ok_or_else(missing)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(missing());
        }
        let known = Self(authenticate(parts, mesh, token.trim()).await?);
        // Whoever asks next needs no second proof, and is not counted twice.
        parts.extensions.insert(known.clone());
        Ok(known)
    }
}

/// Who sends a token, if they may send more.
async fn authenticate(parts: &Parts, mesh: &Mesh, token: &str) -> Result<Actor, ApiError> {
    let budget = parts.extensions.get::<Budget>();
    let actor = match mesh.tenancy().auth().authenticate(token).await {
        Ok(actor) => {
            budget.map_or(Ok(()), |it| it.spend_of(&actor))?;
            actor
        }
        Err(error) => {
            // Whoever guesses is counted too.
            budget.map_or(Ok(()), Budget::spend_of_address)?;
            return Err(error.into());
        }
    };
    note_actor(&actor);
    Ok(match parts.extensions.get::<RequestId>() {
        Some(RequestId(id)) => actor.in_request(id),
        None => actor,
    })
}

/// Who asks, by the header or by the parameter `token`: a browser cannot send the header with
/// a WebSocket.
pub(crate) struct AuthenticatedByQuery(pub(crate) Actor);

impl FromRequestParts<Mesh> for AuthenticatedByQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, mesh: &Mesh) -> Result<Self, ApiError> {
        let query = ListQuery::from_request_parts(parts, mesh).await?;
        match query.get("token", |it| Ok(it.to_owned()))? {
            Some(token) => authenticate(parts, mesh, &token).await.map(Self),
            None => {
                let Authenticated(actor) = Authenticated::from_request_parts(parts, mesh).await?;
                Ok(Self(actor))
            }
        }
    }
}

/// The id in the path. What is no UUID names nothing, so it is a 404.
pub(crate) struct IdPath<T>(pub(crate) Id<T>);

impl<T, S: Send + Sync> FromRequestParts<S> for IdPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        let id = text.ok().and_then(|Path(text)| Id::from_str(&text).ok());
        id.map(Self).ok_or_else(ApiError::unknown_path)
    }
}

/// The two ids in the path: of something, and of something in it.
pub(crate) struct IdPair<T, U>(pub(crate) Id<T>, pub(crate) Id<U>);

impl<T, U, S: Send + Sync> FromRequestParts<S> for IdPair<T, U> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let texts = Path::<(String, String)>::from_request_parts(parts, state).await;
        let ids = texts.ok().and_then(|Path((outer, inner))| {
            Some(Self(Id::from_str(&outer).ok()?, Id::from_str(&inner).ok()?))
        });
        ids.ok_or_else(ApiError::unknown_path)
    }
}

/// A workspace in the path, and revisions of it.
pub(crate) struct RevisionPath<const N: usize>(
    pub(crate) WorkspaceId,
    pub(crate) [RevisionNumber; N],
);

impl<const N: usize, S: Send + Sync> FromRequestParts<S> for RevisionPath<N> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let texts = Path::<Vec<String>>::from_request_parts(parts, state).await;
        let read = |texts: Vec<String>| {
            let (id, numbers) = texts.split_first()?;
            let numbers: Option<Vec<_>> =
                numbers.iter().map(|it| it.parse().ok().map(RevisionNumber)).collect();
            Some(Self(id.parse().ok()?, numbers?.try_into().ok()?))
        };
        texts.ok().and_then(|Path(texts)| read(texts)).ok_or_else(ApiError::unknown_path)
    }
}

/// The JSON body, whatever content type it claims.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = body_of(request, state).await?;
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        let value = from_json(&mut json)?;
        json.end().map_err(|error| {
            Error::invalid_field("body", FieldCode::InvalidFormat, error.to_string())
        })?;
        Ok(Self(value))
    }
}

/// The whole body, if it is not too large.
pub(super) async fn body_of<S: Send + Sync>(
    mut request: Request,
    state: &S,
) -> Result<Bytes, ApiError> {
    DefaultBodyLimit::max(MAX_BODY_BYTES).apply(&mut request);
    let read = Bytes::from_request(request, state).await;
    read.map_err(|error: BytesRejection| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_large(),
        _ => ApiError::unreadable_body(),
    })
}

/// The JSON body, as a merge patch of what `T` writes.
pub(crate) struct Patch<T>(pub(crate) MergePatch, pub(crate) PhantomData<fn() -> T>);

impl<T, S: Send + Sync> FromRequest<S> for Patch<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        Body::from_request(request, state).await.map(|Body(patch)| Self(patch, PhantomData))
    }
}

/// The condition in `If-Match`.
pub(crate) struct Condition(pub(crate) IfMatch);

impl<S: Send + Sync> FromRequestParts<S> for Condition {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let header = parts.headers.get(header::IF_MATCH).map(|it| it.to_str().unwrap_or_default());
        Ok(Self(header.map_or(IfMatch::Any, IfMatch::parse)))
    }
}

/// A parameter that is there or not.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "it is for the document")]
pub(crate) enum Flag {
    /// It is there.
    True,
}

/// The parameters of a list.
pub(crate) struct ListQuery(HashMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for ListQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let unreadable =
            |_| Error::invalid_field("query", FieldCode::InvalidFormat, "must be name=value pairs");
        let Query(pairs) = query.map_err(unreadable)?;
        let mut known = HashMap::new();
        for (name, value) in pairs {
            if known.insert(name.clone(), value).is_some() {
                return Err(Error::invalid_field(
                    &name,
                    FieldCode::Duplicate,
                    "must be there once",
                )
                .into());
            }
        }
        Ok(Self(known))
    }
}

impl ListQuery {
    /// A parameter, parsed; what does not parse is refused as `expected` says.
    pub(crate) fn get<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ApiError> {
        let parsed = self.0.get(name).map(|text| parse(text)).transpose();
        parsed
            .map_err(|message| Error::invalid_field(name, FieldCode::InvalidValue, message).into())
    }

    /// The same, if it must be there.
    pub(crate) fn required<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ApiError> {
        let missing = || Error::invalid_field(name, FieldCode::Required, "must be there");
        self.get(name, parse)?.ok_or_else(|| missing().into())
    }

    /// An id.
    pub(crate) fn id<T>(&self, name: &str) -> Result<Option<Id<T>>, ApiError> {
        self.get(name, |text| text.parse().map_err(|_| "must be a UUID".to_owned()))
    }

    /// A time, as RFC 3339 writes it.
    pub(crate) fn time(&self, name: &str) -> Result<Option<DateTime<Utc>>, ApiError> {
        let expected = "must be a time as 2026-03-01T00:00:00Z (RFC 3339)";
        self.get(name, |text| text.parse().map_err(|_| expected.to_owned()))
    }

    /// Whether the one parameter there is was set to `true`. All else is refused: somebody who
    /// mistyped it would get what they did not ask for.
    pub(crate) fn only_flag(&self, name: &str) -> Result<bool, ApiError> {
        if let Some(other) = self.0.keys().find(|it| *it != name) {
            let message = format!("no such parameter; there is {name}");
            return Err(Error::invalid_field(other, FieldCode::UnknownField, message).into());
        }
        match self.0.get(name).map(String::as_str) {
            None => Ok(false),
            Some("true") => Ok(true),
            Some(_) => {
                let message = "must be true, or left out";
                Err(Error::invalid_field(name, FieldCode::InvalidValue, message).into())
            }
        }
    }

    pub(crate) fn page(&self) -> Result<PageRequest, ApiError> {
        let number =
            |text: &str| text.parse::<u64>().map_err(|_| "must be a whole number".to_owned());
        let page = self.get("page", number)?.unwrap_or(PageRequest::default().page());
        let per_page = self.get("per_page", number)?.unwrap_or(PageRequest::default().per_page());
        Ok(PageRequest::new(page, per_page)?)
    }
}

/// The parameters of a list that has only pages.
pub(crate) struct PageQuery(pub(crate) PageRequest);

impl<S: Send + Sync> FromRequestParts<S> for PageQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        ListQuery::from_request_parts(parts, state).await?.page().map(Self)
    }
}
