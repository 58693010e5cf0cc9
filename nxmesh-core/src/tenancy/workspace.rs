use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    ETag, Id, Path, Problems, Result, RevisionNumber,
    tenancy::{OrganizationId, OrganizationName, Settings, Slug, settings::NewSettings},
};

/// The id of a [`Workspace`].
pub type WorkspaceId = Id<Workspace>;

/// A fleet and what it serves: agents, virtual hosts, upstreams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Workspace {
    /// Never changes.
    pub id: WorkspaceId,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// What people call it.
    pub name: OrganizationName,
    /// Its name in URLs, unique in its organization.
    pub slug: Slug,
    /// What holds for the nginx of every agent.
    #[serde(default)]
    pub settings: Settings,
    /// The last revision that changed the workspace itself.
    #[serde(default)]
    pub revision: RevisionNumber,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

impl Workspace {
    /// Names this state of it.
    #[must_use]
    pub fn etag(&self) -> ETag {
        ETag::new(self.revision)
    }
}

/// What a caller writes of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewWorkspace {
    /// See [`Workspace::name`].
    #[cfg_attr(feature = "openapi", schema(value_type = OrganizationName))]
    pub name: String,
    /// See [`Workspace::slug`].
    #[cfg_attr(feature = "openapi", schema(value_type = Slug))]
    pub slug: String,
    /// See [`Workspace::settings`].
    #[serde(default)]
    pub settings: NewSettings,
}

impl NewWorkspace {
    pub(crate) fn parse(self) -> Result<(OrganizationName, Slug, Settings)> {
        let root = Path::root();
        let mut problems = Problems::default();
        let name = problems.take(&root.field("name"), OrganizationName::parse(self.name));
        let slug = problems.take(&root.field("slug"), Slug::parse(self.slug));
        let settings = self.settings.parse(&root.field("settings"), &mut problems);
        problems.finish_with(name.zip(slug).map(|(name, slug)| (name, slug, settings)))
    }
}

impl From<Workspace> for NewWorkspace {
    fn from(workspace: Workspace) -> Self {
        let Workspace {
            id: _,
            organization_id: _,
            name,
            slug,
            settings,
            revision: _,
            created_at: _,
            updated_at: _,
        } = workspace;
        Self { name: name.into(), slug: slug.into(), settings: settings.into() }
    }
}
