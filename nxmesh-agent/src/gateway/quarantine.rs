//! Serving all but what nginx refuses: what is held back, and what is served instead. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use nxmesh_core::{
    Id, RevisionNumber,
    gateway::{
        Certificate, CertificateId, ConfigUpdate, LocationTarget, Projection, Quarantined,
        ServedKind, UpstreamId, UpstreamServer, UpstreamSpec, VirtualHostId, VirtualHostSpec,
    },
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::generation::Identity;

/// An object.
pub(super) type Object = (ServedKind, Uuid);

/// What nginx refuses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(Object, Refused)>", into = "Vec<(Object, Refused)>")]
pub(super) struct Held(BTreeMap<Object, Refused>);

/// Why nginx refuses an object, and how far it is held back for that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refused {
    pub(super) field: String,
    pub(super) said: String,
    pub(super) hold: Hold,
}

/// How far an object is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Hold {
    /// To its last good version, if it has one.
    Back,
    /// It is left out: nginx refuses the last good one too.
    Out,
}

/// An update, and what is served of it.
#[derive(Debug, Clone)]
pub(super) struct Content {
    /// As it was sent.
    pub(super) update: Arc<ConfigUpdate>,
    /// What is served of it.
    pub(super) projection: Arc<Projection>,
    /// What is not.
    pub(super) kept: Quarantine,
}

/// What is held back of an update.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Quarantine {
    /// What nginx refuses.
    pub(super) held: Held,
    /// All that is not served as it should be for that.
    pub(super) objects: Vec<Quarantined>,
    /// Upstreams that are served in an older version too, under a name of its own.
    pub(super) aliases: BTreeMap<UpstreamId, UpstreamId>,
}

impl Held {
    pub(super) fn get(&self, kind: ServedKind, id: Uuid) -> Option<&Refused> {
        self.0.get(&(kind, id))
    }

    /// Holds an object back so far; answers whether that is news.
    pub(super) fn hold(&mut self, object: Object, refused: Refused) -> bool {
        let before = self.0.get(&object).map(|it| it.hold);
        let news = before.is_none_or(|it| it < refused.hold);
        if news {
            self.0.insert(object, refused);
        }
        news
    }

    /// Both; what this one says of an object stands.
    pub(super) fn or(mut self, other: Self) -> Self {
        for (object, refused) in other.0 {
            self.0.entry(object).or_insert(refused);
        }
        self
    }

    /// What was refused before and is the same now: it is not tried again when something else
    /// changes, which would keep that waiting, but when the same is asked for again.
    pub(super) fn presumed(update: &ConfigUpdate, good: &Content) -> Self {
        let (before, now) = (&good.update.projection, &update.projection);
        if update.checksum == good.update.checksum || before.settings != now.settings {
            return Self::default();
        }
        let same = |object: &Object| match object {
            (ServedKind::VirtualHost, id) => is_same_host(now, before, Id::from_uuid(*id)),
            (ServedKind::Upstream, id) => {
                let id = Id::from_uuid(*id);
                now.upstreams.contains_key(&id)
                    && now.upstreams.get(&id) == before.upstreams.get(&id)
            }
        };
        let same = good.kept.held.0.iter().filter(|(object, _)| same(object));
        Self(same.map(|(object, refused)| (*object, refused.clone())).collect())
    }

    /// Every virtual host that is not served as it should be already.
    pub(super) fn all_that_changed(update: &ConfigUpdate, good: &Content, said: &str) -> Self {
        let (now, served) = (&update.projection, &good.projection);
        let changed = now.virtual_hosts.keys().filter(|id| !is_same_host(now, served, **id));
        let refused = Refused { field: String::new(), said: said.to_owned(), hold: Hold::Back };
        let held = changed.map(|id| ((ServedKind::VirtualHost, *id.as_uuid()), refused.clone()));
        Self(held.collect())
    }
}

impl From<Vec<(Object, Refused)>> for Held {
    fn from(list: Vec<(Object, Refused)>) -> Self {
        Self(list.into_iter().collect())
    }
}

impl From<Held> for Vec<(Object, Refused)> {
    fn from(held: Held) -> Self {
        held.0.into_iter().collect()
    }
}

impl Content {
    /// All of an update.
    pub(super) fn whole(update: Arc<ConfigUpdate>) -> Self {
        let projection = Arc::clone(&update.projection);
        Self { update, projection, kept: Quarantine::default() }
    }

    /// An update without what is held back of it, with what `good` serves for that.
    pub(super) fn without(update: Arc<ConfigUpdate>, held: &Held, good: Option<&Self>) -> Self {
        if held.0.is_empty() {
            return Self::whole(update);
        }
        let mut making = Making {
            now: &update.projection,
            good,
            held,
            made: Projection::clone(&update.projection),
            taken: BTreeSet::new(),
            kept: Quarantine { held: held.clone(), ..Quarantine::default() },
        };
        making.upstreams();
        making.hosts();
        let (mut made, kept) = (making.made, making.kept);
        let used: BTreeSet<_> =
            made.virtual_hosts.values().flat_map(|it| upstreams_of(it)).collect();
        made.upstreams.retain(|id, _| used.contains(id));
        Self { update, projection: Arc::new(made), kept }
    }

    /// Names what is served: not the content that was asked for where a part is held back.
    pub(super) fn identity(&self) -> Identity {
        let mut identity = Identity::of(&self.update);
        if self.kept.objects.is_empty() {
            return identity;
        }
        let mut content = blake3::Hasher::new();
        for Quarantined { kind, id, running_revision, .. } in &self.kept.objects {
            let runs = running_revision.map_or("-".to_owned(), |it| it.to_string());
            content.update(format!("{kind:?} {id} {runs}\n").as_bytes());
        }
        let held_back = &content.finalize().to_hex()[..16];
        identity.checksum = self.update.checksum_without(held_back);
        identity
    }

    /// Whether this was made of an update with the same content.
    pub(super) fn is_of(&self, update: &ConfigUpdate) -> bool {
        self.update.checksum == update.checksum
    }

    /// What is served, with each upstream by the id that it was sent with: where some are served an
    /// older version of it beside the newer one, it has the servers of both.
    pub(super) fn served(&self) -> Projection {
        let mut served = Projection::clone(&self.projection);
        for (alias, original) in &self.kept.aliases {
            let Some(old) = served.upstreams.remove(alias) else { continue };
            let Some(new) = served.upstreams.get_mut(original) else {
                served.upstreams.insert(*original, old);
                continue;
            };
            let mut both = UpstreamSpec::clone(new);
            let has = |it: &UpstreamServer| new.servers.iter().any(|of| of.address == it.address);
            both.servers.extend(old.servers.iter().filter(|it| !has(it)).cloned());
            *new = Arc::new(both);
        }
        served
    }

    /// At which revision an object was as it is served.
    fn revision_of(&self, object: Object) -> RevisionNumber {
        let held = self.kept.objects.iter().find(|it| (it.kind, it.id) == object);
        held.and_then(|it| it.running_revision).unwrap_or(self.update.version)
    }
}

/// What is served of an update, in the making.
struct Making<'a> {
    now: &'a Projection,
    good: Option<&'a Content>,
    held: &'a Held,
    made: Projection,
    /// Ports and names that are answered for.
    taken: BTreeSet<(u16, String)>,
    kept: Quarantine,
}

impl Making<'_> {
    /// Takes back the upstreams that are refused, or takes them out.
    fn upstreams(&mut self) {
        for (id, spec) in &self.now.upstreams {
            let Some(refused) = self.held.get(ServedKind::Upstream, *id.as_uuid()) else {
                continue;
            };
            let good = self.good.filter(|_| refused.hold == Hold::Back);
            let old = good.and_then(|it| Some((it, it.projection.upstreams.get(id)?)));
            let running = match old.filter(|(_, old)| *old != spec) {
                Some((good, old)) => {
                    self.made.upstreams.insert(*id, Arc::clone(old));
                    Some(good.revision_of((ServedKind::Upstream, *id.as_uuid())))
                }
                None => {
                    self.made.upstreams.remove(id);
                    None
                }
            };
            let object = (ServedKind::Upstream, *id.as_uuid());
            self.note(object, spec.name.as_str(), refused.clone(), running);
        }
    }

    /// Those that are not refused first: what is taken back gives way to them.
    fn hosts(&mut self) {
        let mut refused = Vec::new();
        for (id, host) in &self.now.virtual_hosts {
            let own = self.held.get(ServedKind::VirtualHost, *id.as_uuid()).cloned();
            let (by_upstream, is_gone) = self.by_upstream(host).unzip();
            match own.or(by_upstream.filter(|_| is_gone == Some(true))) {
                Some(why) => refused.push((*id, why)),
                None => self.taken.extend(names_of(host)),
            }
        }
        let refused: BTreeMap<_, _> = refused.into_iter().collect();
        for (id, host) in &self.now.virtual_hosts {
            let object = (ServedKind::VirtualHost, *id.as_uuid());
            if let Some(why) = refused.get(id) {
                let running = self.take_back(*id, host, why.hold);
                self.note(object, host.name.as_str(), why.clone(), running);
            } else if let Some((why, _)) = self.by_upstream(host) {
                let running = self.good.map(|it| it.revision_of(object));
                self.note(object, host.name.as_str(), why, running);
            }
        }
    }

    /// What is refused of the upstreams that a virtual host uses, and whether it has nothing
    /// in place of that one.
    fn by_upstream(&self, host: &VirtualHostSpec) -> Option<(Refused, bool)> {
        host.locations.iter().enumerate().find_map(|(at, location)| {
            let LocationTarget::Upstream(id) = &location.target else { return None };
            let refused = self.held.get(ServedKind::Upstream, *id.as_uuid())?;
            let name = self.now.upstreams.get(id).map(|it| it.name.to_string()).unwrap_or_default();
            let Refused { field, said, hold: _ } = refused;
            let why = Refused {
                field: format!("locations[{at}].upstream_id"),
                said: format!("upstream {name} ({id}): {field}: {said}"),
                hold: Hold::Back,
            };
            Some((why, !self.made.upstreams.contains_key(id)))
        })
    }

    /// Serves the last good version of a virtual host, if there is one that goes with the rest;
    /// answers at which revision it was so.
    fn take_back(
        &mut self,
        id: VirtualHostId,
        host: &VirtualHostSpec,
        hold: Hold,
    ) -> Option<RevisionNumber> {
        self.made.virtual_hosts.remove(&id);
        let good = self.good.filter(|_| hold == Hold::Back)?;
        let old = good.projection.virtual_hosts.get(&id)?;
        let unchanged = old.as_ref() == host && is_same_host(self.now, &good.projection, id);
        let names: Vec<_> = names_of(old).collect();
        if unchanged || names.iter().any(|it| self.taken.contains(it)) {
            return None;
        }
        let mut old = VirtualHostSpec::clone(old);
        let mut upstreams = BTreeMap::new();
        for location in &mut old.locations {
            if let LocationTarget::Upstream(used) = &mut location.target {
                let spec = good.projection.upstreams.get(used)?;
                let original = good.kept.aliases.get(used).copied().unwrap_or(*used);
                let refused = self.held.get(ServedKind::Upstream, *original.as_uuid()).is_some();
                if refused && self.now.upstreams.get(&original) == Some(spec) {
                    return None;
                }
                if self.made.upstreams.get(&original) == Some(spec) {
                    *used = original;
                } else {
                    *used = Id::from_uuid(name_of(original.as_uuid(), spec.as_ref()));
                    upstreams.insert(*used, (original, Arc::clone(spec)));
                }
            }
        }
        if let Some(shown) = &mut old.ssl_certificate_id {
            self.certificate(shown, &good.projection.certificates);
        }
        for (alias, (original, spec)) in upstreams {
            self.made.upstreams.insert(alias, spec);
            self.kept.aliases.insert(alias, original);
        }
        self.taken.extend(names);
        self.made.virtual_hosts.insert(id, Arc::new(old));
        Some(good.revision_of((ServedKind::VirtualHost, *id.as_uuid())))
    }

    /// The certificate as it was then, beside the one that others show by now.
    fn certificate(
        &mut self,
        shown: &mut CertificateId,
        then: &BTreeMap<CertificateId, Arc<Certificate>>,
    ) {
        let Some(old) = then.get(shown) else { return };
        if self.made.certificates.get(shown).is_some_and(|it| it != old) {
            *shown = Id::from_uuid(name_of(shown.as_uuid(), &old.certificate_pem));
        }
        self.made.certificates.insert(*shown, Arc::clone(old));
    }

    fn note(
        &mut self,
        (kind, id): Object,
        name: &str,
        Refused { field, said, hold: _ }: Refused,
        running_revision: Option<RevisionNumber>,
    ) {
        let (name, error) = (name.to_owned(), said);
        let held = Quarantined { kind, id, name, field, error, running_revision };
        self.kept.objects.push(held.cut());
    }
}

/// Whether a virtual host is the same in both, with the upstreams that it uses.
fn is_same_host(one: &Projection, other: &Projection, id: VirtualHostId) -> bool {
    let (Some(host), Some(there)) = (one.virtual_hosts.get(&id), other.virtual_hosts.get(&id))
    else {
        return false;
    };
    host == there && upstreams_of(host).all(|id| one.upstreams.get(&id) == other.upstreams.get(&id))
}

fn upstreams_of(host: &VirtualHostSpec) -> impl Iterator<Item = UpstreamId> {
    host.locations.iter().filter_map(|location| match &location.target {
        LocationTarget::Upstream(id) => Some(*id),
        LocationTarget::Proxy(_) | LocationTarget::Files { .. } => None,
    })
}

fn names_of(host: &VirtualHostSpec) -> impl Iterator<Item = (u16, String)> {
    host.server_name.iter().map(|name| (host.listen_port, name.as_str().to_owned()))
}

/// Names an older version of something: the same one is always called the same.
fn name_of(original: &Uuid, content: &impl Serialize) -> Uuid {
    let mut name = blake3::Hasher::new();
    name.update(original.as_bytes());
    // What was parsed can be written.
    name.update(&serde_json::to_vec(content).unwrap_or_default());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&name.finalize().as_bytes()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

impl Quarantine {
    /// Of an upstream that is served under another name, its own.
    pub(super) fn original(&self, id: UpstreamId) -> UpstreamId {
        self.aliases.get(&id).copied().unwrap_or(id)
    }
}

/// The virtual hosts that use an upstream.
pub(super) fn users_of(
    projection: &Projection,
    id: UpstreamId,
) -> impl Iterator<Item = VirtualHostId> {
    let hosts = projection.virtual_hosts.iter();
    hosts.filter(move |(_, it)| upstreams_of(it).any(|used| used == id)).map(|(id, _)| *id)
}
