//! What is sent: pure, nothing is sent here.

use nxmesh_core::{ETag, PageRequest};
use reqwest::Method;
use serde::Serialize;
use uuid::Uuid;

/// One call of the API.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) if_match: Option<String>,
    /// The name under which the server does it once, however often it is sent.
    pub(crate) idempotency_key: Option<String>,
    /// Whether it may be sent twice: what changes nothing, and what the server does once.
    pub(crate) repeatable: bool,
    pub(crate) body: Option<serde_json::Value>,
}

impl Call {
    fn new(method: Method, path: String) -> Self {
        let (query, repeatable) = (Vec::new(), method == Method::GET);
        Self { method, path, query, if_match: None, idempotency_key: None, repeatable, body: None }
    }

    pub(crate) fn get(path: String) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: String) -> Self {
        // The server keeps no answers with the tokens of a login in them.
        let named = !path.starts_with("auth/");
        let idempotency_key = named.then(|| Uuid::new_v4().to_string());
        Self { idempotency_key, repeatable: named, ..Self::new(Method::POST, path) }
    }

    /// To a server that keeps no answers by name.
    #[cfg(feature = "rendezvous")]
    pub(crate) fn post_unnamed(path: String) -> Self {
        Self::new(Method::POST, path)
    }

    #[cfg(feature = "rendezvous")]
    pub(crate) fn put(path: String) -> Self {
        Self::new(Method::PUT, path).repeatable()
    }

    pub(crate) fn patch(path: String) -> Self {
        Self::new(Method::PATCH, path)
    }

    pub(crate) fn delete(path: String) -> Self {
        Self::new(Method::DELETE, path)
    }

    pub(crate) fn body(mut self, body: &impl Serialize) -> Self {
        // The bodies of this crate have no keys that JSON lacks.
        self.body = Some(serde_json::to_value(body).unwrap_or_default());
        self
    }

    pub(crate) fn if_match(mut self, tag: &ETag) -> Self {
        self.if_match = Some(tag.to_string());
        self
    }

    pub(crate) fn query(mut self, name: &'static str, value: String) -> Self {
        self.query.push((name, value));
        self
    }

    pub(crate) fn page(mut self, page: PageRequest) -> Self {
        self.query.push(("page", page.page().to_string()));
        self.query.push(("per_page", page.per_page().to_string()));
        self
    }

    /// It is harmless when the server does it twice.
    #[cfg(feature = "rendezvous")]
    pub(crate) fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }
}
