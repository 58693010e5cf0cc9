use reqwest::Method;
use serde_json::json;

use crate::given::{server, server_on_sqlite};

#[tokio::test]
async fn a_workspace_is_made_read_changed_and_removed() {
    for given in [server().await, server_on_sqlite().await] {
        let organization = given.organization().await.id;
        let list = format!("/v1/organizations/{organization}/workspaces");
        let made = given
            .send(Method::POST, &list, Some(json!({"name": "Staging", "slug": "staging"})))
            .await;
        assert_eq!(made.status, 201);
        let path = format!("/v1/workspaces/{}", made.body["id"].as_str().unwrap());
        assert_eq!(made.header("location"), path);
        let settings = json!({
            "nginx_directives": {"gzip": "on"}, "env_vars": {"A": "b"}, "on_refusal": "strict",
            "delivery": "immediate",
        });
        let changed = given.send(Method::PATCH, &path, Some(json!({"settings": settings}))).await;
        assert_eq!((changed.status.as_u16(), &changed.body["settings"]), (200, &settings));
        let cleared = given
            .send(Method::PATCH, &path, Some(json!({"settings": {"env_vars": {"A": null}}})))
            .await;
        assert_eq!(
            cleared.body["settings"],
            json!({
                "nginx_directives": {"gzip": "on"}, "env_vars": {}, "on_refusal": "strict",
                "delivery": "immediate",
            })
        );
        let page = given.send(Method::GET, &list, None).await;
        assert_eq!(page.body["meta"], json!({"page": 1, "per_page": 20, "total": 1}));
        assert_eq!(page.body["data"], json!([cleared.body]));
        assert_eq!(given.send(Method::DELETE, &path, None).await.status, 204);
        assert_eq!(given.send(Method::GET, &path, None).await.status, 404);
    }
}

#[tokio::test]
async fn settings_are_refused_by_name() {
    let given = server().await;
    let workspace = given.workspace().await.id;
    let settings = json!({"nginx_directives": {"load_module": "x.so", "gzip": "on;"}, "env_vars": {"LD_PRELOAD": "x", "1": "x", "A": "b\nc"}});
    let answer = given
        .send(
            Method::PATCH,
            &format!("/v1/workspaces/{workspace}"),
            Some(json!({"settings": settings})),
        )
        .await;
    let fields = vec![
        "settings.nginx_directives.gzip",
        "settings.nginx_directives.load_module",
        "settings.env_vars.1",
        "settings.env_vars.A",
        "settings.env_vars.LD_PRELOAD",
    ];
    assert_eq!(answer.refusal(), (422, "VALIDATION_ERROR", fields));
}

#[tokio::test]
async fn a_stranger_sees_nothing() {
    let given = server_on_sqlite().await;
    let workspace = given.workspace().await;
    let stranger = given.stranger().await;
    assert!(stranger.workspaces().get(workspace.id).await.unwrap_err().is_not_found());
    assert!(stranger.workspaces().delete(workspace.id).await.unwrap_err().is_not_found());
    let page = stranger.workspaces().page(workspace.organization_id, Default::default()).await;
    assert!(page.unwrap_err().is_not_found());
}
