use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    RenderedFor,
    reference::{Facts, files_of},
};
use crate::gateway::{AgentId, AgentStatus, ConfigUpdate, ConfigVersion, nginx::Rendered};

/// What an agent should be running, and what it says it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentConfig {
    /// Which agent.
    pub agent_id: AgentId,
    /// What it should be running. The version is the one that it runs, when the content is the
    /// same: what it serves already is not sent again.
    pub desired: ConfigVersion,
    /// What it says it runs; nothing when it never ran anything.
    pub running: Option<ConfigVersion>,
    /// For which nginx the files were rendered.
    pub nginx: RenderedFor,
    /// The files, by path from the folder of the configuration. Paths that the agent chooses
    /// (of sockets, logs, temporary files) are written from its state folder, and the user and
    /// the number of connections are the defaults.
    pub files: BTreeMap<String, String>,
    /// Paths of files that are never shown: private keys.
    pub hidden_files: Vec<String>,
}

impl AgentConfig {
    /// What an agent of this status should be running.
    pub(in crate::gateway) fn of(
        agent_id: AgentId,
        update: &ConfigUpdate,
        status: AgentStatus,
    ) -> Self {
        let facts = Facts::of(&status);
        let running = status.serving;
        let same = running.clone().filter(|it| it.checksum == update.checksum);
        let desired = same.unwrap_or_else(|| update.names());
        let update = ConfigUpdate { version: desired.version, ..update.clone() };
        let Rendered { files, secrets } = files_of(&update, &facts.nginx);
        // Of private keys nothing but their paths leaves here.
        let hidden_files = secrets.into_keys().collect();
        Self { agent_id, desired, running, nginx: facts.show(), files, hidden_files }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::{
        Id, RevisionNumber, Secret,
        gateway::{Certificate, Projection},
    };

    #[test]
    fn private_keys_are_named_and_never_shown() {
        let id = Id::from_uuid(Uuid::nil());
        let certificate = Certificate {
            domain: "a.example".to_owned(),
            certificate_pem: "THE CERTIFICATE".to_owned(),
            private_key_pem: Secret::new("THE KEY".to_owned()),
            expires_at: 0,
        };
        let certificates = [(id, Arc::new(certificate))].into();
        let update = ConfigUpdate {
            config_id: String::new(),
            version: RevisionNumber(1),
            checksum: "a".to_owned(),
            projection: Arc::new(Projection { certificates, ..Projection::default() }),
            drift: Default::default(),
        };
        let config = AgentConfig::of(Id::from_uuid(Uuid::nil()), &update, AgentStatus::default());
        let shown = serde_json::to_string(&config).unwrap() + &format!("{config:?}");
        assert!(shown.contains("THE CERTIFICATE") && !shown.contains("THE KEY"), "{shown}");
        assert_eq!(config.hidden_files, [format!("certificates/{}.key", Uuid::nil())]);
    }
}
