use http::Method;
use nxmesh_core::tenancy::Permission;

use super::{agents, changes, revisions, upstreams, virtual_hosts};
use crate::http::{Needs, Routes};

const READ: Needs = Needs::Permission(Permission::Read);
const SERVED: Needs = Needs::Permission(Permission::WriteServed);
const AGENTS: Needs = Needs::Permission(Permission::WriteAgents);
const COMMAND: Needs = Needs::Permission(Permission::Command);

/// The routes of the area.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .on(Method::GET, "/workspaces/{id}/agents", READ, agents::list)
        .on(Method::POST, "/workspaces/{id}/agents/tokens", AGENTS, agents::create_token)
        .on(Method::GET, "/agents/{id}", READ, agents::get)
        .on(Method::PATCH, "/agents/{id}", AGENTS, agents::update)
        .on(Method::DELETE, "/agents/{id}", AGENTS, agents::delete)
        .on(Method::POST, "/agents/{id}/reload", COMMAND, agents::reload)
        .on(Method::GET, "/agents/{id}/config", READ, agents::config)
        .on(Method::POST, "/workspaces/{id}/changes", SERVED, changes::apply)
        .on(Method::POST, "/workspaces/{id}/config/preview", READ, changes::preview)
        .on(Method::GET, "/workspaces/{id}/virtual-hosts", READ, virtual_hosts::list)
        .on(Method::POST, "/workspaces/{id}/virtual-hosts", SERVED, virtual_hosts::create)
        .on(Method::GET, "/virtual-hosts/{id}", READ, virtual_hosts::get)
        .on(Method::PATCH, "/virtual-hosts/{id}", SERVED, virtual_hosts::update)
        .on(Method::DELETE, "/virtual-hosts/{id}", SERVED, virtual_hosts::delete)
        .on(Method::GET, "/workspaces/{id}/revisions", READ, revisions::list)
        .on(Method::GET, "/workspaces/{id}/revisions/{n}", READ, revisions::get)
        .on(Method::GET, "/workspaces/{id}/revisions/{n}/diff/{m}", READ, revisions::diff)
        .on(Method::POST, "/workspaces/{id}/revisions/{n}/restore", SERVED, revisions::restore)
        .on(Method::GET, "/workspaces/{id}/upstreams", READ, upstreams::list)
        .on(Method::POST, "/workspaces/{id}/upstreams", SERVED, upstreams::create)
        .on(Method::GET, "/upstreams/{id}", READ, upstreams::get)
        .on(Method::PATCH, "/upstreams/{id}", SERVED, upstreams::update)
        .on(Method::DELETE, "/upstreams/{id}", SERVED, upstreams::delete)
}
