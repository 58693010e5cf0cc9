//! Each fault at each moment of an apply: afterwards the old version is served or the new one, what
//! is said of the agent is so, and when the fault is gone the new one is served without anybody's
//! doing.

/// A test for each moment at which the fault comes.
macro_rules! at_each_moment {
    ($fault:ty) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn before() -> anyhow::Result<()> {
            crate::matrix::cell::run::<$fault>(nxmesh_benches::Point::Before).await
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn during_test() -> anyhow::Result<()> {
            crate::matrix::cell::run::<$fault>(nxmesh_benches::Point::Test).await
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn during_switch() -> anyhow::Result<()> {
            crate::matrix::cell::run::<$fault>(nxmesh_benches::Point::Switch).await
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn during_reload() -> anyhow::Result<()> {
            crate::matrix::cell::run::<$fault>(nxmesh_benches::Point::Reload).await
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn during_proof() -> anyhow::Result<()> {
            crate::matrix::cell::run::<$fault>(nxmesh_benches::Point::Proof).await
        }
    };
}

mod cell;
mod truth;

mod agent_killed;
mod agent_panics;
mod certificate_removed;
mod clock_jump;
mod disk_full;
mod file_edited;
mod network_cut;
mod nginx_killed;
mod port_held;
mod server_killed;

pub(crate) use self::{cell::mess, truth::asked};
