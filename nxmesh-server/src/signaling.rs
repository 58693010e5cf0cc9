//! What the reference server serves of rendezvous.

use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use nxmesh_core::{
    rendezvous::{Rendezvous, RendezvousStore},
    tenancy::MasterKey,
};
use nxmesh_server::{
    MoreFigures,
    rendezvous::{RendezvousHttpSettings, offers_with, origin_with, with_rpc},
};
use tokio::net::TcpListener;

use crate::{rendezvous_settings::Protocol, secrets::credential_key, settings::Settings};

/// Ready to be served.
pub(crate) struct Signaling {
    pub(crate) rendezvous: Rendezvous,
    pub(crate) http: RendezvousHttpSettings,
    /// A listener with one protocol at its root.
    pub(crate) root: Option<(TcpListener, Router)>,
}

impl Signaling {
    pub(crate) fn prepare(
        settings: &Settings,
        store: Arc<dyn RendezvousStore>,
        master_key: MasterKey,
        root: Option<TcpListener>,
    ) -> Result<Self> {
        let given = &settings.rendezvous;
        let file = settings.data_dir.join("rendezvous.key");
        let http = given.http()?;
        let rendezvous = Rendezvous::builder()
            .shared_store(store)
            .settings(given.settings())
            .credential_keys(given.keys(|| credential_key(&file))?)
            .master_key(master_key)
            .build()?;
        let root = root.map(|listener| {
            let protocol = match given.rendezvous_protocol {
                Protocol::Offers => offers_with(rendezvous.clone(), &http),
                Protocol::Origin => origin_with(rendezvous.clone(), &http),
            };
            (listener, with_rpc(protocol, &rendezvous, &http))
        });
        Ok(Self { rendezvous, http, root })
    }

    /// For `GET /metrics`.
    pub(crate) fn figures(&self) -> Arc<dyn MoreFigures> {
        self.http.metrics.of(self.rendezvous.clone())
    }
}
