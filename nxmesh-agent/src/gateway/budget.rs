//! How often nginx is reloaded, and how many old workers may go on beside the new ones.

use std::time::{Duration, Instant};

use super::{NginxError, engine::Engine};

/// How soon it is looked again whether old workers have ended.
const AGAIN: Duration = Duration::from_millis(500);

/// How often nginx is reloaded at most.
///
/// Each reload leaves workers behind that finish what they began, for up to a minute. They
/// take memory, and a host that is reloaded all the time has ever more of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReloadBudget {
    /// From one reload to the next. The first goes at once; what changes meanwhile is folded
    /// into one. Going back to what worked is not kept waiting.
    pub min_interval: Duration,
    /// While more old workers than this go on, there is no further reload.
    pub max_draining_workers: usize,
    /// Where they are too many, those that take longer than this are ended, oldest first: nginx
    /// itself closes their connections after 60 s.
    pub drain_timeout: Duration,
}

impl Default for ReloadBudget {
    /// A second between two reloads, and 16 old workers for each processor: a reload each second
    /// for 16 s at a stretch, or one each four seconds for ever, with clients that never go away.
    /// Old workers of some 20 MiB are then a third of a GiB for each processor.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            min_interval: Duration::from_secs(1),
            max_draining_workers: 16 * processors,
            drain_timeout: Duration::from_secs(65),
        }
    }
}

impl Engine {
    /// From when on nginx may be reloaded, as far as that is known now.
    pub(super) fn free_at(&self) -> Instant {
        let now = Instant::now();
        if self.draining > self.budget.max_draining_workers {
            return now + AGAIN;
        }
        self.nginx.last_reload().map_or(now, |it| it + self.budget.min_interval)
    }

    pub(super) fn may_reload(&self) -> bool {
        self.free_at() <= Instant::now()
    }

    /// Waits until nginx may be reloaded; not for old workers, which may take long.
    pub(super) async fn wait_for_reload(&mut self) -> Result<(), NginxError> {
        self.tend_workers();
        let most = self.budget.max_draining_workers;
        if self.draining > most {
            let text = format!(
                "{} old workers of nginx still finish what they began, and at most {most} may: try again later",
                self.draining
            );
            return Err(NginxError::refused(text));
        }
        tokio::time::sleep_until(self.free_at().into()).await;
        Ok(())
    }

    /// Counts old workers, and ends those that take too long where they are too many.
    pub(super) fn tend_workers(&mut self) {
        let ReloadBudget { min_interval: _, max_draining_workers, drain_timeout } = self.budget;
        let master = self.nginx.master();
        self.draining = self.old_workers.tend(master, max_draining_workers, drain_timeout);
        self.running.send_if_modified(|it| {
            let differs = it.draining_workers != self.draining;
            it.draining_workers = self.draining;
            differs
        });
    }
}
