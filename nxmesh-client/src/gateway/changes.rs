use nxmesh_core::{
    gateway::{AppliedChanges, ChangePreview, NewChangeSet},
    tenancy::WorkspaceId,
};

use crate::{Client, Result, request::Call};

/// Several changes as one: `client.changes()`.
#[derive(Debug, Clone)]
pub struct Changes {
    client: Client,
}

impl Changes {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// Makes all changes of a set, or none, as one revision.
    ///
    /// # Errors
    /// `VALIDATION_ERROR` and `CONFLICT`, naming fields as `changes[3].body.name`; `CONFLICT` with
    /// status 412 when an object is not in the state that the set asks for any more.
    pub async fn apply(&self, of: WorkspaceId, set: &NewChangeSet) -> Result<AppliedChanges> {
        self.client.fetch(Call::post(format!("workspaces/{of}/changes")).body(set)).await
    }

    /// What [`apply`](Self::apply) would do now. Nothing is changed.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub async fn dry_run(&self, of: WorkspaceId, set: &NewChangeSet) -> Result<ChangePreview> {
        let call = Call::post(format!("workspaces/{of}/changes")).query("dry_run", "true".into());
        self.client.fetch(call.body(set)).await
    }

    /// The same for those who may only read.
    ///
    /// # Errors
    /// As [`apply`](Self::apply), but it forbids nobody who may read.
    pub async fn preview(&self, of: WorkspaceId, set: &NewChangeSet) -> Result<ChangePreview> {
        self.client.fetch(Call::post(format!("workspaces/{of}/config/preview")).body(set)).await
    }
}
