use std::{cmp::Ordering, collections::HashMap, future, sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    Actor, Clock, Error, ErrorKind, FieldCode, Result,
    events::{
        Event, EventFilter, EventId, EventPattern, EventType,
        log::{Log, Place, Read},
    },
    tenancy::{OrganizationId, Permission, Role, TenancyStore},
};

/// How many may watch one server; one more is told to try another.
pub const MAX_SUBSCRIBERS: usize = 20_000;
/// How many patterns one subscription may have.
pub const MAX_WANTED: usize = 64;
/// How many events are handed out at a time.
const TOGETHER: usize = 100;
/// How many roles are remembered.
const MAX_ROLES: usize = 256;
/// The more watch, the longer each waits for news to come together, so that however many
/// they are, they leave the processor to others.
const PACE: Duration = Duration::from_micros(20);
/// How often to see whether the login has expired.
const LOOK: Duration = Duration::from_secs(20);

/// Somebody who watches.
///
/// It holds no events: it costs the same however slowly it is read.
#[derive(Debug)]
pub struct Subscription {
    log: Log,
    tenancy: Arc<dyn TenancyStore>,
    clock: Arc<dyn Clock>,
    actor: Actor,
    newest: watch::Receiver<EventId>,
    wanted: Vec<(EventPattern, EventFilter)>,
    /// The last that was handed out, or passed over; `None` before anything is wanted.
    cursor: Option<EventId>,
    /// Whether older events than those at hand are asked for.
    replaying: bool,
    roles: HashMap<OrganizationId, Option<Role>>,
    _place: Place,
}

/// What is handed out.
#[derive(Debug)]
pub enum Delivery {
    /// The next events.
    Events(Vec<Arc<Event>>),
    /// So many events came and went, at most; some may not have been meant for this one.
    Missed(u64),
}

impl Subscription {
    pub(super) fn new(
        log: Log,
        tenancy: Arc<dyn TenancyStore>,
        clock: Arc<dyn Clock>,
        actor: Actor,
        since: Option<EventId>,
    ) -> Result<Self> {
        let full = || {
            let message = "too many watch events here: try again later, or another server";
            Error::new(ErrorKind::Unavailable, message)
        };
        let place = log.take_place(MAX_SUBSCRIBERS).ok_or_else(full)?;
        Ok(Self {
            newest: log.newest(),
            log,
            tenancy,
            clock,
            actor,
            wanted: Vec::new(),
            cursor: since,
            replaying: since.is_some(),
            roles: HashMap::new(),
            _place: place,
        })
    }

    /// Wants events of these patterns too, where the filter says. What happens from now on is
    /// handed out, or from where the subscription was to begin.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid), naming `events`, when it would want more than
    /// [`MAX_WANTED`]; then it wants none of these.
    pub fn want(&mut self, patterns: &[EventPattern], filter: &EventFilter) -> Result<()> {
        let mut wanted = self.wanted.clone();
        for pattern in patterns {
            let it = (pattern.clone(), filter.clone());
            if !wanted.contains(&it) {
                wanted.push(it);
            }
            if wanted.len() > MAX_WANTED {
                let message = format!("are more than {MAX_WANTED} patterns together");
                return Err(Error::invalid_field("events", FieldCode::OutOfRange, message));
            }
        }
        self.wanted = wanted;
        if !self.wanted.is_empty() {
            self.cursor.get_or_insert(*self.newest.borrow_and_update());
        }
        Ok(())
    }

    /// Wants events of these patterns no more, or of none; where the filter says, or anywhere.
    pub fn unwant(&mut self, patterns: Option<&[EventPattern]>, filter: Option<&EventFilter>) {
        self.wanted.retain(|(pattern, place)| {
            let named = patterns.is_none_or(|it| it.contains(pattern));
            !(named && filter.is_none_or(|it| it == place))
        });
        if self.wanted.is_empty() {
            self.cursor = None;
            self.replaying = false;
        }
    }

    /// After which event it goes on; `None` before anything is wanted.
    #[must_use]
    pub const fn cursor(&self) -> Option<EventId> {
        self.cursor
    }

    /// Waits for what comes next. Nothing is lost when it is dropped before it answers.
    ///
    /// # Errors
    /// [`Unauthenticated`](ErrorKind::Unauthenticated) when the login has expired or the API key
    /// was revoked: the end. [`Unavailable`](ErrorKind::Unavailable) when the store does not
    /// answer: to be tried again.
    pub async fn next(&mut self) -> Result<Delivery> {
        loop {
            if self.actor.expires_at().is_some_and(|end| end <= self.clock.now()) {
                return Err(Error::new(ErrorKind::Unauthenticated, "the access token has expired"));
            }
            let wanted = self.cursor.filter(|_| !self.wanted.is_empty());
            let Some(cursor) = wanted else { return future::pending().await };
            match self.log.read(cursor, TOGETHER) {
                Read::Events(events) => {
                    let shown = self.show(&events).await?;
                    self.cursor = events.last().map(|it| it.id).or(self.cursor);
                    if !shown.is_empty() {
                        return Ok(Delivery::Events(shown));
                    }
                    tokio::task::yield_now().await;
                }
                Read::From(_) if self.replaying => {
                    let (missed, events) = self.log.replay(cursor).await?;
                    if missed > 0 {
                        self.cursor = Some(EventId(cursor.0 + missed));
                        return Ok(Delivery::Missed(missed));
                    }
                    let shown = self.show(&events).await?;
                    self.cursor = events.last().map(|it| it.id).or(self.cursor);
                    if !shown.is_empty() {
                        return Ok(Delivery::Events(shown));
                    }
                }
                Read::From(first) => {
                    self.cursor = Some(first);
                    return Ok(Delivery::Missed(first.0 - cursor.0));
                }
                Read::Nothing => self.wait(cursor).await,
            }
        }
    }

    async fn wait(&mut self, cursor: EventId) {
        // Whoever has come so far has all that was before.
        self.replaying = false;
        let newest = *self.newest.borrow_and_update();
        match newest.cmp(&cursor) {
            // It came between looking and waiting.
            Ordering::Greater => return,
            Ordering::Equal => {}
            // The store went back.
            Ordering::Less => self.cursor = Some(newest),
        }
        // A log that has ended says nothing more.
        let _ = tokio::time::timeout(LOOK, self.newest.changed()).await;
        tokio::time::sleep(PACE * u32::try_from(self.log.watching()).unwrap_or(u32::MAX)).await;
    }

    /// Those that are wanted, and may be seen.
    async fn show(&mut self, events: &[Arc<Event>]) -> Result<Vec<Arc<Event>>> {
        let mut shown = Vec::new();
        for event in events {
            self.learn(event)?;
            let wanted = self.wanted.iter().any(|(pattern, filter)| {
                pattern.matches(&event.event.event_type) && filter.matches(event)
            });
            if wanted && self.may_see(event).await? {
                shown.push(Arc::clone(event));
            }
        }
        Ok(shown)
    }

    /// What an event says of whoever watches.
    fn learn(&mut self, Event { id: _, event }: &Event) -> Result<()> {
        let about = |name: &str| event.data.get(name).and_then(|it| it.as_str());
        match event.event_type.subject() {
            "member" if about("member_id") == Some(&self.actor.user_id().to_string()) => {
                self.roles.remove(&event.organization_id);
            }
            "api_key" if event.event_type.as_str() == EventType::API_KEY_REVOKED => {
                let own = self.actor.api_key().map(|it| it.to_string());
                if own.is_some() && own.as_deref() == about("api_key_id") {
                    let message = "the API key was revoked";
                    return Err(Error::new(ErrorKind::Unauthenticated, message));
                }
            }
            _ => {}
        }
        Ok(())
    }

    async fn may_see(&mut self, Event { id: _, event }: &Event) -> Result<bool> {
        let of = event.organization_id;
        let role = match self.roles.get(&of) {
            Some(role) => *role,
            None => {
                let role = self.tenancy.role(self.actor.user_id(), of).await?;
                let role = role.and_then(|it| self.actor.role_in(of, it));
                if self.roles.len() >= MAX_ROLES {
                    self.roles.clear();
                }
                self.roles.insert(of, role);
                role
            }
        };
        let needed = match event.event_type.subject() {
            "api_key" => Permission::RevokeApiKeys,
            "user" => Permission::ReadAudit,
            _ => Permission::Read,
        };
        Ok(role.is_some_and(|it| it >= needed.least_role()))
    }
}
