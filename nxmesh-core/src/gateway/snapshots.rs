//! The current snapshot of each workspace that somebody looks at.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{broadcast, broadcast::error::RecvError, watch};

use crate::{
    Error, Result, RevisionNumber, Tasks,
    gateway::{
        GatewayStore, Moved, News, Snapshot, Writes,
        project::{Published, Served, Staged},
        queue::{Queue, Turn},
    },
    poll::Poll,
    tenancy::{Delivery, WorkspaceId},
};

/// How many workspaces are kept at hand beyond those that have agents connected.
/// At the limit, the one that was not asked for the longest is dropped.
const MAX_IDLE: usize = 256;

/// Hands out snapshots, and news of them.
///
/// A snapshot may be behind the store: a change that is based on it is then
/// refused as stale, and `refresh` brings it up to date.
#[derive(Debug, Clone)]
pub(crate) struct Snapshots {
    store: Arc<dyn GatewayStore>,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    workspaces: HashMap<WorkspaceId, Entry>,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    current: watch::Sender<Arc<Published>>,
    queue: Queue,
    /// One at a time brings it up to date: what was read last is what is so.
    refreshing: Arc<tokio::sync::Mutex<()>>,
    used: u64,
}

impl Snapshots {
    pub(crate) fn new(store: Arc<dyn GatewayStore>) -> Self {
        Self { store, known: Arc::default() }
    }

    /// The workspace as last heard of.
    pub(crate) async fn get(&self, id: WorkspaceId) -> Result<Arc<Published>> {
        if let Some(known) = self.known(id) {
            return Ok(known.borrow().clone());
        }
        self.load(id).await.map(|current| current.borrow().clone())
    }

    /// The workspace as the store has it: with every change that was answered before, by
    /// whichever server.
    pub(crate) async fn newest(&self, id: WorkspaceId) -> Result<Arc<Published>> {
        self.refresh(id).await?;
        self.get(id).await
    }

    /// Waits for the turn to change the workspace. Without turns all who want to would
    /// decide on the same revision, and all but one in vain.
    pub(crate) async fn turn(&self, id: WorkspaceId) -> Result<Turn> {
        self.get(id).await?;
        let queue = self.lock().workspaces.get(&id).map(|entry| entry.queue.clone());
        // Whoever was forgotten meanwhile takes turns with nobody, and may decide in vain.
        Ok(queue.unwrap_or_default().turn().await)
    }

    /// The workspace as last heard of, and each later state; always the newest only.
    pub(crate) async fn subscribe(
        &self,
        id: WorkspaceId,
    ) -> Result<watch::Receiver<Arc<Published>>> {
        match self.known(id) {
            Some(known) => Ok(known),
            None => self.load(id).await,
        }
    }

    /// Brings a workspace up to date with the store; `NotFound` when it is gone.
    pub(crate) async fn refresh(&self, id: WorkspaceId) -> Result<()> {
        let Some(known) = self.known(id) else { return Ok(()) };
        let refreshing = self.lock().workspaces.get(&id).map(|it| Arc::clone(&it.refreshing));
        let refreshing = refreshing.unwrap_or_default();
        let _alone = refreshing.lock().await;
        let current = Arc::clone(&known.borrow());
        let writes = self.store.writes_since(id, current.snapshot.revision()).await?;
        let Some(writes) = writes else {
            self.forget(id);
            return Err(Error::not_found("workspace", id));
        };
        if writes.revision < current.snapshot.revision() {
            return self.go_back(id).await;
        }
        if writes.revision == current.snapshot.revision() {
            if current.mark().is_some() {
                let staged = self.staged(&current.snapshot, Some(&current)).await?;
                if staged.as_ref().map(|it| it.mark) != current.mark() {
                    self.publish_staged(Arc::clone(&current.snapshot), staged);
                }
            }
            return Ok(());
        }
        let snapshot = match writes {
            Writes { revision, writes: Some(writes) } => {
                let mut snapshot = current.snapshot.as_ref().clone();
                snapshot.apply(revision, writes);
                snapshot
            }
            Writes { writes: None, .. } => self.read(id).await?,
        };
        let staged = self.staged(&snapshot, Some(&current)).await?;
        self.publish_staged(Arc::new(snapshot), staged);
        Ok(())
    }

    /// Which revisions agents serve, if not the newest.
    async fn staged(
        &self,
        snapshot: &Snapshot,
        at_hand: Option<&Published>,
    ) -> Result<Option<Arc<Staged>>> {
        if snapshot.settings().delivery == Delivery::Immediate {
            return Ok(None);
        }
        let id = snapshot.workspace_id();
        let record = self.store.delivery(id).await?;
        let record = record.ok_or_else(|| Error::not_found("workspace", id))?;
        // It may have become immediate since: whoever tells of that has this looked at again.
        let Some(released) = record.released() else { return Ok(None) };
        let released = self.served(id, released, at_hand).await?;
        let reached = match record.reached() {
            Some((revision, members)) => Some((self.served(id, revision, at_hand).await?, members)),
            None => None,
        };
        Ok(Some(Arc::new(Staged { released, reached, mark: record.mark })))
    }

    /// A workspace as its agents serve it at a revision.
    pub(crate) async fn at(
        &self,
        id: WorkspaceId,
        revision: RevisionNumber,
        at_hand: &Published,
    ) -> Result<Arc<Served>> {
        self.served(id, revision, Some(at_hand)).await
    }

    async fn served(
        &self,
        id: WorkspaceId,
        revision: RevisionNumber,
        at_hand: Option<&Published>,
    ) -> Result<Arc<Served>> {
        if let Some(served) = at_hand.and_then(|it| it.served(revision)) {
            return Ok(served);
        }
        let state = self.store.state_at(id, revision).await?;
        let state = state.ok_or_else(|| Error::not_found("revision", revision))?;
        Ok(Arc::new(Served::new(Arc::new(state))))
    }

    /// The store has lost changes: it was restored, or a replica that had not seen them took
    /// over. What it has now is what counts.
    async fn go_back(&self, id: WorkspaceId) -> Result<()> {
        let loaded = self.read(id).await?;
        // What is at hand of later revisions is not what they will be.
        let staged = self.staged(&loaded, None).await?;
        let revision = loaded.revision();
        tracing::warn!(workspace_id = %id, %revision, "the store went back to an older revision");
        if let Some(entry) = self.lock().workspaces.get(&id) {
            entry.current.send_replace(Arc::new(Published::staged(Arc::new(loaded), staged)));
        }
        Ok(())
    }

    /// Makes a snapshot the current one, unless a newer one is known, and has agents serve
    /// these revisions.
    fn publish_staged(&self, snapshot: Arc<Snapshot>, staged: Option<Arc<Staged>>) {
        let known = self.lock();
        let Some(entry) = known.workspaces.get(&snapshot.workspace_id()) else { return };
        entry.current.send_modify(|current| {
            *current = Arc::new(match snapshot.revision() > current.snapshot.revision() {
                true => Published::staged(snapshot, staged),
                // What was committed here meanwhile has the settings that were known.
                false => current.with(staged),
            });
        });
    }

    /// Makes a snapshot the current one, unless a newer one is known.
    pub(crate) fn publish(&self, snapshot: Arc<Snapshot>) {
        let known = self.lock();
        let Some(entry) = known.workspaces.get(&snapshot.workspace_id()) else { return };
        entry.current.send_if_modified(|current| {
            let newer = snapshot.revision() > current.snapshot.revision();
            if newer {
                *current = Arc::new(current.moved(snapshot));
            }
            newer
        });
    }

    /// Follows what other writers of the store do, until told to stop.
    pub(crate) async fn follow(self, mut news: broadcast::Receiver<News>, tasks: Tasks) {
        let mut poll = Poll::new(self.store.poll_interval());
        loop {
            let heard = tokio::select! {
                heard = news.recv() => heard,
                () = poll.due() => {
                    self.compare_heads().await;
                    continue;
                }
                () = tasks.stopping().cancelled() => return,
            };
            match heard {
                Ok(News::Moved(moved)) => self.catch_up(moved).await,
                Ok(News::RolledOut(id)) => self.refresh_or_say(id).await,
                Ok(News::CommandWaiting(_) | News::CommandAnswered(_)) => {}
                Err(RecvError::Lagged(_)) => self.compare_heads().await,
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn catch_up(&self, moved: Moved) {
        let Moved { workspace_id, revision } = moved;
        let Some(revision) = revision else { return self.forget(workspace_id) };
        let behind = match self.lock().workspaces.get(&workspace_id) {
            // What is under way here is published by whoever commits it.
            Some(entry) if entry.queue.leads_to() >= Some(revision) => false,
            Some(entry) => entry.current.borrow().snapshot.revision() < revision,
            None => false,
        };
        if behind {
            self.refresh_or_say(workspace_id).await;
        }
    }

    /// Looks which of the workspaces at hand have moved.
    async fn compare_heads(&self) {
        let ids: Vec<_> = self.lock().workspaces.keys().copied().collect();
        if ids.is_empty() {
            return;
        }
        let heads = match self.store.heads(&ids).await {
            Ok(heads) => heads,
            Err(error) => {
                tracing::debug!(%error, "cannot look whether workspaces have moved");
                return;
            }
        };
        let mut staged = Vec::new();
        for id in ids {
            let Some(head) = heads.get(&id) else {
                self.forget(id);
                continue;
            };
            let Some(known) = self.at_hand(id) else { continue };
            // A head that is older was read before the newest change, or the store went back.
            if known.snapshot.revision() != *head {
                self.refresh_or_say(id).await;
            } else if known.mark().is_some() {
                staged.push(id);
            }
        }
        self.compare_marks(&staged).await;
    }

    /// Looks of which of these rollouts have gone on.
    async fn compare_marks(&self, of: &[WorkspaceId]) {
        if of.is_empty() {
            return;
        }
        let marks = match self.store.rollout_marks(of).await {
            Ok(marks) => marks,
            Err(error) => {
                tracing::debug!(%error, "cannot look whether rollouts have gone on");
                return;
            }
        };
        for id in of {
            let mark = marks.get(id).copied().unwrap_or_default();
            if self.at_hand(*id).is_some_and(|it| it.mark() != Some(mark)) {
                self.refresh_or_say(*id).await;
            }
        }
    }

    fn at_hand(&self, id: WorkspaceId) -> Option<Arc<Published>> {
        self.lock().workspaces.get(&id).map(|it| it.current.borrow().clone())
    }

    async fn refresh_or_say(&self, id: WorkspaceId) {
        if let Err(error) = self.refresh(id).await {
            tracing::warn!(workspace_id = %id, %error, "cannot read what changed");
        }
    }

    async fn load(&self, id: WorkspaceId) -> Result<watch::Receiver<Arc<Published>>> {
        let loaded = self.read(id).await?;
        let staged = self.staged(&loaded, None).await?;
        let receiver = self.lock().keep(Published::staged(Arc::new(loaded), staged));
        // What was committed between reading and keeping was announced to nobody.
        self.refresh(id).await?;
        Ok(receiver)
    }

    async fn read(&self, id: WorkspaceId) -> Result<Snapshot> {
        let loaded = self.store.snapshot(id).await?;
        loaded.ok_or_else(|| Error::not_found("workspace", id))
    }

    fn known(&self, id: WorkspaceId) -> Option<watch::Receiver<Arc<Published>>> {
        let mut known = self.lock();
        let used = known.tick();
        let entry = known.workspaces.get_mut(&id)?;
        entry.used = used;
        Some(entry.current.subscribe())
    }

    fn forget(&self, id: WorkspaceId) {
        self.lock().workspaces.remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn tick(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }

    fn keep(&mut self, loaded: Published) -> watch::Receiver<Arc<Published>> {
        self.make_room();
        let used = self.tick();
        let id = loaded.snapshot.workspace_id();
        let entry = self.workspaces.entry(id).or_insert_with(|| Entry {
            current: watch::Sender::new(Arc::new(loaded)),
            queue: Queue::default(),
            refreshing: Arc::default(),
            used,
        });
        entry.current.subscribe()
    }

    fn make_room(&mut self) {
        let idle = self.workspaces.iter().filter(|(_, entry)| entry.current.receiver_count() == 0);
        let idle: Vec<_> = idle.map(|(id, entry)| (entry.used, *id)).collect();
        if idle.len() >= MAX_IDLE
            && let Some((_, oldest)) = idle.into_iter().min()
        {
            self.workspaces.remove(&oldest);
        }
    }
}

#[cfg(all(test, feature = "conformance"))]
mod tests {
    use super::*;
    use crate::{
        conformance::given,
        gateway::GatewayWrite,
        store::{Stores, memory::MemoryStore},
    };

    #[tokio::test]
    async fn whoever_is_behind_the_history_misses_no_removal() {
        let stores = Stores::from(MemoryStore::new());
        let id = given::stored_workspace(&stores).await.0.id;
        let [gone, stays] = ["gone", "stays"].map(|it| Arc::new(given::virtual_host(id, it, 0)));
        let put = |host: &Arc<_>| GatewayWrite::PutVirtualHost(Arc::clone(host));
        stores.gateway.commit(given::change(id, 0, vec![put(&gone)])).await.unwrap();
        let snapshots = Snapshots::new(Arc::clone(&stores.gateway));
        let hosts = async || {
            let current = snapshots.get(id).await.unwrap();
            current.snapshot.virtual_hosts().keys().copied().collect::<Vec<_>>()
        };
        assert_eq!(hosts().await, [gone.id]);
        let remove = vec![GatewayWrite::DeleteVirtualHost(gone.id)];
        stores.gateway.commit(given::change(id, 1, remove)).await.unwrap();
        stores.gateway.commit(given::change(id, 2, vec![put(&stays)])).await.unwrap();
        let dropped = stores.gateway.drop_revisions(id, std::num::NonZeroU64::MIN).await.unwrap();
        assert_eq!(dropped, 2);
        snapshots.refresh(id).await.unwrap();
        assert_eq!(hosts().await, [stays.id]);
    }
}
