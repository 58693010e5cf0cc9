use std::{collections::BTreeMap, fmt::Debug, num::NonZeroU64, time::Duration};

use uuid::Uuid;

use crate::{
    Id, KeyedHash, PageRequest, Reservation, Result, RevisionNumber, TokenHash, Trail,
    conformance::given,
    events::{EventId, NewEvent},
    gateway::{
        AgentCommand, AgentFilter, AgentId, AgentSecret, AgentStatus, CommandId, CommandOutcome,
        GatewayChange, SessionId, UpstreamId, VirtualHostId,
    },
    store::Stores,
    tenancy::{
        ApiKeyId, AuditFilter, Email, Organization, OrganizationId, Sealed, TenancyChange, UserId,
        WorkspaceId,
    },
};

/// Long enough never to matter.
const LONG: Duration = Duration::from_secs(3600);

/// An answer as text; of errors, what a caller sees.
fn text<T: Debug>(answer: Result<T>) -> String {
    match answer {
        Ok(answer) => format!("Ok({answer:?})"),
        Err(error) => format!("Err({:?}: {error})", error.kind()),
    }
}

#[derive(Debug)]
pub(super) enum Change {
    Tenancy(Box<TenancyChange>, Trail),
    Gateway(Box<GatewayChange>),
    DropTrail(i64, u64),
    AddSecret(AgentSecret),
    KeepSecret(AgentId, TokenHash),
    OpenSession(AgentId, SessionId, AgentStatus),
    Record(AgentId, SessionId, AgentStatus),
    AddCommand(AgentCommand),
    TakeCommands(AgentId),
    Answer(CommandId, CommandOutcome),
    DropExpired(i64),
    TakeLease(String, Uuid),
    DropRevisions(WorkspaceId, NonZeroU64),
    Reserve(Reservation),
    Complete(KeyedHash, Uuid, Sealed),
    Release(KeyedHash, Uuid),
    ReturnLease(String, Uuid),
}

fn seen() -> Vec<NewEvent> {
    vec![given::event(Id::from_uuid(Uuid::nil()), "agent.seen", 1)]
}

impl Change {
    pub(super) async fn apply(&self, stores: &Stores) -> String {
        let Stores { tenancy, gateway, events, leases, idempotency } = stores;
        match self {
            Self::Tenancy(change, trail) => {
                text(tenancy.commit(change.as_ref().clone(), trail.clone()).await)
            }
            Self::DropTrail(before, keep) => {
                let entries = text(tenancy.drop_audit_entries(given::at(*before)).await);
                entries + &text(events.drop_events(*keep).await)
            }
            Self::Gateway(change) => text(gateway.commit(change.as_ref().clone()).await),
            Self::AddSecret(secret) => text(gateway.add_agent_secret(secret.clone()).await),
            Self::KeepSecret(agent, hash) => {
                text(gateway.keep_only_agent_secret(*agent, hash).await)
            }
            Self::OpenSession(agent, session, status) => {
                text(gateway.open_agent_session(*agent, *session, status, seen()).await)
            }
            Self::Record(agent, session, status) => {
                text(gateway.record_agent_status(*agent, *session, status, seen()).await)
            }
            Self::AddCommand(command) => text(gateway.add_command(command, LONG).await),
            Self::TakeCommands(agent) => text(gateway.take_commands(*agent).await),
            Self::Answer(id, outcome) => text(gateway.answer_command(*id, outcome).await),
            Self::DropExpired(before) => {
                let before = given::at(*before);
                let tokens = text(tenancy.drop_expired(before).await);
                let secrets = text(gateway.drop_expired(before).await);
                tokens + &secrets + &text(idempotency.drop_expired(before).await)
            }
            Self::TakeLease(name, holder) => text(leases.take_lease(name, *holder, LONG).await),
            Self::ReturnLease(name, holder) => text(leases.return_lease(name, *holder).await),
            Self::DropRevisions(of, keep) => drop_revisions(stores, *of, *keep).await,
            Self::Reserve(reservation) => text(idempotency.reserve(reservation).await),
            Self::Complete(key, ticket, answer) => {
                text(idempotency.complete(key, *ticket, answer).await)
            }
            Self::Release(key, ticket) => text(idempotency.release(key, *ticket).await),
        }
    }
}

/// Drops revisions, all at once. Whatever is kept must be as it was, to the letter.
async fn drop_revisions(stores: &Stores, of: WorkspaceId, keep: NonZeroU64) -> String {
    let long = stores.gateway.long_histories(keep.get()).await.map(|it| it.contains(&of));
    let before = kept(stores, of, keep).await;
    let mut dropped = 0;
    let answer = loop {
        match stores.gateway.drop_revisions(of, keep).await {
            Ok(0) => break Ok(dropped),
            Ok(count) => dropped += count,
            Err(error) => break Err(error),
        }
    };
    assert_eq!(kept(stores, of, keep).await, before, "dropping revisions changed what is kept");
    text(long) + &text(answer)
}

/// The workspace, and all that is to be kept of its history.
async fn kept(stores: &Stores, of: WorkspaceId, keep: NonZeroU64) -> Vec<String> {
    let heads = stores.gateway.heads(&[of]).await.unwrap_or_default();
    let head = heads.get(&of).map_or(0, |it| it.0);
    let mut kept = vec![text(stores.gateway.snapshot(of).await)];
    let oldest = (head + 1).saturating_sub(keep.get()).max(1);
    for number in std::iter::once(0).chain(oldest..=head).map(RevisionNumber) {
        kept.push(text(stores.gateway.state_at(of, number).await));
        kept.push(text(stores.gateway.revision(of, number).await));
        if number.0 > 0 {
            kept.push(text(stores.gateway.writes_since(of, number).await));
        }
    }
    kept
}

#[derive(Debug)]
pub(super) enum Read {
    User(UserId),
    UserByEmail(Email),
    Organizations(UserId, PageRequest),
    Members(OrganizationId, UserId, PageRequest),
    ApiKeys(OrganizationId, Option<UserId>, ApiKeyId, PageRequest),
    Workspaces(Id<Organization>, PageRequest),
    Workspace(WorkspaceId, UserId),
    Heads(Vec<WorkspaceId>),
    Snapshot(WorkspaceId),
    Writes(WorkspaceId, RevisionNumber),
    Revision(WorkspaceId, RevisionNumber),
    Revisions(WorkspaceId, PageRequest),
    VirtualHosts(WorkspaceId, PageRequest),
    Upstreams(WorkspaceId, PageRequest),
    Agents(WorkspaceId, AgentFilter, PageRequest),
    Objects(VirtualHostId, UpstreamId, AgentId),
    Secret(TokenHash),
    RefreshToken(TokenHash),
    Commands(CommandId),
    AuditLog(OrganizationId, AuditFilter, PageRequest),
    Events(usize),
    Singles,
}

impl Read {
    pub(super) async fn apply(&self, stores: &Stores) -> String {
        let Stores { tenancy, gateway, events, leases: _, idempotency: _ } = stores;
        match self {
            Self::User(id) => text(tenancy.user(*id).await),
            Self::UserByEmail(email) => text(tenancy.user_by_email(email).await),
            Self::Organizations(user, page) => text(tenancy.organizations(*user, *page).await),
            Self::Members(of, user, page) => {
                let members = text(tenancy.members(*of, *page).await);
                let owners = text(tenancy.owners(*of).await);
                members + &owners + &text(tenancy.role(*user, *of).await)
            }
            Self::ApiKeys(of, maker, id, page) => {
                let keys = text(tenancy.api_keys(*of, *maker, *page).await);
                let by_hash = tenancy.api_key_by_hash(&TokenHash::of(&id.to_string())).await;
                keys + &text(tenancy.api_key(*id).await) + &text(by_hash)
            }
            Self::Workspaces(of, page) => text(tenancy.workspaces(*of, *page).await),
            Self::Workspace(id, member) => {
                let head = text(tenancy.workspace_head(*id).await);
                head + &text(tenancy.workspace(*id, *member).await)
            }
            Self::Heads(of) => {
                let heads = gateway.heads(of).await;
                text(heads.map(|it| it.into_iter().collect::<BTreeMap<_, _>>()))
            }
            Self::Snapshot(of) => text(gateway.snapshot(*of).await),
            Self::Writes(of, after) => text(gateway.writes_since(*of, *after).await),
            Self::Revision(of, number) => {
                let state = text(gateway.state_at(*of, *number).await);
                state + &text(gateway.revision(*of, *number).await)
            }
            Self::Revisions(of, page) => text(gateway.revisions(*of, *page).await),
            Self::VirtualHosts(of, page) => text(gateway.virtual_hosts(*of, *page).await),
            Self::Upstreams(of, page) => text(gateway.upstreams(*of, *page).await),
            Self::Agents(of, filter, page) => text(gateway.agents(*of, filter, *page).await),
            Self::Objects(host, upstream, agent) => {
                let host = text(gateway.virtual_host(*host).await);
                let upstream = text(gateway.upstream(*upstream).await);
                host + &upstream + &text(gateway.agent(*agent).await)
            }
            Self::Secret(hash) => text(gateway.agent_secret(hash).await),
            Self::RefreshToken(hash) => text(tenancy.refresh_token(hash).await),
            Self::Commands(id) => {
                let waiting = gateway.waiting_commands().await.map(|mut agents| {
                    agents.sort_unstable();
                    agents
                });
                text(waiting) + &text(gateway.command_outcome(*id).await)
            }
            Self::AuditLog(of, filter, page) => text(tenancy.audit_log(*of, filter, *page).await),
            Self::Events(most) => {
                // Their ids differ: some stores leave some out.
                let found = events.events_after(EventId(0), *most).await;
                text(found.map(|it| it.into_iter().map(|it| it.event).collect::<Vec<_>>()))
            }
            Self::Singles => text(tenancy.has_users().await) + &text(tenancy.signing_key().await),
        }
    }
}
