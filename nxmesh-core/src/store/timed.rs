//! A store whose calls are counted and timed.

use std::{collections::HashMap, num::NonZeroU64, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};
use uuid::Uuid;

use crate::{
    ErrorKind, Held, IdempotencyStore, KeyedHash, Page, PageRequest, Reservation, Result, Revision,
    RevisionNumber, TokenHash, Trail,
    events::{Event, EventId, EventStore, EventsKept, NewEvent},
    figures::CallCounts,
    gateway::{
        AgentCommand, AgentCount, AgentFilter, AgentId, AgentRecord, AgentSecret, AgentStatus,
        CommandId, CommandOutcome, DeliveryRecord, GatewayChange, GatewayStore, News, Rollout,
        RolloutId, RolloutMark, SessionId, SilentAgent, Snapshot, Upstream, UpstreamId,
        VirtualHost, VirtualHostId, Writes, drift::DriftRecord,
    },
    store::Stores,
    tenancy::{
        ApiKey, ApiKeyId, AuditEntry, AuditFilter, Email, Member, Organization, OrganizationId,
        RefreshToken, Role, Sealed, SealedSigningKey, TenancyChange, TenancyStore, User, UserId,
        Workspace, WorkspaceId,
    },
};

#[cfg(feature = "rendezvous")]
use crate::rendezvous::{
    AddCandidates, Answer, AnswerOutcome, Candidate, CandidatesAdded, Delivery, Expired, Heartbeat,
    Millis, Nonce, Offer, OfferFilter, OfferPage, OfferQuery, Publish, PublishOutcome,
    ReadCandidates, Realm, RendezvousNews, RendezvousStore, TopicCount, TopicPage, TopicQuery,
};

/// The same stores, with their calls counted; leases are not, which nobody waits for.
pub(crate) fn timed(stores: Stores, counts: &CallCounts) -> Stores {
    let Stores { tenancy, gateway, events, leases, idempotency } = stores;
    let tenancy = Arc::new(Timed { store: tenancy, counts: counts.clone() });
    let gateway = Arc::new(Timed { store: gateway, counts: counts.clone() });
    let events = Arc::new(Timed { store: events, counts: counts.clone() });
    let idempotency = Arc::new(Timed { store: idempotency, counts: counts.clone() });
    Stores { tenancy, gateway, events, leases, idempotency }
}

#[derive(Debug)]
struct Timed<S: ?Sized> {
    store: Arc<S>,
    counts: CallCounts,
}

impl<S: ?Sized + Send + Sync> Timed<S> {
    async fn time<T: Send>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let began = Instant::now();
        let done = call.await;
        let broken = |kind| {
            matches!(kind, ErrorKind::Unavailable | ErrorKind::Corrupt | ErrorKind::Internal)
        };
        let failed = done.as_ref().is_err_and(|error| broken(error.kind()));
        self.counts.count(name, began.elapsed(), failed);
        done
    }
}

/// Writes a method of a contract for each that is named.
macro_rules! timed {
    ($area:literal $contract:ident {
        $(async fn $name:ident($($given:ident: $of:ty),*) -> $answer:ty;)*
        $(fn $plain:ident() -> $said:ty;)*
    }) => {
        #[async_trait]
        impl $contract for Timed<dyn $contract> {
            $(async fn $name(&self, $($given: $of),*) -> Result<$answer> {
                self.time(concat!($area, stringify!($name)), self.store.$name($($given),*)).await
            })*
            $(fn $plain(&self) -> $said {
                self.store.$plain()
            })*
        }
    };
}

/// A store of rendezvous, with its calls counted.
#[cfg(feature = "rendezvous")]
pub(crate) fn timed_rendezvous(
    store: Arc<dyn RendezvousStore>,
    counts: &CallCounts,
) -> Arc<dyn RendezvousStore> {
    Arc::new(Timed { store, counts: counts.clone() })
}

#[cfg(feature = "rendezvous")]
timed!("rendezvous." RendezvousStore {
    async fn publish(publish: Publish) -> PublishOutcome;
    async fn answer(answer: Answer) -> AnswerOutcome;
    async fn add_candidates(candidates: AddCandidates) -> CandidatesAdded;
    async fn heartbeat(realm: &Realm, id: &str, by: &str, now: Millis) -> Heartbeat;
    async fn wrong_secret(realm: &Realm, id: &str, most: u32, now: Millis, until: Millis) -> ();
    async fn delete_offer(realm: &Realm, id: &str, by: &str) -> bool;
    async fn retag(realm: &Realm, by: &str, topics: &[String], now: Millis) -> u64;
    async fn use_nonces(nonces: &[Nonce], now: Millis) -> Vec<bool>;
    async fn sweep(now: Millis, most: u32) -> Vec<Expired>;
    async fn offer(realm: &Realm, id: &str, now: Millis) -> Option<Offer>;
    async fn offers_of(realm: &Realm, peer: &str, filter: OfferFilter, now: Millis) -> Vec<Offer>;
    async fn offers_by_topic(query: OfferQuery) -> OfferPage;
    async fn topics(query: TopicQuery) -> TopicPage;
    async fn topic_counts(realm: &Realm, topics: &[String], not_of: Option<&str>, now: Millis) -> Vec<TopicCount>;
    async fn candidates(realm: &Realm, id: &str, by: &str, since: Millis, now: Millis) -> ReadCandidates;
    async fn candidates_of(realm: &Realm, id: &str, by: &str, now: Millis) -> Vec<Candidate>;
    async fn deliveries(realm: &Realm, to: &str, since: Millis, limit: u32, now: Millis) -> Vec<Delivery>;
    async fn count(realm: &Realm) -> u64;
    fn news() -> broadcast::Receiver<RendezvousNews>;
});

timed!("tenancy." TenancyStore {
    async fn user(id: UserId) -> Option<User>;
    async fn user_by_email(email: &Email) -> Option<User>;
    async fn has_users() -> bool;
    async fn organization(id: OrganizationId, member: UserId) -> Option<(Organization, Role)>;
    async fn organizations(member: UserId, page: PageRequest) -> Page<Organization>;
    async fn workspace(id: WorkspaceId, member: UserId) -> Option<(Workspace, Role)>;
    async fn role(user: UserId, of: OrganizationId) -> Option<Role>;
    async fn owners(of: OrganizationId) -> u64;
    async fn members(of: OrganizationId, page: PageRequest) -> Page<Member>;
    async fn workspace_head(id: WorkspaceId) -> Option<RevisionNumber>;
    async fn workspaces(of: OrganizationId, page: PageRequest) -> Page<Workspace>;
    async fn api_key(id: ApiKeyId) -> Option<ApiKey>;
    async fn api_key_by_hash(hash: &TokenHash) -> Option<ApiKey>;
    async fn api_keys(of: OrganizationId, maker: Option<UserId>, page: PageRequest) -> Page<ApiKey>;
    async fn audit_log(of: OrganizationId, filter: &AuditFilter, page: PageRequest) -> Page<AuditEntry>;
    async fn refresh_token(hash: &TokenHash) -> Option<RefreshToken>;
    async fn signing_key() -> Option<SealedSigningKey>;
    async fn commit(change: TenancyChange, trail: Trail) -> ();
    async fn drop_audit_entries(before: DateTime<Utc>) -> u64;
    async fn drop_expired(before: DateTime<Utc>) -> u64;
    fn changes() -> Option<u64>;
});

timed!("gateway." GatewayStore {
    async fn snapshot(of: WorkspaceId) -> Option<Snapshot>;
    async fn heads(of: &[WorkspaceId]) -> HashMap<WorkspaceId, RevisionNumber>;
    async fn writes_since(of: WorkspaceId, after: RevisionNumber) -> Option<Writes>;
    async fn virtual_host(id: VirtualHostId) -> Option<VirtualHost>;
    async fn virtual_hosts(of: WorkspaceId, page: PageRequest) -> Page<VirtualHost>;
    async fn upstream(id: UpstreamId) -> Option<Upstream>;
    async fn upstreams(of: WorkspaceId, page: PageRequest) -> Page<Upstream>;
    async fn agent(id: AgentId) -> Option<AgentRecord>;
    async fn agents(of: WorkspaceId, filter: &AgentFilter, page: PageRequest) -> Page<AgentRecord>;
    async fn agent_count() -> AgentCount;
    async fn agent_secret(hash: &TokenHash) -> Option<AgentSecret>;
    async fn revision(of: WorkspaceId, number: RevisionNumber) -> Option<Revision>;
    async fn revisions(of: WorkspaceId, page: PageRequest) -> Page<Revision>;
    async fn state_at(of: WorkspaceId, number: RevisionNumber) -> Option<Snapshot>;
    async fn long_histories(more_than: u64) -> Vec<WorkspaceId>;
    async fn drop_revisions(of: WorkspaceId, keep: NonZeroU64) -> u64;
    async fn commit(change: GatewayChange) -> ();
    async fn rollout(id: RolloutId) -> Option<Rollout>;
    async fn rollouts(of: WorkspaceId, page: PageRequest) -> Page<Rollout>;
    async fn rollouts_under_way() -> Vec<Rollout>;
    async fn delivery(of: WorkspaceId) -> Option<DeliveryRecord>;
    async fn rollout_marks(of: &[WorkspaceId]) -> HashMap<WorkspaceId, RolloutMark>;
    async fn put_rollout(rollout: &Rollout, trail: Trail) -> bool;
    async fn add_agent_secret(secret: AgentSecret) -> bool;
    async fn keep_only_agent_secret(agent: AgentId, hash: &TokenHash) -> bool;
    async fn open_agent_session(id: AgentId, session: SessionId, status: &AgentStatus, events: Vec<NewEvent>) -> bool;
    async fn record_agent_status(id: AgentId, session: SessionId, status: &AgentStatus, events: Vec<NewEvent>) -> bool;
    async fn silent_agents(before: DateTime<Utc>, most: usize) -> Vec<SilentAgent>;
    async fn end_silent_session(silent: &SilentAgent, by: SessionId, status: &AgentStatus, events: Vec<NewEvent>) -> bool;
    async fn agent_drift(id: AgentId) -> Option<DriftRecord>;
    async fn record_agent_drift(id: AgentId, session: SessionId, drift: &DriftRecord) -> bool;
    async fn add_command(command: &AgentCommand, lasting: Duration) -> bool;
    async fn waiting_commands() -> Vec<AgentId>;
    async fn take_commands(agent: AgentId) -> Vec<AgentCommand>;
    async fn answer_command(id: CommandId, outcome: &CommandOutcome) -> ();
    async fn command_outcome(id: CommandId) -> Option<CommandOutcome>;
    async fn drop_expired(before: DateTime<Utc>) -> u64;
    fn changes() -> Option<u64>;
    fn subscribe() -> broadcast::Receiver<News>;
    fn poll_interval() -> Option<Duration>;
});

timed!("events." EventStore {
    async fn record(trail: Trail) -> ();
    async fn events_after(after: EventId, most: usize) -> Vec<Event>;
    async fn events_kept() -> EventsKept;
    async fn drop_events(keep: u64) -> u64;
    fn watch_events() -> watch::Receiver<u64>;
});

timed!("idempotency." IdempotencyStore {
    async fn reserve(reservation: &Reservation) -> Option<Held>;
    async fn complete(key: &KeyedHash, ticket: Uuid, answer: &Sealed) -> bool;
    async fn release(key: &KeyedHash, ticket: Uuid) -> bool;
    async fn drop_expired(now: DateTime<Utc>) -> u64;
});
