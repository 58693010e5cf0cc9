use std::mem;

use axum::{Router, handler::Handler, middleware, routing};
use http::Method;
use nxmesh_core::{ErrorKind, Mesh, tenancy::Permission};
use utoipa::ToSchema;

use super::{
    idempotency,
    openapi::{Documented, Entry, Place},
};

/// A route, and who may use it. The check itself is core's; a test compares the two.
#[derive(Debug, Clone)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, under `/v1`, with its parameters in braces.
    pub path: &'static str,
    /// Who may use it.
    pub needs: Needs,
}

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Anybody.
    Nothing,
    /// Whoever is logged in; they see only what is theirs.
    Login,
    /// Whoever has this permission for the object in the path.
    Permission(Permission),
}

/// Routes with their rules and their documentation: there is no way to add one without.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    under: &'static str,
    router: Router<Mesh>,
    /// Those that may come with an `Idempotency-Key`.
    posts: Router<Mesh>,
    rules: Vec<Route>,
    entries: Vec<Entry>,
}

/// Routes, the last of which still has to be documented.
#[must_use = "say what the route does"]
pub(crate) struct Undocumented {
    routes: Routes,
    entry: Entry,
}

impl Undocumented {
    /// What the route does, in a few words, as an order: `List agents`. More can be said about it
    /// behind this: [`describe`](Routes::describe), [`fails`](Routes::fails),
    /// [`query`](Routes::query).
    pub(crate) fn says(self, summary: &'static str) -> Routes {
        let Self { mut routes, mut entry } = self;
        entry.says(summary);
        routes.entries.push(entry);
        routes
    }
}

impl Routes {
    /// `Routes::new().on(Method::GET, "/agents/{id}", Needs::.., agents::get).says("Get an agent")`
    pub(crate) fn new() -> Self {
        Self { under: "/v1", ..Self::default() }
    }

    /// Routes that are not under `/v1`, and not limited.
    pub(crate) fn at_root() -> Self {
        Self::default()
    }

    /// Adds one.
    pub(crate) fn on<H, T>(
        mut self,
        method: Method,
        path: &'static str,
        needs: Needs,
        handler: H,
    ) -> Undocumented
    where
        H: Handler<T, Mesh> + Documented<T>,
        T: 'static,
    {
        let (full, limited) = (format!("{}{path}", self.under), !self.under.is_empty());
        let place = Place { method: method.clone(), path: full.clone(), needs, limited };
        let entry = Entry::of::<H, T>(place);
        let router = if method == Method::POST { &mut self.posts } else { &mut self.router };
        let routed = match method {
            Method::GET => routing::get(handler),
            Method::POST => routing::post(handler),
            Method::PATCH => routing::patch(handler),
            Method::DELETE => routing::delete(handler),
            _ => routing::any(handler),
        };
        *router = mem::take(router).route(&full, routed);
        self.rules.push(Route { method, path, needs });
        Undocumented { routes: self, entry }
    }

    /// What else there is to know about the last one, in sentences.
    pub(crate) fn describe(self, description: &'static str) -> Self {
        self.last(|it| it.describe(description))
    }

    /// What the last one can fail with, beyond what its rule and its types say; when, in a
    /// sentence.
    pub(crate) fn fails(self, kind: ErrorKind, when: &'static str) -> Self {
        self.last(|it| it.fails(kind, when))
    }

    /// The last one takes `page` and `per_page` beside other parameters.
    pub(crate) fn pages(self) -> Self {
        self.last(Entry::pages)
    }

    /// A parameter of the query that the last one takes.
    pub(crate) fn query<T: ToSchema>(self, name: &str, description: &str) -> Self {
        self.last(|it| it.query::<T>(name, false, description))
    }

    /// A parameter of the query that the last one must have.
    pub(crate) fn required_query<T: ToSchema>(self, name: &str, description: &str) -> Self {
        self.last(|it| it.query::<T>(name, true, description))
    }

    fn last(mut self, change: impl FnOnce(&mut Entry)) -> Self {
        self.entries.last_mut().map(change);
        self
    }

    /// These and those.
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.posts = self.posts.merge(other.posts);
        self.rules.extend(other.rules);
        self.entries.extend(other.entries);
        self
    }

    pub(crate) fn into_router(self, mesh: &Mesh) -> Router<Mesh> {
        let once = middleware::from_fn_with_state(mesh.clone(), idempotency::layer);
        self.router.merge(self.posts.layer(once))
    }

    pub(crate) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    pub(crate) fn into_rules(self) -> Vec<Route> {
        self.rules
    }
}
