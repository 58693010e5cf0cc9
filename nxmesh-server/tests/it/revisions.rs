//! What a workspace was, how it differs, and how it comes back.

use std::num::NonZeroU64;

use futures::TryStreamExt;
use nxmesh_core::{
    MergePatch, Mesh, RevisionNumber,
    gateway::{NewLocation, ObjectKind},
    store::{Stores, memory::MemoryStore},
};
use nxmesh_server::HttpSettings;
use reqwest::Method;
use serde_json::json;

use crate::given::{Given, host, served, server, server_on_sqlite, upstream};

async fn history(server: &Given) -> nxmesh_core::tenancy::WorkspaceId {
    let workspace = server.workspace().await.id;
    let hosts = server.client.virtual_hosts();
    let up = server.client.upstreams().create(workspace, &upstream("api")).await.unwrap();
    let mut new = host("shop.example", 80);
    new.locations.push(NewLocation {
        path: "/api".into(),
        upstream_id: Some(up.id.to_string()),
        ..NewLocation::default()
    });
    let made = hosts.create(workspace, &new).await.unwrap();
    let patch = MergePatch::new(json!({"server_name": "shop.example www.shop.example"})).unwrap();
    hosts.update(made.id, &patch).await.unwrap();
    hosts.delete(made.id).await.unwrap();
    server.client.upstreams().delete(up.id).await.unwrap();
    workspace
}

#[tokio::test]
async fn revisions_say_who_did_what_and_what_there_was() {
    let server = server_on_sqlite().await;
    let workspace = history(&server).await;
    let revisions = server.client.revisions();
    let all: Vec<_> = revisions.list(workspace).try_collect().await.unwrap();
    let said: Vec<_> = all.iter().map(|it| (it.number.0, it.reason.as_str())).collect();
    assert_eq!(
        said,
        [
            (1, "create upstream api"),
            (2, "create virtual host shop.example"),
            (3, "update virtual host shop.example"),
            (4, "delete virtual host shop.example"),
            (5, "delete upstream api"),
        ]
    );
    let third = revisions.get(workspace, RevisionNumber(3)).await.unwrap();
    assert_eq!((third.virtual_hosts.len(), third.upstreams.len()), (1, 1));
    assert_eq!(third.revision, all[2]);
    for path in ["revisions/0", "revisions/6", "revisions/x", "revisions/1/diff/6"] {
        let path = format!("/v1/workspaces/{workspace}/{path}");
        assert_eq!(server.send(Method::GET, &path, None).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_difference_is_shown_by_object_and_as_nginx_text() {
    let server = server().await;
    let workspace = history(&server).await;
    let revisions = server.client.revisions();
    let diff = revisions.diff(workspace, RevisionNumber(2), RevisionNumber(3)).await.unwrap();
    assert_eq!(diff.objects.len(), 1);
    let change = &diff.objects[0];
    assert_eq!(change.kind, ObjectKind::VirtualHost);
    assert_eq!(change.before.as_ref().unwrap()["server_name"], "shop.example");
    assert_eq!(change.after.as_ref().unwrap()["server_name"], "shop.example www.shop.example");
    assert_eq!(diff.files.len(), 1, "{:?}", diff.files);
    assert!(diff.files[0].path.starts_with("virtual-hosts/"));
    let text = &diff.files[0].diff;
    assert!(text.contains("-    server_name shop.example;"), "{text}");
    assert!(text.contains("+    server_name shop.example www.shop.example;"), "{text}");
    let from_nothing =
        revisions.diff(workspace, RevisionNumber(0), RevisionNumber(3)).await.unwrap();
    assert!(from_nothing.objects.iter().all(|it| it.before.is_none() && it.after.is_some()));
    let back = revisions.diff(workspace, RevisionNumber(3), RevisionNumber(0)).await.unwrap();
    assert!(back.objects.iter().all(|it| it.before.is_some() && it.after.is_none()));
    let same = revisions.diff(workspace, RevisionNumber(3), RevisionNumber(3)).await.unwrap();
    assert_eq!((same.objects.len(), same.files.len()), (0, 0));
}

#[tokio::test]
async fn a_restored_revision_is_a_new_one() {
    let server = server_on_sqlite().await;
    let workspace = history(&server).await;
    let revisions = server.client.revisions();
    let then = revisions.get(workspace, RevisionNumber(3)).await.unwrap();
    let restored = revisions.restore(workspace, RevisionNumber(3)).await.unwrap();
    assert_eq!((restored.number.0, restored.reason.as_str()), (6, "restore revision 3"));
    let now = revisions.get(workspace, RevisionNumber(6)).await.unwrap();
    let specs = |it: &nxmesh_core::gateway::RevisionState| {
        let hosts: Vec<_> = it.virtual_hosts.iter().map(|it| it.spec.clone()).collect();
        let upstreams: Vec<_> = it.upstreams.iter().map(|it| it.spec.clone()).collect();
        (hosts, upstreams)
    };
    assert_eq!(specs(&now), specs(&then));
    let kept = server.client.virtual_hosts().get(then.virtual_hosts[0].id).await.unwrap();
    assert_eq!(kept.revision.0, 6);
    let again = revisions.restore(workspace, RevisionNumber(3)).await.unwrap();
    assert_eq!(again.number.0, 6, "nothing is left to do");
    let emptied = revisions.restore(workspace, RevisionNumber(5)).await.unwrap();
    assert_eq!(emptied.number.0, 7);
    assert!(server.client.virtual_hosts().get(kept.id).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn settings_are_part_of_the_history_and_come_back() {
    for server in [server().await, server_on_sqlite().await] {
        let of = server.organization().await.id;
        let path = format!("/v1/organizations/{of}/workspaces");
        let settings = json!({
            "nginx_directives": {"client_max_body_size": "7m"}, "env_vars": {},
            "on_refusal": "strict", "delivery": "immediate",
        });
        let body = json!({"name": "Test", "slug": "test", "settings": settings});
        let made = server.send(Method::POST, &path, Some(body)).await;
        assert_eq!((made.status.as_u16(), &made.body["revision"]), (201, &json!(1)));
        let workspace = format!("/v1/workspaces/{}", made.body["id"].as_str().unwrap());
        let first = server.send(Method::GET, &format!("{workspace}/revisions/1"), None).await;
        assert_eq!(first.body["settings"], settings, "{}", first.text);
        assert_eq!(first.body["reason"], "create workspace");
        let diff = server.send(Method::GET, &format!("{workspace}/revisions/0/diff/1"), None).await;
        assert_eq!(diff.body["objects"][0]["type"], "settings");
        assert_eq!(diff.body["objects"][0]["after"], settings);
        assert!(diff.text.contains("+    client_max_body_size 7m;"), "{}", diff.text);

        let members = format!("/v1/organizations/{of}/members");
        let body = json!({"email": "stranger@example.com", "role": "operator"});
        assert_eq!(server.send(Method::POST, &members, Some(body)).await.status, 201);
        let body = json!({"settings": {"nginx_directives": null}});
        assert_eq!(server.send(Method::PATCH, &workspace, Some(body)).await.status, 200);
        let restore = format!("{workspace}/revisions/1/restore");
        let token = server.stranger().await.auth().access_token().unwrap();
        let refused = server.send_as(&Method::POST, &restore, Some(token.expose()), None).await;
        assert_eq!(refused.refusal(), (403, "FORBIDDEN", vec![]));
        let message = refused.body["error"]["message"].as_str().unwrap();
        assert!(message.contains("the settings were others at revision 1"), "{message}");
        let restored = server.send(Method::POST, &restore, None).await;
        assert_eq!(restored.body["number"], 3, "{}", restored.text);
        let now = server.send(Method::GET, &workspace, None).await;
        assert_eq!((&now.body["settings"], &now.body["revision"]), (&settings, &json!(3)));
        assert_eq!(now.header("etag"), "\"3\"");
    }
}

#[tokio::test]
async fn a_revision_that_is_no_longer_kept_is_told_as_that() {
    let stores = Stores::from(MemoryStore::new());
    let mesh = Mesh::builder().store(stores.clone()).build().await.unwrap();
    let server = served(mesh, None, HttpSettings::default()).await;
    let workspace = history(&server).await;
    let keep = NonZeroU64::new(2).unwrap();
    assert_eq!(stores.gateway.drop_revisions(workspace, keep).await.unwrap(), 3);
    let of = format!("/v1/workspaces/{workspace}/revisions");
    let list = server.send(Method::GET, &of, None).await;
    assert_eq!(
        (&list.body["data"][0]["number"], &list.body["meta"]["total"]),
        (&json!(4), &json!(2))
    );
    let gone = [
        (Method::GET, "1"),
        (Method::GET, "3"),
        (Method::GET, "3/diff/4"),
        (Method::GET, "4/diff/3"),
        (Method::POST, "3/restore"),
    ];
    for (method, path) in gone {
        let answer = server.send(method, &format!("{of}/{path}"), None).await;
        assert_eq!(answer.refusal(), (404, "NOT_FOUND", vec![]), "{path}");
        let message = answer.body["error"]["message"].as_str().unwrap();
        let wanted = "is no longer kept: the oldest that is kept is 4";
        assert!(message.ends_with(wanted), "{path}: {message}");
    }
    for path in ["0", "6", "0/diff/6"] {
        let answer = server.send(Method::GET, &format!("{of}/{path}"), None).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.text.contains("no longer kept"), "{path}: {}", answer.text);
    }
    for path in ["4", "5", "0/diff/4", "5/diff/0"] {
        let answer = server.send(Method::GET, &format!("{of}/{path}"), None).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    }
    let restored = server.client.revisions().restore(workspace, RevisionNumber(4)).await.unwrap();
    assert_eq!(restored.number.0, 6);
}
