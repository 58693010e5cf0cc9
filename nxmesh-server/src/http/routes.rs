use axum::{Router, handler::Handler, routing};
use http::Method;
use nxmesh_core::{Mesh, tenancy::Permission};

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

/// Routes with their rules: there is no way to add one without.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    router: Router<Mesh>,
    rules: Vec<Route>,
}

impl Routes {
    /// `Routes::new().on(Method::GET, "/agents/{id}", Needs::.., agents::get)`
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub(crate) fn on<H, T>(
        mut self,
        method: Method,
        path: &'static str,
        needs: Needs,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Mesh>,
        T: 'static,
    {
        let routed = match method {
            Method::GET => routing::get(handler),
            Method::POST => routing::post(handler),
            Method::PATCH => routing::patch(handler),
            Method::DELETE => routing::delete(handler),
            _ => routing::any(handler),
        };
        self.router = self.router.route(path, routed);
        self.rules.push(Route { method, path, needs });
        self
    }

    /// These and those.
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.rules.extend(other.rules);
        self
    }

    pub(crate) fn into_router(self) -> Router<Mesh> {
        self.router
    }

    pub(crate) fn into_rules(self) -> Vec<Route> {
        self.rules
    }
}
