//! What stores promise that count their changes, so that others may keep what they read.
//! Where other processes make changes too there is no count, before and after.

#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "the names say it, and they panic to fail"
)]

use std::sync::Arc;

use uuid::Uuid;

use super::given::{
    api_key, at, change, organization, stored_user, stored_workspace, virtual_host, workspace,
};
use crate::{
    Revision, RevisionNumber, TokenHash, Trail,
    gateway::GatewayWrite,
    store::Stores,
    tenancy::{Cascade, RefreshToken, Role, TenancyChange, Workspace},
};

pub async fn a_change_of_tenancy_counts_before_it_is_answered(stores: &Stores) {
    let (made, owner) = stored_workspace(stores).await;
    let friend = stored_user(stores, "friend@example.com").await;
    let of = made.organization_id;
    let other = organization("other", 1);
    let spare = workspace(of, "spare", 1);
    let key = api_key(of, owner, "a", 0);
    let member =
        |base, role| TenancyChange::SetMember { organization: of, base, user: friend, role };
    let revision = Revision {
        workspace_id: made.id,
        number: RevisionNumber(1),
        author: owner,
        reason: "rename".to_owned(),
        created_at: at(1),
    };
    let renamed = Workspace { revision: revision.number, ..made.clone() };
    let changes = [
        member(1, Some(Role::Viewer)),
        member(2, None),
        TenancyChange::CreateApiKey { key: key.clone(), hash: TokenHash::of("a") },
        TenancyChange::DeleteApiKey(key.id),
        TenancyChange::CreateWorkspace { workspace: spare.clone(), revision: None },
        TenancyChange::DeleteWorkspace {
            id: spare.id,
            base: spare.revision,
            cascade: Cascade::Refuse,
        },
        TenancyChange::UpdateWorkspace {
            workspace: renamed,
            base: RevisionNumber::default(),
            revision,
        },
        TenancyChange::CreateOrganization { organization: other.clone(), owner },
        TenancyChange::DeleteOrganization {
            id: other.id,
            base: other.version,
            cascade: Cascade::Refuse,
        },
    ];
    for change in changes {
        let (before, what) = (stores.tenancy.changes(), format!("{change:?}"));
        stores.tenancy.commit(change, Trail::default()).await.unwrap();
        let after = stores.tenancy.changes();
        assert!(after > before || (before, after) == (None, None), "{what}");
    }
}

pub async fn a_change_of_the_gateway_counts_before_it_is_answered(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let host = Arc::new(virtual_host(workspace.id, "a", 0));
    let writes =
        [GatewayWrite::PutVirtualHost(Arc::clone(&host)), GatewayWrite::DeleteVirtualHost(host.id)];
    for (base, write) in (0..).zip(writes) {
        let before = stores.gateway.changes();
        stores.gateway.commit(change(workspace.id, base, vec![write])).await.unwrap();
        let after = stores.gateway.changes();
        assert!(after > before || (before, after) == (None, None), "at {base}");
    }
    let before = stores.gateway.changes();
    let (id, cascade) = (workspace.organization_id, Cascade::Children);
    let delete = TenancyChange::DeleteOrganization { id, base: 1, cascade };
    stores.tenancy.commit(delete, Trail::default()).await.unwrap();
    let after = stores.gateway.changes();
    assert!(after > before || (before, after) == (None, None), "what it serves goes with it");
}

pub async fn a_login_does_not_count(stores: &Stores) {
    let user_id = stored_user(stores, "a@example.com").await;
    let family = Uuid::from_u128(1);
    let token = |text: &str| {
        let hash = TokenHash::of(text);
        RefreshToken { hash, family, user_id, expires_at: at(60), used: false }
    };
    let before = stores.tenancy.changes();
    let (first, next) = (token("a"), token("b"));
    let used = first.hash;
    stores.tenancy.commit(TenancyChange::AddRefreshToken(first), Trail::default()).await.unwrap();
    stores
        .tenancy
        .commit(TenancyChange::RotateRefreshToken { used, next }, Trail::default())
        .await
        .unwrap();
    stores.tenancy.commit(TenancyChange::RevokeFamily(family), Trail::default()).await.unwrap();
    assert_eq!(stores.tenancy.changes(), before);
}
