use http::Method;
use nxmesh_core::tenancy::Permission;

use super::{api_keys, audit_log, auth, members, organizations, workspaces};
use crate::http::{
    Needs::{self, Login, Nothing},
    Routes,
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
        .on(Method::POST, "/auth/refresh", Nothing, auth::refresh)
        .on(Method::POST, "/auth/logout", Nothing, auth::logout)
        .on(Method::POST, "/auth/password", Login, auth::change_password)
        .on(Method::GET, "/api-keys", READ, api_keys::list)
        .on(Method::POST, "/api-keys", READ, api_keys::create)
        .on(Method::DELETE, "/api-keys/{id}", REVOKE, api_keys::revoke)
        .on(Method::GET, "/organizations", Login, organizations::list)
        .on(Method::POST, "/organizations", Login, organizations::create)
        .on(Method::GET, "/organizations/{id}", READ, organizations::get)
        .on(Method::PATCH, "/organizations/{id}", OWN, organizations::update)
        .on(Method::DELETE, "/organizations/{id}", OWN, organizations::delete)
        .on(Method::GET, "/organizations/{id}/audit-log", AUDIT, audit_log::list)
        .on(Method::GET, "/organizations/{id}/members", READ, members::list)
        .on(Method::POST, "/organizations/{id}/members", MEMBERS, members::add)
        .on(Method::PATCH, "/organizations/{id}/members/{user_id}", MEMBERS, members::update)
        .on(Method::DELETE, "/organizations/{id}/members/{user_id}", MEMBERS, members::remove)
        .on(Method::GET, "/organizations/{id}/workspaces", READ, workspaces::list)
        .on(Method::POST, "/organizations/{id}/workspaces", WRITE, workspaces::create)
        .on(Method::GET, "/workspaces/{id}", READ, workspaces::get)
        .on(Method::PATCH, "/workspaces/{id}", WRITE, workspaces::update)
        .on(Method::DELETE, "/workspaces/{id}", WRITE, workspaces::delete)
}
