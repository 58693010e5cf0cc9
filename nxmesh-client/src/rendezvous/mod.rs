//! Peer signaling: peers find each other by topic, and exchange what a WebRTC connection needs.
//!
//! [`RendezvousClient`] has the calls, [`Signaler`] pairs two peers by them.

mod client;
mod event;
mod events;
mod ice_candidates;
mod inbox;
mod negotiation;
mod offers;
mod path;
mod push;
mod rpc;
mod rpc_calls;
mod signaler;
mod sse;
mod topics;
mod turn;

pub use self::{
    client::{RendezvousClient, RendezvousClientBuilder},
    event::PeerEvent,
    events::{EventFilter, Events},
    ice_candidates::{Candidate, IceCandidates},
    negotiation::{CandidateSender, Negotiation, Signal},
    offers::{Answer, Answered, FoundOffers, NewOffer, Offer, Offers, OwnOffer, PublishedOffer},
    rpc::{Answers, Batch, Method, Rpc, Ticket},
    rpc_calls::{
        AddIceCandidates, AddedCandidates, AnswerOffer, CountOffersByTags, DeleteOffer, Discover,
        DiscoverOne, Done, GetIceCandidates, GetOfferAnswer, NewRpcOffer, OfferCounts, Poll,
        Polled, PublishOffer, PublishedOffers, PublishedRpcOffer, RpcAnswer, RpcCandidate,
        RpcCandidates, RpcOffer, RpcOfferPage, UpdateOfferTags, UpdatedOffers,
    },
    signaler::{Signaler, SignalerBuilder},
    topics::{FoundTopics, Topic, TopicFilter, Topics},
    turn::TurnServer,
};
pub use nxmesh_core::rendezvous::{Credential, KeyPair, Millis, PeerFilter, PublicKey, Role};
