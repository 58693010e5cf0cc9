use crate::rendezvous::Millis;

/// How many calls a batch may have.
pub(super) const MAX_CALLS: usize = 100;
/// How many offers, candidates and other calls a batch may have together.
pub(super) const MAX_OPERATIONS: usize = 1000;
/// As how many of them a call counts that puts all offers of a key under other tags: it may be as much work as to
/// make a thousand.
pub(super) const OPERATIONS_OF_RETAG: usize = 300;
/// How many values the JSON of a batch may have: twice what a batch of `MAX_OPERATIONS` candidates has. Parsed, a
/// value takes half a kilobyte at worst, however short it is written.
pub(super) const MAX_VALUES: usize = 20_000;
/// How many batches are read at once, others waiting as the text that they are: with `MAX_VALUES`, values take
/// 160 MiB at worst. More would only take turns on the processors.
pub(in crate::rendezvous) const MAX_READING: usize = 16;
/// After this many bytes no further call of a batch is begun: there is no other limit to what a
/// batch is answered, since one call may bring a hundred session descriptions.
pub(super) const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// How long an offer lives whose maker does not say, if the settings of the area allow it.
pub(super) const DEFAULT_TTL: Millis = 60_000;

/// How many candidates a peer may have at an offer.
pub(super) const MAX_CANDIDATES_OF_PEER: u32 = 50;
/// How many arrays and objects may be inside each other in a candidate, the outermost not counted.
pub(super) const MAX_CANDIDATE_DEPTH: usize = 10;

/// How many offers a page has at most.
pub(super) const MAX_PAGE: u32 = 100;
/// How many of the newest offers may be left out before a page, and of how many of them one is picked at random: what
/// that costs grows with it.
pub(super) const MAX_OFFSET: u32 = 10_000;

/// How far a caller's clock may be from ours.
pub(super) const MAX_SKEW: Millis = 60_000;
