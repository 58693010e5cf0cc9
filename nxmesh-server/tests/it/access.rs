//! Who may do what, by every route.

use nxmesh_core::{
    Actor, IfMatch, MergePatch,
    gateway::{NewRegistrationToken, NewRollout, RolloutId},
    tenancy::{
        NewApiKey, NewMember, NewOrganization, NewWorkspace, OrganizationId, Permission, Role,
        WorkspaceId,
    },
};
use nxmesh_server::{Needs, Route};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::given::{EMAIL, Given, PASSWORD, host, server, upstream};

/// Whoever may come: nobody, a stranger, and somebody with each role.
struct People {
    stranger: String,
    members: Vec<(Role, String, Actor)>,
}

impl People {
    async fn make(server: &Given) -> Self {
        let auth = server.mesh.tenancy().auth();
        let login = async |email: &str| {
            let tokens = auth.login(email, PASSWORD.to_owned().into()).await.unwrap();
            tokens.access_token.expose().clone()
        };
        let stranger = login("stranger@example.com").await;
        let mut members = Vec::new();
        for role in Role::ALL {
            let email = email(role);
            if role != Role::Owner {
                let users = server.mesh.tenancy().users();
                users.create(&email, PASSWORD.to_owned().into()).await.unwrap();
            }
            let token = login(&email).await;
            let actor = auth.authenticate(&token).await.unwrap();
            members.push((role, token, actor));
        }
        Self { stranger, members }
    }

    fn owner(&self) -> &Actor {
        &self.members[3].2
    }
}

fn email(role: Role) -> String {
    if role == Role::Owner { EMAIL.to_owned() } else { format!("{role}@example.com") }
}

/// One of each, in an organization of its own; answers the path of a route with their ids.
async fn fill(
    server: &Given,
    people: &People,
    number: usize,
    route: &Route,
) -> (String, OrganizationId) {
    let (mesh, owner) = (&server.mesh, people.owner());
    let slug = format!("acme-{number}");
    let new = NewOrganization { name: "Acme".into(), slug };
    let organization = mesh.tenancy().organizations().create(owner, new).await.unwrap().id;
    for (role, _, _) in people.members.iter().filter(|it| it.0 != Role::Owner) {
        let new = NewMember { email: email(*role), role: *role };
        mesh.tenancy().members().add(owner, organization, new).await.unwrap();
    }
    let new =
        NewWorkspace { name: "Test".into(), slug: "test".into(), settings: Default::default() };
    let workspaces = mesh.tenancy().workspaces();
    let workspace = workspaces.create(owner, organization, new).await.unwrap().id;
    let gateway = mesh.gateway();
    let host = gateway.virtual_hosts().create(owner, workspace, host("a.example", 80)).await;
    let upstream = gateway.upstreams().create(owner, workspace, upstream("a")).await;
    let new = NewRegistrationToken {
        name: "agent".into(),
        labels: Default::default(),
        expires_in_hours: 1,
    };
    let agent = gateway.agents().create_token(owner, workspace, new).await.unwrap().agent_id;
    let new = NewApiKey {
        organization_id: organization,
        name: "ci".into(),
        role: Role::Viewer,
        expires_at: None,
    };
    let (key, _) = mesh.tenancy().api_keys().create(owner, new).await.unwrap();
    let id = match route.path.split('/').nth(1).unwrap() {
        "api-keys" if route.path.ends_with("{id}") => key.id.to_string(),
        "organizations" | "api-keys" => organization.to_string(),
        "workspaces" => workspace.to_string(),
        "virtual-hosts" => host.unwrap().id.to_string(),
        "upstreams" => upstream.unwrap().id.to_string(),
        "agents" => agent.to_string(),
        _ => String::new(),
    };
    let id = match route.path.starts_with("/rollouts/") {
        true => rollout(server, owner, workspace).await.to_string(),
        false => id,
    };
    let viewer = people.members[0].2.user_id().to_string();
    let path = route
        .path
        .replace("{id}", &id)
        .replace("{user_id}", &viewer)
        .replace("{n}", "1")
        .replace("{m}", "2");
    let path = match (&route.method, route.path) {
        (&Method::GET, "/api-keys") => format!("/v1{path}?organization_id={id}"),
        _ => format!("/v1{path}"),
    };
    (path, organization)
}

/// A rollout that is under way.
async fn rollout(server: &Given, owner: &Actor, workspace: WorkspaceId) -> RolloutId {
    let staged = MergePatch::new(json!({"settings": {"delivery": "staged"}})).unwrap();
    let workspaces = server.mesh.tenancy().workspaces();
    workspaces.update(owner, workspace, &staged, &IfMatch::Any).await.unwrap();
    let new = NewRollout { message: "new".into(), ..NewRollout::default() };
    server.mesh.gateway().rollouts().start(owner, workspace, new).await.unwrap().id
}

/// What can be sent to a route: whoever may use it gets past its reading.
fn body(route: &Route, organization: OrganizationId) -> Option<Value> {
    let last = route.path.rsplit('/').next().unwrap();
    match (&route.method, last) {
        (&Method::POST, "login") => Some(json!({"email": EMAIL, "password": PASSWORD})),
        (&Method::POST, "api-keys") => {
            Some(json!({"organization_id": organization, "name": "new", "role": "viewer"}))
        }
        (&Method::POST, "password") => {
            Some(json!({"current_password": PASSWORD, "new_password": PASSWORD}))
        }
        (&Method::POST, "refresh" | "logout") => Some(json!({"refresh_token": "x"})),
        (&Method::POST, "organizations" | "workspaces") => {
            Some(json!({"name": "New", "slug": "new"}))
        }
        (&Method::POST, "members") => {
            Some(json!({"email": "stranger@example.com", "role": "viewer"}))
        }
        (&Method::POST, "changes" | "preview") => {
            let change = json!({"action": "create", "type": "upstream", "body": upstream("new")});
            Some(json!({"message": "new", "changes": [change]}))
        }
        (&Method::POST, "rollouts") => Some(json!({"message": "new"})),
        (&Method::POST, "tokens") => Some(json!({"name": "new", "expires_in_hours": 1})),
        (&Method::POST, "virtual-hosts") => Some(json!(host("new.example", 80))),
        (&Method::POST, "upstreams") => Some(json!(upstream("new"))),
        (&Method::PATCH, "{user_id}") => Some(json!({"role": "viewer"})),
        (&Method::PATCH, _) => Some(json!({"name": "renamed"})),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_for_whom_its_rule_says() {
    let server = server().await;
    let people = People::make(&server).await;
    let mut number = 0;
    for route in nxmesh_server::routes() {
        let mut asking = vec![(None, None), (None, Some(people.stranger.clone()))];
        asking.extend(
            people.members.iter().map(|(role, token, _)| (Some(*role), Some(token.clone()))),
        );
        for (role, token) in asking {
            number += 1;
            let (path, organization) = fill(&server, &people, number, &route).await;
            let body = body(&route, organization);
            let answer = server.send_as(&route.method, &path, token.as_deref(), body).await;
            let who =
                format!("{} {path} as {role:?}, with a token: {}", route.method, token.is_some());
            let refused = [401, 403, 404].contains(&answer.status.as_u16());
            match (route.needs, token, role) {
                (Needs::Nothing, ..) => assert_ne!(answer.status, 403, "{who}"),
                (_, None, _) => assert_eq!(answer.status, 401, "{who}"),
                (Needs::Login, Some(_), _) => assert!(!refused, "{who}: {}", answer.body),
                (Needs::Permission(_), Some(_), None) => {
                    assert_eq!(answer.status, 404, "{who}: {}", answer.body);
                }
                (Needs::Permission(permission), Some(_), Some(role)) => {
                    let may = role >= permission.least_role() || may_leave(&route, role);
                    match may {
                        true => assert!(!refused, "{who}: {}", answer.body),
                        false => assert_eq!(answer.refusal(), (403, "FORBIDDEN", vec![]), "{who}"),
                    }
                }
            }
        }
    }
    assert!(number > 150, "the table has lost routes");
}

/// Anybody may remove themselves from an organization, and the test asks for the viewer.
fn may_leave(route: &Route, role: Role) -> bool {
    let own = route.path.ends_with("{user_id}") && role == Role::Viewer;
    own && (route.method == Method::DELETE || route.method == Method::PATCH)
}

#[tokio::test]
async fn a_refusal_says_which_role_it_needs() {
    let server = server().await;
    let people = People::make(&server).await;
    let route = nxmesh_server::routes().into_iter().find(|it| it.path == "/organizations/{id}");
    let (path, _) = fill(&server, &people, 1, &route.unwrap()).await;
    let viewer = &people.members[0].1;
    let answer = server.send_as(&Method::DELETE, &path, Some(viewer), None).await;
    assert_eq!(answer.status, 403);
    let message = answer.body["error"]["message"].as_str().unwrap();
    assert_eq!(message, "this needs the role owner, and you have the role viewer here");
}

#[tokio::test]
async fn members_are_added_changed_and_removed_and_an_owner_stays() {
    let server = server().await;
    let organization = server.organization().await;
    let members = server.client.members();
    let all = || async {
        let path = format!("/v1/organizations/{}/members", organization.id);
        let answer = server.send(Method::GET, &path, None).await;
        let data = answer.body["data"].as_array().unwrap().clone();
        data.iter().map(|it| (it["email"].clone(), it["role"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(all().await, [(json!(EMAIL), json!("owner"))]);
    let new = NewMember { email: "STRANGER@example.com".into(), role: Role::Operator };
    let added = members.add(organization.id, &new).await.unwrap();
    assert_eq!(added.email.as_str(), "stranger@example.com");
    assert_eq!(all().await.len(), 2);
    let path = format!("/v1/organizations/{}/members", organization.id);
    let again = server.send(Method::POST, &path, Some(json!(new))).await;
    assert_eq!(again.refusal(), (409, "CONFLICT", vec![]));
    let nobody = json!({"email": "nobody@example.com", "role": "viewer"});
    let refused = server.send(Method::POST, &path, Some(nobody)).await;
    assert_eq!(refused.refusal(), (422, "VALIDATION_ERROR", vec!["email"]));
    let wrong = json!({"email": "x@example.com", "role": "king"});
    let refused = server.send(Method::POST, &path, Some(wrong)).await;
    assert_eq!(refused.refusal(), (422, "VALIDATION_ERROR", vec!["role"]));

    let me = server.mesh.tenancy().auth();
    let me = me.authenticate(server.client.auth().access_token().unwrap().expose()).await.unwrap();
    for call in [Method::PATCH, Method::DELETE] {
        let path = format!("{path}/{}", me.user_id());
        let body = (call == Method::PATCH).then(|| json!({"role": "viewer"}));
        let refused = server.send(call, &path, body).await;
        assert_eq!(refused.refusal(), (409, "CONFLICT", vec![]), "the last owner stays");
    }
    members.update(organization.id, added.user_id, Role::Owner).await.unwrap();
    members.remove(organization.id, me.user_id()).await.unwrap();
    let gone = server.send(Method::GET, &path, None).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND, "who has left sees nothing any more");
    let stranger = server.stranger().await;
    assert!(stranger.organizations().get(organization.id).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_owners_that_remove_each_other_one_stays() {
    let server = server().await;
    let people = People::make(&server).await;
    let (owner, other) = (people.owner(), &people.members[2].2);
    for number in 0..20 {
        let new = NewOrganization { name: "Acme".into(), slug: format!("pair-{number}") };
        let id = server.mesh.tenancy().organizations().create(owner, new).await.unwrap().id;
        let members = server.mesh.tenancy().members();
        let new = NewMember { email: email(Role::Admin), role: Role::Owner };
        members.add(owner, id, new).await.unwrap();
        let (one, two) = tokio::join!(
            members.remove(owner, id, other.user_id()),
            members.remove(other, id, owner.user_id())
        );
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    }
}

#[tokio::test]
async fn a_viewer_cannot_raise_themselves() {
    let server = server().await;
    let people = People::make(&server).await;
    let organization = server.organization().await.id;
    let members = server.mesh.tenancy().members();
    for (role, _, actor) in people.members.iter().filter(|it| it.0 != Role::Owner) {
        let new = NewMember { email: email(*role), role: *role };
        members.add(people.owner(), organization, new).await.unwrap();
        for wanted in Role::ALL.into_iter().filter(|it| it > role) {
            let patch = nxmesh_core::tenancy::MemberPatch { role: wanted };
            let refused = members.update(actor, organization, actor.user_id(), patch).await;
            assert_eq!(refused.unwrap_err().kind(), nxmesh_core::ErrorKind::Forbidden);
        }
    }
    assert_eq!(Permission::WriteMembers.least_role(), Role::Owner);
}
