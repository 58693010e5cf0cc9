//! Tenancy: who there is, and what belongs to whom.

mod email;
mod organization;
mod settings;
mod slug;
mod user;
mod workspace;

pub use self::{
    email::Email,
    organization::{NewOrganization, Organization, OrganizationId, OrganizationName},
    settings::{EnvName, EnvValue, Settings},
    slug::Slug,
    user::{User, UserId},
    workspace::{NewWorkspace, Workspace, WorkspaceId},
};
