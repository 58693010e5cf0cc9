//! What the agent is told to do now.

use std::time::Duration;

use nxmesh_core::gateway::link::CommandAction;
use rustix::process::Signal;

use super::{NginxError, engine::Engine, look::Depth};

/// How long nginx may take to end when it should at once.
const FORCED: Duration = Duration::from_secs(5);
/// How long it may take to finish what it does.
const GRACEFUL: Duration = Duration::from_secs(60);

impl Engine {
    /// Carries a command out; what it answers is shown to people.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a newer control plane may know more commands"
    )]
    pub(super) async fn carry_out(&mut self, action: CommandAction) -> Result<String, NginxError> {
        match action {
            CommandAction::Reload { graceful: true } => {
                self.wait_for_reload().await?;
                if !self.look_before_reload().await {
                    let current = self.current()?;
                    self.nginx.reload(&current.identity, self.loading).await?;
                    self.loaded();
                }
                Ok("nginx reloaded successfully".to_owned())
            }
            CommandAction::Reload { graceful: false } | CommandAction::Restart { force: true } => {
                self.refuse_if_attached("restart")?;
                self.restart(Signal::TERM, FORCED).await
            }
            CommandAction::Restart { force: false } => {
                self.refuse_if_attached("restart")?;
                self.restart(Signal::QUIT, GRACEFUL).await
            }
            CommandAction::Stop { graceful, timeout } => {
                self.refuse_if_attached("stop")?;
                let signal = if graceful { Signal::QUIT } else { Signal::TERM };
                self.stopped = true;
                self.stop(signal, timeout.max(FORCED)).await?;
                self.drift.known.forget();
                Ok("nginx stopped".to_owned())
            }
            CommandAction::GetStatus => Ok("a health report follows".to_owned()),
            // Even a test of it would run what `load_module` names.
            CommandAction::ValidateConfig { config_content: _ } => Err(NginxError::refused(
                "this agent gives nginx only what it rendered itself: any other text may load code"
                    .to_owned(),
            )),
            _ => Err(NginxError::refused("this agent does not know the command".to_owned())),
        }
    }

    async fn restart(&mut self, signal: Signal, patience: Duration) -> Result<String, NginxError> {
        self.look_and_mend(Depth::Stamps).await;
        let current = self.current()?;
        self.stop(signal, patience).await?;
        self.stopped = false;
        self.drift.known.forget();
        self.nginx.start_and_prove(&current.identity).await?;
        self.loaded();
        Ok("nginx restarted".to_owned())
    }

    /// Ends nginx: asks, insists, and kills in the end. When this returns without an
    /// error it is gone: one that ends later takes the next one's socket and pid file along.
    pub(super) async fn stop(&self, signal: Signal, patience: Duration) -> Result<(), NginxError> {
        let Some(master) = self.nginx.master() else { return Ok(()) };
        for (signal, patience) in
            [(signal, patience), (Signal::TERM, FORCED), (Signal::KILL, FORCED)]
        {
            master.signal(signal);
            if master.ends_within(patience).await {
                return Ok(());
            }
        }
        Err(NginxError::refused(format!("nginx's master process {} does not end", master.pid)))
    }
}
