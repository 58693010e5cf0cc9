use axum::{
    Router,
    routing::{get, post},
};
use nxmesh_core::Mesh;

use super::{agents, upstreams, virtual_hosts};

/// The routes of the area.
pub(crate) fn routes() -> Router<Mesh> {
    Router::new()
        .route("/workspaces/{id}/agents", get(agents::list))
        .route("/workspaces/{id}/agents/tokens", post(agents::create_token))
        .route("/agents/{id}", get(agents::get).patch(agents::update).delete(agents::delete))
        .route("/agents/{id}/reload", post(agents::reload))
        .route(
            "/workspaces/{id}/virtual-hosts",
            get(virtual_hosts::list).post(virtual_hosts::create),
        )
        .route(
            "/virtual-hosts/{id}",
            get(virtual_hosts::get).patch(virtual_hosts::update).delete(virtual_hosts::delete),
        )
        .route("/workspaces/{id}/upstreams", get(upstreams::list).post(upstreams::create))
        .route(
            "/upstreams/{id}",
            get(upstreams::get).patch(upstreams::update).delete(upstreams::delete),
        )
}
