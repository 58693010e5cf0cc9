use std::time::Duration;

use crate::gateway::VirtualHostId;

/// What a simulated agent does with what it is sent, and says of itself. By default all is well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conduct {
    /// The revision that it cannot serve.
    pub refuses: Option<u64>,
    /// The virtual host that it holds back, as an agent does whose nginx refuses it.
    pub holds_back: Option<VirtualHostId>,
    /// The revision in the middle of whose apply it dies, the first time that it is sent it. It is
    /// started again, and serves what it did before.
    pub dies_with: Option<u64>,
    /// How long an apply takes, also one that is under way.
    pub apply_takes: Duration,
    /// Requests that it has answered.
    pub requests: u64,
    /// Those with a status of 500 or more.
    pub responses_5xx: u64,
    /// How many more it answers each second.
    pub requests_per_second: u64,
    /// When these are answered with a status of 500 or more.
    pub failing: Option<Failing>,
    /// Whether its nginx has died.
    pub nginx_down: bool,
    /// Whether it stays away.
    pub away: bool,
    /// After how long each of its connections breaks.
    pub breaks_after: Option<Duration>,
}

/// A revision with which answers fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failing {
    /// Which.
    pub revision: u64,
    /// How many of a hundred answers fail: 0 to 100.
    pub percent: u8,
}

/// How a simulated agent is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SimulatedState {
    /// Whether a control plane has taken it.
    pub connected: bool,
    /// How often one has.
    pub connections: usize,
    /// The revision it runs.
    pub version: u64,
    /// Whether it holds a part of that back.
    pub holds_back: bool,
    /// How often it could not serve what it was sent.
    pub refusals: usize,
    /// How often it has died.
    pub deaths: usize,
    /// How many commands it carried out.
    pub commands: usize,
}
