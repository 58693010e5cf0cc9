//! The protocol `rpc`, with both stores that need nothing else.

mod answers;
mod batches;
mod candidates;
mod composed;
mod discovery;
mod given;
mod offers;
mod polls;
mod push;
mod replays;
mod signatures;
mod transport;
