//! What stores promise of the settings of workspaces, which both areas write, and what becomes of
//! them when a revision is restored.

#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "the names say it, and they panic to fail"
)]

use std::sync::Arc;

use super::given::{
    at, change, id, step, stored_organization, stored_user, stored_workspace, virtual_host,
    workspace,
};
use crate::{
    Actor, ErrorKind, IfMatch, MergePatch, Mesh, PageRequest, RevisionNumber, Trail,
    gateway::{GatewayChange, GatewayWrite, NewVirtualHost, ObjectKind},
    store::Stores,
    tenancy::{AuditFilter, Cascade, NewWorkspace, Role, Settings, TenancyChange, Workspace},
};

fn settings(value: &str) -> Settings {
    let settings = serde_json::json!({
        "nginx_directives": {"client_max_body_size": "1m"}, "env_vars": {"A": value},
    });
    serde_json::from_value(settings).unwrap()
}

fn put(value: &str) -> GatewayWrite {
    GatewayWrite::PutSettings(Arc::new(settings(value)))
}

pub async fn settings_that_a_workspace_is_made_with_are_its_first_revision(stores: &Stores) {
    let (organization, owner) = stored_organization(stores, "acme").await;
    let plain = workspace(organization.id, "production", 0);
    let number = RevisionNumber(1);
    let made = Workspace { settings: settings("ü"), revision: number, ..plain };
    let create = |workspace: Workspace| TenancyChange::CreateWorkspace {
        revision: Some(step(workspace.id, number, Vec::new()).revision),
        workspace,
    };
    stores.tenancy.commit(create(made.clone()), Trail::default()).await.unwrap();
    let taken = Workspace { id: id(), ..made.clone() };
    let refused = stores.tenancy.commit(create(taken.clone()), Trail::default()).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(stores.gateway.revision(taken.id, number).await.unwrap(), None);
    let found = stores.tenancy.workspace(made.id, owner).await.unwrap();
    assert_eq!(found, Some((made.clone(), Role::Owner)));
    assert_eq!(stores.tenancy.workspace_head(made.id).await.unwrap(), Some(number));
    let revisions = stores.gateway.revisions(made.id, PageRequest::default()).await.unwrap();
    let numbers: Vec<_> = revisions.data.iter().map(|it| (it.workspace_id, it.number)).collect();
    assert_eq!((numbers, revisions.meta.total), (vec![(made.id, number)], 1));
    let snapshot = stores.gateway.snapshot(made.id).await.unwrap().unwrap();
    assert_eq!((snapshot.revision(), snapshot.settings().as_ref()), (number, &made.settings));
    let since = stores.gateway.writes_since(made.id, RevisionNumber(0)).await.unwrap().unwrap();
    assert_eq!((since.revision, since.writes), (number, Some(vec![put("ü")])));
    for (at, then) in [(0, Settings::default()), (1, made.settings)] {
        let state = stores.gateway.state_at(made.id, RevisionNumber(at)).await.unwrap().unwrap();
        assert_eq!(state.settings().as_ref(), &then, "at {at}");
    }
    stores.gateway.commit(change(made.id, 1, Vec::new())).await.unwrap();
}

pub async fn settings_that_a_commit_writes_are_those_of_the_workspace(stores: &Stores) {
    let (made, owner) = stored_workspace(stores).await;
    let host = Arc::new(virtual_host(made.id, "a", 0));
    let mut steps: Vec<_> = (1..)
        .map(RevisionNumber)
        .zip([
            vec![put("one"), put("two")],
            vec![put("three"), GatewayWrite::PutVirtualHost(Arc::clone(&host))],
            vec![GatewayWrite::DeleteVirtualHost(host.id)],
        ])
        .map(|(number, writes)| step(made.id, number, writes))
        .collect();
    steps[1].revision.created_at = at(7);
    let before = stores.tenancy.changes();
    let all = GatewayChange { workspace_id: made.id, base: RevisionNumber(0), steps };
    stores.gateway.commit(all).await.unwrap();
    let after = stores.tenancy.changes();
    assert!(after > before || (before, after) == (None, None), "it is a change of the workspace");
    let (revision, updated_at) = (RevisionNumber(2), at(7));
    let expected = Workspace { settings: settings("three"), revision, updated_at, ..made.clone() };
    let found = stores.tenancy.workspace(made.id, owner).await.unwrap();
    assert_eq!(found, Some((expected.clone(), Role::Owner)));
    let listed = stores.tenancy.workspaces(made.organization_id, PageRequest::default()).await;
    assert_eq!(listed.unwrap().data, [expected]);
    let snapshot = stores.gateway.snapshot(made.id).await.unwrap().unwrap();
    assert_eq!(snapshot.settings().as_ref(), &settings("three"));
    for (at, then) in [(1, "two"), (2, "three"), (3, "three")] {
        let state = stores.gateway.state_at(made.id, RevisionNumber(at)).await.unwrap().unwrap();
        assert_eq!(state.settings().as_ref(), &settings(then), "at {at}");
    }
    stores.gateway.commit(change(made.id, 3, Vec::new())).await.unwrap();
    let delete = |base| TenancyChange::DeleteWorkspace {
        id: made.id,
        base: RevisionNumber(base),
        cascade: Cascade::Refuse,
    };
    let stale = stores.tenancy.commit(delete(0), Trail::default()).await.unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::Stale);
    stores.tenancy.commit(delete(2), Trail::default()).await.unwrap();
}

pub async fn a_refused_commit_writes_no_settings(stores: &Stores) {
    let (made, owner) = stored_workspace(stores).await;
    let stale = stores.gateway.commit(change(made.id, 1, vec![put("one")])).await.unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::Stale);
    let found = stores.tenancy.workspace(made.id, owner).await.unwrap();
    assert_eq!(found, Some((made, Role::Owner)));
}

pub async fn a_restored_revision_brings_its_settings_back(stores: &Stores) {
    let (organization, owner) = stored_organization(stores, "acme").await;
    let of = organization.id;
    let operator = stored_user(stores, "operator@example.com").await;
    let role = Some(Role::Operator);
    let join = TenancyChange::SetMember { organization: of, base: 1, user: operator, role };
    stores.tenancy.commit(join, Trail::default()).await.unwrap();
    let (actor, operator) = (Actor::user(owner), Actor::user(operator));
    let mesh = Mesh::builder().store(stores.clone()).build().await.unwrap();
    let (workspaces, revisions) = (mesh.tenancy().workspaces(), mesh.gateway().revisions());
    let new = |value: Option<&str>| NewWorkspace {
        name: "Test".to_owned(),
        slug: value.unwrap_or("plain").to_owned(),
        settings: value.map(settings).unwrap_or_default().into(),
    };
    let plain = workspaces.create(&actor, of, new(None)).await.unwrap();
    assert_eq!(plain.revision, RevisionNumber(0));
    let made = workspaces.create(&actor, of, new(Some("first"))).await.unwrap();
    assert_eq!((made.revision, &made.settings), (RevisionNumber(1), &settings("first")));
    let (id, page) = (made.id, PageRequest::default());
    let of_first = revisions.get(&actor, id, RevisionNumber(1)).await.unwrap();
    assert_eq!(of_first.settings, settings("first"));
    assert_eq!(of_first.revision.author, owner);

    let host = serde_json::json!({"name": "a", "server_name": "a.example", "listen_port": 80,
        "locations": [{"path": "/", "root": "/srv"}]});
    let host: NewVirtualHost = crate::from_json(host).unwrap();
    mesh.gateway().virtual_hosts().create(&actor, id, host).await.unwrap();
    let patch = serde_json::json!({"settings": {"env_vars": {"A": "third"}}});
    let patch = MergePatch::new(patch).unwrap();
    workspaces.update(&actor, id, &patch, &IfMatch::default()).await.unwrap();

    let restore = async |actor, number| revisions.restore(actor, id, RevisionNumber(number)).await;
    let refused = restore(&operator, 2).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
    assert!(refused.to_string().contains("settings"), "{refused}");
    assert_eq!(restore(&actor, 2).await.unwrap(), RevisionNumber(4));
    let back = workspaces.get(&actor, id).await.unwrap();
    assert_eq!((back.revision, &back.settings), (RevisionNumber(4), &settings("first")));
    assert_eq!((back.name, back.slug), (made.name, made.slug));
    assert_eq!(restore(&actor, 2).await.unwrap(), RevisionNumber(4), "nothing is left to do");
    assert_eq!(restore(&operator, 1).await.unwrap(), RevisionNumber(5), "the settings are these");
    assert_eq!(mesh.gateway().virtual_hosts().list(&actor, id, page).await.unwrap().meta.total, 0);

    let diff = revisions.diff(&actor, id, RevisionNumber(3), RevisionNumber(4)).await.unwrap();
    let kinds: Vec<_> = diff.objects.iter().map(|it| it.kind).collect();
    assert_eq!(kinds, [ObjectKind::Settings]);
    let same = revisions.diff(&actor, id, RevisionNumber(1), RevisionNumber(5)).await.unwrap();
    assert_eq!((same.objects.len(), same.files.len()), (0, 0));
    let filter =
        AuditFilter { object_id: Some(*id.as_uuid()), user_id: Some(owner), ..Default::default() };
    let log = stores.tenancy.audit_log(of, &filter, page).await.unwrap().data;
    let actions: Vec<_> = log.iter().map(|it| it.action.as_str()).collect();
    assert_eq!(actions, ["workspace.created", "workspace.updated", "workspace.updated"]);
    let blanked = serde_json::json!({"settings": {
        "nginx_directives": {"client_max_body_size": "1m"}, "env_vars": {"A": "(blanked)"},
        "on_refusal": "quarantine", "delivery": "immediate",
    }});
    assert_eq!((log[2].before.as_ref(), log[2].after.as_ref()), (Some(&blanked), Some(&blanked)));
    mesh.shutdown().await;
}
