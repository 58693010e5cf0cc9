use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU64,
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{AssertSqlSafe, Row, postgres::PgRow};
use tokio::sync::broadcast;
use uuid::Uuid;

use super::{
    POLL, PostgresStore,
    connections::Statement,
    events::bind_trail,
    rows::{PAGE, body, find, id, key, page, revision, seconds},
    tenancy::done,
};
use crate::{
    Id, Page, PageRequest, Result, Revision, RevisionNumber, TokenHash, Trail,
    events::NewEvent,
    gateway::{
        AgentCommand, AgentCount, AgentFilter, AgentId, AgentRecord, AgentSecret, AgentStatus,
        CommandId, CommandOutcome, DeliveryRecord, GatewayChange, GatewayStore, GatewayWrite,
        MAX_WAITING_COMMANDS, News, Rollout, RolloutId, RolloutMark, SessionId, SilentAgent,
        Snapshot, Step, Upstream, UpstreamId, VirtualHost, VirtualHostId, Writes,
        drift::DriftRecord,
    },
    store::{
        TOGETHER,
        codec::{
            AGENT, RevisionRows, TrailRows, WriteRow, corrupt, from_body, micros, number, time,
            to_body, to_write,
        },
        last_settings,
    },
    tenancy::{Workspace, WorkspaceId},
};

#[async_trait]
impl GatewayStore for PostgresStore {
    async fn snapshot(&self, of: WorkspaceId) -> Result<Option<Snapshot>> {
        let statement = sqlx::query(include_str!("sql/snapshot.sql")).bind(key(of));
        snapshot(of, &self.database.all(statement).await?)
    }

    async fn heads(&self, of: &[WorkspaceId]) -> Result<HashMap<WorkspaceId, RevisionNumber>> {
        let ids: Vec<_> = of.iter().copied().map(key).collect();
        let statement = sqlx::query("SELECT id, head FROM workspaces WHERE id = ANY ($1)");
        let rows = self.database.all(statement.bind(ids)).await?;
        rows.iter().map(|row| Ok((id(row, 0)?, revision(row, 1)?))).collect()
    }

    async fn writes_since(&self, of: WorkspaceId, after: RevisionNumber) -> Result<Option<Writes>> {
        let statement = sqlx::query(
            "SELECT head, kind, object_id, writes.body, $2 >= horizon
             FROM workspaces
             LEFT JOIN writes ON workspace_id = id AND number > $2 AND $2 >= horizon
             WHERE id = $1 ORDER BY number, position",
        );
        let rows = self.database.all(statement.bind(key(of)).bind(number(after.0)?)).await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let writes = rows.iter().filter_map(|row| write(row).transpose()).collect::<Result<_>>()?;
        let known: bool = first.try_get(4)?;
        let writes = known.then_some(writes);
        Ok(Some(Writes { revision: revision(first, 0)?, writes }))
    }

    async fn virtual_host(&self, id: VirtualHostId) -> Result<Option<VirtualHost>> {
        let statement = sqlx::query("SELECT body FROM virtual_hosts WHERE id = $1");
        find(&self.database, statement.bind(key(id))).await
    }

    async fn virtual_hosts(
        &self,
        of: WorkspaceId,
        request: PageRequest,
    ) -> Result<Page<VirtualHost>> {
        let sql = "body FROM virtual_hosts WHERE workspace_id = $1";
        page(&self.database, sql, key(of), request, |row| body(row, PAGE)).await
    }

    async fn upstream(&self, id: UpstreamId) -> Result<Option<Upstream>> {
        let statement = sqlx::query("SELECT body FROM upstreams WHERE id = $1");
        find(&self.database, statement.bind(key(id))).await
    }

    async fn upstreams(&self, of: WorkspaceId, request: PageRequest) -> Result<Page<Upstream>> {
        let sql = "body FROM upstreams WHERE workspace_id = $1";
        page(&self.database, sql, key(of), request, |row| body(row, PAGE)).await
    }

    async fn agent(&self, id: AgentId) -> Result<Option<AgentRecord>> {
        let statement = sqlx::query("SELECT body, status, session FROM agents WHERE id = $1");
        let row = self.database.optional(statement.bind(key(id))).await?;
        row.map(|row| agent(&row)).transpose()
    }

    async fn agents(
        &self,
        of: WorkspaceId,
        filter: &AgentFilter,
        request: PageRequest,
    ) -> Result<Page<AgentRecord>> {
        // Labels and state are in the bodies, so the filter runs over all agents of the
        // workspace: some thousand rows at most.
        let statement = sqlx::query(
            "SELECT body, status, session FROM agents WHERE workspace_id = $1 ORDER BY created_at, id",
        );
        let rows = self.database.all(statement.bind(key(of))).await?;
        let mut found = Vec::new();
        for row in &rows {
            let agent = agent(row)?;
            if filter.matches(&agent) {
                found.push(agent);
            }
        }
        Ok(request.of(found))
    }

    async fn agent_count(&self) -> Result<AgentCount> {
        let statement = sqlx::query("SELECT count(*), count(session) FROM agents");
        let row = self.database.one(statement).await?;
        let count = |at: usize| u64::try_from(row.try_get::<i64, _>(at)?).map_err(corrupt);
        Ok(AgentCount { all: count(0)?, seen: count(1)? })
    }

    async fn agent_secret(&self, hash: &TokenHash) -> Result<Option<AgentSecret>> {
        let sql = "SELECT agent_id, expires_at FROM agent_secrets WHERE hash = $1";
        let row = self.database.optional(sqlx::query(sql).bind(hash.as_bytes())).await?;
        row.map(|row| {
            let expires_at: Option<i64> = row.try_get(1)?;
            let expires_at = expires_at.map(time).transpose()?;
            Ok(AgentSecret { hash: *hash, agent_id: id(&row, 0)?, expires_at })
        })
        .transpose()
    }

    async fn revision(&self, of: WorkspaceId, at: RevisionNumber) -> Result<Option<Revision>> {
        let statement =
            sqlx::query("SELECT body FROM revisions WHERE workspace_id = $1 AND number = $2");
        find(&self.database, statement.bind(key(of)).bind(number(at.0)?)).await
    }

    async fn revisions(&self, of: WorkspaceId, request: PageRequest) -> Result<Page<Revision>> {
        let statement = sqlx::query(
            "SELECT total, page.body
             FROM (SELECT count(*) AS total FROM revisions WHERE workspace_id = $1) AS all_of_them
             LEFT JOIN (
                 SELECT number, body FROM revisions WHERE workspace_id = $1
                 ORDER BY number LIMIT $2 OFFSET $3
             ) AS page ON true ORDER BY number",
        );
        let (limit, offset) = (number(request.per_page())?, number(request.offset())?);
        let statement = statement.bind(key(of)).bind(limit).bind(offset);
        let rows = self.database.all(statement).await?;
        let total: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
        let bodies = rows.iter().map(|row| Ok(row.try_get::<Option<&str>, _>(1)?));
        let bodies = bodies.filter_map(Result::transpose);
        let data = bodies.map(|body| body.and_then(from_body)).collect::<Result<_>>()?;
        Ok(request.part(data, u64::try_from(total).map_err(corrupt)?))
    }

    async fn state_at(&self, of: WorkspaceId, at: RevisionNumber) -> Result<Option<Snapshot>> {
        let statement = sqlx::query(
            "SELECT head, kind, object_id, writes.body, organization_id
             FROM workspaces LEFT JOIN writes ON workspace_id = id AND number <= $2
             WHERE id = $1 AND head >= $2 AND ($2 = 0 OR $2 >= horizon)
             ORDER BY number, position",
        );
        let rows = self.database.all(statement.bind(key(of)).bind(number(at.0)?)).await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let writes = rows.iter().filter_map(|row| write(row).transpose());
        let writes = writes.collect::<Result<Vec<_>>>()?;
        let mut snapshot = Snapshot::empty(of, id(first, 4)?);
        snapshot.apply(at, writes);
        Ok(Some(snapshot))
    }

    async fn long_histories(&self, more_than: u64) -> Result<Vec<WorkspaceId>> {
        let statement = sqlx::query(
            "SELECT id FROM workspaces WHERE head - greatest(horizon - 1, 0) > $1
             ORDER BY id LIMIT $2",
        );
        let statement = statement.bind(number(more_than)?).bind(number(TOGETHER)?);
        let rows = self.database.all(statement).await?;
        rows.iter().map(|row| id(row, 0)).collect()
    }

    async fn drop_revisions(&self, of: WorkspaceId, keep: NonZeroU64) -> Result<u64> {
        let statement = sqlx::query(include_str!("sql/drop_revisions.sql"))
            .bind(key(of))
            .bind(i64::try_from(keep.get()).unwrap_or(i64::MAX))
            .bind(number(TOGETHER)?);
        let row = self.database.change(statement).await?;
        u64::try_from(row.try_get::<i64, _>(0)?).map_err(corrupt)
    }

    async fn commit(&self, change: GatewayChange) -> Result<()> {
        let trail = TrailRows::of_all(change.steps.iter().map(|it| &it.trail))?;
        let committed = self.database.change(bind_trail(commit(&change)?, &trail)?).await?;
        done(&committed, "workspace", change.workspace_id)?;
        self.recorded(&trail);
        self.moved(change.workspace_id, Some(change.head()));
        Ok(())
    }

    async fn rollout(&self, id: RolloutId) -> Result<Option<Rollout>> {
        self.find_rollout(id).await
    }

    async fn rollouts(&self, of: WorkspaceId, page: PageRequest) -> Result<Page<Rollout>> {
        self.page_of_rollouts(of, page).await
    }

    async fn rollouts_under_way(&self) -> Result<Vec<Rollout>> {
        self.all_under_way().await
    }

    async fn delivery(&self, of: WorkspaceId) -> Result<Option<DeliveryRecord>> {
        self.find_delivery(of).await
    }

    async fn rollout_marks(&self, of: &[WorkspaceId]) -> Result<HashMap<WorkspaceId, RolloutMark>> {
        self.find_marks(of).await
    }

    async fn put_rollout(&self, rollout: &Rollout, trail: Trail) -> Result<bool> {
        self.put(rollout, trail).await
    }

    async fn add_agent_secret(&self, secret: AgentSecret) -> Result<bool> {
        let AgentSecret { hash, agent_id, expires_at } = secret;
        let statement = sqlx::query(
            "INSERT INTO agent_secrets (hash, agent_id, expires_at)
             SELECT $1, id, $3 FROM agents WHERE id = $2",
        );
        let statement = statement
            .bind(hash.as_bytes().to_vec())
            .bind(key(agent_id))
            .bind(expires_at.map(micros));
        Ok(self.database.execute(statement).await? == 1)
    }

    async fn keep_only_agent_secret(&self, agent: AgentId, hash: &TokenHash) -> Result<bool> {
        let statement = sqlx::query(
            "WITH kept AS (
                 SELECT agent_id FROM agent_secrets WHERE agent_id = $1 AND hash = $2
             ), others AS (
                 DELETE FROM agent_secrets USING kept
                 WHERE agent_secrets.agent_id = kept.agent_id AND hash <> $2
             )
             SELECT EXISTS (SELECT FROM kept)",
        );
        let row = self.database.change(statement.bind(key(agent)).bind(hash.as_bytes())).await?;
        Ok(row.try_get(0)?)
    }

    async fn open_agent_session(
        &self,
        id: AgentId,
        session: SessionId,
        status: &AgentStatus,
        events: Vec<NewEvent>,
    ) -> Result<bool> {
        let sql = "UPDATE agents SET status = $3, heard_at = $4, session = $2 WHERE id = $1";
        self.note_agent(sql, (id, session, status), events).await
    }

    async fn record_agent_status(
        &self,
        id: AgentId,
        session: SessionId,
        status: &AgentStatus,
        events: Vec<NewEvent>,
    ) -> Result<bool> {
        let sql = "UPDATE agents SET status = $3, heard_at = $4 WHERE id = $1 AND session = $2";
        self.note_agent(sql, (id, session, status), events).await
    }

    async fn silent_agents(&self, before: DateTime<Utc>, most: usize) -> Result<Vec<SilentAgent>> {
        let statement = sqlx::query(
            "SELECT agents.body, status, session, organization_id, heard_at
             FROM agents JOIN workspaces ON workspaces.id = workspace_id
             WHERE heard_at < $1 ORDER BY heard_at, agents.id LIMIT $2",
        );
        let statement = statement.bind(micros(before)).bind(number(most as u64)?);
        let rows = self.database.all(statement).await?;
        let silent = |row: &PgRow| {
            let heard_at = time(row.try_get(4)?)?;
            Ok(SilentAgent { agent: agent(row)?, organization_id: id(row, 3)?, heard_at })
        };
        rows.iter().map(silent).collect()
    }

    async fn end_silent_session(
        &self,
        SilentAgent { agent: found, organization_id: _, heard_at }: &SilentAgent,
        by: SessionId,
        status: &AgentStatus,
        events: Vec<NewEvent>,
    ) -> Result<bool> {
        let trail = TrailRows::of(&Trail::of_events(events))?;
        let statement = sqlx::query(
            "WITH ended AS (
                 UPDATE agents SET status = $4, heard_at = $5, session = $6
                 WHERE id = $1 AND session = $2 AND heard_at = $3 RETURNING id
             )
             SELECT record_trail($7, $8) FROM ended",
        );
        let statement = statement
            .bind(key(found.spec.id))
            .bind(found.session.map(key))
            .bind(micros(*heard_at))
            .bind(to_body(status)?)
            .bind(status.heard_at().map(micros))
            .bind(key(by));
        let ended = self.database.try_change(bind_trail(statement, &trail)?).await?.is_some();
        if ended {
            self.recorded(&trail);
        }
        Ok(ended)
    }

    async fn agent_drift(&self, id: AgentId) -> Result<Option<DriftRecord>> {
        let statement = sqlx::query("SELECT drift FROM agents WHERE id = $1 AND drift IS NOT NULL");
        find(&self.database, statement.bind(key(id))).await
    }

    async fn record_agent_drift(
        &self,
        id: AgentId,
        session: SessionId,
        drift: &DriftRecord,
    ) -> Result<bool> {
        let statement = sqlx::query("UPDATE agents SET drift = $3 WHERE id = $1 AND session = $2");
        let statement = statement.bind(key(id)).bind(key(session)).bind(to_body(drift)?);
        Ok(self.database.execute(statement).await? == 1)
    }

    async fn add_command(&self, command: &AgentCommand, lasting: Duration) -> Result<bool> {
        let AgentCommand { id, agent_id, action } = command;
        let statement = sqlx::query(
            "WITH expired AS (DELETE FROM commands WHERE ends_at <= clock_timestamp())
             INSERT INTO commands (id, agent_id, action, ends_at)
             SELECT $1, $2, $3, clock_timestamp() + make_interval(secs => $4)
             WHERE (
                 SELECT count(*) FROM commands
                 WHERE agent_id = $2 AND NOT taken AND ends_at > clock_timestamp()
             ) < $5",
        );
        let statement = statement
            .bind(key(*id))
            .bind(key(*agent_id))
            .bind(to_body(action)?)
            .bind(seconds(lasting))
            .bind(MAX_WAITING_COMMANDS as i64);
        let added = self.database.execute(statement).await? == 1;
        if added {
            self.database.announce(News::CommandWaiting(*agent_id));
        }
        Ok(added)
    }

    async fn waiting_commands(&self) -> Result<Vec<AgentId>> {
        let statement = sqlx::query(
            "SELECT DISTINCT agent_id FROM commands WHERE NOT taken AND ends_at > clock_timestamp()",
        );
        let rows = self.database.all(statement).await?;
        rows.iter().map(|row| id(row, 0)).collect()
    }

    async fn take_commands(&self, agent: AgentId) -> Result<Vec<AgentCommand>> {
        let statement = sqlx::query(
            "UPDATE commands SET taken = true
             WHERE agent_id = $1 AND NOT taken AND ends_at > clock_timestamp()
             RETURNING id, action",
        );
        let rows = self.database.all(statement.bind(key(agent))).await?;
        let command =
            |row| Ok(AgentCommand { id: id(row, 0)?, agent_id: agent, action: body(row, 1)? });
        let mut commands = rows.iter().map(command).collect::<Result<Vec<_>>>()?;
        // Ids are as old as what they name.
        commands.sort_by_key(|it| it.id);
        Ok(commands)
    }

    async fn answer_command(&self, id: CommandId, outcome: &CommandOutcome) -> Result<()> {
        let statement = sqlx::query("UPDATE commands SET outcome = $2 WHERE id = $1");
        self.database.execute(statement.bind(key(id)).bind(to_body(outcome)?)).await?;
        self.database.announce(News::CommandAnswered(id));
        Ok(())
    }

    async fn command_outcome(&self, id: CommandId) -> Result<Option<CommandOutcome>> {
        let statement =
            sqlx::query("SELECT outcome FROM commands WHERE id = $1 AND outcome IS NOT NULL");
        find(&self.database, statement.bind(key(id))).await
    }

    async fn drop_expired(&self, before: DateTime<Utc>) -> Result<u64> {
        let statement = sqlx::query("DELETE FROM agent_secrets WHERE expires_at < $1");
        self.database.execute(statement.bind(micros(before))).await
    }

    fn changes(&self) -> Option<u64> {
        None
    }

    fn subscribe(&self) -> broadcast::Receiver<News> {
        self.database.feed.subscribe()
    }

    fn poll_interval(&self) -> Option<Duration> {
        Some(POLL)
    }
}

impl PostgresStore {
    /// Updates the row of an agent, and records events if there is one.
    async fn note_agent(
        &self,
        update: &str,
        (id, session, status): (AgentId, SessionId, &AgentStatus),
        events: Vec<NewEvent>,
    ) -> Result<bool> {
        let trail = TrailRows::of(&Trail::of_events(events))?;
        let sql = match trail.events.is_empty() {
            true => update.to_owned(),
            false => format!(
                "WITH noted AS ({update} RETURNING id) SELECT record_trail($5, $6) FROM noted"
            ),
        };
        let statement = sqlx::query(AssertSqlSafe(sql));
        let statement = statement
            .bind(key(id))
            .bind(key(session))
            .bind(to_body(status)?)
            .bind(status.heard_at().map(micros));
        if trail.events.is_empty() {
            return Ok(self.database.execute(statement).await? == 1);
        }
        let noted = self.database.try_change(bind_trail(statement, &trail)?).await?.is_some();
        if noted {
            self.recorded(&trail);
        }
        Ok(noted)
    }
}

/// The statement that makes a change; see `sql/commit.sql` for its values.
fn commit(change: &GatewayChange) -> Result<Statement<'static>> {
    let GatewayChange { workspace_id, base, steps } = change;
    let mut revisions = (Vec::new(), Vec::new());
    let mut writes = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut objects = BTreeMap::new();
    let mut new_secrets = Vec::new();
    for Step { revision, writes: of_revision, secret, trail: _ } in steps {
        let rows = RevisionRows::of(revision, of_revision)?;
        revisions.0.push(rows.number);
        revisions.1.push(rows.body);
        for (position, write) in (0_i64..).zip(rows.writes) {
            let WriteRow { kind, object_id, created_at, body } = write;
            writes.0.push(rows.number);
            writes.1.push(position);
            writes.2.push(kind);
            writes.3.push(object_id);
            writes.4.push(body.clone());
            objects.insert((kind, object_id), (created_at, body));
        }
        new_secrets.extend(secret);
    }
    let mut secrets = (Vec::new(), Vec::new(), Vec::new());
    for AgentSecret { hash, agent_id, expires_at } in new_secrets {
        // An agent that a later step removes takes its secrets along.
        let agent = objects.get(&(AGENT, key(*agent_id)));
        if agent.is_none_or(|(_, body)| body.is_some()) {
            secrets.0.push(hash.as_bytes().to_vec());
            secrets.1.push(key(*agent_id));
            secrets.2.push(expires_at.map(micros));
        }
    }
    let settings = steps.iter().rev().find_map(|step| {
        let settings = last_settings(&step.writes)?;
        let Revision { number, created_at, .. } = step.revision;
        let fields = json!({"settings": settings, "revision": number, "updated_at": created_at});
        Some((number, fields.to_string()))
    });
    let (own_revision, settings) = settings.unzip();
    let own_revision = own_revision.map(|it| number(it.0)).transpose()?;
    let (kinds, ids): (Vec<_>, Vec<Uuid>) = objects.keys().copied().unzip();
    let (times, bodies): (Vec<i64>, Vec<Option<String>>) = objects.into_values().unzip();
    Ok(sqlx::query(include_str!("sql/commit.sql"))
        .bind(key(*workspace_id))
        .bind(number(base.0)?)
        .bind(number(change.head().0)?)
        .bind(revisions.0)
        .bind(revisions.1)
        .bind(writes.0)
        .bind(writes.1)
        .bind(writes.2)
        .bind(writes.3)
        .bind(writes.4)
        .bind(kinds)
        .bind(ids)
        .bind(times)
        .bind(bodies)
        .bind(to_body(&AgentStatus::default())?)
        .bind(secrets.0)
        .bind(secrets.1)
        .bind(secrets.2)
        .bind(own_revision)
        .bind(settings))
}

fn snapshot(of: WorkspaceId, rows: &[PgRow]) -> Result<Option<Snapshot>> {
    let mut empty = None;
    let mut head = RevisionNumber::default();
    let mut writes = Vec::with_capacity(rows.len());
    for row in rows {
        let (kind, body): (&str, &str) = (row.try_get(0)?, row.try_get(2)?);
        if kind == "workspace" {
            head = revision(row, 1)?;
            let workspace: Workspace = from_body(body)?;
            empty = Some(Snapshot::empty(of, workspace.organization_id));
            writes.push(GatewayWrite::PutSettings(workspace.settings.into()));
        } else {
            writes.push(to_write(kind, Uuid::nil(), Some(body))?);
        }
    }
    Ok(empty.map(|mut snapshot| {
        snapshot.apply(head, writes);
        snapshot
    }))
}

/// A row of the history; `None` for the row of a workspace without any.
fn write(row: &PgRow) -> Result<Option<GatewayWrite>> {
    let kind: Option<&str> = row.try_get(1)?;
    let Some(kind) = kind else { return Ok(None) };
    Ok(Some(to_write(kind, row.try_get(2)?, row.try_get(3)?)?))
}

fn agent(row: &PgRow) -> Result<AgentRecord> {
    let session: Option<Uuid> = row.try_get(2)?;
    Ok(AgentRecord {
        spec: body(row, 0)?,
        status: body(row, 1)?,
        session: session.map(Id::from_uuid),
    })
}
