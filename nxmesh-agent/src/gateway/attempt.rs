//! Finding out what of an update nginx takes: pure, told what nginx says.

use std::{mem, sync::Arc};

use nxmesh_core::{
    gateway::{
        ConfigUpdate, ServedKind,
        nginx::{Blame, Blamed},
    },
    tenancy::OnRefusal,
};

use super::quarantine::{Content, Held, Hold, Object, Refused, users_of};

/// How many times in one apply what nginx names is held back, before all that changed is.
const MAX_ROUNDS: usize = 16;

/// One apply: an update, and what is known so far of what nginx refuses.
#[derive(Debug)]
pub(super) struct Attempt {
    update: Arc<ConfigUpdate>,
    good: Option<Content>,
    held: Held,
    rounds: usize,
}

impl Attempt {
    /// Begins, where this is served now.
    pub(super) fn new(update: Arc<ConfigUpdate>, good: Option<Content>) -> Self {
        let held = good.as_ref().map(|it| Held::presumed(&update, it)).unwrap_or_default();
        Self { update, good, held, rounds: 0 }
    }

    /// What to try now.
    pub(super) fn content(&self) -> Content {
        Content::without(Arc::clone(&self.update), &self.held, self.good.as_ref())
    }

    /// What is served now, as far as it is known.
    pub(super) const fn good(&self) -> Option<&Content> {
        self.good.as_ref()
    }

    /// Whether nothing is held back, whatever nginx says.
    pub(super) fn is_strict(&self) -> bool {
        self.update.projection.settings.on_refusal == OnRefusal::Strict
    }

    /// Whether there is anything else to try, now that nginx refused that for these reasons.
    pub(super) fn learn(&mut self, refused: &Content, blames: &[Blame], said: &str) -> bool {
        let settings = blames.iter().any(|it| it.object == Blamed::Settings);
        if settings || self.is_strict() {
            return false;
        }
        self.rounds += 1;
        if self.rounds <= MAX_ROUNDS {
            let mut objects: Vec<(Object, &Blame)> = Vec::new();
            for blame in blames {
                for object in objects_of(refused, blame.object) {
                    if objects.iter().all(|(it, _)| *it != object) {
                        objects.push((object, blame));
                    }
                }
            }
            let news = objects.into_iter().filter(|(it, blame)| self.hold(refused, *it, blame));
            if news.count() > 0 {
                return true;
            }
        }
        // Once: after that there is nothing left that could be held back.
        let Some(good) = self.good.as_ref().filter(|_| self.rounds <= MAX_ROUNDS + 1) else {
            return false;
        };
        self.rounds = MAX_ROUNDS + 2;
        let all = Held::all_that_changed(&self.update, good, said);
        self.held = mem::take(&mut self.held).or(all);
        true
    }

    /// Holds back what is refused; whoever runs in its last good version is left out.
    fn hold(&mut self, refused: &Content, (kind, id): Object, blame: &Blame) -> bool {
        let is_back = refused.kept.held.get(kind, id).is_some();
        let hold = if is_back { Hold::Out } else { Hold::Back };
        let (field, said) = (blame.field.clone(), blame.said.clone());
        self.held.hold((kind, id), Refused { field, said, hold })
    }
}

/// What is to be held back for what nginx refuses: an upstream as it was is served for its users
/// only, of which it is a part.
fn objects_of(refused: &Content, blamed: Blamed) -> Vec<Object> {
    match blamed {
        Blamed::VirtualHost(id) => vec![(ServedKind::VirtualHost, *id.as_uuid())],
        Blamed::Upstream(id) if refused.kept.aliases.contains_key(&id) => {
            let users = users_of(&refused.projection, id);
            users.map(|it| (ServedKind::VirtualHost, *it.as_uuid())).collect()
        }
        Blamed::Upstream(id) => vec![(ServedKind::Upstream, *id.as_uuid())],
        Blamed::Settings => Vec::new(),
    }
}
