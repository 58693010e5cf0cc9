use http::Method;
use nxmesh_core::{
    ErrorKind::{Conflict, Precondition, Unavailable},
    gateway::LabelSelector,
    tenancy::Permission,
};

use super::{
    agents::{self, StateFilter},
    changes, revisions, rollouts, upstreams, virtual_hosts,
};
use crate::http::{Flag, Needs, Routes};

const READ: Needs = Needs::Permission(Permission::Read);
const SERVED: Needs = Needs::Permission(Permission::WriteServed);
const AGENTS: Needs = Needs::Permission(Permission::WriteAgents);
const COMMAND: Needs = Needs::Permission(Permission::Command);

const MEET: &str = "Two virtual hosts would meet on one agent, with the same port and name.";

/// The routes of the area.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .on(Method::GET, "/workspaces/{id}/agents", READ, agents::list)
        .says("List agents")
        .pages()
        .describe("Without their health and what they hold back.")
        .query::<StateFilter>("state", "Only those in this state.")
        .query::<LabelSelector>("label_selector", "Only those whose labels match.")
        .query::<bool>(
            "lagging",
            "Only those that are not proven to serve what they should, or only those that are.",
        )
        .on(Method::POST, "/workspaces/{id}/agents/tokens", AGENTS, agents::create_token)
        .says("Let an agent in")
        .describe(
            "Makes an agent, and the token that it registers with, once; it is shown only here.",
        )
        .fails(Conflict, MEET)
        .on(Method::GET, "/agents/{id}", READ, agents::get)
        .says("Get an agent")
        .on(Method::PATCH, "/agents/{id}", AGENTS, agents::update)
        .says("Update an agent")
        .describe(
            "Labels replace all labels. Virtual hosts move on and off the agent at once. What the \
             agent does about drift, it does as soon as it is connected; see docs/agent.md.",
        )
        .fails(Conflict, MEET)
        .on(Method::DELETE, "/agents/{id}", AGENTS, agents::delete)
        .says("Delete an agent")
        .describe("Its stream ends, and its credential is worth nothing any more.")
        .on(Method::POST, "/agents/{id}/reload", COMMAND, agents::reload)
        .says("Have an agent's nginx reload")
        .describe("Waits for the answer, 10 s at most.")
        .fails(Unavailable, "The agent is not connected, or does not answer in time.")
        .on(Method::GET, "/agents/{id}/config", READ, agents::config)
        .says("Get the files that an agent should run")
        .on(Method::GET, "/agents/{id}/drift", READ, agents::drift)
        .says("Get what somebody else changed on an agent's host")
        .describe("The last time, with diffs, also when it is over.")
        .on(Method::POST, "/workspaces/{id}/changes", SERVED, changes::apply)
        .says("Change several objects as one revision")
        .describe("All of it, or nothing. See docs/changes.md.")
        .query::<Flag>("dry_run", "Only check it: what it would answer is answered.")
        .fails(Precondition, "An object is not in the state that its change names.")
        .fails(Conflict, "What would come of it does not go together.")
        .on(Method::POST, "/workspaces/{id}/config/preview", READ, changes::preview)
        .says("Show what a change set would do")
        .describe("To objects, and to the files of each agent; nothing is changed.")
        .fails(Precondition, "An object is not in the state that its change names.")
        .fails(Conflict, "What would come of it does not go together.")
        .on(Method::GET, "/workspaces/{id}/virtual-hosts", READ, virtual_hosts::list)
        .says("List virtual hosts")
        .on(Method::POST, "/workspaces/{id}/virtual-hosts", SERVED, virtual_hosts::create)
        .says("Create a virtual host")
        .fails(Conflict, MEET)
        .on(Method::GET, "/virtual-hosts/{id}", READ, virtual_hosts::get)
        .says("Get a virtual host")
        .on(Method::GET, "/virtual-hosts/{id}/status", READ, virtual_hosts::status)
        .says("Show how a virtual host is on its agents")
        .describe("On each that should serve it. See docs/quarantine.md.")
        .on(Method::PATCH, "/virtual-hosts/{id}", SERVED, virtual_hosts::update)
        .says("Update a virtual host")
        .describe("A new type of target starts from nothing: fields of the old one do not stay.")
        .fails(Conflict, MEET)
        .on(Method::DELETE, "/virtual-hosts/{id}", SERVED, virtual_hosts::delete)
        .says("Delete a virtual host")
        .on(Method::GET, "/workspaces/{id}/revisions", READ, revisions::list)
        .says("List revisions")
        .on(Method::GET, "/workspaces/{id}/revisions/{n}", READ, revisions::get)
        .says("Get a workspace as it was at a revision")
        .on(Method::GET, "/workspaces/{id}/revisions/{n}/diff/{m}", READ, revisions::diff)
        .says("Compare two revisions")
        .describe("By object, and as text of nginx. Revision 0 is the empty workspace, without settings.")
        .on(Method::POST, "/workspaces/{id}/revisions/{n}/restore", SERVED, revisions::restore)
        .says("Restore a revision")
        .describe(
            "Virtual hosts, upstreams and settings, as the next revision. Agents stay as they are. Where \
             the settings were others it needs the role that may write workspaces.",
        )
        .fails(Conflict, MEET)
        .on(Method::GET, "/workspaces/{id}/rollouts", READ, rollouts::list)
        .says("List rollouts")
        .describe("Oldest first, with figures as of their last step; the last 100 are kept.")
        .on(Method::POST, "/workspaces/{id}/rollouts", SERVED, rollouts::start)
        .says("Roll a revision out")
        .describe("Wave by wave, in a workspace whose delivery is staged. See docs/rollouts.md.")
        .fails(Conflict, "Delivery is immediate, or another rollout is under way.")
        .on(Method::GET, "/rollouts/{id}", READ, rollouts::get)
        .says("Get a rollout")
        .describe("With figures as they are now.")
        .on(Method::POST, "/rollouts/{id}/pause", SERVED, rollouts::pause)
        .says("Pause a rollout")
        .describe("Nobody is taken back, and no gate is looked at until it is resumed.")
        .fails(Conflict, "It is not running.")
        .on(Method::POST, "/rollouts/{id}/resume", SERVED, rollouts::resume)
        .says("Resume a rollout")
        .fails(Conflict, "It is not paused.")
        .on(Method::POST, "/rollouts/{id}/abort", SERVED, rollouts::abort)
        .says("Abort a rollout")
        .describe("Its agents go back to what was released before.")
        .fails(Conflict, "It is over.")
        .on(Method::GET, "/workspaces/{id}/upstreams", READ, upstreams::list)
        .says("List upstreams")
        .on(Method::POST, "/workspaces/{id}/upstreams", SERVED, upstreams::create)
        .says("Create an upstream")
        .on(Method::GET, "/upstreams/{id}", READ, upstreams::get)
        .says("Get an upstream")
        .on(Method::GET, "/upstreams/{id}/health", READ, upstreams::health)
        .says("Get the health of an upstream's servers")
        .describe("As the agents that have the upstream find it. See docs/health-checks.md.")
        .on(Method::PATCH, "/upstreams/{id}", SERVED, upstreams::update)
        .says("Update an upstream")
        .on(Method::DELETE, "/upstreams/{id}", SERVED, upstreams::delete)
        .says("Delete an upstream")
        .fails(Conflict, "A virtual host uses it.")
}
