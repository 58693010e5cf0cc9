//! The faces of the NxMesh control plane: routers to mount in a service of your
//! own, and the reference server.
//!
//! ```no_run
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! use nxmesh_core::{Mesh, store::sqlite::SqliteStore};
//!
//! let mesh = Mesh::builder().store(SqliteStore::open("mesh.db").await?).build().await?;
//! let app = axum::Router::new().nest("/mesh", nxmesh_server::http(mesh.clone()));
//! let agents = tonic::transport::Server::builder().add_service(nxmesh_server::grpc(&mesh));
//! # Ok(())
//! # }
//! ```

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

mod events;
mod gateway;
mod http;
#[cfg(feature = "rendezvous")]
pub mod rendezvous;
mod tenancy;

pub use self::{
    gateway::grpc,
    http::{
        HttpSettings, MAX_BODY_BYTES, MoreFigures, Needs, Route, document, http, http_with, routes,
    },
};
