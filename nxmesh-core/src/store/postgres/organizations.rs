//! Changes of organizations and their members.

use sqlx::Row;
use uuid::Uuid;

use super::{
    PostgresStore,
    error::constraint,
    events::bind_trail,
    rows::key,
    tenancy::{conflict, done},
};
use crate::{
    Error, ErrorKind, Id, Result,
    store::{
        codec::{TrailRows, micros, number, to_body},
        slug_taken,
    },
    tenancy::{Cascade, Organization, OrganizationId, Role, UserId},
};

impl PostgresStore {
    pub(super) async fn create_organization(
        &self,
        organization: &Organization,
        owner: UserId,
        trail: &TrailRows,
    ) -> Result<()> {
        let Organization { id, name: _, slug, version, created_at, updated_at: _ } = organization;
        let statement = sqlx::query(
            "WITH made AS (
                 INSERT INTO organizations (id, slug, version, created_at, body)
                 VALUES ($1, $2, $3, $4, $5) RETURNING id
             ), member AS (
                 INSERT INTO members (user_id, organization_id, role)
                 SELECT $6, id, 'owner' FROM made
             )
             SELECT record_trail($7, $8) FROM made",
        );
        let statement = statement
            .bind(key(*id))
            .bind(slug.as_str())
            .bind(number(*version)?)
            .bind(micros(*created_at))
            .bind(to_body(organization)?)
            .bind(key(owner));
        let made = self.database.change(bind_trail(statement, trail)?).await;
        made.map(|_| ()).map_err(|error| match constraint(&error) {
            Some("members_user_id_fkey") => Error::not_found("user", owner),
            _ => organization_taken(error, organization),
        })
    }

    pub(super) async fn update_organization(
        &self,
        organization: &Organization,
        base: u64,
        trail: &TrailRows,
    ) -> Result<()> {
        let Organization { id, name: _, slug, version, created_at: _, updated_at: _ } =
            organization;
        let statement = sqlx::query(
            "WITH changed AS (
                 UPDATE organizations SET slug = $3, version = $4, body = $5
                 WHERE id = $1 AND version = $2 RETURNING id
             ), recorded AS (SELECT record_trail($6, $7) AS done FROM changed)
             SELECT EXISTS (SELECT FROM changed), EXISTS (SELECT FROM organizations WHERE id = $1),
                 (SELECT max(done) FROM recorded)",
        );
        let statement = statement
            .bind(key(*id))
            .bind(number(base)?)
            .bind(slug.as_str())
            .bind(number(*version)?)
            .bind(to_body(organization)?);
        let changed = self.database.change(bind_trail(statement, trail)?).await;
        let changed = changed.map_err(|error| organization_taken(error, organization))?;
        done(&changed, "organization", *id)
    }

    pub(super) async fn delete_organization(
        &self,
        id: OrganizationId,
        base: u64,
        cascade: Cascade,
        trail: &TrailRows,
    ) -> Result<()> {
        let statement = sqlx::query(include_str!("sql/delete_organization.sql"))
            .bind(key(id))
            .bind(number(base)?)
            .bind(cascade == Cascade::Children);
        let deleted = self.database.change(bind_trail(statement, trail)?).await;
        let deleted = deleted.map_err(|error| match (constraint(&error), cascade) {
            (Some("workspaces_organization_id_fkey"), Cascade::Refuse) => {
                conflict("the organization has workspaces")
            }
            // Something was added to what goes while it went.
            (Some("workspaces_organization_id_fkey" | "agents_workspace_id_fkey"), _) => {
                Error::new(ErrorKind::Stale, "the organization has moved on")
            }
            _ => error,
        })?;
        done(&deleted, "organization", id)?;
        for gone in deleted.try_get::<Vec<Uuid>, _>(3)? {
            self.moved(Id::from_uuid(gone), None);
        }
        Ok(())
    }

    pub(super) async fn set_member(
        &self,
        (id, base): (OrganizationId, u64),
        user: UserId,
        role: Option<Role>,
        trail: &TrailRows,
    ) -> Result<()> {
        let statement = sqlx::query(
            "WITH changed AS (
                 UPDATE organizations SET version = version + 1
                 WHERE id = $1 AND version = $2 AND EXISTS (SELECT FROM users WHERE id = $3)
                 RETURNING id
             ), put AS (
                 INSERT INTO members (user_id, organization_id, role)
                 SELECT $3, id, $4 FROM changed WHERE $4 IS NOT NULL
                 ON CONFLICT (user_id, organization_id) DO UPDATE SET role = excluded.role
             ), removed AS (
                 DELETE FROM members USING changed
                 WHERE user_id = $3 AND organization_id = changed.id AND $4 IS NULL
             ), recorded AS (SELECT record_trail($5, $6) AS done FROM changed)
             SELECT EXISTS (SELECT FROM changed),
                 EXISTS (SELECT FROM organizations WHERE id = $1),
                 EXISTS (SELECT FROM organizations WHERE id = $1 AND version = $2),
                 (SELECT max(done) FROM recorded)",
        );
        let statement = statement
            .bind(key(id))
            .bind(number(base)?)
            .bind(key(user))
            .bind(role.map(Role::as_str));
        let changed = self.database.change(bind_trail(statement, trail)?).await?;
        let at_base: bool = changed.try_get(2)?;
        match done(&changed, "organization", id) {
            Err(error) if error.kind() == ErrorKind::Stale && at_base => {
                Err(Error::not_found("user", user))
            }
            done => done,
        }
    }
}

fn organization_taken(error: Error, organization: &Organization) -> Error {
    match constraint(&error) {
        Some("organizations_slug_key") => slug_taken("an organization", organization.slug.as_str()),
        _ => error,
    }
}
