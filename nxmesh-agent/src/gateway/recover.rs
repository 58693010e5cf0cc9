//! What an agent before this one left behind.

use std::sync::Arc;

use nxmesh_core::{
    RevisionNumber,
    gateway::{ConfigUpdate, Projection, drift::DriftPolicy},
};

use super::{
    NginxError, engine::Engine, generation::Generation, quarantine::Content, wanted::Wanted,
};

impl Engine {
    /// Finishes or undoes what an agent before this one began, and sees to it that
    /// nginx runs.
    pub(super) async fn recover(&mut self) -> Result<(), NginxError> {
        let dir = self.nginx.dir();
        let verified = Generation::behind(&dir.verified());
        let current = match Generation::behind(&dir.current()).or_else(|| verified.clone()) {
            Some(current) => current,
            None => self.stage_nothing().await?,
        };
        self.rotation = Arc::new(current.rotation());
        self.switch(&current)?;
        if self.is_attached() && self.nginx.master().is_none() {
            self.miss();
            return Ok(());
        }
        // Where an apply was cut off, workers of both may answer for a moment.
        let serves = match verified.as_ref() == Some(&current) {
            _ if self.nginx.master().is_none() => false,
            true => self.nginx.serves_soon(&current.identity).await,
            false => self.nginx.serves_steadily(&current.identity).await,
        };
        if serves {
            tracing::info!(version = %current.identity.version, "took over the nginx that runs");
            self.mark_verified(&current);
            return Ok(());
        }
        let Err(error) = self.bring_up(&current).await else {
            self.mark_verified(&current);
            return Ok(());
        };
        // Where nothing ever worked, there is nothing to wait for.
        let Some(verified) = verified else { return Err(error) };
        let error = if verified == current {
            error
        } else {
            tracing::warn!(error = error.full(), "going back to the last that worked");
            self.switch(&verified)?;
            let Err(error) = self.bring_up(&verified).await else {
                self.mark_verified(&verified);
                return Ok(());
            };
            error
        };
        // It worked once: somebody else may hold its port. It is tried again, and until it
        // works nothing is proven.
        tracing::error!(error = error.full(), "nginx does not serve what it served before");
        Ok(())
    }

    /// Has nginx serve what `current` links to, whether it runs or not.
    pub(super) async fn bring_up(&self, current: &Generation) -> Result<(), NginxError> {
        match self.nginx.master() {
            Some(_) => self.nginx.reload(&current.identity, self.loading).await,
            None if self.is_attached() => Err(NginxError::Away),
            None => self.nginx.start_and_prove(&current.identity).await,
        }
    }

    /// A configuration that serves nothing, for an nginx that was told nothing yet.
    async fn stage_nothing(&mut self) -> Result<Generation, NginxError> {
        let nothing = ConfigUpdate {
            config_id: String::new(),
            version: RevisionNumber::default(),
            checksum: String::new(),
            projection: Arc::new(Projection::default()),
            drift: DriftPolicy::default(),
        };
        let content = Content::whole(Arc::new(nothing));
        let wanted = Wanted { content, rotation: Arc::default() };
        let facts = self.nginx.facts().await?;
        self.stage_and_test(&wanted, &wanted.effective(), &facts).await
    }
}
