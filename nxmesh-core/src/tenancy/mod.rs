//! Tenancy: who there is, and what belongs to whom.

pub mod access;
mod api_key;
mod api_keys;
mod audit_entry;
mod audit_log;
pub mod auth;
mod email;
mod master_key;
mod member;
mod members;
mod organization;
mod organizations;
mod password;
mod role;
mod settings;
mod signing_key;
mod slug;
mod store;
mod user;
mod users;
mod workspace;
mod workspaces;

mod area;

pub(crate) use self::area::{Context, Shared};
pub use self::{
    access::Permission,
    api_key::{ApiKey, ApiKeyId, NewApiKey},
    api_keys::ApiKeys,
    area::Tenancy,
    audit_entry::{AuditEntry, AuditEntryId, AuditFilter, AuditedObject},
    audit_log::AuditLog,
    auth::Auth,
    email::{Email, MAX_DOMAIN_BYTES, MAX_LOCAL_BYTES},
    master_key::{MasterKey, Sealed},
    member::{Member, MemberPatch, NewMember},
    members::Members,
    organization::{NewOrganization, Organization, OrganizationId, OrganizationName},
    organizations::Organizations,
    password::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS, PasswordHash},
    role::Role,
    settings::{
        Delivery, EnvName, EnvValue, MAX_ENV_NAME_BYTES, MAX_ENV_VALUE_BYTES, MAX_ENV_VARS,
        NewSettings, OnRefusal, Settings,
    },
    signing_key::{SealedSigningKey, SigningKey},
    slug::{MAX_SLUG_CHARS, Slug},
    store::{Cascade, RefreshToken, TenancyChange, TenancyStore},
    user::{User, UserId},
    users::Users,
    workspace::{NewWorkspace, Workspace, WorkspaceId},
    workspaces::Workspaces,
};
