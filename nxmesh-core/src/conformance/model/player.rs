#![expect(clippy::wildcard_enum_match_arm, reason = "only some changes leave something to learn")]

use std::{num::NonZeroU64, sync::Arc};

use chrono::{DateTime, Utc};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use uuid::Uuid;

use super::moves::{Change, Read};
use crate::{
    Id, PageRequest, Reservation, Revision, RevisionNumber, TokenHash, Trail,
    conformance::given,
    events::EventType,
    gateway::{
        AgentCommand, AgentFilter, AgentSecret, AgentSpec, AgentState, AgentStatus, CommandId,
        CommandOutcome, GatewayChange, GatewayWrite, LabelSelector, SessionId, UpstreamId,
        VirtualHostId, link::CommandAction,
    },
    tenancy::{
        ApiKey, ApiKeyId, AuditFilter, Cascade, Email, MasterKey, Organization, PasswordHash,
        RefreshToken, Role, Sealed, SealedSigningKey, Settings, Slug, TenancyChange, UserId,
        Workspace,
    },
};

/// How many of a kind are tried at most: few, so that they meet.
const SLUGS: u64 = 12;

/// Who makes the changes up, and remembers what may be there.
pub(super) struct Player {
    random: StdRng,
    users: Vec<UserId>,
    organizations: Vec<Organization>,
    workspaces: Vec<Known>,
    api_keys: Vec<ApiKeyId>,
    sessions: Vec<SessionId>,
    commands: Vec<CommandId>,
    refresh_tokens: Vec<TokenHash>,
    secrets: Vec<TokenHash>,
    reservations: Vec<Reservation>,
    signing_key: SealedSigningKey,
}

/// A workspace that may be there.
#[derive(Clone)]
struct Known {
    workspace: Workspace,
    head: u64,
    hosts: Vec<VirtualHostId>,
    upstreams: Vec<UpstreamId>,
    agents: Vec<AgentSpec>,
}

impl Player {
    pub(super) fn new(seed: u64) -> Self {
        let sealed = MasterKey::generate().seal("test", b"key").expect("it can be sealed");
        Self {
            random: StdRng::seed_from_u64(seed),
            users: vec![given::id()],
            organizations: vec![given::organization("unknown", 0)],
            workspaces: vec![Known::new(given::workspace(given::id(), "unknown", 0))],
            api_keys: vec![given::id()],
            sessions: vec![given::id()],
            commands: vec![given::id()],
            refresh_tokens: vec![TokenHash::of("unknown")],
            secrets: vec![TokenHash::of("unknown")],
            reservations: vec![given::reservation(0, 0, 0)],
            signing_key: SealedSigningKey { kid: "kid".to_owned(), sealed },
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random.random_range(0..end)
    }

    fn often(&mut self) -> bool {
        self.below(8) > 0
    }

    fn pick<T: Clone>(&mut self, of: impl Fn(&Self) -> &Vec<T>) -> T {
        // Mostly one of the last: those are most likely still there.
        let count = of(self).len();
        let back = self.below(count.min(6) as u64) as usize;
        let at = if self.often() { count - 1 - back } else { self.below(count as u64) as usize };
        of(self)[at].clone()
    }

    fn slug(&mut self) -> Slug {
        Slug::parse(format!("slug{}", self.below(SLUGS))).expect("it is one")
    }

    fn base(&mut self, right: u64) -> u64 {
        if self.often() { right } else { self.below(right + 2) }
    }

    fn agent(&mut self) -> AgentSpec {
        let workspace = self.pick(|it| &it.workspaces);
        match workspace.agents.last() {
            Some(_) => {
                let at = self.below(workspace.agents.len() as u64) as usize;
                workspace.agents[at].clone()
            }
            None => given::agent(workspace.workspace.id, "unknown", 0),
        }
    }

    fn trail(&mut self) -> Trail {
        let of = self.pick(|it| &it.organizations).id;
        let action = ["thing.made", "thing.gone"][self.below(2) as usize];
        given::trail(of, action, self.below(50) as i64)
    }

    fn cascade(&mut self) -> Cascade {
        if self.often() { Cascade::Refuse } else { Cascade::Children }
    }

    fn status(&mut self) -> AgentStatus {
        AgentStatus {
            connected: self.often(),
            last_seen_at: Some(given::at(self.below(100) as i64)),
            hostname: format!("höst{}", self.below(9)),
            ..AgentStatus::default()
        }
    }

    pub(super) fn change(&mut self) -> Change {
        match self.below(22) {
            0 if self.below(20) == 0 => {
                Change::DropTrail(self.below(20) as i64, 40 + self.below(100))
            }
            0..=5 => self.tenancy(),
            // Now and then, so that histories grow in between; each is read whole.
            20 if self.below(3) == 0 => {
                let keep = NonZeroU64::MIN.saturating_add(self.below(8));
                Change::DropRevisions(self.pick(|it| &it.workspaces).workspace.id, keep)
            }
            6..=13 | 20 => self.gateway(),
            14 => {
                let agent = self.agent();
                match self.below(2) {
                    0 => Change::AddSecret(self.secret(&agent)),
                    _ => Change::KeepSecret(agent.id, self.pick(|it| &it.secrets)),
                }
            }
            15 => {
                let session = given::id();
                Change::OpenSession(self.agent().id, session, self.status())
            }
            16 => Change::Record(self.agent().id, self.pick(|it| &it.sessions), self.status()),
            17 | 18 => {
                let agent_id = self.agent().id;
                match self.below(4) {
                    0 => Change::TakeCommands(agent_id),
                    1 => {
                        let message = "ü".repeat(self.below(9) as usize);
                        let outcome = CommandOutcome::Answered { success: true, message };
                        Change::Answer(self.pick(|it| &it.commands), outcome)
                    }
                    _ => {
                        let action = CommandAction::Reload { graceful: self.often() };
                        Change::AddCommand(AgentCommand { id: given::id(), agent_id, action })
                    }
                }
            }
            19 => self.request(),
            _ => {
                let name = format!("lease{}", self.below(3));
                let holder = Uuid::from_u128(self.below(3).into());
                match self.below(4) {
                    0 => Change::DropExpired(self.below(60) as i64),
                    1 => Change::ReturnLease(name, holder),
                    _ => Change::TakeLease(name, holder),
                }
            }
        }
    }

    fn request(&mut self) -> Change {
        let Reservation { key, ticket, .. } = self.pick(|it| &it.reservations);
        match self.below(6) {
            0 => Change::Release(key, ticket),
            1 | 2 => {
                let answer = vec![0xff; self.below(9) as usize];
                Change::Complete(key, ticket, Sealed::from_bytes(answer))
            }
            _ => {
                let (key, request) = (self.below(6) as u8, self.below(3) as u8);
                Change::Reserve(given::reservation(key, request, self.below(100) as i64))
            }
        }
    }

    fn tenancy(&mut self) -> Change {
        let seconds = self.below(50) as i64;
        let change = match self.below(16) {
            0 | 1 => {
                let user = given::user(&format!("User{}@example.com", self.below(20)));
                match self.below(4) {
                    0 => TenancyChange::CreateFirstUser(user),
                    _ => TenancyChange::CreateUser(user),
                }
            }
            2 | 3 => {
                let organization = given::organization(self.slug().as_str(), seconds);
                TenancyChange::CreateOrganization { organization, owner: self.pick(|it| &it.users) }
            }
            4 => {
                let known = self.pick(|it| &it.organizations);
                let base = self.base(known.version);
                let slug = self.slug();
                let organization = Organization { slug, version: base + 1, ..known };
                TenancyChange::UpdateOrganization { organization, base }
            }
            5 => {
                let known = self.pick(|it| &it.organizations);
                TenancyChange::DeleteOrganization {
                    id: known.id,
                    base: self.base(known.version),
                    cascade: self.cascade(),
                }
            }
            6 => {
                let known = self.pick(|it| &it.organizations);
                let role = Role::ALL.get(self.below(5) as usize).copied();
                TenancyChange::SetMember {
                    organization: known.id,
                    base: self.base(known.version),
                    user: self.pick(|it| &it.users),
                    role,
                }
            }
            7 | 8 => {
                let of = self.pick(|it| &it.organizations).id;
                let slug = self.slug();
                let mut workspace = given::workspace(of, slug.as_str(), seconds);
                let first = given::step(workspace.id, RevisionNumber(1), Vec::new()).revision;
                let revision = self.often().then_some(first);
                if let Some(revision) = &revision {
                    workspace.settings = self.settings();
                    workspace.revision = revision.number;
                }
                TenancyChange::CreateWorkspace { workspace, revision }
            }
            9 | 10 => self.update_workspace(),
            11 if self.often() => TenancyChange::CreateSigningKey {
                key: self.signing_key.clone(),
                now: given::at(seconds),
            },
            11 => {
                let known = self.pick(|it| &it.workspaces).workspace;
                let base = RevisionNumber(self.base(known.revision.0));
                TenancyChange::DeleteWorkspace { id: known.id, base, cascade: self.cascade() }
            }
            12 if self.often() => self.api_key(seconds),
            12 => TenancyChange::RevokeFamily(Uuid::from_u128(self.below(6).into())),
            13 => {
                let used = self.pick(|it| &it.refresh_tokens);
                TenancyChange::RotateRefreshToken { used, next: self.refresh_token() }
            }
            _ => TenancyChange::AddRefreshToken(self.refresh_token()),
        };
        let trail = match change.leaves_trail() {
            true => self.trail(),
            false => Trail::default(),
        };
        Change::Tenancy(Box::new(change), trail)
    }

    fn api_key(&mut self, seconds: i64) -> TenancyChange {
        match self.below(6) {
            0 => TenancyChange::DeleteApiKey(self.pick(|it| &it.api_keys)),
            1 => {
                let password = PasswordHash::from_stored(format!("${}", self.below(9)));
                TenancyChange::SetPassword { user: self.pick(|it| &it.users), password }
            }
            _ => {
                let of = self.pick(|it| &it.organizations).id;
                let maker = self.pick(|it| &it.users);
                let expires_at = (self.below(2) == 0).then(|| given::at(seconds + 10));
                let key = ApiKey { expires_at, ..given::api_key(of, maker, "key", seconds) };
                let hash = TokenHash::of(&key.id.to_string());
                TenancyChange::CreateApiKey { key, hash }
            }
        }
    }

    fn update_workspace(&mut self) -> TenancyChange {
        let known = self.pick(|it| &it.workspaces);
        let base = RevisionNumber(self.base(known.head));
        let number = base.next();
        let (settings, slug) = (self.settings(), self.slug());
        let workspace = Workspace { slug, settings, revision: number, ..known.workspace };
        let revision = Revision {
            workspace_id: workspace.id,
            number,
            author: given::id(),
            reason: "update".to_owned(),
            created_at: given::at(0),
        };
        TenancyChange::UpdateWorkspace { workspace, base, revision }
    }

    fn settings(&mut self) -> Settings {
        let settings = serde_json::json!({"env_vars": {"A": self.below(9).to_string()}});
        serde_json::from_value(settings).expect("they are valid")
    }

    fn refresh_token(&mut self) -> RefreshToken {
        let user_id = self.pick(|it| &it.users);
        RefreshToken {
            hash: TokenHash::of(&given::id::<RefreshToken>().to_string()),
            family: Uuid::from_u128(self.below(6).into()),
            user_id,
            expires_at: given::at(self.below(60) as i64),
            used: false,
        }
    }

    fn secret(&mut self, of: &AgentSpec) -> AgentSecret {
        let text = given::id::<AgentSecret>().to_string();
        let expires_at = self.often().then(|| given::at(self.below(60) as i64));
        AgentSecret { expires_at, ..given::secret(of, &text) }
    }

    fn gateway(&mut self) -> Change {
        let mut known = self.pick(|it| &it.workspaces);
        let id = known.workspace.id;
        let base = self.base(known.head);
        let mut steps = Vec::new();
        for number in 0..=self.below(3) {
            let mut secret = None;
            // Mostly single changes, now and then a set of many.
            let count = if self.below(32) == 0 { self.below(40) } else { self.below(4) };
            let writes = (0..count).map(|_| self.write(&mut known)).collect::<Vec<_>>();
            let put = writes.iter().rev().find_map(|it| match it {
                GatewayWrite::PutAgent(agent) => Some(Arc::clone(agent)),
                _ => None,
            });
            if let Some(agent) = put.filter(|it| known.agents.iter().any(|other| other.id == it.id))
            {
                secret = self.often().then(|| self.secret(&agent));
            }
            let mut step = given::step(id, RevisionNumber(base + number + 1), writes);
            step.secret = secret;
            step.trail = self.trail();
            steps.push(step);
        }
        let base = RevisionNumber(base);
        Change::Gateway(Box::new(GatewayChange { workspace_id: id, base, steps }))
    }

    fn write(&mut self, known: &mut Known) -> GatewayWrite {
        let of = known.workspace.id;
        let name = format!("name{}", self.below(1000));
        let again = self.below(2) == 0;
        match self.below(6) {
            0 | 1 => {
                let mut host = given::virtual_host(of, &name, 0);
                match known.hosts.last().filter(|_| again) {
                    Some(id) => host.id = *id,
                    None => known.hosts.push(host.id),
                }
                host.created_at = made_at(host.id);
                GatewayWrite::PutVirtualHost(Arc::new(host))
            }
            2 => {
                let mut upstream = given::upstream(of, &name, 0);
                match known.upstreams.last().filter(|_| again) {
                    Some(id) => upstream.id = *id,
                    None => known.upstreams.push(upstream.id),
                }
                upstream.created_at = made_at(upstream.id);
                GatewayWrite::PutUpstream(Arc::new(upstream))
            }
            3 => {
                let mut agent = given::agent(of, &name, 0);
                match known.agents.last().filter(|_| again) {
                    Some(there) => agent.id = there.id,
                    None => known.agents.push(agent.clone()),
                }
                agent.created_at = made_at(agent.id);
                GatewayWrite::PutAgent(Arc::new(agent))
            }
            // An id is not used again once it was removed.
            4 => GatewayWrite::DeleteVirtualHost(known.hosts.pop().unwrap_or_else(given::id)),
            _ => match self.below(4) {
                1 => GatewayWrite::PutSettings(Arc::new(self.settings())),
                0 => {
                    let gone = known.agents.pop().map(|it| it.id);
                    GatewayWrite::DeleteAgent(gone.unwrap_or_else(given::id))
                }
                _ => GatewayWrite::DeleteUpstream(known.upstreams.pop().unwrap_or_else(given::id)),
            },
        }
    }

    /// Remembers what a change made.
    pub(super) fn learn(&mut self, change: &Change, done: bool) {
        match change {
            Change::OpenSession(_, session, _) => self.sessions.push(*session),
            Change::AddCommand(command) => self.commands.push(command.id),
            Change::AddSecret(secret) => self.secrets.push(secret.hash),
            Change::Reserve(reservation) => self.reservations.push(reservation.clone()),
            Change::Tenancy(change, _) if done => self.learn_tenancy(change),
            Change::Gateway(change) if done => self.learn_gateway(change),
            _ => {}
        }
    }

    fn learn_tenancy(&mut self, change: &TenancyChange) {
        match change {
            TenancyChange::CreateFirstUser(user) | TenancyChange::CreateUser(user) => {
                self.users.push(user.id);
            }
            TenancyChange::CreateOrganization { organization, .. } => {
                self.organizations.push(organization.clone());
            }
            TenancyChange::UpdateOrganization { organization, .. } => {
                self.organizations.retain(|it| it.id != organization.id);
                self.organizations.push(organization.clone());
            }
            TenancyChange::CreateApiKey { key, .. } => self.api_keys.push(key.id),
            TenancyChange::SetMember { organization, base, .. } => {
                for it in self.organizations.iter_mut().filter(|it| it.id == *organization) {
                    it.version = base + 1;
                }
            }
            TenancyChange::CreateWorkspace { workspace, .. } => {
                self.workspaces.push(Known::new(workspace.clone()));
            }
            TenancyChange::UpdateWorkspace { workspace, revision, .. } => {
                for it in self.workspaces.iter_mut().filter(|it| it.workspace.id == workspace.id) {
                    it.workspace = workspace.clone();
                    it.head = revision.number.0;
                }
            }
            TenancyChange::AddRefreshToken(token)
            | TenancyChange::RotateRefreshToken { next: token, .. } => {
                self.refresh_tokens.push(token.hash);
            }
            _ => {}
        }
    }

    fn learn_gateway(&mut self, change: &GatewayChange) {
        let known = self.workspaces.iter_mut().find(|it| it.workspace.id == change.workspace_id);
        let Some(known) = known else { return };
        known.head = change.head().0;
        for step in &change.steps {
            for write in &step.writes {
                known.learn(write);
            }
            if let Some(settings) = crate::store::last_settings(&step.writes) {
                known.workspace.settings = settings.clone();
                known.workspace.revision = step.revision.number;
            }
            self.secrets.extend(step.secret.iter().map(|it| it.hash));
        }
    }

    fn page(&mut self) -> PageRequest {
        PageRequest::new(1 + self.below(3), 1 + self.below(5)).expect("it is one")
    }

    pub(super) fn read(&mut self) -> Read {
        let known = self.pick(|it| &it.workspaces);
        let of = known.workspace.id;
        match self.below(17) {
            0 => Read::User(self.pick(|it| &it.users)),
            1 => {
                let email = format!("uSER{}@example.com", self.below(20));
                Read::UserByEmail(Email::parse(email).expect("it is one"))
            }
            2 => Read::Organizations(self.pick(|it| &it.users), self.page()),
            3 if self.often() => Read::Members(
                self.pick(|it| &it.organizations).id,
                self.pick(|it| &it.users),
                self.page(),
            ),
            3 => Read::Workspaces(self.pick(|it| &it.organizations).id, self.page()),
            4 if self.below(2) == 0 => {
                let of = self.pick(|it| &it.organizations).id;
                let maker = self.often().then(|| self.pick(|it| &it.users));
                Read::ApiKeys(of, maker, self.pick(|it| &it.api_keys), self.page())
            }
            4 => Read::Workspace(of, self.pick(|it| &it.users)),
            5 => Read::Heads(vec![of, self.pick(|it| &it.workspaces).workspace.id]),
            6 => Read::Snapshot(of),
            7 => Read::Writes(of, RevisionNumber(self.below(known.head + 2))),
            8 => Read::Revision(of, RevisionNumber(self.below(known.head + 2))),
            9 if self.below(2) == 0 => Read::Revisions(of, self.page()),
            9 => Read::VirtualHosts(of, self.page()),
            10 => Read::Upstreams(of, self.page()),
            11 => Read::Agents(of, self.filter(), self.page()),
            12 => {
                let host = known.hosts.last().copied().unwrap_or_else(given::id);
                let upstream = known.upstreams.last().copied().unwrap_or_else(given::id);
                Read::Objects(host, upstream, self.agent().id)
            }
            13 if self.below(2) == 0 => {
                let filter = AuditFilter {
                    action: self.often().then(|| EventType::new("thing.made")),
                    from: self.often().then(|| given::at(self.below(20) as i64)),
                    to: (!self.often()).then(|| given::at(self.below(50) as i64)),
                    ..AuditFilter::default()
                };
                Read::AuditLog(self.pick(|it| &it.organizations).id, filter, self.page())
            }
            14 if self.below(2) == 0 => Read::Events(1 + self.below(200) as usize),
            13 => Read::Secret(self.pick(|it| &it.secrets)),
            14 => Read::RefreshToken(self.pick(|it| &it.refresh_tokens)),
            15 => Read::Commands(self.pick(|it| &it.commands)),
            _ => Read::Singles,
        }
    }

    fn filter(&mut self) -> AgentFilter {
        let states = [AgentState::Pending, AgentState::Offline, AgentState::Degraded];
        let state = states.get(self.below(4) as usize).copied();
        let selector = (self.below(3) == 0).then_some("name notin (name1,name2)");
        let label_selector = selector.map(|it| LabelSelector::parse(it).expect("it is one"));
        AgentFilter { state, label_selector, alive_since: given::at(50) }
    }

    pub(super) fn everything(&mut self) -> Vec<Read> {
        let page = PageRequest::new(1, 100).expect("it is one");
        let filter = AgentFilter { state: None, label_selector: None, alive_since: given::at(50) };
        let mut reads = vec![Read::Singles, Read::Events(usize::MAX >> 1)];
        let filter_log = AuditFilter::default;
        let logs = self.organizations.iter();
        reads.extend(logs.map(|it| Read::AuditLog(it.id, filter_log(), page)));
        reads.extend(self.users.iter().map(|it| Read::User(*it)));
        reads.extend(self.users.iter().map(|it| Read::Organizations(*it, page)));
        reads.extend(self.organizations.iter().map(|it| Read::Workspaces(it.id, page)));
        reads.extend(self.secrets.iter().map(|it| Read::Secret(*it)));
        reads.extend(self.refresh_tokens.iter().map(|it| Read::RefreshToken(*it)));
        for known in &self.workspaces {
            let of = known.workspace.id;
            reads.push(Read::Snapshot(of));
            reads.push(Read::Writes(of, RevisionNumber(0)));
            reads.push(Read::Agents(of, filter.clone(), page));
        }
        reads
    }
}

/// When an object was made never changes, and several may be made at once.
fn made_at<T>(id: Id<T>) -> DateTime<Utc> {
    given::at(i64::from(id.as_uuid().as_bytes()[15] / 3))
}

impl Known {
    fn new(workspace: Workspace) -> Self {
        let (hosts, upstreams, agents) = Default::default();
        Self { workspace, head: 0, hosts, upstreams, agents }
    }

    fn learn(&mut self, write: &GatewayWrite) {
        match write {
            GatewayWrite::PutSettings(_) => {}
            GatewayWrite::PutVirtualHost(host) => {
                self.hosts.retain(|it| *it != host.id);
                self.hosts.push(host.id);
            }
            GatewayWrite::DeleteVirtualHost(id) => self.hosts.retain(|it| it != id),
            GatewayWrite::PutUpstream(upstream) => {
                self.upstreams.retain(|it| *it != upstream.id);
                self.upstreams.push(upstream.id);
            }
            GatewayWrite::DeleteUpstream(id) => self.upstreams.retain(|it| it != id),
            GatewayWrite::PutAgent(agent) => {
                self.agents.retain(|it| it.id != agent.id);
                self.agents.push(agent.as_ref().clone());
            }
            GatewayWrite::DeleteAgent(id) => self.agents.retain(|it| it.id != *id),
        }
    }
}
