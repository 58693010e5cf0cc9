//! API keys, and what ends a login.

use nxmesh_client::Client;
use nxmesh_core::tenancy::{NewApiKey, NewMember, NewOrganization, OrganizationId, Role};
use reqwest::Method;
use serde_json::{Value, json};

use crate::given::{EMAIL, Given, PASSWORD, server, server_on_sqlite};

fn new(of: OrganizationId, role: Role) -> NewApiKey {
    NewApiKey { organization_id: of, name: "ci".into(), role, expires_at: None }
}

async fn with_key(server: &Given, of: OrganizationId, role: Role) -> (Client, String) {
    let key = server.client.api_keys().create(&new(of, role)).await.unwrap().key;
    let client = Client::builder(&server.base).api_key(key.expose()).build().unwrap();
    (client, key.expose().clone())
}

#[tokio::test]
async fn a_key_works_where_and_as_far_as_it_is_for_until_it_is_revoked() {
    let server = server_on_sqlite().await;
    let workspace = server.workspace().await;
    let organization = workspace.organization_id;
    let other = NewOrganization { name: "Other".into(), slug: "other".into() };
    let other = server.client.organizations().create(&other).await.unwrap();
    let answer =
        server.send(Method::POST, "/v1/api-keys", Some(json!(new(organization, Role::Viewer))));
    let answer = answer.await;
    assert_eq!(answer.status, 201);
    assert!(answer.body["key"].as_str().unwrap().starts_with("nxmesh_key_"));
    assert_eq!(
        answer.header("location"),
        format!("/v1/api-keys/{}", answer.body["id"].as_str().unwrap())
    );
    let (client, text) = with_key(&server, organization, Role::Viewer).await;
    assert_eq!(client.organizations().get(organization).await.unwrap().id, organization);
    assert_eq!(client.workspaces().get(workspace.id).await.unwrap().id, workspace.id);
    let list = server.send_as(&Method::GET, "/v1/organizations", Some(&text), None).await;
    assert_eq!(list.body["meta"]["total"], 1, "it sees the one it belongs to");
    let elsewhere = client.organizations().get(other.id).await.unwrap_err();
    assert_eq!(elsewhere.api().unwrap().code, "NOT_FOUND");
    let upstream = crate::given::upstream("api");
    let refused = client.upstreams().create(workspace.id, &upstream).await.unwrap_err();
    assert_eq!(refused.api().unwrap().code, "FORBIDDEN");
    let (operator, _) = with_key(&server, organization, Role::Operator).await;
    operator.upstreams().create(workspace.id, &upstream).await.unwrap();

    let path = format!("/v1/api-keys?organization_id={organization}");
    let keys = server.send(Method::GET, &path, None).await.body;
    assert_eq!(keys["meta"]["total"], 3);
    assert!(!keys.to_string().contains("nxmesh_key_"), "a key is shown once");
    let id = keys["data"][1]["id"].as_str().unwrap();
    let path = format!("/v1/api-keys/{id}");
    assert_eq!(server.send(Method::DELETE, &path, None).await.status, 204);
    assert_eq!(server.send(Method::DELETE, &path, None).await.status, 404);
    let gone = client.organizations().get(organization).await.unwrap_err();
    assert_eq!(gone.api().unwrap().status, 401);
}

#[tokio::test]
async fn a_key_is_worth_no_more_than_its_maker() {
    let server = server().await;
    let organization = server.organization().await.id;
    let member = NewMember { email: "stranger@example.com".into(), role: Role::Operator };
    let member = server.client.members().add(organization, &member).await.unwrap();
    let maker = server.stranger().await;
    let refused = maker.api_keys().create(&new(organization, Role::Admin)).await.unwrap_err();
    assert_eq!(refused.api().unwrap().code, "FORBIDDEN");
    let key = maker.api_keys().create(&new(organization, Role::Operator)).await.unwrap();
    let client = Client::builder(&server.base).api_key(key.key.expose()).build().unwrap();
    assert!(client.organizations().get(organization).await.is_ok());
    // A key makes keys, but none above itself.
    let refused = client.api_keys().create(&new(organization, Role::Owner)).await.unwrap_err();
    assert_eq!(refused.api().unwrap().code, "FORBIDDEN");
    let another = NewOrganization { name: "New".into(), slug: "new".into() };
    let refused = client.organizations().create(&another).await.unwrap_err();
    assert_eq!(refused.api().unwrap().code, "FORBIDDEN");
    let refused = client.auth().change_password(PASSWORD, "another horse").await.unwrap_err();
    assert_eq!(refused.api().unwrap().code, "FORBIDDEN");
    server.client.members().update(organization, member.user_id, Role::Viewer).await.unwrap();
    let refused = client.members().remove(organization, member.user_id).await.unwrap_err();
    assert_eq!(refused.api().unwrap().code, "FORBIDDEN", "a key is not its maker");
    server.client.members().remove(organization, member.user_id).await.unwrap();
    let gone = client.organizations().get(organization).await.unwrap_err();
    assert_eq!(gone.api().unwrap().status, 404, "it is gone with its maker");
}

#[tokio::test]
async fn bad_keys_are_refused_naming_the_field() {
    let server = server().await;
    let organization = server.organization().await.id;
    let body = |name: &str, role: &str, expires_at: Value| json!({"organization_id": organization, "name": name, "role": role, "expires_at": expires_at});
    let cases = [
        (body("", "viewer", Value::Null), "name"),
        (body("ci", "king", Value::Null), "role"),
        (body("ci", "viewer", json!("2020-01-01T00:00:00Z")), "expires_at"),
        (body("ci", "viewer", json!("soon")), "expires_at"),
        (json!({"name": "ci", "role": "viewer"}), "organization_id"),
    ];
    for (body, field) in cases {
        let answer = server.send(Method::POST, "/v1/api-keys", Some(body)).await;
        assert_eq!(answer.refusal(), (422, "VALIDATION_ERROR", vec![field]));
    }
    let answer = server.send(Method::GET, "/v1/api-keys", None).await;
    assert_eq!(answer.refusal(), (422, "VALIDATION_ERROR", vec!["organization_id"]));
    let unknown = format!("Bearer nxmesh_key_{}", "x".repeat(43));
    let answer = server.send_bare(Method::GET, "/v1/organizations", Some(&unknown)).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn a_logout_ends_the_login_and_no_other() {
    let server = server().await;
    let login = async || {
        let body = json!({"email": EMAIL, "password": PASSWORD});
        server.send(Method::POST, "/v1/auth/login", Some(body)).await.body
    };
    let refresh = async |token: &Value| {
        let body = json!({"refresh_token": token});
        server.send(Method::POST, "/v1/auth/refresh", Some(body)).await
    };
    let (one, other) = (login().await, login().await);
    let rotated = refresh(&one["refresh_token"]).await.body;
    let body = json!({"refresh_token": rotated["refresh_token"]});
    let logout = || server.send(Method::POST, "/v1/auth/logout", Some(body.clone()));
    assert_eq!(logout().await.status, 204);
    assert_eq!(logout().await.status, 204, "once more is fine");
    assert_eq!(refresh(&rotated["refresh_token"]).await.status, 401);
    assert_eq!(refresh(&other["refresh_token"]).await.status, 200);
    server.client.auth().logout().await.unwrap();
    let refused = server.client.organizations().page(Default::default()).await.unwrap_err();
    assert_eq!(refused.api().unwrap().status, 401);
}

#[tokio::test]
async fn a_password_is_changed_by_whoever_knows_it() {
    let server = server().await;
    let auth = server.client.auth();
    let refused = auth.change_password("wrong horse", "another horse").await.unwrap_err();
    assert_eq!(refused.api().unwrap().details[0].field, "current_password");
    let refused = auth.change_password(PASSWORD, "short").await.unwrap_err();
    assert_eq!(refused.api().unwrap().details[0].field, "new_password");
    auth.change_password(PASSWORD, "another horse").await.unwrap();
    assert!(auth.refresh().await.is_err(), "the login has ended");
    assert!(auth.login(EMAIL, PASSWORD).await.is_err());
    auth.login(EMAIL, "another horse").await.unwrap();
}

#[tokio::test]
async fn access_tokens_can_be_checked_by_anybody_with_the_published_key() {
    let server = server().await;
    let answer = server.send_bare(Method::GET, "/.well-known/jwks.json", None).await;
    assert_eq!(answer.status, 200);
    let token = server.client.auth().access_token().unwrap();
    let header = jsonwebtoken::decode_header(token.expose()).unwrap();
    let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_value(answer.body).unwrap();
    let key = keys.find(header.kid.as_deref().unwrap()).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(key).unwrap();
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    rules.set_issuer(&["nxmesh"]);
    let claims = jsonwebtoken::decode::<Value>(token.expose(), &key, &rules).unwrap().claims;
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
}
