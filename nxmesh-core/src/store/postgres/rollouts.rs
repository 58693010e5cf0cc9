//! The rollouts of workspaces, as rows.

use std::collections::HashMap;

use sqlx::Row;

use super::{
    PostgresStore,
    events::bind_trail,
    rows::{body, find, id, key},
};
use crate::{
    Page, PageRequest, Result, Trail,
    gateway::{DeliveryRecord, MAX_ROLLOUTS, News, Rollout, RolloutId, RolloutMark, RolloutState},
    store::{
        TOGETHER,
        codec::{RolloutRow, TrailRows, corrupt, from_body, number},
    },
    tenancy::{Workspace, WorkspaceId},
};

impl PostgresStore {
    pub(super) async fn find_rollout(&self, id: RolloutId) -> Result<Option<Rollout>> {
        let statement = sqlx::query("SELECT body FROM rollouts WHERE id = $1");
        find(&self.database, statement.bind(key(id))).await
    }

    pub(super) async fn page_of_rollouts(
        &self,
        of: WorkspaceId,
        request: PageRequest,
    ) -> Result<Page<Rollout>> {
        let statement = sqlx::query(
            "SELECT total, page.body
             FROM (SELECT count(*) AS total FROM rollouts WHERE workspace_id = $1) AS all_of_them
             LEFT JOIN (
                 SELECT number, body FROM rollouts WHERE workspace_id = $1
                 ORDER BY number LIMIT $2 OFFSET $3
             ) AS page ON true ORDER BY number",
        );
        let (limit, offset) = (number(request.per_page())?, number(request.offset())?);
        let statement = statement.bind(key(of)).bind(limit).bind(offset);
        let rows = self.database.all(statement).await?;
        let total: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
        let bodies = rows.iter().map(|row| Ok(row.try_get::<Option<&str>, _>(1)?));
        let bodies = bodies.filter_map(Result::transpose);
        let data = bodies.map(|body| body.and_then(from_body)).collect::<Result<_>>()?;
        Ok(request.part(data, u64::try_from(total).map_err(corrupt)?))
    }

    pub(super) async fn all_under_way(&self) -> Result<Vec<Rollout>> {
        let sql = "SELECT body FROM rollouts WHERE state = 'under_way' ORDER BY id LIMIT $1";
        let rows = self.database.all(sqlx::query(sql).bind(number(TOGETHER)?)).await?;
        rows.iter().map(|row| body(row, 0)).collect()
    }

    pub(super) async fn find_delivery(&self, of: WorkspaceId) -> Result<Option<DeliveryRecord>> {
        let rows = self.database.all(sqlx::query(include_str!("sql/delivery.sql")).bind(key(of)));
        let rows = rows.await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let workspace: Workspace = body(first, 0)?;
        let staged_since = workspace.settings.staged_since;
        let mut record = DeliveryRecord { staged_since, ..DeliveryRecord::default() };
        for row in &rows {
            let Some(text) = row.try_get::<Option<&str>, _>(1)? else { continue };
            let rollout: Rollout = from_body(text)?;
            let count = u64::try_from(row.try_get::<i64, _>(2)?).map_err(corrupt)?;
            let mark = RolloutMark { number: count, version: rollout.version };
            record.mark = record.mark.max(mark);
            if rollout.state.is_under_way() {
                record.under_way = Some(rollout);
            } else if rollout.state == RolloutState::Completed {
                record.completed = Some(rollout);
            }
        }
        Ok(Some(record))
    }

    pub(super) async fn find_marks(
        &self,
        of: &[WorkspaceId],
    ) -> Result<HashMap<WorkspaceId, RolloutMark>> {
        let ids: Vec<_> = of.iter().copied().map(key).collect();
        let statement = sqlx::query(
            "SELECT DISTINCT ON (workspace_id) workspace_id, number, version FROM rollouts
             WHERE workspace_id = ANY ($1) ORDER BY workspace_id, number DESC",
        );
        let rows = self.database.all(statement.bind(ids)).await?;
        let mark = |row| {
            let count = |row: &sqlx::postgres::PgRow, column: usize| {
                u64::try_from(row.try_get::<i64, _>(column)?).map_err(corrupt)
            };
            Ok((id(row, 0)?, RolloutMark { number: count(row, 1)?, version: count(row, 2)? }))
        };
        rows.iter().map(mark).collect()
    }

    pub(super) async fn put(&self, rollout: &Rollout, trail: Trail) -> Result<bool> {
        let RolloutRow { id, workspace_id, version, state, revision, staged_since, body } =
            RolloutRow::of(rollout)?;
        let trail = TrailRows::of(&trail)?;
        let statement = if version == 1 {
            sqlx::query(include_str!("sql/add_rollout.sql"))
                .bind(id)
                .bind(workspace_id)
                .bind(state)
                .bind(revision)
                .bind(staged_since)
                .bind(body)
                .bind(number(MAX_ROLLOUTS)?)
        } else {
            let sql = "WITH changed AS (
                 UPDATE rollouts SET version = $2, state = $3, body = $4
                 WHERE id = $1 AND version = $2 - 1 AND state = 'under_way' RETURNING id
             )
             SELECT record_trail($5, $6) FROM changed";
            sqlx::query(sql).bind(id).bind(version).bind(state).bind(body)
        };
        let put = self.database.try_change(bind_trail(statement, &trail)?).await?.is_some();
        if put {
            self.recorded(&trail);
            self.database.announce(News::RolledOut(rollout.workspace_id));
        }
        Ok(put)
    }
}
