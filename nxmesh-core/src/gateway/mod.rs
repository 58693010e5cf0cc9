//! Gateway: agents, what they should serve, and how that reaches nginx.

mod agent;
mod certificate;
pub mod link;
mod location;
pub mod nginx;
mod projection;
mod selector;
mod target;
mod upstream;
mod virtual_host;

pub use self::{
    agent::{AgentId, DeploymentMode, Labels},
    certificate::{Certificate, CertificateId},
    location::{Header, Location, LocationTarget, RewriteFlag, RewriteRule},
    projection::{ConfigUpdate, Projection},
    selector::LabelSelector,
    target::TargetAgents,
    upstream::{Algorithm, HealthCheck, NewUpstream, Upstream, UpstreamId, UpstreamServer, UpstreamSpec},
    virtual_host::{NewVirtualHost, VirtualHost, VirtualHostId, VirtualHostSpec},
};
