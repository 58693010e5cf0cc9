//! What somebody else changed, and what is done about it.

use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use nxmesh_core::{
    Clock,
    gateway::{
        ConfigUpdate,
        drift::{
            DriftChange, DriftEnd, DriftEnded, DriftFound, DriftKind, DriftPolicy, DriftReport,
            DriftedFile, MAX_DRIFTED_FILES,
        },
        link::Severity,
        nginx::render,
    },
};

use super::{
    NginxError,
    apply::blocking,
    engine::Engine,
    generation::{Generation, Identity, KEPT_FILES},
    ledger::Ledger,
    look::{Depth, Difference, Watched},
    wanted::Wanted,
    workers::Known,
};
use crate::{StateDir, link::Spool};

/// How often it is looked whether anything changed, and how often all content is read.
const LOOK: Duration = Duration::from_secs(2);
const WHOLE_LOOK: Duration = Duration::from_secs(60);
/// How often in a row something may be put back at once. Whoever goes on changing it is then
/// answered more and more slowly: each time may cost a reload.
const AT_ONCE: u32 = 5;
/// How far the times of files may be behind the clock.
const SLACK: TimeDelta = TimeDelta::milliseconds(100);
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// When nothing was put back for so long, the next time is a first one.
const QUIET: Duration = Duration::from_secs(300);
/// What drift of nginx's processes is called by.
const NGINX: &str = "nginx";

/// What is known of drift.
pub(super) struct Drift {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) policy: DriftPolicy,
    watched: Option<Watched>,
    /// What the watched folder was made of, if this agent made it.
    made_of: Option<(PathBuf, Wanted)>,
    pub(super) known: Known,
    found: Vec<Found>,
    total: usize,
    pub(super) next_look: Instant,
    next_whole_look: Instant,
    /// nginx may have loaded what somebody changed.
    may_be_loaded: bool,
    loaded_at: DateTime<Utc>,
    /// What is there is right, but nginx is not proven to serve it.
    unproven: bool,
    /// The folder was replaced by that of another configuration.
    replaced: bool,
    put_back: u32,
    last_put_back: Instant,
    not_before: Instant,
    pub(super) held: Option<Arc<ConfigUpdate>>,
    pub(super) held_rotation: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Found {
    what: Difference,
    since: DateTime<Utc>,
}

impl Drift {
    pub(super) fn new(dir: &StateDir, clock: Arc<dyn Clock>, spool: Arc<Spool>) -> Self {
        let now = Instant::now();
        let policy = dir.drift_policy();
        let ledger = Arc::new(Ledger::new(spool));
        ledger.note(DriftReport { policy, ..DriftReport::default() }, None);
        Self {
            clock,
            ledger,
            policy,
            watched: None,
            made_of: None,
            known: Known::default(),
            found: Vec::new(),
            total: 0,
            next_look: now,
            next_whole_look: now + WHOLE_LOOK,
            // Nobody knows what happened while there was no agent.
            may_be_loaded: true,
            loaded_at: DateTime::UNIX_EPOCH,
            unproven: false,
            replaced: false,
            put_back: 0,
            last_put_back: now,
            not_before: now,
            held: None,
            held_rotation: false,
        }
    }

    pub(super) fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.ledger)
    }

    /// This was made of that.
    pub(super) fn made(&mut self, folder: &Path, of: &Wanted) {
        self.made_of = Some((folder.to_owned(), of.clone()));
    }

    /// This is what should stay as it is from now on.
    pub(super) fn watch(&mut self, folder: &Path) {
        if self.watched.as_ref().is_some_and(|it| it.folder() == folder) {
            return;
        }
        self.replaced = !self.found.is_empty();
        self.watched = Some(Watched::new(folder));
    }

    /// Whether nothing is known to differ, so that files may be shared with what is there.
    pub(super) fn is_clean(&self) -> bool {
        self.found.is_empty()
    }

    /// nginx was brought to load what is there now, or did not have to be.
    pub(super) fn loaded(&mut self) {
        self.may_be_loaded = !self.found.is_empty() && !self.replaced;
        self.loaded_at = self.clock.now();
        self.unproven = false;
    }

    /// An agent before this one had it in hand: nobody knows what was loaded.
    pub(super) const fn doubt(&mut self) {
        self.may_be_loaded = true;
    }

    /// There is something else to tell.
    pub(super) fn call(&self) {
        self.ledger.call();
    }

    /// Whether a file was changed before nginx came to load it: while it was being told to.
    fn changed_before_load(&self) -> bool {
        let Some(folder) = self.watched.as_ref().map(Watched::folder) else { return true };
        let changed = self.found.iter().filter(|it| it.what.kind == DriftKind::Changed);
        changed.map(|it| folder.join(&it.what.path)).any(|file| {
            let changed = std::fs::symlink_metadata(file).ok().and_then(|it| {
                DateTime::from_timestamp(it.ctime(), u32::try_from(it.ctime_nsec()).ok()?)
            });
            changed.is_none_or(|it| it <= self.loaded_at + SLACK)
        })
    }

    pub(super) fn report(&self) -> DriftReport {
        let files = self.found.iter().take(MAX_DRIFTED_FILES).map(|it| file(it, None)).collect();
        let total = u32::try_from(self.total).unwrap_or(u32::MAX);
        DriftReport { policy: self.policy, files, total }
    }

    /// The wait before the same is put back once more.
    fn pause(&mut self) {
        let now = Instant::now();
        if now - self.last_put_back > QUIET {
            self.put_back = 0;
        }
        self.last_put_back = now;
        let more = self.put_back.saturating_sub(AT_ONCE);
        let pause = Duration::from_secs(1 << more.min(6)).min(MAX_PAUSE);
        self.put_back += 1;
        if self.put_back > AT_ONCE {
            self.not_before = now + pause;
        }
    }
}

fn file(found: &Found, diff: Option<(String, bool)>) -> DriftedFile {
    let Found { what, since } = found;
    let (diff, truncated) = diff.map_or((None, false), |(diff, more)| (Some(diff), more));
    DriftedFile { path: what.path.clone(), kind: what.kind, since: *since, diff, truncated }
}

impl Engine {
    /// Looks, when it is time to.
    pub(super) async fn watch(&mut self) {
        let now = Instant::now();
        if now >= self.drift.next_whole_look {
            self.look_and_mend(Depth::Content).await;
        } else if now >= self.drift.next_look {
            self.look_and_mend(Depth::Stamps).await;
        }
    }

    /// Looks, and puts back what is to be put back.
    pub(super) async fn look_and_mend(&mut self, depth: Depth) {
        self.look(depth).await;
        let restores = self.drift.policy.at(self.drift.clock.now()) == DriftPolicy::Restore;
        if restores && !self.drift.found.is_empty() && Instant::now() >= self.drift.not_before {
            self.put_back().await;
        }
    }

    /// Looks what somebody else changed, and tells of it.
    pub(super) async fn look(&mut self, depth: Depth) {
        let began = Instant::now();
        self.drift.next_look = began + LOOK;
        if depth == Depth::Content {
            self.drift.next_whole_look = began + WHOLE_LOOK;
        }
        let Some(mut watched) = self.drift.watched.take() else { return };
        let link = self.nginx.dir().current();
        let looked = blocking(move || {
            let mut found = watched.look(depth);
            if std::fs::canonicalize(&link).ok().as_deref() != Some(watched.folder()) {
                let instead = std::fs::read_link(&link).unwrap_or_default().display().to_string();
                found.push(Difference {
                    path: "current".to_owned(),
                    kind: DriftKind::Link,
                    instead,
                });
            }
            Ok((watched, found))
        });
        // Only a thread that died ends otherwise; the folder is watched again with the next one.
        let Ok((watched, mut found)) = looked.await else { return };
        self.drift.watched = Some(watched);
        found.extend(self.processes().await);
        self.note(found).await;
    }

    /// Looks before nginx is told to load what is there. Answers whether it was just told to,
    /// because what somebody had changed was put back.
    pub(super) async fn look_before_reload(&mut self) -> bool {
        let before = self.nginx.last_reload();
        self.drift.may_be_loaded = true;
        self.drift.not_before = Instant::now();
        self.look_and_mend(Depth::Stamps).await;
        self.nginx.last_reload() != before && self.drift.is_clean()
    }

    /// What somebody else did to nginx's processes. Whoever is attached is not the one who starts
    /// and stops them.
    async fn processes(&mut self) -> Option<Difference> {
        let log = self.nginx.dir().error_log();
        let master = self.nginx.master();
        if !self.drift.known.had_master() && !self.drift.unproven {
            self.drift.known.take(master);
            return None;
        }
        let kind = self.drift.known.replaced(master, &log)?;
        self.drift.known.take(master);
        self.drift.may_be_loaded = true;
        if self.is_attached() && kind == DriftKind::NginxRestarted {
            self.away = true;
            return None;
        }
        let instead = master.map_or_else(String::new, |it| it.pid.to_string());
        Some(Difference { path: NGINX.to_owned(), kind, instead })
    }

    /// nginx is gone, and this agent did not stop it.
    pub(super) async fn note_stopped(&mut self) {
        if !self.drift.known.had_master() {
            return;
        }
        self.drift.known.take(None);
        let kind = DriftKind::NginxStopped;
        let gone = Difference { path: NGINX.to_owned(), kind, instead: String::new() };
        let mut found: Vec<_> = self.drift.found.iter().map(|it| it.what.clone()).collect();
        found.push(gone);
        self.note(found).await;
    }

    /// Tells of what is found now and was not before, and of an end.
    async fn note(&mut self, mut found: Vec<Difference>) {
        let now = self.drift.clock.now();
        // What happened to processes is over in a moment; it belongs to what else differs, until
        // nginx is proven to serve what it should.
        let files_differ = found.iter().any(|it| it.path != NGINX);
        let happened = self.drift.found.iter().map(|it| &it.what).filter(|it| it.path == NGINX);
        let happened: Vec<_> = happened.filter(|it| !found.contains(it)).cloned().collect();
        let lasts = files_differ || self.drift.unproven || happened.is_empty();
        if lasts || !self.serves_verified().await {
            found.extend(happened);
        }
        if self.drift.unproven && found.is_empty() {
            return;
        }
        let before = std::mem::take(&mut self.drift.found);
        let since = |what: &Difference| {
            let known =
                before.iter().find(|it| (&it.what.path, it.what.kind) == (&what.path, what.kind));
            known.map_or(now, |it| it.since)
        };
        let new = found.iter().any(|it| before.iter().all(|known| known.what != *it));
        self.drift.total = found.len();
        self.drift.found =
            found.iter().map(|it| Found { what: it.clone(), since: since(it) }).collect();
        if new {
            let change = self.describe(now).await;
            tracing::warn!(total = self.drift.total, first = ?found.first(), "somebody else changed what this agent looks after");
            self.drift.ledger.note(self.drift.report(), Some(change));
        } else if found.is_empty() && !before.is_empty() {
            let only_processes = before.iter().all(|it| it.what.path == NGINX);
            let by = match std::mem::take(&mut self.drift.replaced) {
                true => DriftEnd::Update,
                false if only_processes => DriftEnd::Agent,
                false => DriftEnd::Hand,
            };
            self.end(by);
        } else {
            self.drift.ledger.note(self.drift.report(), None);
        }
    }

    async fn serves_verified(&self) -> bool {
        let nothing = self.verified.checksum.is_empty() && self.verified.config_id.is_empty();
        nothing || self.nginx.serves_soon(&self.verified).await
    }

    fn end(&mut self, by: DriftEnd) {
        let at = self.drift.clock.now();
        self.drift.found.clear();
        self.drift.total = 0;
        tracing::info!(?by, "nothing differs any more");
        let ended = DriftChange::Ended(DriftEnded { at, by });
        self.drift.ledger.note(self.drift.report(), Some(ended));
    }

    /// What was found, with diffs.
    async fn describe(&mut self, at: DateTime<Utc>) -> DriftChange {
        let total = u32::try_from(self.drift.total).unwrap_or(u32::MAX);
        let shown: Vec<_> = self.drift.found.iter().take(MAX_DRIFTED_FILES).cloned().collect();
        let plain = |it: &Found| file(it, None);
        let without_diffs = shown.iter().map(plain).collect();
        let (Some(watched), facts) = (self.drift.watched.take(), self.nginx.facts().await) else {
            return DriftChange::Found(DriftFound { at, files: without_diffs, total });
        };
        let (wanted, place) = (self.made_of(&watched), self.nginx.place());
        let described = blocking(move || {
            let rendered = match (wanted, facts) {
                (Some(wanted), Ok(facts)) => {
                    render(&wanted.effective().to_render(), &facts, &place).files
                }
                _ => BTreeMap::new(),
            };
            let files =
                shown.iter().map(|it| file(it, watched.diff(&it.what, &rendered))).collect();
            Ok((watched, files))
        });
        let files = match described.await {
            Ok((watched, files)) => {
                self.drift.watched = Some(watched);
                files
            }
            Err(_) => without_diffs,
        };
        DriftChange::Found(DriftFound { at, files, total })
    }

    /// What the watched folder was made of; `None` when that was changed too.
    fn made_of(&self, watched: &Watched) -> Option<Wanted> {
        let made = self.drift.made_of.as_ref().filter(|(folder, _)| folder == watched.folder());
        if let Some((_, wanted)) = made {
            return Some(wanted.clone());
        }
        // Its identity may be lost with what somebody changed, and is not asked for here.
        let identity = Identity::default();
        let kept = Generation { folder: watched.folder().to_owned(), identity };
        let content =
            KEPT_FILES.iter().all(|it| watched.is_right(it)).then(|| kept.content()).flatten();
        content.map(|content| Wanted { content, rotation: Arc::new(kept.rotation()) })
    }

    /// Serves what should be served from files written anew: those that are there may be those of
    /// other configurations too.
    async fn put_back(&mut self) {
        if !self.may_reload() {
            return;
        }
        self.drift.pause();
        match self.serve_anew().await {
            Ok(()) => self.end(DriftEnd::Agent),
            Err(error) => {
                self.drift.not_before = Instant::now() + LOOK * (1 << self.drift.put_back.min(4));
                if self.drift.put_back == 1 {
                    let message =
                        format!("cannot put back what somebody else changed: {}", error.full());
                    self.spool.alert("drift", Severity::Error, message);
                }
                tracing::error!(error = error.full(), "cannot put back what somebody else changed");
                self.prune();
            }
        }
    }

    async fn serve_anew(&mut self) -> Result<(), NginxError> {
        let only_processes = self.drift.found.iter().all(|it| it.what.path == NGINX);
        if only_processes && !self.drift.unproven && self.serves_verified().await {
            return Ok(());
        }
        let wanted = self.drift.watched.as_ref().and_then(|it| self.made_of(it));
        let Some(wanted) = wanted else {
            // The server is asked to send it again.
            self.verified = Identity::default();
            self.running.send_modify(|it| it.verified = Identity::default());
            return Err(NginxError::refused(
                "what should be served was lost; the server has to send it again",
            ));
        };
        let loaded = self.drift.may_be_loaded || self.drift.changed_before_load();
        let facts = self.nginx.facts().await?;
        let staged = self.stage_and_test(&wanted, &wanted.effective(), &facts).await?;
        self.switch(&staged)?;
        self.drift.replaced = false;
        self.drift.unproven = true;
        let untouched = !loaded && self.nginx.serves_soon(&staged.identity).await;
        if self.nginx.master().is_none() && (self.stopped || self.is_attached()) {
            // It is ready for whoever starts nginx.
            self.drift.unproven = false;
            return Ok(());
        }
        if !untouched {
            self.bring_up(&staged).await?;
        }
        self.drift.found.clear();
        self.mark_verified(&staged);
        Ok(())
    }
}
