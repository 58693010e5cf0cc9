//! Tenancy: who there is, and what belongs to whom.

pub mod auth;
mod email;
mod master_key;
mod organization;
mod organizations;
mod password;
mod settings;
mod signing_key;
mod slug;
mod store;
mod user;
mod users;
mod workspace;
mod workspaces;

mod area;

pub(crate) use self::area::Context;
pub use self::{
    area::Tenancy,
    auth::Auth,
    email::Email,
    master_key::{MasterKey, Sealed},
    organization::{NewOrganization, Organization, OrganizationId, OrganizationName},
    organizations::Organizations,
    password::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS, PasswordHash},
    settings::{EnvName, EnvValue, MAX_ENV_VARS, NewSettings, Settings},
    signing_key::{SealedSigningKey, SigningKey},
    slug::Slug,
    store::{RefreshToken, TenancyChange, TenancyStore},
    user::{User, UserId},
    users::Users,
    workspace::{NewWorkspace, Workspace, WorkspaceId},
    workspaces::Workspaces,
};
