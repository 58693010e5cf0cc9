use std::{collections::HashMap, num::NonZeroU64, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row};
use tokio::sync::broadcast;
use uuid::Uuid;

use super::{
    SqliteStore,
    events::record,
    history::{self, Kept},
    rollouts,
    rows::{all, body, find, key, page},
    tenancy::update_workspace,
    writer::Written,
};
use crate::{
    Error, Id, Page, PageRequest, Result, Revision, RevisionNumber, TokenHash, Trail,
    events::NewEvent,
    gateway::{
        AgentCommand, AgentCount, AgentFilter, AgentId, AgentRecord, AgentSecret, AgentSpec,
        AgentStatus, CommandId, CommandOutcome, DeliveryRecord, GatewayChange, GatewayStore,
        GatewayWrite, Moved, News, Rollout, RolloutId, RolloutMark, SessionId, SilentAgent,
        Snapshot, Step, Upstream, UpstreamId, VirtualHost, VirtualHostId, Writes,
        drift::DriftRecord,
    },
    store::{
        TOGETHER,
        codec::{
            AGENT, RevisionRows, RolloutRow, TrailRows, UPSTREAM, VIRTUAL_HOST, WriteRow, corrupt,
            from_body, micros, number, time, to_body,
        },
        last_settings,
        local::Effect,
    },
    tenancy::{Settings, Workspace, WorkspaceId},
};

#[async_trait]
impl GatewayStore for SqliteStore {
    async fn snapshot(&self, of: WorkspaceId) -> Result<Option<Snapshot>> {
        self.database.read(move |db| snapshot(db, of)).await
    }

    async fn heads(&self, of: &[WorkspaceId]) -> Result<HashMap<WorkspaceId, RevisionNumber>> {
        let of = of.to_vec();
        let read = move |db: &Connection| {
            let found = of.iter().map(|id| Ok(history::head(db, *id)?.map(|head| (*id, head))));
            found.filter_map(Result::transpose).collect()
        };
        self.database.read(read).await
    }

    async fn writes_since(&self, of: WorkspaceId, after: RevisionNumber) -> Result<Option<Writes>> {
        let read = move |db: &Connection| {
            let Some(Kept { head, horizon }) = history::kept(db, of)? else { return Ok(None) };
            let writes = (after >= horizon).then(|| history::since(db, of, after)).transpose()?;
            Ok(Some(Writes { revision: head, writes }))
        };
        self.database.read(read).await
    }

    async fn virtual_host(&self, id: VirtualHostId) -> Result<Option<VirtualHost>> {
        let sql = "SELECT body FROM virtual_hosts WHERE id = ?1";
        self.database.read(move |db| find(db, sql, [key(&id)])).await
    }

    async fn virtual_hosts(
        &self,
        of: WorkspaceId,
        request: PageRequest,
    ) -> Result<Page<VirtualHost>> {
        let sql = "body FROM virtual_hosts WHERE workspace_id = ?1";
        self.database
            .read(move |db| page(db, sql, &key(&of), request, |row| from_body(&body(row, 0)?)))
            .await
    }

    async fn upstream(&self, id: UpstreamId) -> Result<Option<Upstream>> {
        let sql = "SELECT body FROM upstreams WHERE id = ?1";
        self.database.read(move |db| find(db, sql, [key(&id)])).await
    }

    async fn upstreams(&self, of: WorkspaceId, request: PageRequest) -> Result<Page<Upstream>> {
        let sql = "body FROM upstreams WHERE workspace_id = ?1";
        self.database
            .read(move |db| page(db, sql, &key(&of), request, |row| from_body(&body(row, 0)?)))
            .await
    }

    async fn agent(&self, id: AgentId) -> Result<Option<AgentRecord>> {
        let read = move |db: &Connection| {
            let mut statement =
                db.prepare_cached("SELECT body, status, session FROM agents WHERE id = ?1")?;
            let mut rows = statement.query([key(&id)])?;
            rows.next()?.map(agent).transpose()
        };
        self.database.read(read).await
    }

    async fn agents(
        &self,
        of: WorkspaceId,
        filter: &AgentFilter,
        request: PageRequest,
    ) -> Result<Page<AgentRecord>> {
        let filter = filter.clone();
        let read = move |db: &Connection| {
            // Labels and state are in the bodies, so the filter runs over all agents
            // of the workspace: some thousand rows at most.
            let sql = "SELECT body, status, session FROM agents WHERE workspace_id = ?1 ORDER BY created_at, id";
            let mut statement = db.prepare_cached(sql)?;
            let mut rows = statement.query([key(&of)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let agent = agent(row)?;
                if filter.matches(&agent) {
                    found.push(agent);
                }
            }
            Ok(request.of(found))
        };
        self.database.read(read).await
    }

    async fn agent_count(&self) -> Result<AgentCount> {
        let read = |db: &Connection| {
            let mut statement = db.prepare_cached("SELECT count(*), count(session) FROM agents")?;
            let count = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
            let (all, seen) = statement.query_row([], count)?;
            let count = |it: i64| u64::try_from(it).map_err(corrupt);
            Ok(AgentCount { all: count(all)?, seen: count(seen)? })
        };
        self.database.read(read).await
    }

    async fn agent_secret(&self, hash: &TokenHash) -> Result<Option<AgentSecret>> {
        let hash = *hash;
        self.database.read(move |db| agent_secret(db, hash)).await
    }

    async fn revision(&self, of: WorkspaceId, at: RevisionNumber) -> Result<Option<Revision>> {
        let sql = "SELECT body FROM revisions WHERE workspace_id = ?1 AND number = ?2";
        self.database.read(move |db| find(db, sql, (key(&of), number(at.0)?))).await
    }

    async fn revisions(&self, of: WorkspaceId, request: PageRequest) -> Result<Page<Revision>> {
        let read = move |db: &Connection| {
            let total: i64 = db
                .prepare_cached("SELECT count(*) FROM revisions WHERE workspace_id = ?1")?
                .query_row([key(&of)], |row| row.get(0))?;
            let sql = "SELECT body FROM revisions WHERE workspace_id = ?1
                       ORDER BY number LIMIT ?2 OFFSET ?3";
            let (limit, offset) = (number(request.per_page())?, number(request.offset())?);
            let data = all(db, sql, (key(&of), limit, offset))?;
            Ok(request.part(data, u64::try_from(total).map_err(corrupt)?))
        };
        self.database.read(read).await
    }

    async fn state_at(&self, of: WorkspaceId, at: RevisionNumber) -> Result<Option<Snapshot>> {
        let read = move |db: &Connection| {
            let Some(Kept { head, horizon }) = history::kept(db, of)? else { return Ok(None) };
            if at.0 != 0 && !(horizon..=head).contains(&at) {
                return Ok(None);
            }
            let sql = "SELECT organization_id FROM workspaces WHERE id = ?1";
            let owner = db.prepare_cached(sql)?.query_row([key(&of)], |row| row.get(0))?;
            let mut snapshot = Snapshot::empty(of, Id::from_uuid(Uuid::from_bytes(owner)));
            snapshot.apply(at, history::until(db, of, at)?);
            Ok(Some(snapshot))
        };
        self.database.read(read).await
    }

    async fn long_histories(&self, more_than: u64) -> Result<Vec<WorkspaceId>> {
        let read = move |db: &Connection| {
            let sql = "SELECT id FROM workspaces WHERE head - max(horizon - 1, 0) > ?1
                       ORDER BY id LIMIT ?2";
            let mut statement = db.prepare_cached(sql)?;
            let mut rows = statement.query((number(more_than)?, number(TOGETHER)?))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(Id::from_uuid(Uuid::from_bytes(row.get(0)?)));
            }
            Ok(found)
        };
        self.database.read(read).await
    }

    async fn drop_revisions(&self, of: WorkspaceId, keep: NonZeroU64) -> Result<u64> {
        let write =
            move |db: &Connection| history::drop_oldest(db, of, keep.get()).map(Written::quietly);
        self.database.write(write).await
    }

    async fn commit(&self, change: GatewayChange) -> Result<()> {
        let GatewayChange { workspace_id, base, steps } = change;
        let base = number(base.0)?;
        let moved = Moved { workspace_id, revision: steps.last().map(|it| it.revision.number) };
        // Written out here: the one thread that writes has enough to do.
        let trail = TrailRows::of_all(steps.iter().map(|it| &it.trail))?;
        let settings = steps.iter().rev().find_map(|step| {
            last_settings(&step.writes).map(|it| (it.clone(), step.revision.clone()))
        });
        let rows = |step: Step| Ok((RevisionRows::of(&step.revision, &step.writes)?, step.secret));
        let steps = steps.into_iter().map(rows).collect::<Result<Vec<_>>>()?;
        let write = move |db: &Connection| {
            commit(db, base, &steps)?;
            let tenancy = settings.is_some();
            if let Some((settings, revision)) = settings {
                put_settings(db, settings, &revision)?;
            }
            let recorded = record(db, &trail)?;
            Ok(Written { answer: (), effect: Effect { tenancy, moved: vec![moved], recorded } })
        };
        self.database.write(write).await
    }

    async fn rollout(&self, id: RolloutId) -> Result<Option<Rollout>> {
        self.database.read(move |db| rollouts::rollout(db, id)).await
    }

    async fn rollouts(&self, of: WorkspaceId, page: PageRequest) -> Result<Page<Rollout>> {
        self.database.read(move |db| rollouts::rollouts(db, of, page)).await
    }

    async fn rollouts_under_way(&self) -> Result<Vec<Rollout>> {
        self.database.read(rollouts::under_way).await
    }

    async fn delivery(&self, of: WorkspaceId) -> Result<Option<DeliveryRecord>> {
        self.database.read(move |db| rollouts::delivery(db, of)).await
    }

    async fn rollout_marks(&self, of: &[WorkspaceId]) -> Result<HashMap<WorkspaceId, RolloutMark>> {
        let of = of.to_vec();
        self.database.read(move |db| rollouts::marks(db, &of)).await
    }

    async fn put_rollout(&self, rollout: &Rollout, trail: Trail) -> Result<bool> {
        let (row, trail) = (RolloutRow::of(rollout)?, TrailRows::of(&trail)?);
        let write = move |db: &Connection| {
            let (answer, recorded) = rollouts::put(db, &row, &trail)?;
            Ok(Written { answer, effect: Effect { recorded, ..Effect::default() } })
        };
        let put = self.database.write(write).await?;
        if put {
            self.local.announce(News::RolledOut(rollout.workspace_id));
        }
        Ok(put)
    }

    async fn add_agent_secret(&self, secret: AgentSecret) -> Result<bool> {
        self.database.write(move |db| insert_secret(db, &secret).map(Written::quietly)).await
    }

    async fn keep_only_agent_secret(&self, agent: AgentId, hash: &TokenHash) -> Result<bool> {
        let hash = *hash;
        let write = move |db: &Connection| {
            let known = agent_secret(db, hash)?.is_some_and(|it| it.agent_id == agent);
            if known {
                db.prepare_cached("DELETE FROM agent_secrets WHERE agent_id = ?1 AND hash <> ?2")?
                    .execute((key(&agent), hash.as_bytes()))?;
            }
            Ok(Written::quietly(known))
        };
        self.database.write(write).await
    }

    async fn open_agent_session(
        &self,
        id: AgentId,
        session: SessionId,
        status: &AgentStatus,
        events: Vec<NewEvent>,
    ) -> Result<bool> {
        let (heard_at, status) = (status.heard_at().map(micros), to_body(status)?);
        let trail = TrailRows::of(&Trail::of_events(events))?;
        let write = move |db: &Connection| {
            let sql = "UPDATE agents SET status = ?3, heard_at = ?4, session = ?2 WHERE id = ?1";
            let values = (key(&id), key(&session), &status, heard_at);
            let changed = db.prepare_cached(sql)?.execute(values)?;
            let recorded = changed == 1 && record(db, &trail)?;
            Ok(Written { answer: changed == 1, effect: Effect { recorded, ..Effect::default() } })
        };
        self.database.write(write).await
    }

    async fn record_agent_status(
        &self,
        id: AgentId,
        session: SessionId,
        status: &AgentStatus,
        events: Vec<NewEvent>,
    ) -> Result<bool> {
        let (heard_at, status) = (status.heard_at().map(micros), to_body(status)?);
        let trail = TrailRows::of(&Trail::of_events(events))?;
        let write = move |db: &Connection| {
            let sql = "UPDATE agents SET status = ?3, heard_at = ?4 WHERE id = ?1 AND session = ?2";
            let values = (key(&id), key(&session), &status, heard_at);
            let changed = db.prepare_cached(sql)?.execute(values)?;
            let recorded = changed == 1 && record(db, &trail)?;
            Ok(Written { answer: changed == 1, effect: Effect { recorded, ..Effect::default() } })
        };
        self.database.write(write).await
    }

    async fn silent_agents(&self, before: DateTime<Utc>, most: usize) -> Result<Vec<SilentAgent>> {
        let sql = "SELECT agents.body, status, session, organization_id, heard_at
                   FROM agents JOIN workspaces ON workspaces.id = workspace_id
                   WHERE heard_at < ?1 ORDER BY heard_at, agents.id LIMIT ?2";
        let read = move |db: &Connection| {
            let mut statement = db.prepare_cached(sql)?;
            let mut rows = statement.query((micros(before), number(most as u64)?))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(SilentAgent {
                    agent: agent(row)?,
                    organization_id: Id::from_uuid(Uuid::from_bytes(row.get(3)?)),
                    heard_at: time(row.get(4)?)?,
                });
            }
            Ok(found)
        };
        self.database.read(read).await
    }

    async fn end_silent_session(
        &self,
        SilentAgent { agent: found, organization_id: _, heard_at }: &SilentAgent,
        by: SessionId,
        status: &AgentStatus,
        events: Vec<NewEvent>,
    ) -> Result<bool> {
        let (id, session, heard_at) = (found.spec.id, found.session, micros(*heard_at));
        let (still_heard_at, status) = (status.heard_at().map(micros), to_body(status)?);
        let trail = TrailRows::of(&Trail::of_events(events))?;
        let write = move |db: &Connection| {
            let sql = "UPDATE agents SET status = ?4, heard_at = ?5, session = ?6
                       WHERE id = ?1 AND session = ?2 AND heard_at = ?3";
            let session = session.as_ref().map(key);
            let values = (key(&id), session, heard_at, &status, still_heard_at, key(&by));
            let changed = db.prepare_cached(sql)?.execute(values)?;
            let recorded = changed == 1 && record(db, &trail)?;
            Ok(Written { answer: changed == 1, effect: Effect { recorded, ..Effect::default() } })
        };
        self.database.write(write).await
    }

    async fn agent_drift(&self, id: AgentId) -> Result<Option<DriftRecord>> {
        let read = move |db: &Connection| {
            let mut statement = db.prepare_cached("SELECT drift FROM agents WHERE id = ?1")?;
            let mut rows = statement.query([key(&id)])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            let drift: Option<String> = row.get(0)?;
            drift.map(|it| from_body(&it)).transpose()
        };
        self.database.read(read).await
    }

    async fn record_agent_drift(
        &self,
        id: AgentId,
        session: SessionId,
        drift: &DriftRecord,
    ) -> Result<bool> {
        let drift = to_body(drift)?;
        let write = move |db: &Connection| {
            let sql = "UPDATE agents SET drift = ?3 WHERE id = ?1 AND session = ?2";
            let changed = db.prepare_cached(sql)?.execute((key(&id), key(&session), &drift))?;
            Ok(Written { answer: changed == 1, effect: Effect::default() })
        };
        self.database.write(write).await
    }

    async fn add_command(&self, command: &AgentCommand, lasting: Duration) -> Result<bool> {
        Ok(self.local.add_command(command.clone(), lasting))
    }

    async fn waiting_commands(&self) -> Result<Vec<AgentId>> {
        Ok(self.local.waiting_commands())
    }

    async fn take_commands(&self, agent: AgentId) -> Result<Vec<AgentCommand>> {
        Ok(self.local.take_commands(agent))
    }

    async fn answer_command(&self, id: CommandId, outcome: &CommandOutcome) -> Result<()> {
        self.local.answer_command(id, outcome.clone());
        Ok(())
    }

    async fn command_outcome(&self, id: CommandId) -> Result<Option<CommandOutcome>> {
        Ok(self.local.command_outcome(id))
    }

    async fn drop_expired(&self, before: DateTime<Utc>) -> Result<u64> {
        let write = move |db: &Connection| {
            let sql = "DELETE FROM agent_secrets WHERE expires_at < ?1";
            let dropped = db.prepare_cached(sql)?.execute([micros(before)])?;
            Ok(Written::quietly(dropped as u64))
        };
        self.database.write(write).await
    }

    fn changes(&self) -> Option<u64> {
        Some(self.local.gateway_changes())
    }

    fn subscribe(&self) -> broadcast::Receiver<News> {
        self.local.subscribe()
    }

    fn poll_interval(&self) -> Option<Duration> {
        None
    }
}

fn snapshot(db: &Connection, of: WorkspaceId) -> Result<Option<Snapshot>> {
    let Some(revision) = history::head(db, of)? else { return Ok(None) };
    let workspace: Option<Workspace> =
        find(db, "SELECT body FROM workspaces WHERE id = ?1", [key(&of)])?;
    let Some(workspace) = workspace else { return Ok(None) };
    let settings = [GatewayWrite::PutSettings(Arc::new(workspace.settings))];
    let upstreams: Vec<Arc<Upstream>> =
        all(db, "SELECT body FROM upstreams WHERE workspace_id = ?1", [key(&of)])?;
    let hosts: Vec<Arc<VirtualHost>> =
        all(db, "SELECT body FROM virtual_hosts WHERE workspace_id = ?1", [key(&of)])?;
    let agents: Vec<Arc<AgentSpec>> =
        all(db, "SELECT body FROM agents WHERE workspace_id = ?1", [key(&of)])?;
    let writes = settings
        .into_iter()
        .chain(upstreams.into_iter().map(GatewayWrite::PutUpstream))
        .chain(hosts.into_iter().map(GatewayWrite::PutVirtualHost))
        .chain(agents.into_iter().map(GatewayWrite::PutAgent));
    let mut snapshot = Snapshot::empty(of, workspace.organization_id);
    snapshot.apply(revision, writes);
    Ok(Some(snapshot))
}

fn commit(db: &Connection, base: i64, steps: &[(RevisionRows, Option<AgentSecret>)]) -> Result<()> {
    let mut head = base;
    for (revision, secret) in steps {
        history::advance(db, head, revision)?;
        for write in &revision.writes {
            apply(db, revision.workspace_id, write)?;
        }
        if let Some(secret) = secret {
            insert_secret(db, secret)?;
        }
        head = revision.number;
    }
    Ok(())
}

fn put_settings(db: &Connection, settings: Settings, revision: &Revision) -> Result<()> {
    let Revision { workspace_id, number, created_at, .. } = revision;
    let workspace: Option<Workspace> =
        find(db, "SELECT body FROM workspaces WHERE id = ?1", [key(workspace_id)])?;
    let workspace = workspace.ok_or_else(|| Error::not_found("workspace", workspace_id))?;
    let (revision, updated_at) = (*number, *created_at);
    update_workspace(db, &Workspace { settings, revision, updated_at, ..workspace })
}

fn apply(db: &Connection, of: WorkspaceId, write: &WriteRow) -> Result<()> {
    let WriteRow { kind, object_id, created_at, body } = write;
    let table = match *kind {
        VIRTUAL_HOST => "virtual_hosts",
        UPSTREAM => "upstreams",
        AGENT => "agents",
        // Those are in the row of the workspace.
        _ => return Ok(()),
    };
    let id = object_id.as_bytes();
    let Some(body) = body else {
        db.prepare_cached(&format!("DELETE FROM {table} WHERE id = ?1"))?.execute([id])?;
        return Ok(());
    };
    if *kind == AGENT {
        let sql = "INSERT INTO agents (id, workspace_id, created_at, body, status) VALUES (?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT (id) DO UPDATE SET body = excluded.body";
        let unknown = to_body(&AgentStatus::default())?;
        db.prepare_cached(sql)?.execute((id, key(&of), created_at, body, unknown))?;
    } else {
        let sql = format!(
            "INSERT INTO {table} (id, workspace_id, created_at, body) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET body = excluded.body"
        );
        db.prepare_cached(&sql)?.execute((id, key(&of), created_at, body))?;
    }
    Ok(())
}

fn agent(row: &Row<'_>) -> Result<AgentRecord> {
    let session: Option<[u8; 16]> = row.get(2)?;
    Ok(AgentRecord {
        spec: from_body(&body(row, 0)?)?,
        status: from_body(&body(row, 1)?)?,
        session: session.map(|it| Id::from_uuid(Uuid::from_bytes(it))),
    })
}

fn agent_secret(db: &Connection, hash: TokenHash) -> Result<Option<AgentSecret>> {
    let mut statement =
        db.prepare_cached("SELECT agent_id, expires_at FROM agent_secrets WHERE hash = ?1")?;
    let mut rows = statement.query([hash.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let expires_at: Option<i64> = row.get(1)?;
    let agent_id = Id::from_uuid(Uuid::from_bytes(row.get(0)?));
    Ok(Some(AgentSecret { hash, agent_id, expires_at: expires_at.map(time).transpose()? }))
}

/// Whether the agent is there to have a secret.
fn insert_secret(db: &Connection, secret: &AgentSecret) -> Result<bool> {
    let AgentSecret { hash, agent_id, expires_at } = secret;
    let sql = "INSERT INTO agent_secrets (hash, agent_id, expires_at) SELECT ?1, id, ?3 FROM agents WHERE id = ?2";
    let inserted = db.prepare_cached(sql)?.execute((
        hash.as_bytes(),
        key(agent_id),
        expires_at.map(micros),
    ))?;
    Ok(inserted == 1)
}
