//! What [`TenancyStore`](crate::tenancy::TenancyStore) promises.

#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "the names say it, and they panic to fail"
)]

use std::sync::Arc;

use chrono::TimeDelta;
use uuid::Uuid;

use super::given::{
    agent, api_key, at, change, organization, stored_organization, stored_user, stored_workspace,
    upstream, user, virtual_host, workspace,
};
use crate::{
    ErrorKind, PageRequest, Revision, RevisionNumber, TokenHash, Trail,
    gateway::GatewayWrite,
    store::Stores,
    tenancy::{
        ApiKey, Cascade, Email, MasterKey, Member, Organization, PasswordHash, RefreshToken, Role,
        SealedSigningKey, Slug, TenancyChange, UserId, Workspace,
    },
};

async fn refused(stores: &Stores, change: TenancyChange) -> ErrorKind {
    stores.tenancy.commit(change, Trail::default()).await.unwrap_err().kind()
}

pub async fn a_user_is_found_by_address_in_any_case(stores: &Stores) {
    let made = user("Ann.Ä@Example.com");
    stores.tenancy.commit(TenancyChange::CreateUser(made.clone()), Trail::default()).await.unwrap();
    let email = Email::parse("ann.ä@eXample.COM").unwrap();
    assert_eq!(stores.tenancy.user_by_email(&email).await.unwrap(), Some(made.clone()));
    assert_eq!(stores.tenancy.user(made.id).await.unwrap(), Some(made));
    let other = Email::parse("bob@example.com").unwrap();
    assert_eq!(stores.tenancy.user_by_email(&other).await.unwrap(), None);
}

pub async fn an_address_is_taken_once(stores: &Stores) {
    stored_user(stores, "ann@example.com").await;
    assert_eq!(
        refused(stores, TenancyChange::CreateUser(user("ANN@example.com"))).await,
        ErrorKind::Conflict
    );
}

pub async fn the_first_user_is_made_only_on_an_empty_store(stores: &Stores) {
    assert!(!stores.tenancy.has_users().await.unwrap());
    stores
        .tenancy
        .commit(TenancyChange::CreateFirstUser(user("a@b.c")), Trail::default())
        .await
        .unwrap();
    assert!(stores.tenancy.has_users().await.unwrap());
    assert_eq!(
        refused(stores, TenancyChange::CreateFirstUser(user("d@e.f"))).await,
        ErrorKind::Conflict
    );
}

pub async fn an_organization_is_seen_by_its_members_only(stores: &Stores) {
    let (made, owner) = stored_organization(stores, "acme").await;
    let stranger = stored_user(stores, "stranger@example.com").await;
    assert_eq!(
        stores.tenancy.organization(made.id, owner).await.unwrap(),
        Some((made.clone(), Role::Owner))
    );
    assert_eq!(stores.tenancy.organization(made.id, stranger).await.unwrap(), None);
    let page = stores.tenancy.organizations(stranger, PageRequest::default()).await.unwrap();
    assert_eq!((page.data, page.meta.total), (Vec::new(), 0));
}

pub async fn organizations_are_listed_in_order_of_creation_in_pages(stores: &Stores) {
    let owner = stored_user(stores, "a@b.c").await;
    let mut made = Vec::new();
    for (slug, seconds) in [("c", 2), ("a", 1), ("d", 2), ("b", 0)] {
        let organization = organization(slug, seconds);
        made.push(organization.clone());
        stores
            .tenancy
            .commit(TenancyChange::CreateOrganization { organization, owner }, Trail::default())
            .await
            .unwrap();
    }
    made.sort_by_key(|it| (it.created_at, it.id));
    for (number, wanted) in [(1, &made[..3]), (2, &made[3..]), (3, &[])] {
        let page = stores
            .tenancy
            .organizations(owner, PageRequest::new(number, 3).unwrap())
            .await
            .unwrap();
        assert_eq!(
            (page.data.as_slice(), page.meta.page, page.meta.per_page, page.meta.total),
            (wanted, number, 3, 4)
        );
    }
}

pub async fn an_organization_slug_is_taken_once(stores: &Stores) {
    let (_, owner) = stored_organization(stores, "acme").await;
    let second = organization("acme", 0);
    let change = TenancyChange::CreateOrganization { organization: second, owner };
    assert_eq!(refused(stores, change).await, ErrorKind::Conflict);
    let third = organization("other", 0);
    let create = TenancyChange::CreateOrganization { organization: third.clone(), owner };
    stores.tenancy.commit(create, Trail::default()).await.unwrap();
    let renamed = Organization { slug: Slug::parse("acme").unwrap(), version: 2, ..third };
    let change = TenancyChange::UpdateOrganization { organization: renamed, base: 1 };
    assert_eq!(refused(stores, change).await, ErrorKind::Conflict);
}

pub async fn an_organization_is_changed_only_from_the_version_it_was_read_at(stores: &Stores) {
    let (made, owner) = stored_organization(stores, "acme").await;
    let second = Organization { version: 2, updated_at: at(9), ..made.clone() };
    let update = |base| TenancyChange::UpdateOrganization { organization: second.clone(), base };
    stores.tenancy.commit(update(1), Trail::default()).await.unwrap();
    assert_eq!(
        stores.tenancy.organization(made.id, owner).await.unwrap(),
        Some((second.clone(), Role::Owner))
    );
    assert_eq!(refused(stores, update(1)).await, ErrorKind::Stale);
    assert_eq!(
        refused(
            stores,
            TenancyChange::DeleteOrganization { id: made.id, base: 1, cascade: Cascade::Refuse }
        )
        .await,
        ErrorKind::Stale
    );
    stores
        .tenancy
        .commit(
            TenancyChange::DeleteOrganization { id: made.id, base: 2, cascade: Cascade::Refuse },
            Trail::default(),
        )
        .await
        .unwrap();
    assert_eq!(refused(stores, update(2)).await, ErrorKind::NotFound);
    assert_eq!(stores.tenancy.organization(made.id, owner).await.unwrap(), None);
}

pub async fn an_organization_with_workspaces_is_not_deleted(stores: &Stores) {
    let (made, owner) = stored_workspace(stores).await;
    let delete = TenancyChange::DeleteOrganization {
        id: made.organization_id,
        base: 1,
        cascade: Cascade::Refuse,
    };
    assert_eq!(refused(stores, delete).await, ErrorKind::Conflict);
    assert!(stores.tenancy.organization(made.organization_id, owner).await.unwrap().is_some());
}

pub async fn an_owner_who_does_not_exist_is_refused_and_leaves_nothing(stores: &Stores) {
    let owner: UserId = super::given::id();
    let made = organization("acme", 0);
    let create = |owner| TenancyChange::CreateOrganization { organization: made.clone(), owner };
    assert_eq!(refused(stores, create(owner)).await, ErrorKind::NotFound);
    let owner = stored_user(stores, "a@b.c").await;
    stores.tenancy.commit(create(owner), Trail::default()).await.unwrap();
}

pub async fn a_workspace_needs_its_organization(stores: &Stores) {
    let orphan = workspace(super::given::id(), "production", 0);
    assert_eq!(
        refused(stores, TenancyChange::CreateWorkspace { workspace: orphan, revision: None }).await,
        ErrorKind::NotFound
    );
}

pub async fn workspaces_are_listed_in_order_of_creation_in_pages(stores: &Stores) {
    let (organization, owner) = stored_organization(stores, "acme").await;
    let (elsewhere, _) = stored_organization(stores, "other").await;
    let mut made = Vec::new();
    for (slug, seconds) in [("c", 2), ("a", 1), ("b", 0)] {
        let workspace = workspace(organization.id, slug, seconds);
        made.push(workspace.clone());
        stores
            .tenancy
            .commit(TenancyChange::CreateWorkspace { workspace, revision: None }, Trail::default())
            .await
            .unwrap();
    }
    stores
        .tenancy
        .commit(
            TenancyChange::CreateWorkspace {
                workspace: workspace(elsewhere.id, "c", 0),
                revision: None,
            },
            Trail::default(),
        )
        .await
        .unwrap();
    made.sort_by_key(|it| (it.created_at, it.id));
    let page =
        stores.tenancy.workspaces(organization.id, PageRequest::new(1, 2).unwrap()).await.unwrap();
    assert_eq!((page.data.as_slice(), page.meta.total), (&made[..2], 3));
    assert_eq!(
        stores.tenancy.workspace(made[0].id, owner).await.unwrap(),
        Some((made[0].clone(), Role::Owner))
    );
}

pub async fn a_workspace_slug_is_taken_once_in_its_organization(stores: &Stores) {
    let (made, _) = stored_workspace(stores).await;
    let second = workspace(made.organization_id, "production", 0);
    assert_eq!(
        refused(stores, TenancyChange::CreateWorkspace { workspace: second, revision: None }).await,
        ErrorKind::Conflict
    );
    let (elsewhere, _) = stored_organization(stores, "other").await;
    let same_elsewhere = workspace(elsewhere.id, "production", 0);
    stores
        .tenancy
        .commit(
            TenancyChange::CreateWorkspace { workspace: same_elsewhere, revision: None },
            Trail::default(),
        )
        .await
        .unwrap();
}

pub async fn a_workspace_is_changed_only_from_its_head(stores: &Stores) {
    let (made, owner) = stored_workspace(stores).await;
    assert_eq!(stores.tenancy.workspace_head(made.id).await.unwrap(), Some(RevisionNumber(0)));
    let update = |base: u64, slug: &str| {
        let number = RevisionNumber(base + 1);
        let workspace =
            Workspace { slug: Slug::parse(slug).unwrap(), revision: number, ..made.clone() };
        let reason = "test".to_owned();
        let revision =
            Revision { workspace_id: made.id, number, author: owner, reason, created_at: at(1) };
        TenancyChange::UpdateWorkspace { workspace, base: RevisionNumber(base), revision }
    };
    stores.tenancy.commit(update(0, "renamed"), Trail::default()).await.unwrap();
    assert_eq!(stores.tenancy.workspace_head(made.id).await.unwrap(), Some(RevisionNumber(1)));
    assert_eq!(refused(stores, update(0, "again")).await, ErrorKind::Stale);
    stores.gateway.commit(change(made.id, 1, Vec::new())).await.unwrap();
    assert_eq!(refused(stores, update(1, "again")).await, ErrorKind::Stale);
    stores.tenancy.commit(update(2, "again"), Trail::default()).await.unwrap();
    let (found, _) = stores.tenancy.workspace(made.id, owner).await.unwrap().unwrap();
    assert_eq!((found.slug.as_str(), found.revision), ("again", RevisionNumber(3)));
}

pub async fn a_workspace_with_agents_is_not_deleted(stores: &Stores) {
    let (made, _) = stored_workspace(stores).await;
    let agent = agent(made.id, "a", 0);
    let writes = vec![GatewayWrite::PutAgent(Arc::new(agent.clone()))];
    stores.gateway.commit(change(made.id, 0, writes)).await.unwrap();
    let delete = || TenancyChange::DeleteWorkspace {
        id: made.id,
        base: RevisionNumber(0),
        cascade: Cascade::Refuse,
    };
    assert_eq!(refused(stores, delete()).await, ErrorKind::Conflict);
    stores
        .gateway
        .commit(change(made.id, 1, vec![GatewayWrite::DeleteAgent(agent.id)]))
        .await
        .unwrap();
    stores.tenancy.commit(delete(), Trail::default()).await.unwrap();
    assert_eq!(refused(stores, delete()).await, ErrorKind::NotFound);
}

pub async fn a_deleted_workspace_takes_what_it_serves_along(stores: &Stores) {
    let (made, _) = stored_workspace(stores).await;
    let (host, upstream) = (virtual_host(made.id, "a", 0), upstream(made.id, "a", 0));
    let (host_id, upstream_id) = (host.id, upstream.id);
    let writes = vec![
        GatewayWrite::PutUpstream(Arc::new(upstream)),
        GatewayWrite::PutVirtualHost(Arc::new(host)),
    ];
    stores.gateway.commit(change(made.id, 0, writes)).await.unwrap();
    let delete = TenancyChange::DeleteWorkspace {
        id: made.id,
        base: RevisionNumber(0),
        cascade: Cascade::Refuse,
    };
    stores.tenancy.commit(delete, Trail::default()).await.unwrap();
    assert_eq!(stores.gateway.virtual_host(host_id).await.unwrap(), None);
    assert_eq!(stores.gateway.upstream(upstream_id).await.unwrap(), None);
    assert!(stores.gateway.snapshot(made.id).await.unwrap().is_none());
}

fn token(text: &str, family: u128, user_id: UserId, seconds: i64) -> RefreshToken {
    let family = Uuid::from_u128(family);
    RefreshToken {
        hash: TokenHash::of(text),
        family,
        user_id,
        expires_at: at(seconds),
        used: false,
    }
}

pub async fn a_refresh_token_rotates_once(stores: &Stores) {
    let user = stored_user(stores, "a@b.c").await;
    let (first, second) = (token("1", 1, user, 60), token("2", 1, user, 60));
    stores
        .tenancy
        .commit(TenancyChange::AddRefreshToken(first.clone()), Trail::default())
        .await
        .unwrap();
    let rotate = || TenancyChange::RotateRefreshToken { used: first.hash, next: second.clone() };
    stores.tenancy.commit(rotate(), Trail::default()).await.unwrap();
    let used = RefreshToken { used: true, ..first.clone() };
    assert_eq!(stores.tenancy.refresh_token(&first.hash).await.unwrap(), Some(used));
    assert_eq!(stores.tenancy.refresh_token(&second.hash).await.unwrap(), Some(second.clone()));
    let again =
        TenancyChange::RotateRefreshToken { used: first.hash, next: token("3", 1, user, 60) };
    assert_eq!(refused(stores, again).await, ErrorKind::Conflict);
    assert_eq!(stores.tenancy.refresh_token(&TokenHash::of("3")).await.unwrap(), None);
}

pub async fn a_revoked_family_is_gone(stores: &Stores) {
    let user = stored_user(stores, "a@b.c").await;
    for token in [token("1", 1, user, 60), token("2", 1, user, 60), token("3", 2, user, 60)] {
        stores
            .tenancy
            .commit(TenancyChange::AddRefreshToken(token), Trail::default())
            .await
            .unwrap();
    }
    stores
        .tenancy
        .commit(TenancyChange::RevokeFamily(Uuid::from_u128(1)), Trail::default())
        .await
        .unwrap();
    for (text, there) in [("1", false), ("2", false), ("3", true)] {
        assert_eq!(
            stores.tenancy.refresh_token(&TokenHash::of(text)).await.unwrap().is_some(),
            there
        );
    }
}

pub async fn refresh_tokens_that_expired_are_dropped(stores: &Stores) {
    let user = stored_user(stores, "a@b.c").await;
    for token in [token("1", 1, user, 59), token("2", 2, user, 60)] {
        stores
            .tenancy
            .commit(TenancyChange::AddRefreshToken(token), Trail::default())
            .await
            .unwrap();
    }
    assert_eq!(stores.tenancy.drop_expired(at(60)).await.unwrap(), 1);
    assert_eq!(stores.tenancy.refresh_token(&TokenHash::of("1")).await.unwrap(), None);
    assert!(stores.tenancy.refresh_token(&TokenHash::of("2")).await.unwrap().is_some());
}

pub async fn a_refresh_token_needs_its_user(stores: &Stores) {
    let nobody = TenancyChange::AddRefreshToken(token("1", 1, super::given::id(), 60));
    assert_eq!(refused(stores, nobody).await, ErrorKind::NotFound);
}

pub async fn of_two_first_users_one_is_made(stores: &Stores) {
    let tries = (0..8).map(|number| {
        let user = user(&format!("user{number}@example.com"));
        stores.tenancy.commit(TenancyChange::CreateFirstUser(user), Trail::default())
    });
    let done = futures::future::join_all(tries).await;
    assert_eq!(done.iter().filter(|it| it.is_ok()).count(), 1);
    let lost = done.into_iter().filter_map(Result::err);
    assert!(lost.into_iter().all(|it| it.kind() == ErrorKind::Conflict));
}

pub async fn of_many_uses_of_a_refresh_token_one_counts(stores: &Stores) {
    let user = stored_user(stores, "a@b.c").await;
    let first = token("first", 1, user, 60);
    stores
        .tenancy
        .commit(TenancyChange::AddRefreshToken(first.clone()), Trail::default())
        .await
        .unwrap();
    let tries = (0..16).map(|number| {
        let next = token(&format!("next{number}"), 1, user, 60);
        stores
            .tenancy
            .commit(TenancyChange::RotateRefreshToken { used: first.hash, next }, Trail::default())
    });
    let done = futures::future::join_all(tries).await;
    assert_eq!(done.iter().filter(|it| it.is_ok()).count(), 1);
    for (number, done) in done.iter().enumerate() {
        let hash = TokenHash::of(&format!("next{number}"));
        let found = stores.tenancy.refresh_token(&hash).await.unwrap();
        assert_eq!(found.is_some(), done.is_ok(), "{number}");
    }
}

pub async fn there_is_one_signing_key(stores: &Stores) {
    assert_eq!(stores.tenancy.signing_key().await.unwrap(), None);
    let sealed = MasterKey::generate().seal("test", b"key").unwrap();
    let key = |kid: &str| SealedSigningKey { kid: kid.to_owned(), sealed: sealed.clone() };
    let create = |kid| TenancyChange::CreateSigningKey { key: key(kid), now: at(0) };
    stores.tenancy.commit(create("first"), Trail::default()).await.unwrap();
    assert_eq!(refused(stores, create("second")).await, ErrorKind::Conflict);
    assert_eq!(stores.tenancy.signing_key().await.unwrap(), Some(key("first")));
}

pub async fn of_many_at_once_one_slug_wins(stores: &Stores) {
    let owner = stored_user(stores, "a@b.c").await;
    let tries = (0..16).map(|number| {
        let created_at = at(0) + TimeDelta::seconds(number);
        let organization = Organization { created_at, ..organization("acme", 0) };
        stores
            .tenancy
            .commit(TenancyChange::CreateOrganization { organization, owner }, Trail::default())
    });
    let done = futures::future::join_all(tries).await;
    let (won, lost): (Vec<_>, Vec<_>) = done.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 15));
    assert!(lost.into_iter().all(|it| it.unwrap_err().kind() == ErrorKind::Conflict));
}

pub async fn members_have_the_role_that_was_set_last(stores: &Stores) {
    let (made, owner) = stored_organization(stores, "acme").await;
    let other = stored_user(stores, "other@example.com").await;
    let stranger = stored_user(stores, "stranger@example.com").await;
    let set = |base, user, role| {
        stores.tenancy.commit(
            TenancyChange::SetMember { organization: made.id, base, user, role },
            Trail::default(),
        )
    };
    for (base, role) in (1..).zip([Role::Viewer, Role::Admin, Role::Operator, Role::Owner]) {
        assert_eq!(stores.tenancy.owners(made.id).await.unwrap(), 1);
        set(base, other, Some(role)).await.unwrap();
        assert_eq!(stores.tenancy.role(other, made.id).await.unwrap(), Some(role));
        let (found, held) = stores.tenancy.organization(made.id, other).await.unwrap().unwrap();
        assert_eq!((found.version, held), (base + 1, role), "each change counts the version");
    }
    assert_eq!(stores.tenancy.owners(made.id).await.unwrap(), 2);
    let page = |number| PageRequest::new(number, 1).unwrap();
    let emails = async |number| {
        let members = stores.tenancy.members(made.id, page(number)).await.unwrap();
        assert_eq!(members.meta.total, 2);
        members.data.into_iter().map(|it| (it.user_id, it.role)).collect::<Vec<_>>()
    };
    assert_eq!(emails(1).await, [(owner, Role::Owner)]);
    assert_eq!(emails(2).await, [(other, Role::Owner)]);
    assert_eq!(emails(3).await, []);
    set(5, owner, None).await.unwrap();
    assert_eq!(stores.tenancy.role(owner, made.id).await.unwrap(), None);
    assert_eq!(stores.tenancy.organization(made.id, owner).await.unwrap(), None);
    assert_eq!(stores.tenancy.role(stranger, made.id).await.unwrap(), None);
    let found = stores.tenancy.members(made.id, page(1)).await.unwrap();
    let email = Email::parse("other@example.com").unwrap();
    assert_eq!(found.data, [Member { user_id: other, email, role: Role::Owner }]);
}

pub async fn a_member_is_set_only_from_the_version_that_was_read(stores: &Stores) {
    let (made, owner) = stored_organization(stores, "acme").await;
    let set = |base, user| TenancyChange::SetMember {
        organization: made.id,
        base,
        user,
        role: Some(Role::Viewer),
    };
    assert_eq!(refused(stores, set(2, owner)).await, ErrorKind::Stale);
    assert_eq!(refused(stores, set(1, super::given::id())).await, ErrorKind::NotFound);
    let users = [stored_user(stores, "a@b.c").await, stored_user(stores, "d@e.f").await];
    let both = users.map(|user| stores.tenancy.commit(set(1, user), Trail::default()));
    let done = futures::future::join_all(both).await;
    assert_eq!(done.iter().filter(|it| it.is_ok()).count(), 1, "two cannot decide on one version");
    let gone = TenancyChange::SetMember {
        organization: super::given::id(),
        base: 1,
        user: owner,
        role: None,
    };
    assert_eq!(refused(stores, gone).await, ErrorKind::NotFound);
}

pub async fn a_new_password_ends_all_logins_of_the_user(stores: &Stores) {
    let [one, other] = [stored_user(stores, "a@b.c").await, stored_user(stores, "d@e.f").await];
    for token in [token("1", 1, one, 60), token("2", 2, one, 60), token("3", 3, other, 60)] {
        stores
            .tenancy
            .commit(TenancyChange::AddRefreshToken(token), Trail::default())
            .await
            .unwrap();
    }
    let password = PasswordHash::from_stored("$argon2id$y");
    let change = TenancyChange::SetPassword { user: one, password: password.clone() };
    stores.tenancy.commit(change, Trail::default()).await.unwrap();
    assert_eq!(stores.tenancy.user(one).await.unwrap().unwrap().password, password);
    assert_ne!(stores.tenancy.user(other).await.unwrap().unwrap().password, password);
    for (text, there) in [("1", false), ("2", false), ("3", true)] {
        let found = stores.tenancy.refresh_token(&TokenHash::of(text)).await.unwrap();
        assert_eq!(found.is_some(), there, "{text}");
    }
    let nobody = TenancyChange::SetPassword { user: super::given::id(), password };
    assert_eq!(refused(stores, nobody).await, ErrorKind::NotFound);
}

pub async fn api_keys_are_found_by_what_is_left_of_them(stores: &Stores) {
    let (made, owner) = stored_organization(stores, "acme").await;
    let other = stored_user(stores, "other@example.com").await;
    let keys = [("b", owner, 2), ("a", other, 1), ("c", owner, 3)]
        .map(|(name, user, at)| (api_key(made.id, user, name, at), TokenHash::of(name)));
    for (key, hash) in keys.clone() {
        stores
            .tenancy
            .commit(TenancyChange::CreateApiKey { key, hash }, Trail::default())
            .await
            .unwrap();
    }
    for (key, hash) in &keys {
        assert_eq!(stores.tenancy.api_key_by_hash(hash).await.unwrap().as_ref(), Some(key));
        assert_eq!(stores.tenancy.api_key(key.id).await.unwrap().as_ref(), Some(key));
    }
    assert_eq!(stores.tenancy.api_key_by_hash(&TokenHash::of("x")).await.unwrap(), None);
    let names = async |maker, number| {
        let page = PageRequest::new(number, 2).unwrap();
        let found = stores.tenancy.api_keys(made.id, maker, page).await.unwrap();
        let names: Vec<_> = found.data.iter().map(|it| it.name.to_string()).collect();
        (names.join(" "), found.meta.total)
    };
    assert_eq!(names(None, 1).await, ("a b".to_owned(), 3));
    assert_eq!(names(None, 2).await, ("c".to_owned(), 3));
    assert_eq!(names(Some(owner), 1).await, ("b c".to_owned(), 2));
    let id = keys[0].0.id;
    stores.tenancy.commit(TenancyChange::DeleteApiKey(id), Trail::default()).await.unwrap();
    assert_eq!(refused(stores, TenancyChange::DeleteApiKey(id)).await, ErrorKind::NotFound);
    assert_eq!(stores.tenancy.api_key_by_hash(&keys[0].1).await.unwrap(), None);
    let delete =
        TenancyChange::DeleteOrganization { id: made.id, base: 1, cascade: Cascade::Refuse };
    stores.tenancy.commit(delete, Trail::default()).await.unwrap();
    assert_eq!(stores.tenancy.api_key(keys[1].0.id).await.unwrap(), None, "it goes with it");
}

pub async fn an_api_key_needs_its_organization_and_its_maker(stores: &Stores) {
    let (made, owner) = stored_organization(stores, "acme").await;
    for (of, user) in [(super::given::id(), owner), (made.id, super::given::id())] {
        let key = api_key(of, user, "a", 0);
        let create = TenancyChange::CreateApiKey { key, hash: TokenHash::of("a") };
        assert_eq!(refused(stores, create).await, ErrorKind::NotFound);
    }
    assert_eq!(stores.tenancy.api_key_by_hash(&TokenHash::of("a")).await.unwrap(), None);
}

pub async fn api_keys_that_expired_are_dropped(stores: &Stores) {
    let (made, owner) = stored_organization(stores, "acme").await;
    for (name, expires_at) in [("old", Some(at(9))), ("new", Some(at(10))), ("ever", None)] {
        let key = ApiKey { expires_at, ..api_key(made.id, owner, name, 0) };
        let hash = TokenHash::of(name);
        stores
            .tenancy
            .commit(TenancyChange::CreateApiKey { key, hash }, Trail::default())
            .await
            .unwrap();
    }
    assert_eq!(stores.tenancy.drop_expired(at(10)).await.unwrap(), 1);
    for (name, there) in [("old", false), ("new", true), ("ever", true)] {
        let found = stores.tenancy.api_key_by_hash(&TokenHash::of(name)).await.unwrap();
        assert_eq!(found.is_some(), there, "{name}");
    }
}
