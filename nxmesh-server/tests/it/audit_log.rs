use futures::TryStreamExt;
use nxmesh_core::{
    MergePatch,
    tenancy::{AuditEntry, AuditFilter, NewOrganization, OrganizationId},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::given::{Given, PASSWORD, host, server, server_on_sqlite, upstream};

async fn log(given: &Given, of: OrganizationId) -> Vec<AuditEntry> {
    let entries = given.client.audit_log().list(of, &AuditFilter::default());
    entries.try_collect().await.unwrap()
}

fn patch(value: Value) -> MergePatch {
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn every_write_says_who_what_and_when() {
    for given in [server().await, server_on_sqlite().await] {
        let workspace = given.workspace().await;
        let of = workspace.organization_id;
        let client = &given.client;
        let organizations = client.organizations();
        organizations.update(of, &patch(json!({"name": "Acme"}))).await.unwrap();
        let body = json!({"settings": {"env_vars": {"KEY": "v"}}});
        client.workspaces().update(workspace.id, &patch(body)).await.unwrap();
        let backend = client.upstreams().create(workspace.id, &upstream("api")).await.unwrap();
        let shop = client.virtual_hosts().create(workspace.id, &host("a.test", 80)).await.unwrap();
        client.virtual_hosts().update(shop.id, &patch(json!({"name": "b"}))).await.unwrap();
        client.virtual_hosts().delete(shop.id).await.unwrap();
        client.upstreams().delete(backend.id).await.unwrap();
        let token = crate::agents::token(&given, workspace.id, "web").await;
        client.agents().delete(token.agent_id).await.unwrap();
        let body = json!({"email": "stranger@example.com", "role": "viewer"});
        let members = format!("/v1/organizations/{of}/members");
        let member = given.send(Method::POST, &members, Some(body)).await;
        let member = format!("{members}/{}", member.body["user_id"].as_str().unwrap());
        given.send(Method::PATCH, &member, Some(json!({"role": "admin"}))).await;
        given.send(Method::DELETE, &member, None).await;
        let body = json!({"name": "ci", "role": "viewer", "organization_id": of});
        let key = given.send(Method::POST, "/v1/api-keys", Some(body)).await;
        let key = format!("/v1/api-keys/{}", key.body["id"].as_str().unwrap());
        given.send(Method::DELETE, &key, None).await;
        client.workspaces().delete(workspace.id).await.unwrap();

        let log = log(&given, of).await;
        let actions: Vec<_> = log.iter().map(|it| it.action.as_str()).collect();
        assert_eq!(
            actions,
            [
                "organization.created",
                "workspace.created",
                "organization.updated",
                "workspace.updated",
                "upstream.created",
                "virtual_host.created",
                "virtual_host.updated",
                "virtual_host.deleted",
                "upstream.deleted",
                "agent.created",
                "agent.deleted",
                "member.added",
                "member.updated",
                "member.removed",
                "api_key.created",
                "api_key.revoked",
                "workspace.deleted",
            ]
        );
        let me = log[0].user_id;
        assert!(log.iter().all(|it| it.user_id == me && it.organization_id == of));
        assert!(log.iter().all(|it| it.request_id.is_some() && it.api_key_id.is_none()));
        assert_eq!(log[2].before, Some(json!({"name": "Acme Corp"})));
        assert_eq!(log[2].after, Some(json!({"name": "Acme"})));
        assert_eq!(log[6].before, Some(json!({"name": "a.test"})));
        assert_eq!(log[6].workspace_id, Some(workspace.id));
        assert_eq!(log[7].after, None);
        assert_eq!(log[7].before.as_ref().unwrap()["server_name"], "a.test");
        assert_eq!(log[12].before, Some(json!({"role": "viewer"})));
    }
}

#[tokio::test]
async fn a_change_of_password_is_told_to_every_organization_of_the_user() {
    for given in [server().await, server_on_sqlite().await] {
        let of = given.workspace().await.organization_id;
        let create = async |slug: &str| {
            let new = NewOrganization { name: slug.into(), slug: slug.into() };
            given.client.organizations().create(&new).await.unwrap().id
        };
        let (other, left) = (create("other").await, create("left").await);
        let me = log(&given, left).await[0].user_id;
        let members = format!("/v1/organizations/{left}/members");
        let body = json!({"email": "stranger@example.com", "role": "owner"});
        given.send(Method::POST, &members, Some(body)).await;
        let body = json!({"current_password": PASSWORD, "new_password": "another horse"});
        let path = "/v1/auth/password";
        let wrong = json!({"current_password": "wrong horse", "new_password": "another horse"});
        assert_eq!(given.send(Method::POST, path, Some(wrong)).await.status, 422);
        let leave = given.send(Method::DELETE, &format!("{members}/{me}"), None).await;
        assert_eq!(leave.status, 204, "{}", leave.text);
        let changed = given.send(Method::POST, path, Some(body)).await;
        assert_eq!(changed.status, 204, "{}", changed.text);

        for of in [of, other] {
            let log = log(&given, of).await;
            let told: Vec<_> =
                log.iter().filter(|it| it.action.as_str() == "user.password_changed").collect();
            let [entry] = told[..] else { panic!("{log:?}") };
            assert_eq!((entry.user_id, entry.organization_id), (me, of));
            assert_eq!(entry.object.object_type, "user");
            assert_eq!(entry.object.object_id, *me.as_uuid());
            assert_eq!((&entry.before, &entry.after), (&None, &None));
            assert_eq!(entry.request_id.as_deref(), Some(changed.header("x-request-id")));
        }
        given.client.auth().login("stranger@example.com", PASSWORD).await.unwrap();
        let log = log(&given, left).await;
        assert!(log.iter().all(|it| it.object.object_type != "user"), "{log:?}");
        assert!(log.iter().any(|it| it.action.as_str() == "member.removed"));
    }
}

#[tokio::test]
async fn it_tells_the_request_and_the_api_key() {
    let given = server().await;
    let workspace = given.workspace().await;
    let of = workspace.organization_id;
    let body = json!({"name": "ci", "role": "operator", "organization_id": of});
    let key = given.send(Method::POST, "/v1/api-keys", Some(body)).await.body;
    let path = format!("/v1/workspaces/{}/upstreams", workspace.id);
    let body = json!({"name": "api", "servers": [{"address": "10.0.0.1:80"}]});
    let made = given.send_as(&Method::POST, &path, key["key"].as_str(), Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let entry = log(&given, of).await.pop().unwrap();
    assert_eq!(entry.api_key_id.unwrap().to_string(), key["id"]);
    assert_eq!(entry.request_id.as_deref(), Some(made.header("x-request-id")));

    let headers = [("x-request-id", "my-own-id")];
    let path = format!("/v1/upstreams/{}", made.body["id"].as_str().unwrap());
    given.send_with(Method::DELETE, &path, &headers, None).await;
    assert_eq!(log(&given, of).await.pop().unwrap().request_id.as_deref(), Some("my-own-id"));
}

#[tokio::test]
async fn a_write_that_changes_nothing_or_is_refused_leaves_no_entry() {
    let given = server().await;
    let workspace = given.workspace().await;
    let of = workspace.organization_id;
    let shop =
        given.client.virtual_hosts().create(workspace.id, &host("a.test", 80)).await.unwrap();
    let count = log(&given, of).await.len();
    given.client.virtual_hosts().update(shop.id, &patch(json!({}))).await.unwrap();
    let refused = given.client.virtual_hosts().create(workspace.id, &host("", 80)).await;
    refused.unwrap_err();
    assert_eq!(log(&given, of).await.len(), count);
}

#[tokio::test]
async fn it_is_listed_as_filtered() {
    let given = server().await;
    let workspace = given.workspace().await;
    let path = format!("/v1/organizations/{}/audit-log", workspace.organization_id);
    let all = given.send(Method::GET, &path, None).await.body;
    assert_eq!(all["meta"]["total"], 2);
    assert_eq!(all["data"][1]["object_type"], "workspace");
    let made_at = all["data"][1]["created_at"].as_str().unwrap();
    for (query, total) in [
        ("action=workspace.created".to_owned(), 1),
        ("action=workspace.deleted".to_owned(), 0),
        (format!("object_id={}", workspace.id), 1),
        (format!("user_id={}", all["data"][0]["user_id"].as_str().unwrap()), 2),
        (format!("user_id={}", workspace.id), 0),
        (format!("from={made_at}"), 1),
        (format!("to={made_at}"), 1),
        ("per_page=1&page=2".to_owned(), 2),
    ] {
        let found = given.send(Method::GET, &format!("{path}?{query}"), None).await.body;
        assert_eq!(found["meta"]["total"], total, "{query}: {found}");
    }
    for (query, field) in [
        ("user_id=me", "user_id"),
        ("object_id=x", "object_id"),
        ("from=yesterday", "from"),
        ("to=1", "to"),
        ("per_page=0", "per_page"),
    ] {
        let refused = given.send(Method::GET, &format!("{path}?{query}"), None).await;
        assert_eq!(refused.refusal(), (422, "VALIDATION_ERROR", vec![field]), "{query}");
    }
}
