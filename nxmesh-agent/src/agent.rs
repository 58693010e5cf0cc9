use std::{path::PathBuf, sync::Arc};

use nxmesh_core::{
    Clock, Secret, SystemClock, Tasks,
    gateway::{DeploymentMode, link::Connector},
};
use tokio_util::sync::CancellationToken;

use crate::{
    NginxError, ReloadBudget, StateDir, faults,
    gateway::{Checker, Engine, EngineSettings, Nginx},
    link::{self, Spool},
};

/// What an agent is told before it begins.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// The program, `/usr/sbin/nginx`.
    pub nginx: PathBuf,
    /// As whom nginx's workers run; `None` for nginx's own choice.
    pub nginx_user: Option<String>,
    /// What the agent registers with the first time.
    pub token: Option<Secret<String>>,
    /// How it is deployed.
    pub deployment_mode: DeploymentMode,
    /// The address of its host, as others reach it.
    pub ip_address: String,
    /// What becomes of nginx when the agent is told to stop.
    pub on_exit: OnExit,
    /// Who starts and stops nginx.
    pub mode: Mode,
    /// Where nginx's master writes its process id; `None` for a file in the state folder.
    pub pid_file: Option<PathBuf>,
    /// How often nginx is reloaded.
    pub reloads: ReloadBudget,
}

/// Who starts and stops nginx.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// The agent.
    #[default]
    Managed,
    /// Somebody else, systemd say: the agent writes what nginx loads, tells it to reload, and
    /// proves it, but never starts or stops it.
    Attached,
}

/// What becomes of nginx when the agent is told to stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnExit {
    /// It goes on serving; the next agent takes it over.
    #[default]
    Keep,
    /// It finishes what it does, and ends.
    Stop,
}

/// An agent: nginx is looked after and taken over by it, and in managed mode started too.
#[derive(Debug)]
pub struct Agent {
    dir: Arc<StateDir>,
    settings: AgentSettings,
    connector: Arc<dyn Connector>,
    clock: Arc<dyn Clock>,
}

impl Agent {
    /// An agent that keeps its state there and reaches the control plane by this transport.
    pub fn new(dir: StateDir, settings: AgentSettings, connector: impl Connector) -> Self {
        Self {
            dir: Arc::new(dir),
            settings,
            connector: Arc::new(connector),
            clock: Arc::new(SystemClock),
        }
    }

    /// Runs until it is told to stop: looks after nginx from the first moment, and
    /// stays connected as well as it can.
    ///
    /// # Errors
    /// When nginx cannot be used at all: no program, or none that starts. When a part of the agent
    /// panicked; nginx goes on.
    pub async fn run(self, stop: CancellationToken) -> Result<(), NginxError> {
        let Self { dir, settings, connector, clock } = self;
        faults::begin();
        let nginx = Nginx::new(
            settings.nginx.clone(),
            settings.nginx_user.clone(),
            Arc::clone(&dir),
            settings.pid_file.clone(),
        );
        if rustix::process::geteuid().is_root()
            && let Some(folder) = dir.closed_above()
        {
            let folder = folder.display();
            tracing::warn!(%folder, "nginx's workers are another user, who cannot pass through this folder: large bodies will fail; choose a state folder elsewhere, or open it (chmod o+x)");
        }
        let tasks = Tasks::default();
        // Whoever drops this future stops the agent too.
        let _guard = tasks.stop_on_drop();
        let spool = Arc::new(Spool::new(Arc::clone(&clock)));
        let engine = EngineSettings {
            mode: settings.mode,
            on_exit: settings.on_exit,
            reloads: settings.reloads,
            clock: Arc::clone(&clock),
            spool: Arc::clone(&spool),
        };
        let engine = Arc::new(Engine::begin(nginx.clone(), &tasks, engine).await?);
        let checker = Checker::new(Arc::clone(&engine), Arc::clone(&spool), Arc::clone(&clock));
        let checks = checker.checks();
        tasks.spawn_vital(checker.run(tasks.stopping().clone()));
        let link = link::Link {
            dir,
            settings,
            connector,
            clock,
            engine,
            nginx,
            checks,
            spool,
            tasks: tasks.clone(),
        };
        tasks.spawn_vital(link.run());
        tokio::select! {
            () = stop.cancelled() => {}
            // One that others need panicked: whoever started the agent starts another one.
            () = tasks.stopping().cancelled() => {}
        }
        tasks.shutdown().await;
        if tasks.have_failed() { Err(NginxError::Panicked) } else { Ok(()) }
    }
}
