//! What agents hold back is shown by agent and by virtual host, and told once.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use nxmesh_core::{
    MergePatch, RevisionNumber,
    conformance::given::id,
    gateway::{
        ConfigUpdate, MAX_QUARANTINED, Quarantined, ServedKind, VirtualHost, VirtualHostState,
        link::{AgentLink, AgentMessage, ApplyStatus, ConfigStatus, ServerMessage},
    },
};
use reqwest::Method;
use serde_json::json;

use crate::{
    events::Socket,
    given::{Given, host, server, server_on_sqlite},
};

async fn sent(link: &mut AgentLink) -> Arc<ConfigUpdate> {
    loop {
        if let ServerMessage::Config(update) = link.incoming.next().await.unwrap().unwrap() {
            return update;
        }
    }
}

fn held(host: &VirtualHost, running_revision: Option<u64>) -> Quarantined {
    Quarantined {
        kind: ServedKind::VirtualHost,
        id: *host.id.as_uuid(),
        name: host.spec.name.to_string(),
        field: "locations[0].root".into(),
        error: "no".into(),
        running_revision: running_revision.map(RevisionNumber),
    }
}

/// The agent serves an update but for this.
async fn settle(link: &AgentLink, update: &ConfigUpdate, held: Vec<Quarantined>, total: u32) {
    let checksum = match total {
        0 => update.checksum.clone(),
        _ => update.checksum_without("held"),
    };
    let status = ConfigStatus {
        checksum,
        quarantined: held,
        quarantined_total: total,
        ..ConfigStatus::of(update, ApplyStatus::Success, chrono::DateTime::UNIX_EPOCH)
    };
    link.outgoing.send(AgentMessage::ConfigStatus(status)).await.unwrap();
}

async fn states(given: &Given, host: &VirtualHost) -> Vec<(VirtualHostState, Option<u64>)> {
    let found: Vec<_> = given.client.virtual_hosts().status(host.id).try_collect().await.unwrap();
    found.into_iter().map(|it| (it.state, it.running_revision.map(|it| it.0))).collect()
}

#[tokio::test]
async fn what_is_held_back_is_shown_and_told_once_and_tried_again() {
    for given in [server().await, server_on_sqlite().await] {
        let workspace = given.workspace().await;
        let hosts = given.client.virtual_hosts();
        let shop = hosts.create(workspace.id, &host("shop.example", 80)).await.unwrap();
        let blog = hosts.create(workspace.id, &host("blog.example", 80)).await.unwrap();
        let fine = hosts.create(workspace.id, &host("fine.example", 80)).await.unwrap();
        let token = crate::agents::token(&given, workspace.id, "web").await;
        let (mut link, _) = crate::agents::dial(&given, &token.token).await;
        let mut socket = Socket::open(&given, "").await;
        socket.subscribe(&["virtual_host.*", "config.applied"], json!({})).await;
        assert_eq!(states(&given, &shop).await, [(VirtualHostState::Pending, None)]);

        let update = sent(&mut link).await;
        let both = || vec![held(&shop, Some(1)), held(&blog, None)];
        settle(&link, &update, both(), 2).await;
        let (_, applied) = socket.until("config.applied").await;
        assert_eq!(
            (&applied["data"]["success"], &applied["data"]["quarantined_total"]),
            (&json!(true), &json!(2))
        );
        let (_, told) = socket.until("virtual_host.quarantined").await;
        let data = json!({
            "agent_id": token.agent_id,
            "virtual_host_id": shop.id,
            "name": "shop.example",
            "field": "locations[0].root",
            "error": "no",
            "running_revision": 1,
        });
        assert_eq!(told["data"], data);
        let (_, told) = socket.until("virtual_host.quarantined").await;
        assert_eq!(told["data"]["virtual_host_id"], json!(blog.id));
        assert_eq!(states(&given, &shop).await, [(VirtualHostState::HeldBack, Some(1))]);
        assert_eq!(states(&given, &blog).await, [(VirtualHostState::LeftOut, None)]);
        let live = [(VirtualHostState::Live, Some(update.version.0))];
        assert_eq!(states(&given, &fine).await, live);
        let path = format!("/v1/agents/{}", token.agent_id);
        let shown = given.send(Method::GET, &path, None).await.body;
        assert_eq!((&shown["state"], &shown["quarantined_total"]), (&json!("degraded"), &json!(2)));
        assert_eq!(shown["quarantined"], json!(both()));
        let list = format!("/v1/workspaces/{}/agents?state=degraded", workspace.id);
        let listed = given.send(Method::GET, &list, None).await.body;
        assert_eq!(listed["data"][0]["quarantined_total"], 2);
        assert_eq!(listed["data"][0]["quarantined"], json!([]));

        // It is sent again, and comes to the same: nobody is told of that.
        assert_eq!(sent(&mut link).await, update);
        settle(&link, &update, both(), 2).await;
        // Mended, it goes out at once.
        let patch = MergePatch::new(json!({"custom_directives": {"expires": "1h"}})).unwrap();
        hosts.update(blog.id, &patch).await.unwrap();
        let mended = sent(&mut link).await;
        assert_ne!(mended.checksum, update.checksum);
        settle(&link, &mended, vec![held(&shop, Some(1))], 1).await;
        let (before, told) = socket.until("virtual_host.released").await;
        assert_eq!(before, ["virtual_host.updated", "config.applied"]);
        assert_eq!(told["data"]["virtual_host_id"], json!(blog.id));
        hosts.update(shop.id, &patch).await.unwrap();
        let whole = sent(&mut link).await;
        settle(&link, &whole, Vec::new(), 0).await;
        let (_, told) = socket.until("virtual_host.released").await;
        assert_eq!(told["data"]["virtual_host_id"], json!(shop.id));
        let shown = given.send(Method::GET, &path, None).await.body;
        assert_eq!((&shown["state"], &shown["quarantined"]), (&json!("online"), &json!([])));
    }
}

#[tokio::test]
async fn the_first_hundred_are_kept_and_each_is_cut() {
    let given = server().await;
    let workspace = given.workspace().await;
    let unknown =
        given.client.virtual_hosts().create(workspace.id, &host("a.example", 80)).await.unwrap();
    let token = crate::agents::token(&given, workspace.id, "web").await;
    let (mut link, _) = crate::agents::dial(&given, &token.token).await;
    let update = sent(&mut link).await;
    let many = (0..=MAX_QUARANTINED).map(|_| Quarantined {
        kind: ServedKind::VirtualHost,
        id: *id::<()>().as_uuid(),
        name: "ä".repeat(201),
        field: "f".repeat(301),
        error: "e".repeat(501),
        running_revision: None,
    });
    settle(&link, &update, many.collect(), 150).await;
    let path = format!("/v1/agents/{}", token.agent_id);
    let shown = loop {
        let shown = given.send(Method::GET, &path, None).await.body;
        if shown["quarantined_total"] == 150 {
            break shown;
        }
        tokio::task::yield_now().await;
    };
    let kept = shown["quarantined"].as_array().unwrap();
    assert_eq!(kept.len(), MAX_QUARANTINED);
    for (field, most) in [("name", 200), ("field", 300), ("error", 500)] {
        assert_eq!(kept[0][field].as_str().unwrap().chars().count(), most);
    }
    // Whether it is one of those that are not told of is unknown.
    assert_eq!(states(&given, &unknown).await, [(VirtualHostState::Pending, None)]);
}

#[tokio::test]
async fn on_refusal_is_one_of_two() {
    let given = server().await;
    let workspace = given.workspace().await;
    let path = format!("/v1/workspaces/{}", workspace.id);
    let set = |it: &str| Some(json!({"settings": {"on_refusal": it}}));
    let strict = given.send(Method::PATCH, &path, set("strict")).await;
    assert_eq!(strict.body["settings"]["on_refusal"], "strict");
    let bad = given.send(Method::PATCH, &path, set("ignore")).await;
    assert_eq!(bad.refusal(), (422, "VALIDATION_ERROR", vec!["settings.on_refusal"]));
    let cleared = given.send(Method::PATCH, &path, Some(json!({"settings": {"on_refusal": null}})));
    assert_eq!(cleared.await.body["settings"]["on_refusal"], "quarantine");
}
