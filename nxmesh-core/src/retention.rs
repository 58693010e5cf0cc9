/// For how long what piles up is kept.
///
/// ```
/// use nxmesh_core::Retention;
///
/// let mut retention = Retention::default();
/// retention.audit_days = 90;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// How many events can be replayed: 100,000 by default, and never less than
    /// [`MIN_EVENTS`](Self::MIN_EVENTS).
    pub events: u64,
    /// For how many days entries of the audit log are kept: 400 by default; 0 for ever.
    pub audit_days: u32,
    /// How many revisions of each workspace are kept, the newest: 10,000 by default; 0 for all.
    /// Older ones are dropped once there are a tenth more.
    pub revisions: u64,
}

impl Retention {
    /// So many events can always be replayed.
    pub const MIN_EVENTS: u64 = 10_000;
}

impl Default for Retention {
    fn default() -> Self {
        Self { events: 100_000, audit_days: 400, revisions: 10_000 }
    }
}
