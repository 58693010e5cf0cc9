//! Gateway: agents, what they should serve, and how that reaches nginx.

mod agent;
mod area;
mod certificate;
mod change_set;
mod changes;
pub mod checks;
mod command;
mod config;
pub mod drift;
pub mod labels;
pub mod link;
mod location;
pub mod location_parts;
mod names;
pub mod nginx;
mod projection;
mod revisions;
mod rollout;
mod selector;
mod snapshot;
mod store;
mod target;
mod upstream;
mod virtual_host;

mod conflict;
mod context;
mod convergence;
mod dispatch;
mod fleet;
mod project;
mod queue;
mod reports;
pub(crate) mod session;
mod snapshots;

pub use self::{
    agent::{
        Agent, AgentConvergence, AgentFilter, AgentHealth, AgentId, AgentName, AgentQuery,
        AgentRecord, AgentSpec, AgentState, AgentStatus, Agents, Answered, ConfigState, Delivered,
        DeploymentMode, FailedApply, LastApply, MAX_TOKEN_HOURS, NewAgent, NewRegistrationToken,
        NginxState, RegistrationToken, ReloadOutcome, SessionId, SilentAgent,
    },
    area::Gateway,
    certificate::{Certificate, CertificateId},
    change_set::{
        AgentDiff, AppliedChange, AppliedChanges, ChangeAction, ChangePreview, FileChange,
        NewChange, NewChangeSet, ServedKind,
    },
    changes::Changes,
    command::{AgentCommand, COMMAND_PATIENCE, CommandId, CommandOutcome},
    config::{AgentConfig, ObjectChange, ObjectKind, RenderedFor, RevisionDiff, RevisionState},
    labels::Labels,
    location::{
        Header, Location, LocationTarget, MAX_HEADERS, MAX_REWRITES, NewLocation, RewriteFlag,
        RewriteRule,
    },
    names::{ObjectName, ServerAddress, ServerName},
    projection::{ConfigUpdate, ConfigVersion, Projection},
    reports::{MAX_QUARANTINED, Quarantined, VirtualHostState, VirtualHostStatus},
    revisions::Revisions,
    rollout::{
        DeliveryRecord, Gates, MAX_DEADLINE_SECONDS, MAX_GATE, MAX_SOAK_SECONDS, MAX_WAVES,
        NewGates, NewRollout, NewWave, Rollout, RolloutId, RolloutMark, RolloutState, Rollouts,
        Wave, WaveAgents, WaveFigures, WaveState,
    },
    selector::{LabelSelector, MAX_SELECTOR_BYTES},
    snapshot::Snapshot,
    store::{
        AgentCount, AgentSecret, GatewayChange, GatewayStore, GatewayWrite, MAX_ROLLOUTS,
        MAX_WAITING_COMMANDS, Moved, News, Step, Writes,
    },
    target::{MAX_NAMED_AGENTS, NewTargetAgents, TargetAgents},
    upstream::{
        Algorithm, HealthCheck, MAX_FAILS, MAX_KEEPALIVE, MAX_SECONDS, MAX_SERVERS, MAX_THRESHOLD,
        MAX_WEIGHT, NewUpstream, Upstream, UpstreamId, UpstreamServer, UpstreamSpec, Upstreams,
    },
    virtual_host::{
        MAX_LOCATIONS, MAX_SERVER_NAMES, NewVirtualHost, ServerNames, VirtualHost, VirtualHostId,
        VirtualHostSpec, VirtualHosts,
    },
};
