use crate::{gateway::GatewayWrite, tenancy::Settings};

/// The settings of a workspace that writes lead to, if they write any.
pub(crate) fn last_settings(writes: &[GatewayWrite]) -> Option<&Settings> {
    writes.iter().rev().find_map(|write| match write {
        GatewayWrite::PutSettings(settings) => Some(settings.as_ref()),
        GatewayWrite::PutVirtualHost(_)
        | GatewayWrite::DeleteVirtualHost(_)
        | GatewayWrite::PutUpstream(_)
        | GatewayWrite::DeleteUpstream(_)
        | GatewayWrite::PutAgent(_)
        | GatewayWrite::DeleteAgent(_) => None,
    })
}
