//! What each extractor reads.

use axum::{
    Extension,
    extract::{Request, State},
};
use nxmesh_core::{Id, Mesh, RevisionNumber};
use serde_json::json;
use utoipa::ToSchema;

use super::{Input, Operation, operation};
use crate::http::{
    ApiError, Authenticated, AuthenticatedByQuery, Body, Condition, IdPair, IdPath, ListQuery,
    LoginAllowed, PageQuery, Patch, RevisionPath, metrics::Metrics,
};

impl Input for State<Mesh> {
    fn describe(_: &mut Operation) {}
}

impl Input for Extension<Metrics> {
    fn describe(_: &mut Operation) {}
}

// Who may use a route is documented by its rule.
impl Input for Authenticated {
    fn describe(_: &mut Operation) {}
}

impl Input for LoginAllowed {
    fn describe(operation: &mut Operation) {
        let when = "Too many requests, or too many logins, came from this address.";
        operation.fails(ApiError::too_many(1).status(), Some(when));
    }
}

impl<T> Input for IdPath<T> {
    fn describe(operation: &mut Operation) {
        id::<T>(operation);
        operation.fails(ApiError::unknown_path().status(), None);
    }
}

impl<T, U> Input for IdPair<T, U> {
    fn describe(operation: &mut Operation) {
        id::<T>(operation);
        id::<U>(operation);
        operation.fails(ApiError::unknown_path().status(), None);
    }
}

impl<const N: usize> Input for RevisionPath<N> {
    fn describe(operation: &mut Operation) {
        id::<nxmesh_core::tenancy::Workspace>(operation);
        for _ in 0..N {
            let schema = operation.schemas.refer::<RevisionNumber>();
            operation.path.push((schema, "The number of a revision."));
        }
        operation.fails(ApiError::unknown_path().status(), None);
    }
}

fn id<T>(operation: &mut Operation) {
    let schema = operation.schemas.refer::<Id<T>>();
    operation.path.push((schema, "The id of the object."));
}

impl<T: ToSchema> Input for Body<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schemas.refer::<T>();
        operation.body = Some(operation::Body { media: &["application/json"], schema });
        body(operation);
    }
}

impl<T: ToSchema> Input for Patch<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schemas.refer_patch::<T>();
        let media = &["application/json", "application/merge-patch+json"];
        operation.body = Some(operation::Body { media, schema });
        body(operation);
    }
}

fn body(operation: &mut Operation) {
    operation.fails(ApiError::too_large().status(), None);
    operation.fails(ApiError::unreadable_body().status(), None);
}

impl Input for Condition {
    fn describe(operation: &mut Operation) {
        let text = "Only if the object is still in the state with one of these entity tags.";
        operation.header("if-match", text);
        operation.fails(ApiError::stale().status(), None);
    }
}

/// Which parameters a route takes is said behind it.
impl Input for ListQuery {
    fn describe(operation: &mut Operation) {
        operation.fails(ApiError::unreadable_body().status(), None);
    }
}

impl Input for PageQuery {
    fn describe(operation: &mut Operation) {
        ListQuery::describe(operation);
        operation.pages();
    }
}

impl Input for AuthenticatedByQuery {
    fn describe(operation: &mut Operation) {
        let token = "The access token or API key, where the header cannot be sent.";
        operation.query("token", token, json!({"type": "string"}));
    }
}

// What a handler takes whole, it describes by its answer.
impl Input for Request {
    fn describe(_: &mut Operation) {}
}
