//! Typed client of the NxMesh API: nobody writes a URL by hand.
//!
//! ```no_run
//! # async fn f() -> Result<(), nxmesh_client::Error> {
//! use futures::TryStreamExt;
//! use nxmesh_client::Client;
//!
//! let client = Client::new("http://127.0.0.1:8080")?;
//! client.auth().login("me@example.com", "correct horse").await?;
//! let organizations: Vec<_> = client.organizations().list().try_collect().await?;
//! # Ok(())
//! # }
//! ```

#[cfg(doctest)]
#[doc = include_str!("../../docs/changes.md")]
struct ChangesPage;

#[cfg(all(doctest, feature = "rendezvous"))]
#[doc = include_str!("../../docs/rendezvous-client.md")]
struct RendezvousPage;

mod client;
mod error;
mod events;
mod gateway;
mod paging;
mod request;
mod sender;
mod socket;
mod tenancy;

#[cfg(feature = "rendezvous")]
pub mod rendezvous;

pub use self::{
    client::{Client, ClientBuilder},
    error::{ApiError, Error, RendezvousError, Result},
    events::{EventStream, Events, Received, Watch},
    gateway::{
        AgentFilter, Agents, Changes, RegistrationToken, Revisions, Rollouts, Upstreams,
        VirtualHosts,
    },
    tenancy::{ApiKeys, AuditLog, Auth, CreatedApiKey, Members, Organizations, Workspaces},
};
pub use nxmesh_core as core;
