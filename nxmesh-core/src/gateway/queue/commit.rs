//! Committing what waits in the queue of a workspace.

use std::sync::Arc;

use crate::{
    figures::Buckets,
    gateway::{
        GatewayStore,
        queue::{Batch, Commits},
        snapshots::Snapshots,
    },
};

/// Commits all that waits, and publishes it.
pub(crate) async fn commit_all(
    commits: Commits,
    store: Arc<dyn GatewayStore>,
    snapshots: Snapshots,
    counted: Arc<Buckets>,
) {
    while let Some(Batch { change, after, answers }) = commits.next() {
        let workspace = change.workspace_id;
        let together = change.steps.len() as u64;
        let committed = if change.steps.is_empty() { Ok(()) } else { store.commit(change).await };
        match committed {
            Ok(()) => {
                snapshots.publish(after);
                if together > 0 {
                    counted.count(together);
                }
                commits.succeeded(answers);
            }
            Err(error) => {
                let look = async {
                    if let Err(error) = snapshots.refresh(workspace).await {
                        tracing::debug!(workspace_id = %workspace, %error, "cannot read what became of a change");
                    }
                };
                commits.failed(answers, &error, look).await;
            }
        }
    }
}
