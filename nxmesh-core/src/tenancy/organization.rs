use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    ETag, Id, Path, Problems, Result,
    problems::Malformed,
    tenancy::Slug,
    text::{MAX_LABEL_CHARS, check_label, text_type},
};

/// The id of an [`Organization`].
pub type OrganizationId = Id<Organization>;

text_type! {
    /// What people call an organization or a workspace: 1 to 200 characters, not
    /// blank, no control characters.
    OrganizationName, check_name
}

/// The owner of workspaces, and what users are members of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Organization {
    /// Never changes.
    pub id: OrganizationId,
    /// What people call it.
    pub name: OrganizationName,
    /// Its name in URLs, unique everywhere.
    pub slug: Slug,
    /// Counts its changes, from 1.
    #[serde(skip)]
    pub version: u64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

impl Organization {
    /// Names this state of it.
    #[must_use]
    pub fn etag(&self) -> ETag {
        ETag::new(self.version)
    }
}

/// What a caller writes of an organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewOrganization {
    /// See [`Organization::name`].
    #[cfg_attr(feature = "openapi", schema(value_type = OrganizationName))]
    pub name: String,
    /// See [`Organization::slug`].
    #[cfg_attr(feature = "openapi", schema(value_type = Slug))]
    pub slug: String,
}

impl NewOrganization {
    pub(crate) fn parse(self) -> Result<(OrganizationName, Slug)> {
        let root = Path::root();
        let mut problems = Problems::default();
        let name = problems.take(&root.field("name"), OrganizationName::parse(self.name));
        let slug = problems.take(&root.field("slug"), Slug::parse(self.slug));
        problems.finish_with(name.zip(slug))
    }
}

impl From<Organization> for NewOrganization {
    fn from(organization: Organization) -> Self {
        let Organization { id: _, name, slug, version: _, created_at: _, updated_at: _ } =
            organization;
        Self { name: name.into(), slug: slug.into() }
    }
}

fn check_name(text: &str) -> Result<(), Malformed> {
    check_label(text, MAX_LABEL_CHARS)
}
