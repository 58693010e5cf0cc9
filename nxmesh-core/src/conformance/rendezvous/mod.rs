//! What [`RendezvousStore`](crate::rendezvous::RendezvousStore) promises, a test for each sentence.
//!
//! A backend runs them with one line, in a test target of its own:
//!
//! ```
//! nxmesh_core::rendezvous_conformance_tests!(|| async {
//!     (nxmesh_core::store::memory::MemoryRendezvous::new(), ())
//! });
//! # fn main() {}
//! ```
//!
//! The closure answers the store, and what is to be kept as long as it is used, as that of
//! [`store_conformance_tests`](crate::store_conformance_tests) does.

pub mod answers;
pub mod busy;
pub mod candidates;
pub mod expiry;
pub mod given;
pub mod limits;
mod model;
pub mod news;
pub mod offers;
pub mod play;
pub mod topics;

use super::PATIENCE;

/// Makes a test of each behaviour, on the stores that the closure opens.
#[macro_export]
macro_rules! rendezvous_conformance_tests {
    ($open:expr) => {
        $crate::rendezvous_conformance_tests!(@ $open, offers:
            an_offer_is_read_back_whole,
            offers_made_together_are_all_made_in_the_order_given,
            offers_made_together_are_all_made_or_none,
            what_is_taken_is_named,
            publishing_twice_is_harmless,
            publishing_twice_in_one_call_is_harmless,
            publishing_an_answered_offer_again_keeps_its_answer,
            of_two_offers_of_one_peer_the_later_one_has_the_higher_figure,
            an_id_is_free_once_its_offer_has_expired,
            a_peer_has_no_more_offers_than_its_quota,
            of_many_publishers_at_once_no_more_are_made_than_the_quota,
            of_many_peers_at_once_one_gets_an_id,
            publishing_the_same_at_once_is_harmless,
            a_heartbeat_is_noted_and_ends_nothing_later,
            wrong_secrets_are_counted_until_they_lock_the_offer,
            nothing_happens_to_the_secret_of_an_offer_that_is_not_live,
            an_offer_is_deleted_by_its_peer_with_its_candidates,
            an_offer_is_deleted_live_or_not,
            offers_of_a_peer_are_listed_the_last_seen_first_then_the_newest,
            open_offers_are_put_under_other_topics,
            there_are_no_more_offers_than_the_store_may_have,
        );
        $crate::rendezvous_conformance_tests!(@ $open, topics:
            open_offers_are_listed_the_last_seen_first_then_the_newest,
            offers_are_listed_in_pages,
            an_offer_of_several_topics_is_listed_once,
            a_query_leaves_out_whom_it_says_and_counts_all,
            a_page_is_found_behind_many_that_are_left_out,
            topics_are_listed_by_peers_then_name_or_by_the_bytes_of_the_name,
            a_prefix_is_plain_text_with_ascii_letters_in_either_case,
            long_names_are_told_apart_by_their_ends,
            topics_without_open_offers_are_not_listed,
            counts_are_told_in_the_order_asked_without_what_is_ones_own,
        );
        $crate::rendezvous_conformance_tests!(@ $open, answers:
            an_answer_counts_and_is_in_the_offer,
            an_answer_may_say_nothing_of_topics_and_expiry,
            only_an_open_offer_is_answered,
            a_locked_offer_is_not_answered_before_the_lock_ends,
            an_answered_offer_is_found_under_no_topic,
            of_a_thousand_answers_at_once_one_counts,
            what_came_before_the_answer_is_delivered_after_it_in_order,
            what_waits_for_the_answer_outlives_a_sweep,
            what_others_added_before_the_answer_is_gone,
            an_answerer_may_read_on_from_the_answer,
            a_peer_may_answer_its_own_offer,
        );
        $crate::rendezvous_conformance_tests!(@ $open, candidates:
            candidates_are_delivered_to_the_other_side,
            who_answers_an_own_offer_is_delivered_none_of_the_own_candidates,
            only_who_has_a_part_adds_candidates,
            only_who_has_a_part_reads_candidates,
            a_peer_has_no_more_candidates_at_an_offer_than_it_may,
            those_who_may_answer_have_no_more_candidates_together_than_they_may,
            each_delivery_has_a_higher_stamp_than_the_one_before_it,
            none_is_delivered_below_a_stamp_that_was_seen,
            since_is_the_last_stamp_that_is_left_out,
            all_that_reaches_a_peer_is_told_lowest_first_in_pages,
        );
        $crate::rendezvous_conformance_tests!(@ $open, expiry:
            an_offer_is_live_until_its_expiry_is_reached,
            what_is_not_live_is_not_told_of_once_it_was_swept,
            what_expired_first_is_swept_first_and_so_many_at_the_most,
            of_many_sweepers_at_once_one_tells_of_an_offer,
            counts_are_right_while_what_expired_waits_to_be_swept,
            an_expiry_that_moved_counts,
            what_never_ends_is_kept,
            a_nonce_is_used_once_by_a_key,
            a_nonce_is_kept_until_it_expires,
            of_many_uses_of_a_nonce_at_once_one_counts,
            realms_are_kept_apart,
        );
        $crate::rendezvous_conformance_tests!(@ $open, news:
            new_offers_are_told_of,
            a_peer_is_told_that_something_reached_it,
            offers_that_were_swept_are_told_of,
        );
        $crate::rendezvous_conformance_tests!(@ $open, busy:
            of_candidates_at_full_speed_none_is_lost_and_none_read_twice,
            of_candidates_that_race_with_the_answer_none_is_lost,
            a_write_is_seen_only_whole,
            whoever_adds_at_once_has_no_more_than_may_be,
            of_offers_that_are_made_at_once_each_has_a_figure_of_its_own,
            of_answers_to_one_peer_none_is_lost,
            counts_stay_exact_whoever_meddles,
        );
        $crate::rendezvous_conformance_tests!(@ $open, limits:
            any_text_is_kept_as_it_is,
            topics_are_ordered_by_their_bytes_whatever_is_in_them,
            the_largest_offers_are_kept,
            a_write_that_is_given_up_is_whole_or_nothing,
        );
        $crate::rendezvous_conformance_tests!(@ $open, play:
            whatever_is_called_the_answers_are_those_of_the_model,
            calls_that_nobody_made_before_are_answered_as_by_the_model,
        );
    };
    (@ $open:expr, $part:ident: $($name:ident),* $(,)?) => {
        mod $part {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    let (store, _kept) = ($open)().await;
                    let store: $crate::conformance::rendezvous::given::Store =
                        std::sync::Arc::new(store);
                    $crate::conformance::rendezvous::$part::$name(&store).await;
                }
            )*
        }
    };
}
