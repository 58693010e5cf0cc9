//! Public test suites: what every backend of a contract must do, a test for each
//! sentence of the contract.
//!
//! A backend runs them with one line, in a test target of its own:
//!
//! ```
//! nxmesh_core::store_conformance_tests!(|| async { (nxmesh_core::store::memory::MemoryStore::new(), ()) });
//! # fn main() {}
//! ```
//!
//! The closure answers the store, and what is to be kept as long as it is used (a folder, a
//! process). Names in it are looked up in modules below: write paths from a crate's root. Each test gets a
//! fresh, empty store. New tests may come with any release.

pub mod cascades;
pub mod changes;
pub mod commands;
pub mod events;
pub mod gateway;
pub mod given;
pub mod history;
pub mod idempotency;
pub mod leases;
pub mod limits;
pub mod links;
pub mod model;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "rendezvous")]
pub mod rendezvous;
pub mod rollouts;
pub mod settings;
pub mod silence;
pub mod tenancy;

/// How long anything may take before it counts as not coming.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Makes a test of each behaviour, on the stores that the closure opens.
#[macro_export]
macro_rules! store_conformance_tests {
    ($open:expr) => {
        $crate::store_conformance_tests!(@ $open, tenancy:
            a_user_is_found_by_address_in_any_case,
            an_address_is_taken_once,
            the_first_user_is_made_only_on_an_empty_store,
            an_organization_is_seen_by_its_members_only,
            organizations_are_listed_in_order_of_creation_in_pages,
            an_organization_slug_is_taken_once,
            an_organization_is_changed_only_from_the_version_it_was_read_at,
            an_organization_with_workspaces_is_not_deleted,
            an_owner_who_does_not_exist_is_refused_and_leaves_nothing,
            a_workspace_needs_its_organization,
            workspaces_are_listed_in_order_of_creation_in_pages,
            a_workspace_slug_is_taken_once_in_its_organization,
            a_workspace_is_changed_only_from_its_head,
            a_workspace_with_agents_is_not_deleted,
            a_deleted_workspace_takes_what_it_serves_along,
            a_refresh_token_rotates_once,
            a_revoked_family_is_gone,
            refresh_tokens_that_expired_are_dropped,
            a_refresh_token_needs_its_user,
            there_is_one_signing_key,
            of_many_at_once_one_slug_wins,
            of_two_first_users_one_is_made,
            of_many_uses_of_a_refresh_token_one_counts,
            members_have_the_role_that_was_set_last,
            a_member_is_set_only_from_the_version_that_was_read,
            a_new_password_ends_all_logins_of_the_user,
            api_keys_are_found_by_what_is_left_of_them,
            an_api_key_needs_its_organization_and_its_maker,
            api_keys_that_expired_are_dropped,
        );
        $crate::store_conformance_tests!(@ $open, cascades:
            a_workspace_goes_with_its_agents_if_asked,
            an_organization_goes_with_all_that_is_in_it_if_asked,
            what_has_moved_on_does_not_go,
        );
        $crate::store_conformance_tests!(@ $open, gateway:
            a_new_workspace_is_empty_at_revision_zero,
            a_commit_is_read_back_whole,
            a_commit_is_refused_when_the_workspace_moved_on,
            a_refused_commit_leaves_nothing,
            a_commit_to_a_workspace_that_is_gone_is_refused,
            of_many_commits_on_one_base_one_wins,
            the_history_leads_from_any_revision_to_the_head,
            each_revision_says_who_and_why,
            virtual_hosts_are_listed_in_order_of_creation_in_pages,
            upstreams_are_listed_in_order_of_creation_in_pages,
            agents_are_listed_as_filtered,
            an_agent_keeps_its_status_when_it_is_renamed,
            the_status_of_an_agent_that_is_gone_is_not_kept,
            the_last_drift_of_an_agent_is_told_by_the_connection_that_holds_it,
            a_deleted_agent_loses_its_secrets,
            of_the_secrets_of_an_agent_one_is_kept,
            a_secret_needs_its_agent,
            every_move_is_announced,
            settings_are_part_of_the_snapshot,
            heads_are_of_the_workspaces_that_are_there,
            steps_are_committed_together_and_the_last_write_stays,
            of_sixty_four_writers_none_loses_a_change,
            a_connection_holds_an_agent_until_a_newer_one_does,
            secrets_that_expired_are_dropped,
            a_state_is_what_the_history_made_of_it,
            revisions_are_listed_by_number_in_pages,
        );
        $crate::store_conformance_tests!(@ $open, events:
            what_is_recorded_is_read_in_order,
            a_change_is_recorded_with_its_trail,
            a_refused_change_leaves_no_trail,
            what_leaves_no_trail_refuses_one,
            a_new_password_is_told_to_every_organization_of_the_user,
            what_agents_do_is_recorded_with_their_status,
            recording_is_announced,
            no_event_is_passed_over_by_whoever_reads_on,
            the_newest_events_are_kept,
            the_audit_log_is_listed_as_filtered,
            the_audit_log_outlives_what_it_is_about,
        );
        $crate::store_conformance_tests!(@ $open, history:
            what_the_kept_revisions_were_stays_the_same,
            dropped_revisions_are_gone,
            no_revision_is_dropped_that_is_to_be_kept,
            whoever_is_behind_what_is_kept_is_told_to_read_all,
            revisions_are_dropped_some_at_a_time,
            one_large_revision_is_folded_too,
            long_histories_are_found,
            a_workspace_goes_on_after_revisions_were_dropped,
            revisions_are_dropped_while_changes_are_made,
        );
        $crate::store_conformance_tests!(@ $open, rollouts:
            a_rollout_is_read_back_whole,
            one_rollout_of_a_workspace_is_under_way_at_a_time,
            of_many_at_once_one_rollout_is_started,
            a_rollout_is_changed_only_from_its_version,
            a_rollout_that_is_over_stays_as_it_is,
            rollouts_are_listed_oldest_first_in_pages,
            what_agents_serve_follows_settings_and_rollouts,
            a_mark_grows_with_every_change,
            a_rollout_is_announced_and_leaves_its_trail,
            a_refused_rollout_leaves_nothing,
            rollouts_go_with_their_workspace,
            the_oldest_rollouts_are_dropped_but_for_the_last_completed,
            no_revision_is_dropped_that_agents_are_on,
        );
        $crate::store_conformance_tests!(@ $open, settings:
            settings_that_a_workspace_is_made_with_are_its_first_revision,
            settings_that_a_commit_writes_are_those_of_the_workspace,
            a_refused_commit_writes_no_settings,
            a_restored_revision_brings_its_settings_back,
        );
        $crate::store_conformance_tests!(@ $open, commands:
            a_command_waits_for_its_agent_and_is_taken_once,
            an_answer_is_announced_and_kept,
            a_command_that_nobody_takes_in_time_is_not_taken,
            one_command_too_many_is_refused,
        );
        $crate::store_conformance_tests!(@ $open, silence:
            agents_are_silent_until_they_are_heard_of,
            a_silent_session_is_ended_only_as_it_was_found,
            agents_of_a_server_that_died_are_told_of_once,
        );
        $crate::store_conformance_tests!(@ $open, changes:
            a_change_of_tenancy_counts_before_it_is_answered,
            a_change_of_the_gateway_counts_before_it_is_answered,
            a_login_does_not_count,
        );
        $crate::store_conformance_tests!(@ $open, leases:
            a_lease_has_one_holder,
            a_lease_that_is_not_renewed_ends,
            only_its_holder_returns_a_lease,
            of_many_at_once_one_takes_a_lease,
        );
        $crate::store_conformance_tests!(@ $open, idempotency:
            a_key_is_reserved_once_and_says_what_for,
            of_many_at_once_one_reserves_a_key,
            an_answer_is_kept_beside_its_key,
            an_answer_needs_the_ticket_that_holds_the_key,
            a_released_key_is_free,
            a_key_is_released_only_by_its_ticket_and_without_an_answer,
            a_key_is_free_when_its_time_is_over,
            keys_that_expired_are_dropped,
        );
        $crate::store_conformance_tests!(@ $open, limits:
            any_text_is_kept_as_it_is,
            the_largest_objects_are_kept,
            a_change_of_a_thousand_objects_is_one_change,
            a_commit_that_is_given_up_is_whole_or_nothing,
            a_change_of_tenancy_that_is_given_up_is_whole_or_nothing,
            reads_that_are_given_up_harm_no_later_one,
        );
    };
    (@ $open:expr, $area:ident: $($name:ident),* $(,)?) => {
        mod $area {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    let (store, _kept) = ($open)().await;
                    $crate::conformance::$area::$name(&$crate::store::Stores::from(store)).await;
                }
            )*
        }
    };
}
