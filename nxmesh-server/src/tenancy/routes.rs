use http::Method;
use nxmesh_core::{
    ErrorKind::{Conflict, Forbidden, Unauthenticated},
    Id,
    events::EventType,
    tenancy::{OrganizationId, Permission, UserId},
};

use super::{api_keys, audit_log, auth, members, organizations, workspaces};
use crate::http::{
    Flag,
    Needs::{self, Login, Nothing},
    Routes,
    openapi::Timestamp,
};

const READ: Needs = Needs::Permission(Permission::Read);
const OWN: Needs = Needs::Permission(Permission::WriteOrganization);
const AUDIT: Needs = Needs::Permission(Permission::ReadAudit);
const REVOKE: Needs = Needs::Permission(Permission::RevokeApiKeys);
const MEMBERS: Needs = Needs::Permission(Permission::WriteMembers);
const WRITE: Needs = Needs::Permission(Permission::WriteWorkspaces);

/// The routes of the area.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .on(Method::POST, "/auth/login", Nothing, auth::login)
        .says("Log in")
        .fails(Unauthenticated, "The e-mail address or the password is wrong.")
        .on(Method::POST, "/auth/refresh", Nothing, auth::refresh)
        .says("Get new tokens")
        .describe("A refresh token works once: who uses it again ends the whole login.")
        .fails(Unauthenticated, "The refresh token is not valid, was used before, or has expired.")
        .on(Method::POST, "/auth/logout", Nothing, auth::logout)
        .says("Log out")
        .describe(
            "Ends the login that the refresh token comes from; one that is unknown is fine too.",
        )
        .on(Method::POST, "/auth/password", Login, auth::change_password)
        .says("Change your password")
        .describe("All your logins end, at the latest when their access tokens do.")
        .fails(Forbidden, "An API key cannot change a password.")
        .on(Method::GET, "/api-keys", READ, api_keys::list)
        .says("List API keys")
        .pages()
        .required_query::<OrganizationId>("organization_id", "Those of this organization.")
        .on(Method::POST, "/api-keys", READ, api_keys::create)
        .says("Make an API key")
        .describe("Its text is shown only here.")
        .fails(Forbidden, "The role is more than your own.")
        .on(Method::DELETE, "/api-keys/{id}", REVOKE, api_keys::revoke)
        .says("Revoke an API key")
        .describe("Whoever made it may too.")
        .on(Method::GET, "/organizations", Login, organizations::list)
        .says("List your organizations")
        .on(Method::POST, "/organizations", Login, organizations::create)
        .says("Create an organization")
        .describe("You own it.")
        .fails(Forbidden, "An API key cannot create an organization.")
        .fails(Conflict, "The slug is taken.")
        .on(Method::GET, "/organizations/{id}", READ, organizations::get)
        .says("Get an organization")
        .on(Method::PATCH, "/organizations/{id}", OWN, organizations::update)
        .says("Update an organization")
        .fails(Conflict, "The slug is taken.")
        .on(Method::DELETE, "/organizations/{id}", OWN, organizations::delete)
        .says("Delete an organization")
        .query::<Flag>("cascade", "With its workspaces, and all that is in them.")
        .fails(Conflict, "It has workspaces.")
        .on(Method::GET, "/organizations/{id}/audit-log", AUDIT, audit_log::list)
        .says("List who did what")
        .pages()
        .query::<UserId>("user_id", "Only what this user did.")
        .query::<Id<()>>("object_id", "Only what was done to this object.")
        .query::<EventType>("action", "Only this: `virtual_host.updated`.")
        .query::<Timestamp>("from", "Only what was done since.")
        .query::<Timestamp>("to", "Only what was done before.")
        .on(Method::GET, "/organizations/{id}/members", READ, members::list)
        .says("List members")
        .on(Method::POST, "/organizations/{id}/members", MEMBERS, members::add)
        .says("Add a member")
        .describe("A user who is there already, by e-mail address.")
        .fails(Conflict, "They are a member already.")
        .on(Method::PATCH, "/organizations/{id}/members/{user_id}", MEMBERS, members::update)
        .says("Give a member another role")
        .fails(Conflict, "The last owner stays one.")
        .on(Method::DELETE, "/organizations/{id}/members/{user_id}", MEMBERS, members::remove)
        .says("Remove a member")
        .fails(Conflict, "The last owner stays.")
        .on(Method::GET, "/organizations/{id}/workspaces", READ, workspaces::list)
        .says("List workspaces")
        .on(Method::POST, "/organizations/{id}/workspaces", WRITE, workspaces::create)
        .says("Create a workspace")
        .fails(Conflict, "The slug is taken in the organization.")
        .on(Method::GET, "/workspaces/{id}", READ, workspaces::get)
        .says("Get a workspace")
        .on(Method::PATCH, "/workspaces/{id}", WRITE, workspaces::update)
        .says("Update a workspace")
        .fails(Conflict, "The slug is taken in the organization.")
        .on(Method::DELETE, "/workspaces/{id}", WRITE, workspaces::delete)
        .says("Delete a workspace")
        .query::<Flag>("cascade", "With its agents: they are let go.")
        .fails(Conflict, "It has agents.")
}
