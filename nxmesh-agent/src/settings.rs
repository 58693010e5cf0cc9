//! What the agent is told on its command line and in its environment.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use nxmesh_agent::{Mode, OnExit};
use nxmesh_core::gateway::DeploymentMode;

/// Runs beside nginx: applies what the control plane wants, and proves it.
#[derive(Debug, Parser)]
#[command(name = "nxmesh-agent", version)]
pub(crate) struct Settings {
    /// Where the control plane is; several servers of one store, with commas between, are tried
    /// in turn
    #[arg(
        long,
        env = "NXMESH_SERVER",
        default_value = "http://127.0.0.1:9090",
        value_delimiter = ','
    )]
    pub(crate) server: Vec<String>,

    /// Certificates in PEM to trust the control plane by, instead of those of the machine
    #[arg(long, env = "NXMESH_CA_FILE")]
    pub(crate) ca_file: Option<PathBuf>,

    /// What to register with; needed only the first time
    #[arg(long, env = "NXMESH_TOKEN", hide_env_values = true, conflicts_with = "token_file")]
    pub(crate) token: Option<String>,

    /// A file with what to register with
    #[arg(long, env = "NXMESH_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Where to keep everything; one agent for each folder
    #[arg(long, env = "NXMESH_STATE_DIR", default_value = "nxmesh-agent")]
    pub(crate) state_dir: PathBuf,

    /// The nginx to run
    #[arg(long, env = "NXMESH_NGINX", default_value = "/usr/sbin/nginx")]
    pub(crate) nginx: PathBuf,

    /// As whom nginx's workers run, if the agent is root [default: www-data, nginx or nobody]
    #[arg(long, env = "NXMESH_NGINX_USER")]
    pub(crate) nginx_user: Option<String>,

    /// What becomes of nginx when the agent is told to stop
    #[arg(long, env = "NXMESH_ON_EXIT", value_enum, default_value = "keep")]
    pub(crate) on_exit: WhatBecomes,

    /// Who starts and stops nginx
    #[arg(long, env = "NXMESH_MODE", value_enum, default_value = "managed")]
    pub(crate) mode: Starter,

    /// Where nginx's master writes its process id [default: run/nginx.pid in the state folder]
    #[arg(long, env = "NXMESH_PID_FILE")]
    pub(crate) pid_file: Option<PathBuf>,

    /// From one reload of nginx to the next, at least; 0 for no limit
    #[arg(long, env = "NXMESH_MIN_RELOAD_INTERVAL_MS", default_value_t = 1000)]
    pub(crate) min_reload_interval_ms: u64,

    /// With more old workers than this, which finish what they began, nginx is not reloaded
    /// [default: 16 for each processor]
    #[arg(long, env = "NXMESH_MAX_DRAINING_WORKERS")]
    pub(crate) max_draining_workers: Option<usize>,

    /// How many seconds old workers may take to end where they are too many
    #[arg(long, env = "NXMESH_DRAIN_TIMEOUT_SECONDS", default_value_t = 65)]
    pub(crate) drain_timeout_seconds: u64,

    /// How the agent is deployed
    #[arg(long, env = "NXMESH_DEPLOYMENT_MODE", value_enum, default_value = "standalone")]
    pub(crate) deployment_mode: Deployment,

    /// Allow plain text beyond loopback
    #[arg(long, env = "NXMESH_INSECURE")]
    pub(crate) insecure: bool,

    /// What to log: error, warn, info, debug, trace, or a filter for each module
    #[arg(long, env = "NXMESH_LOG", default_value = "info")]
    pub(crate) log: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum WhatBecomes {
    /// It goes on serving
    Keep,
    /// It ends too
    Stop,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Starter {
    /// The agent
    Managed,
    /// Somebody else, systemd say
    Attached,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Deployment {
    /// A container beside nginx's
    DockerSidecar,
    /// A container in nginx's pod
    KubernetesSidecar,
    /// A process on a host
    Standalone,
}

impl From<WhatBecomes> for OnExit {
    fn from(it: WhatBecomes) -> Self {
        match it {
            WhatBecomes::Keep => Self::Keep,
            WhatBecomes::Stop => Self::Stop,
        }
    }
}

impl From<Starter> for Mode {
    fn from(it: Starter) -> Self {
        match it {
            Starter::Managed => Self::Managed,
            Starter::Attached => Self::Attached,
        }
    }
}

impl From<Deployment> for DeploymentMode {
    fn from(it: Deployment) -> Self {
        match it {
            Deployment::DockerSidecar => Self::DockerSidecar,
            Deployment::KubernetesSidecar => Self::KubernetesSidecar,
            Deployment::Standalone => Self::Standalone,
        }
    }
}
