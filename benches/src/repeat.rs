use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future::try_join_all;

use crate::{Times, busy};

/// What came of asking something again and again.
#[derive(Debug, Clone)]
pub struct Met {
    /// How often it was answered, a second.
    pub rate: f64,
    /// How long that took.
    pub took: Times,
    /// What the server used of a core for each, in microseconds: whatever else the machine does.
    pub cpu: f64,
}

impl Met {
    /// The middle one by rate; `None` of none.
    #[must_use]
    pub fn middle(mut turns: Vec<Self>) -> Option<Self> {
        turns.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        let middle = turns.len() / 2;
        turns.into_iter().nth(middle)
    }
}

/// Has each of the callers ask again and again, all at once; each is told which round of its own
/// it is. The first tenth is for warming up.
///
/// # Errors
/// When any of them fails: no error counts as an answer.
pub async fn repeat(
    server: u32,
    callers: Vec<impl AsyncFnMut(usize) -> Result<()>>,
    lasting: Duration,
) -> Result<Met> {
    let began = Instant::now() + lasting / 10;
    let ends = began + lasting;
    let before = busy(server)?;
    let met = try_join_all(callers.into_iter().map(|it| caller(it, began, ends))).await?;
    let used = busy(server)? - before;
    let asked: usize = met.iter().map(|(rounds, _)| rounds).sum();
    let took = met.into_iter().map(|(_, took)| took).collect::<Vec<_>>().concat();
    ensure!(!took.is_empty(), "nothing was answered in time");
    let rate = took.len() as f64 / lasting.as_secs_f64();
    let cpu = used.as_secs_f64() * 1e6 / asked as f64;
    Ok(Met { rate, took: Times::of(took), cpu })
}

/// How often it asked, and how long those took that count.
async fn caller(
    mut ask: impl AsyncFnMut(usize) -> Result<()>,
    began: Instant,
    ends: Instant,
) -> Result<(usize, Vec<Duration>)> {
    let mut took = Vec::new();
    for round in 0.. {
        let asked = Instant::now();
        ask(round).await?;
        let answered = Instant::now();
        if answered >= ends {
            return Ok((round + 1, took));
        }
        if answered >= began {
            took.push(answered - asked);
        }
    }
    Ok((0, took))
}
