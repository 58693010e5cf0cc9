//! Agents without an nginx: for tests of what embeds the control plane, and to see how a fleet
//! behaves when some of it does not.
//!
//! A simulated agent speaks to the control plane as any other does, over any transport, and
//! confirms whatever it is sent, unless its [`Conduct`] is another.
//!
//! ```
//! use std::sync::Arc;
//!
//! use nxmesh_core::{
//!     Actor, Mesh, Secret,
//!     gateway::NewRegistrationToken,
//!     simulated::SimulatedAgent,
//!     store::memory::MemoryStore,
//!     tenancy::{NewOrganization, NewWorkspace},
//!     transport::in_process::InProcessConnector,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), nxmesh_core::Error> {
//! let mesh = Mesh::builder().store(MemoryStore::new()).build().await?;
//! let user = mesh.tenancy().users().create("me@example.com", Secret::random_password()).await?;
//! let me = Actor::user(user.id);
//! let acme = NewOrganization { name: "Acme".into(), slug: "acme".into() };
//! let acme = mesh.tenancy().organizations().create(&me, acme).await?;
//! let new =
//!     NewWorkspace { name: "Test".into(), slug: "test".into(), settings: Default::default() };
//! let workspace = mesh.tenancy().workspaces().create(&me, acme.id, new).await?;
//! let new = NewRegistrationToken {
//!     name: "web-01".into(),
//!     labels: Default::default(),
//!     expires_in_hours: 1,
//! };
//! let token = mesh.gateway().agents().create_token(&me, workspace.id, new).await?;
//!
//! let connector = Arc::new(InProcessConnector::new(mesh.gateway().clone()));
//! let agent = SimulatedAgent::start(connector, token.token, None);
//! agent.until(|it| it.version == workspace.revision.0).await;
//! # mesh.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod agent;
mod conduct;
mod life;

pub use self::{
    agent::{Confirmed, SimulatedAgent},
    conduct::{Conduct, Failing, SimulatedState},
};
