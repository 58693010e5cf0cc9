//! What [`EventStore`](crate::events::EventStore) promises, and what the others do of trails.

#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "the names say it, and they panic to fail"
)]

use crate::{
    ErrorKind, PageRequest, Trail,
    conformance::{
        PATIENCE,
        given::{self, at, id},
    },
    events::{Event, EventId, EventType, EventsKept, NewEvent},
    gateway::{AgentStatus, GatewayWrite, SessionId},
    store::Stores,
    tenancy::{AuditFilter, Cascade, NewOrganization, OrganizationId, TenancyChange},
};

const ALL: usize = 100_000;

async fn after(stores: &Stores, after: EventId) -> Vec<Event> {
    stores.events.events_after(after, ALL).await.unwrap()
}

async fn types(stores: &Stores) -> Vec<String> {
    let events = after(stores, EventId(0)).await;
    events.into_iter().map(|it| it.event.event_type.to_string()).collect()
}

async fn actions(stores: &Stores, of: OrganizationId, filter: &AuditFilter) -> Vec<String> {
    let page = PageRequest::new(1, 100).unwrap();
    let found = stores.tenancy.audit_log(of, filter, page).await.unwrap();
    assert_eq!(found.meta.total, found.data.len() as u64);
    found.data.into_iter().map(|it| it.action.to_string()).collect()
}

pub async fn what_is_recorded_is_read_in_order(stores: &Stores) {
    let of = id();
    assert_eq!(stores.events.events_kept().await.unwrap(), EventsKept::default());
    assert!(after(stores, EventId(0)).await.is_empty());
    let made: Vec<NewEvent> =
        (0..5).map(|number| given::event(of, &format!("thing.x{number}"), number)).collect();
    stores.events.record(Trail::of_events(made[..2].to_vec())).await.unwrap();
    stores.events.record(Trail::of_events(made[2..].to_vec())).await.unwrap();
    let found = after(stores, EventId(0)).await;
    let read: Vec<_> = found.iter().map(|it| it.event.clone()).collect();
    assert_eq!(read, made);
    assert!(found.is_sorted_by(|one, other| one.id < other.id));
    assert_eq!(stores.events.events_after(found[0].id, 2).await.unwrap(), found[1..3]);
    let kept = stores.events.events_kept().await.unwrap();
    assert_eq!(kept.newest, found[4].id);
    assert!(kept.after < found[0].id);
    assert!(after(stores, kept.newest).await.is_empty());
}

pub async fn a_change_is_recorded_with_its_trail(stores: &Stores) {
    let owner = given::stored_user(stores, "a@b.c").await;
    let organization = given::organization("acme", 0);
    let of = organization.id;
    let change = TenancyChange::CreateOrganization { organization: organization.clone(), owner };
    stores.tenancy.commit(change, given::trail(of, "a.created", 1)).await.unwrap();
    let workspace = given::workspace(of, "production", 0);
    let create = TenancyChange::CreateWorkspace { workspace: workspace.clone(), revision: None };
    stores.tenancy.commit(create, given::trail(of, "b.created", 2)).await.unwrap();
    let host = given::virtual_host(workspace.id, "shop", 0);
    let write = GatewayWrite::PutVirtualHost(host.into());
    let mut change = given::change(workspace.id, 0, vec![write]);
    change.steps[0].trail = given::trail(of, "c.created", 3);
    stores.gateway.commit(change).await.unwrap();
    let member = given::stored_user(stores, "d@e.f").await;
    let role = Some(crate::tenancy::Role::Viewer);
    let set = |base, role| TenancyChange::SetMember { organization: of, base, user: member, role };
    stores.tenancy.commit(set(1, role), given::trail(of, "d.added", 4)).await.unwrap();
    stores.tenancy.commit(set(2, None), given::trail(of, "d.removed", 5)).await.unwrap();
    let key = given::api_key(of, owner, "ci", 0);
    let (key_id, hash) = (key.id, crate::TokenHash::of("key"));
    let create = TenancyChange::CreateApiKey { key, hash };
    stores.tenancy.commit(create, given::trail(of, "e.created", 6)).await.unwrap();
    let delete = TenancyChange::DeleteApiKey(key_id);
    stores.tenancy.commit(delete, given::trail(of, "e.revoked", 7)).await.unwrap();
    let changed = crate::tenancy::Organization { version: 4, ..organization };
    let update = TenancyChange::UpdateOrganization { organization: changed, base: 3 };
    stores.tenancy.commit(update, given::trail(of, "a.updated", 8)).await.unwrap();
    let password = crate::tenancy::PasswordHash::from_stored("$argon2id$y");
    let set = TenancyChange::SetPassword { user: owner, password };
    stores.tenancy.commit(set, given::trail(of, "f.password_changed", 9)).await.unwrap();
    let expected = [
        "a.created",
        "b.created",
        "c.created",
        "d.added",
        "d.removed",
        "e.created",
        "e.revoked",
        "a.updated",
        "f.password_changed",
    ];
    assert_eq!(types(stores).await, expected);
    assert_eq!(actions(stores, of, &AuditFilter::default()).await, expected);
}

pub async fn a_refused_change_leaves_no_trail(stores: &Stores) {
    let (workspace, owner) = given::stored_workspace(stores).await;
    let of = workspace.organization_id;
    let mut change = given::change(workspace.id, 7, Vec::new());
    change.steps[0].trail = given::trail(of, "a.b", 1);
    assert_eq!(stores.gateway.commit(change).await.unwrap_err().kind(), ErrorKind::Stale);
    for refused in [
        TenancyChange::DeleteOrganization { id: of, base: 1, cascade: Cascade::Refuse },
        TenancyChange::DeleteOrganization { id: of, base: 9, cascade: Cascade::Refuse },
        TenancyChange::CreateWorkspace {
            workspace: given::workspace(of, "production", 1),
            revision: None,
        },
        TenancyChange::SetMember { organization: of, base: 9, user: owner, role: None },
        TenancyChange::DeleteApiKey(id()),
        TenancyChange::SetPassword {
            user: id(),
            password: crate::tenancy::PasswordHash::from_stored("$argon2id$y"),
        },
        TenancyChange::DeleteWorkspace {
            id: workspace.id,
            base: crate::RevisionNumber(9),
            cascade: Cascade::Refuse,
        },
    ] {
        let refused = stores.tenancy.commit(refused, given::trail(of, "a.b", 1)).await;
        refused.unwrap_err();
    }
    assert!(types(stores).await.is_empty());
    assert!(actions(stores, of, &AuditFilter::default()).await.is_empty());
}

pub async fn what_leaves_no_trail_refuses_one(stores: &Stores) {
    let create = TenancyChange::CreateUser(given::user("a@b.c"));
    let refused = stores.tenancy.commit(create, given::trail(id(), "a.b", 1)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(!stores.tenancy.has_users().await.unwrap());
}

pub async fn a_new_password_is_told_to_every_organization_of_the_user(stores: &Stores) {
    let mesh = crate::Mesh::builder().store(stores.clone()).build().await.unwrap();
    let tenancy = mesh.tenancy();
    let secret = |text: &str| crate::Secret::new(text.to_owned());
    let user = tenancy.users().create("a@b.c", secret("correct horse")).await.unwrap().id;
    let actor = crate::Actor::user(user);
    let mut own = Vec::new();
    for slug in ["one", "two"] {
        let new = NewOrganization { name: slug.to_owned(), slug: slug.to_owned() };
        own.push(tenancy.organizations().create(&actor, new).await.unwrap().id);
    }
    let (foreign, _) = given::stored_organization(stores, "foreign").await;
    let auth = tenancy.auth();
    let change = auth.change_password(&actor, secret("wrong horse"), secret("another horse"));
    assert_eq!(change.await.unwrap_err().kind(), ErrorKind::Invalid);
    let change = auth.change_password(&actor, secret("correct horse"), secret("another horse"));
    change.await.unwrap();
    let action = Some(EventType::new("user.password_changed"));
    let filter = AuditFilter { action, ..AuditFilter::default() };
    for of in &own {
        assert_eq!(actions(stores, *of, &filter).await, ["user.password_changed"]);
        let found = stores.tenancy.audit_log(*of, &filter, PageRequest::default()).await.unwrap();
        let entry = &found.data[0];
        assert_eq!((entry.user_id, entry.object.object_id), (user, *user.as_uuid()));
        assert_eq!((&entry.before, &entry.after), (&None, &None));
    }
    assert!(actions(stores, foreign.id, &filter).await.is_empty());
    let told = after(stores, EventId(0)).await.into_iter().map(|it| it.event);
    let told = told.filter(|it| it.event_type.as_str() == "user.password_changed");
    assert!(told.map(|it| it.organization_id).eq(own));
    mesh.shutdown().await;
}

pub async fn what_agents_do_is_recorded_with_their_status(stores: &Stores) {
    let (workspace, _) = given::stored_workspace(stores).await;
    let of = workspace.organization_id;
    let agent = given::agent(workspace.id, "web", 0);
    let put = GatewayWrite::PutAgent(agent.clone().into());
    stores.gateway.commit(given::change(workspace.id, 0, vec![put])).await.unwrap();
    let (session, other): (SessionId, SessionId) = (id(), id());
    let status = AgentStatus::default();
    let event = |name: &str| vec![given::event(of, name, 1)];
    let gateway = &stores.gateway;
    let opened = gateway.open_agent_session(agent.id, session, &status, event("a.in")).await;
    assert!(opened.unwrap());
    let noted = gateway.record_agent_status(agent.id, session, &status, event("a.is")).await;
    assert!(noted.unwrap());
    let refused = gateway.record_agent_status(agent.id, other, &status, event("a.not")).await;
    assert!(!refused.unwrap());
    let refused = gateway.open_agent_session(id(), session, &status, event("a.not")).await;
    assert!(!refused.unwrap());
    assert_eq!(types(stores).await, ["a.in", "a.is"]);
}

pub async fn recording_is_announced(stores: &Stores) {
    let (workspace, _) = given::stored_workspace(stores).await;
    let of = workspace.organization_id;
    let mut ticks = stores.events.watch_events();
    let mut seen = EventId(0);
    for number in 0..3 {
        ticks.borrow_and_update();
        match number {
            0 => stores.events.record(given::trail(of, "a.b", 1)).await.unwrap(),
            1 => {
                let mut change = given::change(workspace.id, 0, Vec::new());
                change.steps[0].trail = given::trail(of, "a.b", 1);
                stores.gateway.commit(change).await.unwrap();
            }
            _ => {
                let delete = TenancyChange::DeleteWorkspace {
                    id: workspace.id,
                    base: crate::RevisionNumber(0),
                    cascade: Cascade::Refuse,
                };
                stores.tenancy.commit(delete, given::trail(of, "a.b", 1)).await.unwrap();
            }
        }
        let wait = async {
            loop {
                if let Some(newer) = after(stores, seen).await.pop() {
                    return newer.id;
                }
                ticks.changed().await.unwrap();
            }
        };
        seen = tokio::time::timeout(PATIENCE, wait).await.unwrap();
    }
}

/// Many record at once, in transactions that end in any order, while others read on from what
/// they saw last: each reader must see each event, and all in the same order.
pub async fn no_event_is_passed_over_by_whoever_reads_on(stores: &Stores) {
    const WRITERS: usize = 16;
    const EACH: usize = 20;
    let of = id();
    let write = futures::future::join_all((0..WRITERS).map(|writer| async move {
        for number in 0..EACH {
            let name = format!("writer{writer}.number{number}");
            stores.events.record(Trail::of_events(vec![given::event(of, &name, 1)])).await.unwrap();
        }
    }));
    let read = || async {
        let mut seen: Vec<Event> = Vec::new();
        while seen.len() < WRITERS * EACH {
            let last = seen.last().map_or(EventId(0), |it| it.id);
            seen.extend(after(stores, last).await);
            tokio::task::yield_now().await;
        }
        seen
    };
    let all = async { tokio::join!(write, read(), read(), read()) };
    let (_, one, two, three) = tokio::time::timeout(PATIENCE, all).await.unwrap();
    assert_eq!(one, two);
    assert_eq!(two, three);
    assert!(one.is_sorted_by(|one, other| one.id < other.id));
    for writer in 0..WRITERS {
        let subject = format!("writer{writer}");
        let of_writer = one.iter().filter(|it| it.event.event_type.subject() == subject);
        let names: Vec<_> = of_writer.map(|it| it.event.event_type.to_string()).collect();
        let in_order: Vec<_> =
            (0..EACH).map(|number| format!("{subject}.number{number}")).collect();
        assert_eq!(names, in_order);
    }
}

pub async fn the_newest_events_are_kept(stores: &Stores) {
    let of = id();
    for number in 0..10 {
        let event = given::event(of, &format!("a.x{number}"), number);
        stores.events.record(Trail::of_events(vec![event])).await.unwrap();
    }
    let all = after(stores, EventId(0)).await;
    assert_eq!(stores.events.drop_events(100).await.unwrap(), 0);
    assert_eq!(stores.events.drop_events(3).await.unwrap(), 7);
    assert_eq!(after(stores, EventId(0)).await, all[7..]);
    let kept = stores.events.events_kept().await.unwrap();
    assert!(kept.after >= all[6].id && kept.after < all[7].id);
    assert_eq!(kept.newest, all[9].id);
    // The newest always stays, so that ids go on where they were.
    assert_eq!(stores.events.drop_events(0).await.unwrap(), 2);
    assert_eq!(stores.events.events_kept().await.unwrap().newest, all[9].id);
    stores.events.record(Trail::of_events(vec![given::event(of, "a.b", 1)])).await.unwrap();
    assert!(after(stores, all[9].id).await[0].id > all[9].id);
}

pub async fn the_audit_log_is_listed_as_filtered(stores: &Stores) {
    let (of, other): (OrganizationId, OrganizationId) = (id(), id());
    for (number, action) in ["a.b", "c.d", "a.b", "c.d", "e.f"].into_iter().enumerate() {
        let seconds = 10 - i64::try_from(number).unwrap();
        stores.events.record(given::trail(of, action, seconds)).await.unwrap();
        stores.events.record(given::trail(other, "other.one", seconds)).await.unwrap();
    }
    let all = AuditFilter::default();
    assert_eq!(actions(stores, of, &all).await, ["e.f", "c.d", "a.b", "c.d", "a.b"]);
    let page = PageRequest::new(2, 2).unwrap();
    let second = stores.tenancy.audit_log(of, &all, page).await.unwrap();
    assert_eq!(second.meta.total, 5);
    assert_eq!(second.data[0].action.as_str(), "a.b");
    assert_eq!(second.data[0].after.as_ref().unwrap()["name"], "ä \u{0} \"'");
    let by_action = AuditFilter { action: Some(second.data[0].action.clone()), ..all.clone() };
    assert_eq!(actions(stores, of, &by_action).await, ["a.b", "a.b"]);
    let by_user = AuditFilter { user_id: Some(second.data[1].user_id), ..all.clone() };
    assert_eq!(actions(stores, of, &by_user).await, ["c.d"]);
    let by_object = AuditFilter { object_id: Some(uuid::Uuid::from_u128(9)), ..all.clone() };
    assert!(actions(stores, of, &by_object).await.is_empty());
    let by_time = AuditFilter { from: Some(at(7)), to: Some(at(9)), ..all };
    assert_eq!(actions(stores, of, &by_time).await, ["c.d", "a.b"]);
    assert_eq!(stores.tenancy.drop_audit_entries(at(8)).await.unwrap(), 4);
    assert_eq!(actions(stores, of, &AuditFilter::default()).await, ["a.b", "c.d", "a.b"]);
}

pub async fn the_audit_log_outlives_what_it_is_about(stores: &Stores) {
    let (organization, owner) = given::stored_organization(stores, "acme").await;
    let of = organization.id;
    let delete = TenancyChange::DeleteOrganization { id: of, base: 1, cascade: Cascade::Refuse };
    stores.tenancy.commit(delete, given::trail(of, "a.deleted", 1)).await.unwrap();
    assert!(stores.tenancy.organization(of, owner).await.unwrap().is_none());
    assert_eq!(actions(stores, of, &AuditFilter::default()).await, ["a.deleted"]);
}
