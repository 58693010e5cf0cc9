use std::time::Duration;

/// Times that were measured, shortest first.
#[derive(Debug, Clone)]
pub struct Times(Vec<Duration>);

impl Times {
    /// These, in whatever order.
    #[must_use]
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self(times)
    }

    /// What this share of them does not exceed, in milliseconds; 0 where nothing was measured.
    #[must_use]
    pub fn ms(&self, share: f64) -> f64 {
        let at = (self.0.len().saturating_sub(1) as f64 * share).round() as usize;
        self.0.get(at).map_or(0.0, |it| it.as_secs_f64() * 1000.0)
    }
}
