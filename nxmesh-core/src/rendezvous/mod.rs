//! Peer signaling: peers find each other by topic, and exchange session descriptions and ICE
//! candidates. The media never passes through here.
//!
//! [`Rendezvous`] is the handle. It needs no [`Mesh`](crate::Mesh): a service that only wants
//! signaling opens this alone, on a [`RendezvousStore`] of its own.
//!
//! Three protocols of clients share one store and keep to a [`Realm`] of their own each; what
//! they send and are answered is the business of the routers of `nxmesh-server`.

mod area;
mod base64;
mod bloom;
mod candidate;
mod canonical;
mod context;
mod credential;
mod delivery;
mod draft;
mod feed;
mod feed_event;
mod hex;
mod key_pair;
mod listener;
mod news;
mod offer;
mod offer_id;
mod offers;
mod realm;
pub mod rpc;
mod sessions;
mod settings;
mod signature;
mod store;
mod subscription;
mod sweep;
mod topic;
mod turn;
mod utf16;

pub use self::{
    area::{Rendezvous, RendezvousBuilder, RendezvousFigures},
    bloom::PeerFilter,
    candidate::{AddCandidates, Candidate, CandidatesAdded, ReadCandidates, Role},
    canonical::canonical_json,
    credential::{Credential, CredentialKey, CredentialKeys},
    delivery::{Delivered, Delivery},
    draft::OfferDraft,
    feed::{Feed, MAX_FOLLOWED},
    feed_event::FeedEvent,
    key_pair::KeyPair,
    listener::MAX_LISTENERS_OF_PEER,
    news::RendezvousNews,
    offer::{
        Answer, AnswerOutcome, Answered, Heartbeat, NewOffer, Offer, OfferFilter, Publish,
        PublishOutcome, Published, Quota,
    },
    offer_id::offer_id,
    offers::{AnswerDraft, MadeOffer, Offers},
    realm::Realm,
    sessions::{Polled, Posted, Session, SessionDraft, SessionPost, Sessions, parse_side},
    settings::{
        MAX_CANDIDATE, MAX_CANDIDATE_LEVELS, MAX_CANDIDATES_PER_REQUEST, MAX_CANDIDATES_PER_SIDE,
        MAX_INFO, MAX_LIST_BYTES, MAX_OFFER_ID, MAX_SDP, MAX_SECRET, MAX_TOPIC, MAX_WRONG_SECRETS,
        RendezvousSettings, SECRET_LOCK,
    },
    signature::{Nonce, PublicKey, verify},
    store::{Durability, Expired, Millis, RendezvousStore},
    subscription::Subscription,
    topic::{OfferPage, OfferQuery, TopicCount, TopicOrder, TopicPage, TopicQuery},
    turn::{TurnCredential, TurnKey},
    utf16::{utf16_cmp, utf16_len},
};
