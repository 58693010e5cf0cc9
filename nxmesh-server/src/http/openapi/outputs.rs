//! What each answer looks like.

use axum::Json;
use bytes::Bytes;
use http::{StatusCode, header};
use nxmesh_core::{Error, ErrorKind};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Operation, Output, operation::Answer};
use crate::http::{ApiError, Created, Located, Made, Object, Shown, metrics::MetricsText};

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
        text(operation, "text/plain", "It is well.");
    }
}

impl Output for MetricsText {
    fn describe(operation: &mut Operation) {
        text(operation, "application/openmetrics-text", "What is counted.");
    }
}

fn text(operation: &mut Operation, media: &'static str, description: &'static str) {
    let schema = Some(json!({"type": "string"}));
    let answer = Answer { description, media, schema, headers: Vec::new() };
    operation.answers.insert(StatusCode::OK.as_u16(), answer);
}

/// JSON that is at hand as text.
impl Output for ([(http::HeaderName, &'static str); 1], Bytes) {
    fn describe(operation: &mut Operation) {
        let any: Value = json!({"type": "object"});
        operation.answers(StatusCode::OK, "What was asked for.", Some(any), &[]);
    }
}
