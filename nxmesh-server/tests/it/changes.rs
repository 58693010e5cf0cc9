//! Change sets: all or nothing, as one revision, whatever their order.

use futures::TryStreamExt;
use nxmesh_core::{
    MergePatch,
    gateway::{ChangeAction, NewChangeSet, NewLocation, NewVirtualHost, ServedKind},
    tenancy::WorkspaceId,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::given::{Answer, Given, host, server, server_on_sqlite, upstream};

/// A virtual host with everything behind this upstream.
pub(crate) fn host_on(server_name: &str, upstream_id: &str) -> NewVirtualHost {
    let location = NewLocation {
        path: "/".into(),
        upstream_id: Some(upstream_id.to_owned()),
        ..NewLocation::default()
    };
    NewVirtualHost { locations: vec![location], ..host(server_name, 80) }
}

pub(crate) fn patch(fields: impl serde::Serialize) -> MergePatch {
    MergePatch::new(fields).unwrap()
}

async fn send(server: &Given, of: WorkspaceId, set: &Value) -> Answer {
    let path = format!("/v1/workspaces/{of}/changes");
    server.send(Method::POST, &path, Some(set.clone())).await
}

/// All that a workspace has, to see whether anything changed.
pub(crate) async fn all(server: &Given, of: WorkspaceId) -> Value {
    let mut all = Vec::new();
    for what in ["virtual-hosts", "upstreams", "revisions"] {
        let path = format!("/v1/workspaces/{of}/{what}?per_page=100");
        all.push(server.send(Method::GET, &path, None).await.body);
    }
    json!(all)
}

#[tokio::test]
async fn a_set_is_one_revision_with_its_message() {
    for server in [server().await, server_on_sqlite().await] {
        let of = server.workspace().await.id;
        let old = server.client.upstreams().create(of, &upstream("old")).await.unwrap();
        let kept = host_on("kept.example", &old.id.to_string());
        let kept = server.client.virtual_hosts().create(of, &kept).await.unwrap();
        let gone = server.client.virtual_hosts().create(of, &host("gone.example", 80)).await;
        let gone = gone.unwrap();
        let by_ref = NewChangeSet::upstream_ref("new");
        let locations = json!({"locations": [{"path": "/", "upstream_id": by_ref}]});
        let set = NewChangeSet::new("move to the new upstream")
            .create_virtual_host(&host_on("new.example", &by_ref))
            .delete_upstream(old.id, Some(&old.etag()))
            .update_virtual_host(kept.id, Some(&kept.etag()), &patch(locations))
            .create_upstream_as("new", &upstream("new"))
            .delete_virtual_host(gone.id, None);
        let answer = send(&server, of, &json!(set)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.header("location"), format!("/v1/workspaces/{of}/revisions/4"));
        let applied: nxmesh_core::gateway::AppliedChanges =
            serde_json::from_value(answer.body).unwrap();
        assert_eq!(
            (applied.revision.number.0, applied.revision.reason.as_str()),
            (4, "move to the new upstream")
        );
        let done: Vec<_> = applied.changes.iter().map(|it| (it.action, it.kind)).collect();
        let (create, update, delete) =
            (ChangeAction::Create, ChangeAction::Update, ChangeAction::Delete);
        let (a_host, an_upstream) = (ServedKind::VirtualHost, ServedKind::Upstream);
        assert_eq!(
            done,
            [
                (create, a_host),
                (delete, an_upstream),
                (update, a_host),
                (create, an_upstream),
                (delete, a_host),
            ]
        );
        let [new_host, old_upstream, kept_host, new_upstream, gone_host] = &applied.changes[..]
        else {
            panic!("{applied:?}")
        };
        assert_eq!(new_upstream.reference.as_deref(), Some("new"));
        assert!(old_upstream.upstream.is_none() && gone_host.virtual_host.is_none());
        let (hosts, upstreams) = (server.client.virtual_hosts(), server.client.upstreams());
        let made = new_upstream.upstream.as_ref().unwrap();
        assert_eq!(&upstreams.get(made.id).await.unwrap(), made);
        for it in [new_host, kept_host] {
            let shown = it.virtual_host.as_ref().unwrap();
            assert_eq!(&hosts.get(shown.id).await.unwrap(), shown);
            assert_eq!((shown.revision.0, it.id), (4, *shown.id.as_uuid()));
            let body = json!(shown);
            assert_eq!(body["locations"][0]["upstream_id"], made.id.to_string());
        }
        assert!(upstreams.get(old.id).await.unwrap_err().is_not_found());
        assert!(hosts.get(gone.id).await.unwrap_err().is_not_found());
        let revisions: Vec<_> = server.client.revisions().list(of).try_collect().await.unwrap();
        assert_eq!((revisions.len(), &revisions[3]), (4, &applied.revision));
    }
}

#[tokio::test]
async fn only_what_comes_of_all_changes_counts() {
    let server = server().await;
    let of = server.workspace().await.id;
    let (hosts, upstreams) = (server.client.virtual_hosts(), server.client.upstreams());
    let one = hosts.create(of, &host("one.example", 80)).await.unwrap();
    let two = hosts.create(of, &host("two.example", 80)).await.unwrap();
    let named = |name: &str| patch(json!({"server_name": name}));
    let swap = NewChangeSet::new("swap")
        .update_virtual_host(one.id, None, &named("two.example"))
        .update_virtual_host(two.id, None, &named("one.example"));
    let swap_back = NewChangeSet::new("swap back")
        .update_virtual_host(two.id, None, &named("two.example"))
        .update_virtual_host(one.id, None, &named("one.example"));
    for (set, name) in [(&swap, "two.example"), (&swap_back, "one.example")] {
        server.client.changes().apply(of, set).await.unwrap();
        let body = json!(hosts.get(one.id).await.unwrap());
        assert_eq!(body["server_name"], name);
    }
    // A name that one gives up another may take, and the other way round.
    let take = NewChangeSet::new("take over")
        .create_virtual_host(&host("one.example", 80))
        .delete_virtual_host(one.id, None);
    server.client.changes().apply(of, &take).await.unwrap();
    let reversed = |mut set: NewChangeSet| {
        set.changes.reverse();
        set
    };
    for turn in [|set| set, reversed] {
        let used = upstreams.create(of, &upstream("used")).await.unwrap();
        let user = hosts.create(of, &host_on("user.example", &used.id.to_string())).await.unwrap();
        let on_files = json!({"locations": [{"path": "/", "root": "/srv"}]});
        let free = NewChangeSet::new("free it, and remove it")
            .update_virtual_host(user.id, None, &patch(on_files))
            .delete_upstream(used.id, None);
        server.client.changes().apply(of, &turn(free)).await.unwrap();
        let again = upstreams.create(of, &upstream("again")).await.unwrap();
        let on_it = json!({"locations": [{"path": "/", "upstream_id": again.id}]});
        hosts.update(user.id, &patch(on_it)).await.unwrap();
        let both = NewChangeSet::new("remove both")
            .delete_upstream(again.id, None)
            .delete_virtual_host(user.id, None);
        server.client.changes().apply(of, &turn(both)).await.unwrap();
        let made = NewChangeSet::new("make both")
            .create_virtual_host(&host_on("user.example", "ref:made"))
            .create_upstream_as("made", &upstream("made"));
        let made = server.client.changes().apply(of, &turn(made)).await.unwrap();
        let made = made.changes.iter().find_map(|it| it.virtual_host.clone()).unwrap();
        hosts.delete(made.id).await.unwrap();
    }
}

/// What is refused, and what of it is named.
type Refused = (Value, (u16, &'static str, Vec<&'static str>));

fn refused(change: impl Into<Value>, status: u16, fields: &[&'static str]) -> Refused {
    let change: Value = change.into();
    let code = if status == 422 { "VALIDATION_ERROR" } else { "CONFLICT" };
    (json!([change]), (status, code, fields.to_vec()))
}

#[tokio::test]
async fn what_is_refused_changes_nothing_and_names_the_place() {
    for server in [server().await, server_on_sqlite().await] {
        let of = server.workspace().await.id;
        let used = server.client.upstreams().create(of, &upstream("used")).await.unwrap().id;
        let new = host_on("taken.example", &used.to_string());
        let taken = server.client.virtual_hosts().create(of, &new).await.unwrap().id;
        let elsewhere = elsewhere(&server).await;
        let agent = json!({"name": "agent"});
        server.send(Method::POST, &format!("/v1/workspaces/{of}/agents/tokens"), Some(agent)).await;
        let before = all(&server, of).await;
        for (changes, expected) in mistakes(&used.to_string(), &taken.to_string(), &elsewhere) {
            // Beside something that would work, before and after.
            let fine = |name: &str| json!({"action": "create", "type": "upstream", "body": upstream(name)});
            let mut all_changes = vec![fine("first")];
            all_changes.extend(changes.as_array().unwrap().clone());
            all_changes.push(fine("last"));
            let set = json!({"message": "wrong", "changes": all_changes});
            for path in ["changes", "changes?dry_run=true", "config/preview"] {
                let path = format!("/v1/workspaces/{of}/{path}");
                let answer = server.send(Method::POST, &path, Some(set.clone())).await;
                assert_eq!(answer.refusal(), expected, "{path} {changes}: {}", answer.body);
            }
        }
        assert_eq!(all(&server, of).await, before);
    }
}

/// The id of an upstream of another workspace.
async fn elsewhere(server: &Given) -> String {
    let organizations: Vec<_> = server.client.organizations().list().try_collect().await.unwrap();
    let new = json!({"name": "Other", "slug": "other"});
    let path = format!("/v1/organizations/{}/workspaces", organizations[0].id);
    let other = server.send(Method::POST, &path, Some(new)).await.body["id"].clone();
    let path = format!("/v1/workspaces/{}/upstreams", other.as_str().unwrap());
    let made = server.send(Method::POST, &path, Some(json!(upstream("elsewhere")))).await;
    made.body["id"].as_str().unwrap().to_owned()
}

/// Each stands second in its set.
fn mistakes(used: &str, taken: &str, elsewhere: &str) -> Vec<Refused> {
    let create = |kind: &str, body: Value| json!({"action": "create", "type": kind, "body": body});
    let update = |id: &str, body: Value| json!({"action": "update", "type": "virtual_host", "id": id, "body": body});
    let delete = |id: &str| json!({"action": "delete", "type": "upstream", "id": id});
    let with = |mut change: Value, name: &str, value: Value| {
        change[name] = value;
        change
    };
    let nobody = "01890000-0000-7000-8000-000000000000";
    let on = |upstream: &str| json!(host_on("new.example", upstream));
    let place = "changes[1].body.locations[0].upstream_id";
    let mut all = vec![
        // The form of a change.
        refused(json!(7), 422, &["changes[1]"]),
        refused(json!({"type": "upstream"}), 422, &["changes[1].action"]),
        refused(with(delete(used), "action", json!("drop")), 422, &["changes[1].action"]),
        refused(with(delete(used), "type", json!("agent")), 422, &["changes[1].type"]),
        refused(with(delete(used), "when", json!("now")), 422, &["changes[1].when"]),
        refused(with(delete(used), "body", json!({})), 422, &["changes[1].body"]),
        refused(with(delete(used), "body", json!(7)), 422, &["changes[1].body"]),
        refused(with(delete(used), "ref", json!("a")), 422, &["changes[1].ref"]),
        refused(json!({"action": "delete", "type": "upstream"}), 422, &["changes[1].id"]),
        refused(json!({"action": "create", "type": "upstream"}), 422, &["changes[1].body"]),
        refused(
            json!({"action": "update", "type": "upstream"}),
            422,
            &["changes[1].id", "changes[1].body"],
        ),
        refused(
            with(
                with(create("upstream", json!(upstream("a"))), "id", json!(used)),
                "if_match",
                json!("*"),
            ),
            422,
            &["changes[1].id", "changes[1].if_match"],
        ),
        refused(delete("x"), 422, &["changes[1].id"]),
        refused(with(delete(used), "if_match", json!("7")), 422, &["changes[1].if_match"]),
        // Names within the set.
        refused(
            with(create("virtual_host", on(used)), "ref", json!("a")),
            422,
            &["changes[1].ref"],
        ),
        refused(
            with(create("upstream", json!(upstream("a"))), "ref", json!("a b")),
            422,
            &["changes[1].ref"],
        ),
        refused(create("virtual_host", on("ref:nobody")), 422, &[place]),
        refused(update(taken, json!({"locations": on("ref:nobody")["locations"]})), 422, &[place]),
        // What is there.
        refused(delete(nobody), 422, &["changes[1].id"]),
        refused(delete(elsewhere), 422, &["changes[1].id"]),
        refused(delete(taken), 422, &["changes[1].id"]),
        refused(update(used, json!({"name": "a"})), 422, &["changes[1].id"]),
        refused(create("virtual_host", on(nobody)), 422, &[place]),
        refused(create("virtual_host", on(elsewhere)), 422, &[place]),
        refused(create("virtual_host", on("used")), 422, &[place]),
        // The bodies.
        refused(create("upstream", json!({"name": "a"})), 422, &["changes[1].body.servers"]),
        refused(
            create("upstream", json!({"name": "", "servers": [{"address": "a"}]})),
            422,
            &["changes[1].body.name", "changes[1].body.servers[0].address"],
        ),
        refused(create("upstream", json!({"nonsense": 1})), 422, &["changes[1].body.nonsense"]),
        refused(update(taken, json!({"listen_port": 0})), 422, &["changes[1].body.listen_port"]),
        refused(update(taken, json!({"server_name": null})), 422, &["changes[1].body.server_name"]),
        // What would come of it.
        refused(with(delete(used), "if_match", json!("\"7\"")), 412, &["changes[1].if_match"]),
        refused(delete(used), 409, &["changes[1].id"]),
        refused(
            create("virtual_host", json!(host("taken.example", 80))),
            409,
            &["changes[1].body.server_name"],
        ),
    ];
    let both = |one: Value, other: Value, status: u16, fields: &[&'static str]| {
        let (_, expected) = refused(json!(null), status, fields);
        all.push((json!([one, other]), expected));
    };
    both_of(both, used, taken);
    all
}

/// Mistakes that take two: they stand second and third.
fn both_of(mut both: impl FnMut(Value, Value, u16, &[&'static str]), used: &str, taken: &str) {
    let named = |name: &str| json!({"action": "create", "type": "upstream", "ref": name, "body": upstream("a")});
    let new =
        |name: &str| json!({"action": "create", "type": "virtual_host", "body": host(name, 80)});
    let delete = |kind: &str, id: &str| json!({"action": "delete", "type": kind, "id": id});
    let rename =
        json!({"action": "update", "type": "virtual_host", "id": taken, "body": {"name": "b"}});
    both(named("a"), named("a"), 422, &["changes[2].ref"]);
    both(rename.clone(), delete("virtual_host", taken), 422, &["changes[2].id"]);
    both(
        new("twice.example"),
        new("twice.example"),
        409,
        &["changes[1].body.server_name", "changes[2].body.server_name"],
    );
    // The name would be free, but what it stands before is still in use.
    both(rename, delete("upstream", used), 409, &["changes[2].id"]);
    let uses =
        json!({"action": "create", "type": "virtual_host", "body": host_on("new.example", used)});
    both(delete("upstream", used), uses, 422, &["changes[2].body.locations[0].upstream_id"]);
}

#[tokio::test]
async fn limits_hold_at_their_edges() {
    let server = server().await;
    let of = server.workspace().await.id;
    let fine = json!([{"action": "create", "type": "upstream", "body": upstream("a")}]);
    for (message, good) in [
        ("a".to_owned(), true),
        ("ü".repeat(500), true),
        ("a".repeat(501), false),
        (String::new(), false),
        (" ".to_owned(), false),
        ("one\ntwo".to_owned(), false),
    ] {
        let answer = send(&server, of, &json!({"message": message, "changes": fine})).await;
        let expected =
            if good { (200, "", vec![]) } else { (422, "VALIDATION_ERROR", vec!["message"]) };
        assert_eq!(answer.refusal(), expected, "{message}");
    }
    let small = json!({"name": "a", "servers": [{"address": "10.0.0.1:80"}]});
    let many = |count| vec![json!({"action": "create", "type": "upstream", "body": small}); count];
    for count in [0, 1001] {
        let answer = send(&server, of, &json!({"message": "a", "changes": many(count)})).await;
        assert_eq!(answer.refusal(), (422, "VALIDATION_ERROR", vec!["changes"]), "{count}");
    }
    let answer = send(&server, of, &json!({"message": "a", "changes": fine, "when": "now"})).await;
    assert_eq!(answer.refusal(), (422, "VALIDATION_ERROR", vec!["when"]));
    let large = json!({"message": "a", "changes": fine, "filler": "a".repeat(1024 * 1024)});
    assert_eq!(send(&server, of, &large).await.status, 413);
}

#[tokio::test]
async fn what_is_so_already_makes_no_revision() {
    let server = server().await;
    let of = server.workspace().await.id;
    let made = server.client.upstreams().create(of, &upstream("a")).await.unwrap();
    let set = NewChangeSet::new("nothing new").update_upstream(
        made.id,
        Some(&made.etag()),
        &patch(json!({"name": "a"})),
    );
    let applied = server.client.changes().apply(of, &set).await.unwrap();
    assert_eq!(
        (applied.revision.number.0, applied.revision.reason.as_str()),
        (1, "create upstream a")
    );
    assert_eq!(applied.changes[0].upstream.as_ref(), Some(&made));
    let preview = server.client.changes().dry_run(of, &set).await.unwrap();
    assert_eq!(preview.objects[0].before, preview.objects[0].after);
    assert!(preview.agents.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_changes_are_one_revision() {
    for server in [server().await, server_on_sqlite().await] {
        let of = server.workspace().await.id;
        let mut set = NewChangeSet::new("create");
        for at in 0..500 {
            let (name, server_name) = (format!("up-{at}"), format!("h{at}.example"));
            let by_ref = NewChangeSet::upstream_ref(&name);
            set = set
                .create_virtual_host(&host_on(&server_name, &by_ref))
                .create_upstream_as(&name, &upstream(&name));
        }
        let changes = server.client.changes();
        let made = changes.apply(of, &set).await.unwrap();
        assert_eq!((made.revision.number.0, made.changes.len()), (1, 1000));
        let listed: Vec<_> = server.client.virtual_hosts().list(of).try_collect().await.unwrap();
        let made_hosts: Vec<_> =
            made.changes.iter().filter_map(|it| it.virtual_host.clone()).collect();
        assert_eq!(listed, made_hosts, "a list has them in the order that was asked");
        let (mut renamed, mut removed) = (NewChangeSet::new("rename"), NewChangeSet::new("remove"));
        for (at, it) in made.changes.iter().enumerate() {
            let name = patch(json!({"name": format!("renamed-{at}")}));
            if let Some(host) = &it.virtual_host {
                renamed = renamed.update_virtual_host(host.id, Some(&host.etag()), &name);
                removed = removed.delete_virtual_host(host.id, None);
            }
            if let Some(upstream) = &it.upstream {
                renamed = renamed.update_upstream(upstream.id, Some(&upstream.etag()), &name);
                removed = removed.delete_upstream(upstream.id, None);
            }
        }
        let renamed = changes.apply(of, &renamed).await.unwrap();
        let name = |at: usize| json!(renamed.changes[at])["virtual_host"]["name"].clone();
        assert_eq!((renamed.revision.number.0, name(998)), (2, json!("renamed-998")));
        assert_eq!(changes.apply(of, &removed).await.unwrap().revision.number.0, 3);
        let left = server.client.upstreams().list(of).try_collect::<Vec<_>>().await.unwrap();
        assert!(left.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_sets_at_once_each_is_whole() {
    let server = server_on_sqlite().await;
    let of = server.workspace().await.id;
    let agent = json!({"name": "agent"});
    server.send(Method::POST, &format!("/v1/workspaces/{of}/agents/tokens"), Some(agent)).await;
    let set = |name: &str, server_name: &str| {
        NewChangeSet::new(name)
            .create_virtual_host(&host_on(server_name, &NewChangeSet::upstream_ref("a")))
            .create_upstream_as("a", &upstream(name))
    };
    let callers = (0..8).map(async |caller| {
        let changes = server.client.changes();
        let mut won = 0;
        for round in 0..10 {
            let own = format!("own-{caller}-{round}");
            changes.apply(of, &set(&own, &format!("{own}.example"))).await.unwrap();
            let contested = format!("contested-{round}");
            match changes.apply(of, &set(&contested, &format!("{contested}.example"))).await {
                Ok(_) => won += 1,
                Err(nxmesh_client::Error::Api(error)) => {
                    let fields: Vec<_> = error.details.iter().map(|it| it.field.as_str()).collect();
                    assert_eq!((error.status, fields), (409, vec!["changes[0].body.server_name"]));
                }
                Err(error) => panic!("{error}"),
            }
        }
        won
    });
    let won: Vec<usize> = futures::future::join_all(callers).await;
    assert_eq!(won.iter().sum::<usize>(), 10, "one of all who want the same gets it");
    let revisions: Vec<_> = server.client.revisions().list(of).try_collect().await.unwrap();
    assert_eq!(revisions.len(), 1 + 80 + 10);
    let hosts: Vec<_> = server.client.virtual_hosts().list(of).try_collect().await.unwrap();
    let upstreams: Vec<_> = server.client.upstreams().list(of).try_collect().await.unwrap();
    assert_eq!((hosts.len(), upstreams.len()), (90, 90));
    // Host and upstream of a set came with the same revision.
    let mut of_hosts: Vec<_> = hosts.iter().map(|it| it.revision).collect();
    let mut of_upstreams: Vec<_> = upstreams.iter().map(|it| it.revision).collect();
    of_hosts.sort_unstable();
    of_upstreams.sort_unstable();
    assert_eq!(of_hosts, of_upstreams);
    of_hosts.dedup();
    assert_eq!(of_hosts.len(), 90, "each set is a revision of its own");
}
