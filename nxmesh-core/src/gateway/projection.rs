use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    RevisionNumber,
    gateway::{
        Certificate, CertificateId, UpstreamId, UpstreamSpec, VirtualHostId, VirtualHostSpec,
        drift::DriftPolicy,
    },
    tenancy::Settings,
};

/// What one agent should serve: the workspace seen from there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Projection {
    /// The virtual hosts whose target the agent is.
    pub virtual_hosts: BTreeMap<VirtualHostId, Arc<VirtualHostSpec>>,
    /// The upstreams that those use.
    pub upstreams: BTreeMap<UpstreamId, Arc<UpstreamSpec>>,
    /// The certificates that those use.
    pub certificates: BTreeMap<CertificateId, Arc<Certificate>>,
    /// What holds for the whole nginx.
    pub settings: Arc<Settings>,
}

/// A projection on its way to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigUpdate {
    /// Names this update in answers and events.
    pub config_id: String,
    /// The revision of the workspace that it shows.
    pub version: RevisionNumber,
    /// Names the content: equal checksums mean equal projections. Opaque to the agent.
    pub checksum: String,
    /// The content.
    pub projection: Arc<Projection>,
    /// What the agent does about drift; no part of the content.
    pub drift: DriftPolicy,
}

/// Names a configuration of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConfigVersion {
    /// The revision of the workspace that it was made from.
    pub version: RevisionNumber,
    /// Names the content: equal checksums mean equal content. Opaque.
    pub checksum: String,
}

impl ConfigUpdate {
    /// Its version and content.
    pub(crate) fn names(&self) -> ConfigVersion {
        ConfigVersion { version: self.version, checksum: self.checksum.clone() }
    }

    /// Whether an agent that serves this serves the content of the update, but perhaps for what it
    /// holds back.
    pub(crate) fn is_served_as(&self, checksum: &str) -> bool {
        let held_back = checksum.strip_prefix(&self.checksum);
        held_back.is_some_and(|it| it.is_empty() || it.starts_with('-'))
    }

    /// The name of this content without a part of it, which this names.
    #[must_use]
    pub fn checksum_without(&self, held_back: &str) -> String {
        format!("{}-{held_back}", self.checksum)
    }

    /// The name of the whole content, of which what this names may hold a part back.
    pub(crate) fn whole_of(checksum: &str) -> &str {
        checksum.split_once('-').map_or(checksum, |(whole, _)| whole)
    }

    /// What an update with this content is called.
    pub(crate) fn id(version: RevisionNumber, checksum: &str) -> String {
        format!("{version}-{}", checksum.get(..12).unwrap_or(checksum))
    }
}
