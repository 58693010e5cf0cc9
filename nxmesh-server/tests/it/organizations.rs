use futures::{StreamExt, TryStreamExt};
use nxmesh_core::{MergePatch, tenancy::NewOrganization};
use reqwest::Method;
use serde_json::json;

use crate::given::{server, server_on_sqlite};

#[tokio::test]
async fn an_organization_is_made_read_changed_and_removed() {
    for given in [server().await, server_on_sqlite().await] {
        let made = given
            .send(
                Method::POST,
                "/v1/organizations",
                Some(json!({"name": "Acme Corp", "slug": "acme-corp"})),
            )
            .await;
        assert_eq!(made.status, 201);
        let keys: Vec<_> = made.body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["created_at", "id", "name", "slug", "updated_at"]);
        let path = format!("/v1/organizations/{}", made.body["id"].as_str().unwrap());
        assert_eq!((made.header("location"), made.header("etag")), (path.as_str(), "\"1\""));
        let read = given.send(Method::GET, &path, None).await;
        assert_eq!((&read.body, read.header("etag")), (&made.body, "\"1\""));
        let changed =
            given.send(Method::PATCH, &path, Some(json!({"name": "Acme Corporation"}))).await;
        assert_eq!(
            (changed.status.as_u16(), &changed.body["name"], &changed.body["slug"]),
            (200, &json!("Acme Corporation"), &json!("acme-corp"))
        );
        let stale = given
            .send_with(Method::PATCH, &path, &[("if-match", "\"1\"")], Some("{}".into()))
            .await;
        assert_eq!(stale.refusal(), (412, "CONFLICT", vec![]));
        let stale = given.send_with(Method::DELETE, &path, &[("if-match", "\"1\"")], None).await;
        assert_eq!(stale.status, 412);
        let removed = given.send_with(Method::DELETE, &path, &[("if-match", "\"2\"")], None).await;
        assert_eq!(removed.status, 204);
        assert_eq!(given.send(Method::GET, &path, None).await.status, 404);
    }
}

#[tokio::test]
async fn a_slug_that_is_taken_or_malformed_names_its_field() {
    let given = server_on_sqlite().await;
    given.organization().await;
    let again = given
        .send(Method::POST, "/v1/organizations", Some(json!({"name": "x", "slug": "acme-corp"})))
        .await;
    assert_eq!(again.refusal(), (409, "CONFLICT", vec!["slug"]));
    let bad = given
        .send(Method::POST, "/v1/organizations", Some(json!({"name": " ", "slug": "Acme"})))
        .await;
    assert_eq!(bad.refusal(), (422, "VALIDATION_ERROR", vec!["name", "slug"]));
    let missing = given.send(Method::POST, "/v1/organizations", Some(json!({"name": "x"}))).await;
    assert_eq!(missing.refusal(), (422, "VALIDATION_ERROR", vec!["slug"]));
}

#[tokio::test]
async fn the_client_lists_all_pages_in_order() {
    let given = server_on_sqlite().await;
    for number in 0..230 {
        let new =
            NewOrganization { name: format!("Number {number}"), slug: format!("number-{number}") };
        given.client.organizations().create(&new).await.unwrap();
    }
    let all: Vec<_> = given.client.organizations().list().try_collect().await.unwrap();
    let slugs: Vec<_> = all.iter().map(|it| it.slug.to_string()).collect();
    assert_eq!(slugs, (0..230).map(|number| format!("number-{number}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stranger_sees_nothing() {
    let given = server_on_sqlite().await;
    let organization = given.organization().await;
    let stranger = given.stranger().await;
    assert!(stranger.organizations().get(organization.id).await.unwrap_err().is_not_found());
    let patch = MergePatch::new(json!({"name": "Mine"})).unwrap();
    assert!(
        stranger.organizations().update(organization.id, &patch).await.unwrap_err().is_not_found()
    );
    assert!(stranger.organizations().delete(organization.id).await.unwrap_err().is_not_found());
    let all: Vec<_> = stranger.organizations().list().try_collect().await.unwrap();
    assert!(all.is_empty());
}

#[tokio::test]
async fn an_organization_with_workspaces_is_not_removed() {
    let given = server_on_sqlite().await;
    let workspace = given.workspace().await;
    let error = given.client.organizations().delete(workspace.organization_id).await.unwrap_err();
    assert_eq!(error.api().unwrap().status, 409);
    given.client.workspaces().delete(workspace.id).await.unwrap();
    given.client.organizations().delete(workspace.organization_id).await.unwrap();
}

#[tokio::test]
async fn an_organization_goes_with_all_that_is_in_it_if_asked() {
    for given in [server().await, server_on_sqlite().await] {
        let workspace = given.workspace().await;
        let token = crate::agents::token(&given, workspace.id, "web").await;
        let (mut link, _) = crate::agents::dial(&given, &token.token).await;
        let path = format!("/v1/workspaces/{}", workspace.id);
        let refused = given.send(Method::DELETE, &path, None).await;
        assert_eq!(refused.refusal(), (409, "CONFLICT", vec![]));
        let organization = format!("/v1/organizations/{}", workspace.organization_id);
        let refused = given.send(Method::DELETE, &organization, None).await;
        assert_eq!(refused.refusal(), (409, "CONFLICT", vec![]));
        for query in ["?cascade=yes", "?cascade=", "?cascades=true"] {
            let refused = given.send(Method::DELETE, &format!("{organization}{query}"), None).await;
            assert_eq!(refused.status, 422, "{query}");
        }
        let whole = format!("{organization}?cascade=true");
        assert_eq!(given.send(Method::DELETE, &whole, None).await.status, 204);
        for path in [path, format!("/v1/agents/{}", token.agent_id), organization] {
            assert_eq!(given.send(Method::GET, &path, None).await.status, 404, "{path}");
        }
        // The agent is let go.
        while let Some(Ok(_)) = link.incoming.next().await {}
    }
}
