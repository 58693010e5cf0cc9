//! What tests of a store begin with.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use serde_json::{Value, json};
use uuid::Uuid;

use super::PATIENCE;
use crate::{
    Id, KeyedHash, Reservation, Revision, RevisionNumber, Secret, TokenHash, Trail,
    events::{EventType, NewEvent},
    from_json,
    gateway::{
        AgentName, AgentSecret, AgentSpec, DeploymentMode, Gates, GatewayChange, GatewayWrite,
        Labels, NewUpstream, NewVirtualHost, Rollout, RolloutState, Step, Upstream, VirtualHost,
        Wave, WaveAgents, WaveFigures, WaveState,
        drift::DriftPolicy,
        link::{AgentLink, AgentMessage, Registration, RegistrationAnswer, ServerMessage},
    },
    store::Stores,
    tenancy::{
        ApiKey, AuditEntry, AuditedObject, Email, Organization, OrganizationId, OrganizationName,
        PasswordHash, Role, Slug, TenancyChange, User, UserId, Workspace, WorkspaceId,
    },
};

/// A moment, some seconds after a fixed one.
#[must_use]
pub fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_772_000_000, 0).unwrap_or_default() + TimeDelta::seconds(seconds)
}

/// An id that no other call answers.
#[must_use]
pub fn id<T>() -> Id<T> {
    static LAST: AtomicU64 = AtomicU64::new(1);
    Id::from_uuid(Uuid::from_u64_pair(7, LAST.fetch_add(1, Ordering::Relaxed)))
}

fn valid<T, E: std::fmt::Debug>(parsed: Result<T, E>) -> T {
    parsed.expect("what tests begin with is valid")
}

/// A user who is not stored yet.
#[must_use]
pub fn user(email: &str) -> User {
    let email = valid(Email::parse(email));
    User { id: id(), email, password: PasswordHash::from_stored("$argon2id$x"), created_at: at(0) }
}

/// An organization that is not stored yet.
#[must_use]
pub fn organization(slug: &str, seconds: i64) -> Organization {
    Organization {
        id: id(),
        name: valid(OrganizationName::parse(format!("{slug} ünï 🦀"))),
        slug: valid(Slug::parse(slug)),
        version: 1,
        created_at: at(seconds),
        updated_at: at(seconds),
    }
}

/// An API key that is not stored yet.
#[must_use]
pub fn api_key(of: OrganizationId, maker: UserId, name: &str, seconds: i64) -> ApiKey {
    ApiKey {
        id: id(),
        organization_id: of,
        name: valid(OrganizationName::parse(name)),
        role: Role::Operator,
        user_id: maker,
        expires_at: None,
        created_at: at(seconds),
    }
}

/// A workspace that is not stored yet.
#[must_use]
pub fn workspace(of: OrganizationId, slug: &str, seconds: i64) -> Workspace {
    Workspace {
        id: id(),
        organization_id: of,
        name: valid(OrganizationName::parse(slug)),
        slug: valid(Slug::parse(slug)),
        settings: Default::default(),
        revision: RevisionNumber::default(),
        created_at: at(seconds),
        updated_at: at(seconds),
    }
}

/// A virtual host that is not stored yet.
#[must_use]
pub fn virtual_host(of: WorkspaceId, name: &str, seconds: i64) -> VirtualHost {
    let body = json!({
        "name": name, "server_name": format!("{name}.example"), "listen_port": 80,
        "locations": [{"path": "/ü {;}\"", "root": "/srv", "custom_headers": [{"name": "X-A", "value": "'\"\\"}]}],
        "target_agents": {"type": "selector", "label_selector": "env in (a,b)"},
    });
    let (spec, target_agents) =
        valid(from_json::<NewVirtualHost>(body).and_then(NewVirtualHost::parse));
    VirtualHost {
        id: id(),
        workspace_id: of,
        spec: Arc::new(spec),
        target_agents,
        revision: RevisionNumber(1),
        created_at: at(seconds),
        updated_at: at(seconds),
    }
}

/// An upstream that is not stored yet.
#[must_use]
pub fn upstream(of: WorkspaceId, name: &str, seconds: i64) -> Upstream {
    let body: Value = json!({"name": name, "servers": [{"address": "10.0.0.1:80"}]});
    let spec = valid(from_json::<NewUpstream>(body).and_then(NewUpstream::parse));
    Upstream {
        id: id(),
        workspace_id: of,
        spec: Arc::new(spec),
        revision: RevisionNumber(1),
        created_at: at(seconds),
        updated_at: at(seconds),
    }
}

/// An agent that is not stored yet.
#[must_use]
pub fn agent(of: WorkspaceId, name: &str, seconds: i64) -> AgentSpec {
    AgentSpec {
        id: id(),
        workspace_id: of,
        name: valid(AgentName::parse(name)),
        labels: Labels::from([("name".to_owned(), name.to_owned())]),
        drift: DriftPolicy::Report,
        revision: RevisionNumber(1),
        created_at: at(seconds),
        updated_at: at(seconds),
    }
}

/// The next revision of a workspace that is at `base`, with these writes.
#[must_use]
pub fn change(of: WorkspaceId, base: u64, writes: Vec<GatewayWrite>) -> GatewayChange {
    let base = RevisionNumber(base);
    GatewayChange { workspace_id: of, base, steps: vec![step(of, base.next(), writes)] }
}

/// One revision with these writes.
#[must_use]
pub fn step(of: WorkspaceId, number: RevisionNumber, writes: Vec<GatewayWrite>) -> Step {
    let revision = Revision {
        workspace_id: of,
        number,
        author: id(),
        reason: format!("write {}", writes.len()),
        created_at: at(0),
    };
    Step { revision, writes, secret: None, trail: Trail::default() }
}

/// An entry of the audit log of an organization, and the event that goes with it.
#[must_use]
pub fn trail(of: OrganizationId, action: &str, seconds: i64) -> Trail {
    let entry = AuditEntry {
        id: id(),
        organization_id: of,
        workspace_id: None,
        user_id: id(),
        api_key_id: None,
        request_id: Some("request".to_owned()),
        action: EventType::new(action),
        object: AuditedObject { object_type: "thing".to_owned(), object_id: uuid::Uuid::nil() },
        created_at: at(seconds),
        before: None,
        after: Some(serde_json::json!({"name": "ä \u{0} \"'"})),
    };
    Trail { entries: vec![entry], events: vec![event(of, action, seconds)] }
}

/// Something that happened in an organization.
#[must_use]
pub fn event(of: OrganizationId, event_type: &str, seconds: i64) -> NewEvent {
    let data = serde_json::json!({"text": "ä \u{0} \"'", "number": seconds});
    NewEvent {
        event_type: EventType::new(event_type),
        timestamp: at(seconds),
        organization_id: of,
        workspace_id: None,
        data: data.as_object().cloned().unwrap_or_default(),
    }
}

/// A rollout of a revision that is not stored yet, of a workspace whose delivery became staged
/// with revision 1. It has reached one agent of those that it names.
#[must_use]
pub fn rollout(of: WorkspaceId, revision: u64) -> Rollout {
    let wave = |which, members| Wave {
        which,
        soak_seconds: 7,
        state: WaveState::Converging,
        members,
        started_at: Some(at(1)),
        soaking_since: None,
        waiting_since: Some(at(1)),
        finished_at: None,
        figures: WaveFigures { new_5xx_percent: Some(0.25), ..WaveFigures::default() },
    };
    Rollout {
        id: id(),
        workspace_id: of,
        revision: RevisionNumber(revision),
        released: RevisionNumber(1),
        staged_since: RevisionNumber(1),
        message: "ä \" ;".to_owned(),
        state: RolloutState::Running,
        reason: None,
        waves: vec![
            wave(WaveAgents::AgentIds(vec![id(), id()]), Some(vec![id()])),
            wave(WaveAgents::Rest, None),
        ],
        gates: Gates {
            max_failed_applies: 1,
            max_5xx_percent: 0.1,
            min_requests: 2,
            deadline_seconds: 3,
        },
        started_by: id(),
        version: 1,
        created_at: at(1),
        updated_at: at(1),
        ended_at: None,
    }
}

/// A secret of an agent.
#[must_use]
pub fn secret(of: &AgentSpec, text: &str) -> AgentSecret {
    AgentSecret { hash: TokenHash::of(text), agent_id: of.id, expires_at: Some(at(60)) }
}

/// A try of a request, at a time; its key is held for a minute. The numbers stand for hashes.
#[must_use]
pub fn reservation(key: u8, request: u8, seconds: i64) -> Reservation {
    Reservation {
        key: KeyedHash::from_bytes([key; 32]),
        ticket: *id::<Reservation>().as_uuid(),
        request: KeyedHash::from_bytes([request; 32]),
        reserved_at: at(seconds),
        expires_at: at(seconds + 60),
    }
}

/// Stores a user.
///
/// # Panics
/// When the store refuses.
pub async fn stored_user(stores: &Stores, email: &str) -> UserId {
    let user = user(email);
    valid(stores.tenancy.commit(TenancyChange::CreateUser(user.clone()), Trail::default()).await);
    user.id
}

/// Stores an organization with a member.
///
/// # Panics
/// When the store refuses.
pub async fn stored_organization(stores: &Stores, slug: &str) -> (Organization, UserId) {
    let owner = stored_user(stores, &format!("{slug}@example.com")).await;
    let organization = organization(slug, 0);
    let change = TenancyChange::CreateOrganization { organization: organization.clone(), owner };
    valid(stores.tenancy.commit(change, Trail::default()).await);
    (organization, owner)
}

/// Stores a workspace, with all that it needs.
///
/// # Panics
/// When the store refuses.
pub async fn stored_workspace(stores: &Stores) -> (Workspace, UserId) {
    let (organization, owner) = stored_organization(stores, "acme").await;
    let workspace = workspace(organization.id, "production", 0);
    valid(
        stores
            .tenancy
            .commit(
                TenancyChange::CreateWorkspace { workspace: workspace.clone(), revision: None },
                Trail::default(),
            )
            .await,
    );
    (workspace, owner)
}

/// Introduces an agent, and answers its link and what it registers with from then on.
///
/// # Panics
/// When it is not let in.
pub async fn registered(mut link: AgentLink, token: Secret<String>) -> (AgentLink, Secret<String>) {
    let registration = Registration {
        token: token.clone(),
        hostname: "host".into(),
        ip_address: "10.0.0.1".into(),
        version: "0.1.0".into(),
        capabilities: Vec::new(),
        labels: BTreeMap::new(),
        deployment_mode: DeploymentMode::Standalone,
        config_checksum: String::new(),
        config_version: RevisionNumber(0),
        nginx_version: "1.22.1".into(),
    };
    valid(link.outgoing.send(AgentMessage::Registration(registration)).await);
    let answer = valid(tokio::time::timeout(PATIENCE, link.incoming.next()).await);
    let Some(Ok(ServerMessage::Registered(RegistrationAnswer::Accepted { credential, .. }))) =
        answer
    else {
        panic!("it was not let in: {answer:?}");
    };
    (link, credential.unwrap_or(token))
}
