//! What a control plane keeps at hand is never older than the last answer that anybody had,
//! also when another one on the same store gave it.

#![expect(clippy::unwrap_used, clippy::future_not_send, reason = "a test that cannot go on fails")]

use chrono::TimeDelta;
use nxmesh_core::{
    Actor, ErrorKind, IfMatch, ManualClock, MergePatch, Mesh, PageRequest, Secret,
    conformance::postgres::Database,
    gateway::{NewLocation, NewUpstream, NewVirtualHost, UpstreamServer, VirtualHostId},
    store::{Stores, memory::MemoryStore, postgres::PostgresStore, sqlite::SqliteStore},
    tenancy::{
        Cascade, MemberPatch, NewApiKey, NewMember, NewOrganization, NewWorkspace, OrganizationId,
        Role, UserId, WorkspaceId,
    },
};
use serde_json::json;

/// Two control planes on one store: what one changes, the other has read before.
struct Given {
    here: Mesh,
    there: Mesh,
    clock: ManualClock,
    owner: Actor,
    friend: UserId,
    organization: OrganizationId,
    workspace: WorkspaceId,
    host: VirtualHostId,
}

const PASSWORD: &str = "correct horse";

async fn given(stores: Stores) -> Given {
    let clock = ManualClock::new(nxmesh_core::conformance::given::at(0));
    let key = nxmesh_core::tenancy::MasterKey::generate();
    let open =
        || Mesh::builder().store(stores.clone()).clock(clock.clone()).master_key(key.clone());
    let (here, there) = (open().build().await.unwrap(), open().build().await.unwrap());
    let password = || Secret::new(PASSWORD.to_owned());
    let owner = here.tenancy().users().create("a@example.com", password()).await.unwrap().id;
    let friend = here.tenancy().users().create("b@example.com", password()).await.unwrap().id;
    let owner = Actor::user(owner);
    let new = NewOrganization { name: "Acme".into(), slug: "acme".into() };
    let organization = here.tenancy().organizations().create(&owner, new).await.unwrap().id;
    let new = NewWorkspace { name: "W".into(), slug: "w".into(), settings: Default::default() };
    let workspace = here.tenancy().workspaces().create(&owner, organization, new).await.unwrap().id;
    let new = NewMember { email: "b@example.com".into(), role: Role::Operator };
    here.tenancy().members().add(&owner, organization, new).await.unwrap();
    let location =
        NewLocation { path: "/".into(), root: Some("/srv".into()), ..NewLocation::default() };
    let new = NewVirtualHost {
        name: "first".into(),
        server_name: "a.example".into(),
        listen_port: 80,
        locations: vec![location],
        ..NewVirtualHost::default()
    };
    let host = here.gateway().virtual_hosts().create(&owner, workspace, new).await.unwrap().id;
    Given { here, there, clock, owner, friend, organization, workspace, host }
}

/// Runs on each store. Those of one process count their changes, so that answers are kept.
async fn on_each_store(test: impl AsyncFn(Given)) {
    let memory = Stores::from(MemoryStore::new());
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Stores::from(SqliteStore::open(folder.path().join("mesh.db")).await.unwrap());
    let database = Database::create().await;
    let postgres = Stores::from(PostgresStore::open(database.url()).await.unwrap());
    for (stores, counts) in [(memory, true), (sqlite, true), (postgres, false)] {
        assert_eq!(stores.tenancy.changes().is_some(), counts);
        assert_eq!(stores.gateway.changes().is_some(), counts);
        test(given(stores).await).await;
    }
}

impl Given {
    /// What the friend sees of the virtual host, at either.
    async fn names(&self, asks: &Actor) -> [Result<String, ErrorKind>; 2] {
        let name = async |mesh: &Mesh| {
            let found = mesh.gateway().virtual_hosts().get(asks, self.host).await;
            found.map(|it| it.spec.name.to_string()).map_err(|it| it.kind())
        };
        [name(&self.here).await, name(&self.there).await]
    }

    async fn rename(&self, at: &Mesh, asks: &Actor, name: &str) -> Result<(), ErrorKind> {
        let patch = MergePatch::new(json!({"name": name})).unwrap();
        let hosts = at.gateway().virtual_hosts();
        hosts
            .update(asks, self.host, &patch, &IfMatch::Any)
            .await
            .map(|_| ())
            .map_err(|it| it.kind())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_object_is_read_as_it_is_now() {
    on_each_store(async |given| {
        let friend = Actor::user(given.friend);
        for round in 0..20 {
            let name = format!("round {round}");
            let by = if round % 2 == 0 { &given.here } else { &given.there };
            // On a store of several servers a change may meet one that it has not heard of.
            while let Err(kind) = given.rename(by, &friend, &name).await {
                assert_eq!(kind, ErrorKind::Unavailable);
            }
            assert_eq!(given.names(&friend).await, [Ok(name.clone()), Ok(name.clone())]);
            for mesh in [&given.here, &given.there] {
                let hosts = mesh.gateway().virtual_hosts();
                let page =
                    hosts.list(&friend, given.workspace, PageRequest::default()).await.unwrap();
                assert_eq!(page.data[0].spec.name.to_string(), name);
            }
        }
        let hosts = given.there.gateway().virtual_hosts();
        hosts.delete(&friend, given.host, &IfMatch::Any).await.unwrap();
        assert_eq!(
            given.names(&friend).await,
            [Err(ErrorKind::NotFound), Err(ErrorKind::NotFound)]
        );
        let page = given.here.gateway().virtual_hosts();
        let page = page.list(&friend, given.workspace, PageRequest::default()).await.unwrap();
        assert_eq!((page.data.len(), page.meta.total), (0, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_is_read_as_it_is_now() {
    on_each_store(async |given| {
        let new = NewUpstream {
            name: "first".into(),
            algorithm: Default::default(),
            servers: vec![UpstreamServer::at("10.0.0.1:80")],
            health_check: None,
            keepalive_connections: 32,
        };
        let (here, there) = (given.here.gateway().upstreams(), given.there.gateway().upstreams());
        let id = here.create(&given.owner, given.workspace, new).await.unwrap().id;
        for name in ["second", "third"] {
            there.get(&given.owner, id).await.unwrap();
            there.list(&given.owner, given.workspace, PageRequest::default()).await.unwrap();
            let patch = MergePatch::new(json!({"name": name})).unwrap();
            here.update(&given.owner, id, &patch, &IfMatch::Any).await.unwrap();
            let found = there.get(&given.owner, id).await.unwrap();
            assert_eq!(found.spec.name.to_string(), name);
            let all =
                there.list(&given.owner, given.workspace, PageRequest::default()).await.unwrap();
            assert_eq!(all.data, [found]);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_was_taken_away_refuses_the_next_call() {
    on_each_store(async |given| {
        let friend = Actor::user(given.friend);
        let known = [Ok("first".to_owned()), Ok("first".to_owned())];
        let members = given.there.tenancy().members();
        assert_eq!(given.names(&friend).await, known);
        let lesser = MemberPatch { role: Role::Viewer };
        members.update(&given.owner, given.organization, given.friend, lesser).await.unwrap();
        assert_eq!(given.rename(&given.here, &friend, "x").await, Err(ErrorKind::Forbidden));
        assert_eq!(given.names(&friend).await, known);
        members.remove(&given.owner, given.organization, given.friend).await.unwrap();
        assert_eq!(
            given.names(&friend).await,
            [Err(ErrorKind::NotFound), Err(ErrorKind::NotFound)]
        );
        let new = NewMember { email: "b@example.com".into(), role: Role::Viewer };
        members.add(&given.owner, given.organization, new).await.unwrap();
        assert_eq!(given.names(&friend).await, known, "and one that was given lets it through");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_workspace_is_not_found_with_all_that_was_in_it() {
    on_each_store(async |given| {
        let friend = Actor::user(given.friend);
        assert!(given.names(&friend).await.iter().all(Result::is_ok));
        let (here, there) = (given.here.tenancy().workspaces(), given.there.tenancy().workspaces());
        here.get(&friend, given.workspace).await.unwrap();
        there
            .delete(&given.owner, given.workspace, &IfMatch::Any, Cascade::Children)
            .await
            .unwrap();
        assert_eq!(
            given.names(&friend).await,
            [Err(ErrorKind::NotFound), Err(ErrorKind::NotFound)]
        );
        let gone = here.get(&friend, given.workspace).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
        let hosts = given.here.gateway().virtual_hosts();
        let gone = hosts.list(&friend, given.workspace, PageRequest::default()).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_workspace_is_read_as_it_is_now() {
    on_each_store(async |given| {
        let (here, there) = (given.here.tenancy().workspaces(), given.there.tenancy().workspaces());
        for name in ["second", "third"] {
            here.get(&given.owner, given.workspace).await.unwrap();
            let patch = MergePatch::new(json!({"name": name})).unwrap();
            there.update(&given.owner, given.workspace, &patch, &IfMatch::Any).await.unwrap();
            let found = here.get(&given.owner, given.workspace).await.unwrap();
            assert_eq!(found.name.to_string(), name);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_that_was_revoked_lets_nobody_in() {
    on_each_store(async |given| {
        let new = NewApiKey {
            organization_id: given.organization,
            name: "robot".into(),
            role: Role::Viewer,
            expires_at: Some(nxmesh_core::conformance::given::at(60)),
        };
        let keys = given.there.tenancy().api_keys();
        let (key, text) = keys.create(&given.owner, new.clone()).await.unwrap();
        let auth = given.here.tenancy().auth();
        for _ in 0..2 {
            let robot = auth.authenticate(text.expose()).await.unwrap();
            assert_eq!(robot.api_key(), Some(key.id));
        }
        keys.revoke(&given.owner, key.id).await.unwrap();
        let refused = auth.authenticate(text.expose()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
        let (_, text) = keys.create(&given.owner, new).await.unwrap();
        auth.authenticate(text.expose()).await.unwrap();
        given.clock.advance(TimeDelta::seconds(60));
        let refused = auth.authenticate(text.expose()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unauthenticated, "and one whose time is over");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_that_is_known_ends_when_its_time_is_over() {
    on_each_store(async |given| {
        let auth = given.here.tenancy().auth();
        let password = Secret::new(PASSWORD.to_owned());
        let token = auth.login("b@example.com", password).await.unwrap().access_token;
        for _ in 0..2 {
            assert_eq!(auth.authenticate(token.expose()).await.unwrap().user_id(), given.friend);
        }
        let forged = format!("{}x", token.expose());
        assert!(auth.authenticate(&forged).await.is_err());
        given.clock.advance(TimeDelta::seconds(3599));
        auth.authenticate(token.expose()).await.unwrap();
        given.clock.advance(TimeDelta::seconds(1));
        let refused = auth.authenticate(token.expose()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
    })
    .await;
}
