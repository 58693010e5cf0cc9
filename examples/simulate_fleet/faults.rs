//! What may go wrong with agents.

use std::time::Duration;

use clap::value_parser;
use nxmesh_core::{
    gateway::VirtualHostId,
    simulated::{Conduct, Failing},
};

/// How many of a hundred agents meet what.
#[derive(clap::Args)]
#[command(next_help_heading = "Faults, in percent of the agents")]
pub(crate) struct Faults {
    /// Refuse the change
    #[arg(long, default_value_t = 0, value_parser = value_parser!(u8).range(0..=100))]
    refuse: u8,
    /// Hold back the virtual host that was changed, and serve the rest
    #[arg(long, default_value_t = 0, value_parser = value_parser!(u8).range(0..=100))]
    hold_back: u8,
    /// Answer one in five requests with a status of 500
    #[arg(long, default_value_t = 0, value_parser = value_parser!(u8).range(0..=100))]
    fail: u8,
    /// Die in the middle of the apply
    #[arg(long, default_value_t = 0, value_parser = value_parser!(u8).range(0..=100))]
    die: u8,
    /// Take 3 seconds to apply
    #[arg(long, default_value_t = 0, value_parser = value_parser!(u8).range(0..=100))]
    slow: u8,
    /// Lose their connection every 2 seconds
    #[arg(long, default_value_t = 0, value_parser = value_parser!(u8).range(0..=100))]
    drop: u8,
    /// Stay away
    #[arg(long, default_value_t = 0, value_parser = value_parser!(u8).range(0..=100))]
    away: u8,
}

#[derive(Clone, Copy)]
pub(crate) enum Fault {
    Refuse,
    HoldBack,
    Fail,
    Die,
    Slow,
    Drop,
    Away,
}

impl Faults {
    /// Each fault, how many agents of a hundred meet it, and what they do then.
    fn all(&self) -> [(Fault, u8, &'static str); 7] {
        [
            (Fault::Refuse, self.refuse, "refuse it"),
            (Fault::HoldBack, self.hold_back, "hold the host back"),
            (Fault::Fail, self.fail, "answer one in five requests with 500"),
            (Fault::Die, self.die, "die of it"),
            (Fault::Slow, self.slow, "take 3 s"),
            (Fault::Drop, self.drop, "lose their connection every 2 s"),
            (Fault::Away, self.away, "stay away"),
        ]
    }

    /// Who meets what: others with each change, and one fault each as long as there are agents.
    pub(crate) fn drawn(
        &self,
        change: usize,
        agents: usize,
    ) -> Vec<(Fault, Vec<usize>, &'static str)> {
        let mut first = change * 7;
        let mut drawn = Vec::new();
        for (fault, percent, what) in self.all().into_iter().filter(|it| it.1 > 0) {
            let count = (agents * usize::from(percent)).div_ceil(100);
            drawn.push((fault, (first..first + count).map(|it| it % agents).collect(), what));
            first += count;
        }
        drawn
    }
}

impl Fault {
    /// What an agent does that meets it, with the change of this host in this revision.
    pub(crate) fn meet(self, conduct: &mut Conduct, revision: u64, host: VirtualHostId) {
        match self {
            Self::Refuse => conduct.refuses = Some(revision),
            Self::HoldBack => conduct.holds_back = Some(host),
            Self::Fail => conduct.failing = Some(Failing { revision, percent: 20 }),
            Self::Die => conduct.dies_with = Some(revision),
            Self::Slow => conduct.apply_takes = Duration::from_secs(3),
            Self::Drop => conduct.breaks_after = Some(Duration::from_secs(2)),
            Self::Away => conduct.away = true,
        }
    }
}
