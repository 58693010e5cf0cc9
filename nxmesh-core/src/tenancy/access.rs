//! Who may do what: the one place that says so.

use crate::{Error, ErrorKind, Result, tenancy::Role};

/// Something that not everybody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Look at anything in the organization.
    Read,
    /// Write virtual hosts, upstreams and certificates.
    WriteServed,
    /// Have an agent do something now.
    Command,
    /// Write workspaces.
    WriteWorkspaces,
    /// Write agents, and make tokens that let them in.
    WriteAgents,
    /// Revoke the API keys of others.
    RevokeApiKeys,
    /// Read who did what.
    ReadAudit,
    /// Write the organization.
    WriteOrganization,
    /// Write its members.
    WriteMembers,
}

impl Permission {
    /// The least role that has it.
    #[must_use]
    pub const fn least_role(self) -> Role {
        match self {
            Self::Read => Role::Viewer,
            Self::WriteServed | Self::Command => Role::Operator,
            Self::WriteWorkspaces | Self::WriteAgents | Self::RevokeApiKeys | Self::ReadAudit => {
                Role::Admin
            }
            Self::WriteOrganization | Self::WriteMembers => Role::Owner,
        }
    }
}

/// Fails with [`Forbidden`](ErrorKind::Forbidden) unless the role has the permission.
pub(crate) fn check(role: Role, permission: Permission) -> Result<()> {
    let least = permission.least_role();
    if role >= least {
        return Ok(());
    }
    let message = format!("this needs the role {least}, and you have the role {role} here");
    Err(Error::new(ErrorKind::Forbidden, message))
}
