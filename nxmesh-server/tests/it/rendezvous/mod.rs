//! Peer signaling over real sockets.

mod answering;
mod bad_input;
mod candidates;
mod client_rpc;
mod cors;
mod door;
mod events;
mod given;
mod limits;
mod listener;
mod listeners;
mod listings;
mod offers;
mod origin;
mod origin_limits;
mod races;
mod rates;
mod rotation;
mod rpc;
mod signaler;
mod signaler_find;
mod signaler_offers;
mod signaler_polling;
mod slow;
mod source_examples;
mod turn;
