//! Peer signaling over HTTP: a router for each protocol, to be served, nested, or mounted alone.
//!
//! Paths, bodies and the texts of errors are those of rondevu's clients, which work unmodified. Errors are
//! `{"error": "..."}`.

mod body;
mod compose;
mod cors;
mod credentials;
mod event;
mod events;
mod facade;
mod json;
mod limits;
mod metrics;
mod offer;
mod offers;
mod origin;
mod query;
mod realm;
mod refusal;
mod response;
mod rpc;
mod settings;
mod sse;
mod turn;
mod websocket;

pub use self::{
    compose::{all, with_rpc},
    metrics::{RendezvousMetrics, metrics},
    offers::{offers, offers_with},
    origin::{origin, origin_with},
    rpc::{rpc, rpc_with},
    settings::{RendezvousHttpSettings, TurnSettings},
};
