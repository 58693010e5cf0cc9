//! What becomes of what is in something that is removed.

#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "the names say it, and they panic to fail"
)]

use super::{
    PATIENCE,
    given::{agent, change, secret, stored_workspace, workspace},
};
use crate::{
    ErrorKind, RevisionNumber, TokenHash, Trail,
    gateway::{GatewayWrite, Moved, News},
    store::Stores,
    tenancy::{Cascade, TenancyChange},
};

async fn refused(stores: &Stores, change: TenancyChange) -> ErrorKind {
    stores.tenancy.commit(change, Trail::default()).await.unwrap_err().kind()
}

pub async fn a_workspace_goes_with_its_agents_if_asked(stores: &Stores) {
    let (made, _) = stored_workspace(stores).await;
    let agent = agent(made.id, "web", 0);
    let mut put = change(made.id, 0, vec![GatewayWrite::PutAgent(agent.clone().into())]);
    put.steps[0].secret = Some(secret(&agent, "token"));
    stores.gateway.commit(put).await.unwrap();
    let (id, base) = (made.id, RevisionNumber(0));
    let delete = TenancyChange::DeleteWorkspace { id, base, cascade: Cascade::Children };
    stores.tenancy.commit(delete, Trail::default()).await.unwrap();
    assert!(stores.gateway.agent(agent.id).await.unwrap().is_none());
    let hash = TokenHash::of("token");
    assert!(stores.gateway.agent_secret(&hash).await.unwrap().is_none());
    assert!(stores.tenancy.workspace_head(made.id).await.unwrap().is_none());
}

pub async fn an_organization_goes_with_all_that_is_in_it_if_asked(stores: &Stores) {
    let (made, owner) = stored_workspace(stores).await;
    let of = made.organization_id;
    let second = workspace(of, "second", 1);
    let create = TenancyChange::CreateWorkspace { workspace: second.clone(), revision: None };
    stores.tenancy.commit(create, Trail::default()).await.unwrap();
    let agent = agent(made.id, "web", 0);
    let writes = vec![GatewayWrite::PutAgent(agent.clone().into())];
    stores.gateway.commit(change(made.id, 0, writes)).await.unwrap();
    let mut news = stores.gateway.subscribe();
    let cascade = Cascade::Children;
    let delete = TenancyChange::DeleteOrganization { id: of, base: 1, cascade };
    stores.tenancy.commit(delete, Trail::default()).await.unwrap();
    assert!(stores.tenancy.organization(of, owner).await.unwrap().is_none());
    assert!(stores.gateway.agent(agent.id).await.unwrap().is_none());
    let mut gone = std::collections::BTreeSet::from([made.id, second.id]);
    while !gone.is_empty() {
        let heard = tokio::time::timeout(PATIENCE, news.recv()).await.unwrap().unwrap();
        if let News::Moved(Moved { workspace_id, revision: None }) = heard {
            gone.remove(&workspace_id);
        }
    }
    let heads = stores.gateway.heads(&[made.id, second.id]).await.unwrap();
    assert!(heads.is_empty());
}

pub async fn what_has_moved_on_does_not_go(stores: &Stores) {
    let (made, _) = stored_workspace(stores).await;
    let agent = agent(made.id, "web", 0);
    let writes = vec![GatewayWrite::PutAgent(agent.clone().into())];
    stores.gateway.commit(change(made.id, 0, writes)).await.unwrap();
    let cascade = Cascade::Children;
    let id = made.organization_id;
    let delete = TenancyChange::DeleteOrganization { id, base: 7, cascade };
    assert_eq!(refused(stores, delete).await, ErrorKind::Stale);
    let base = RevisionNumber(7);
    let delete = TenancyChange::DeleteWorkspace { id: made.id, base, cascade };
    assert_eq!(refused(stores, delete).await, ErrorKind::Stale);
    assert!(stores.gateway.agent(agent.id).await.unwrap().is_some());
}
