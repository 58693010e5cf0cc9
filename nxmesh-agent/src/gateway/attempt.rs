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

#[cfg(test)]
mod tests {
    use nxmesh_core::{
        Id, RevisionNumber, Secret, from_json,
        gateway::{
            Certificate, CertificateId, NewUpstream, NewVirtualHost, Projection, VirtualHostId,
        },
    };
    use serde_json::{Value, json};

    use super::*;

    const SHOP: u128 = 1;
    const BLOG: u128 = 2;
    const API: u128 = 3;
    const CERTIFICATE: u128 = 4;

    fn of<T>(number: u128) -> Id<T> {
        Id::from_uuid(uuid::Uuid::from_u128(number))
    }

    /// An update of a revision: a virtual host each, by its number, name and first location.
    fn update(version: u64, hosts: &[(u128, &str, Value)], server: &str) -> Arc<ConfigUpdate> {
        let host = |(number, name, more): &(u128, &str, Value)| {
            let mut body = json!({
                "name": name, "server_name": name, "listen_port": 80,
                "locations": [{"path": "/", "upstream_id": of::<()>(API)}],
            });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let new: NewVirtualHost = from_json(body).unwrap();
            (of(*number), Arc::new(new.parse().unwrap().0))
        };
        let upstream: NewUpstream =
            from_json(json!({"name": "api", "servers": [{"address": server}]})).unwrap();
        let certificate = Certificate {
            domain: "a.example".into(),
            certificate_pem: format!("pem {version}"),
            private_key_pem: Secret::new("key".to_owned()),
            expires_at: 0,
        };
        let projection = Projection {
            virtual_hosts: hosts.iter().map(host).collect(),
            upstreams: [(of(API), Arc::new(upstream.parse().unwrap()))].into(),
            certificates: [(of(CERTIFICATE), Arc::new(certificate))].into(),
            ..Projection::default()
        };
        Arc::new(ConfigUpdate {
            drift: Default::default(),
            config_id: version.to_string(),
            version: RevisionNumber(version),
            checksum: format!("sum{version}"),
            projection: Arc::new(projection),
        })
    }

    fn blame(object: Blamed) -> Blame {
        Blame { object, name: "x".into(), field: "f".into(), said: "no".into() }
    }

    fn shop() -> Blame {
        blame(Blamed::VirtualHost(of(SHOP)))
    }

    /// What is tried after nginx refused the whole update for this.
    fn after(attempt: &mut Attempt, blames: &[Blame]) -> Content {
        let refused = attempt.content();
        assert!(attempt.learn(&refused, blames, "no"));
        attempt.content()
    }

    fn runs(content: &Content) -> Vec<(u128, Option<u64>)> {
        let objects = content.kept.objects.iter();
        objects.map(|it| (it.id.as_u128(), it.running_revision.map(|it| it.0))).collect()
    }

    #[test]
    fn an_old_version_gives_way_to_one_that_has_its_name_by_now() {
        let good = Content::whole(update(1, &[(SHOP, "a.example", json!({}))], "a:1"));
        let hosts = [(SHOP, "b.example", json!({})), (BLOG, "a.example", json!({}))];
        let mut attempt = Attempt::new(update(2, &hosts, "a:1"), Some(good));
        let content = after(&mut attempt, &[shop()]);
        assert_eq!(runs(&content), [(SHOP, None)]);
        let served: Vec<VirtualHostId> = content.projection.virtual_hosts.keys().copied().collect();
        assert_eq!(served, [of(BLOG)]);
    }

    #[test]
    fn what_is_refused_in_its_good_version_too_is_left_out() {
        let good = Content::whole(update(1, &[(SHOP, "a.example", json!({}))], "a:1"));
        let hosts = [(SHOP, "b.example", json!({}))];
        let mut attempt = Attempt::new(update(2, &hosts, "b:1"), Some(good));
        let back = after(&mut attempt, &[shop(), shop()]);
        assert_eq!(runs(&back), [(SHOP, Some(1))]);
        let alias = *back.kept.aliases.keys().next().unwrap();
        assert_eq!(back.kept.original(alias), of(API));
        // The upstream as it was then is a part of it.
        let out = after(&mut attempt, &[blame(Blamed::Upstream(alias))]);
        assert_eq!(runs(&out), [(SHOP, None)]);
        assert!(out.projection.upstreams.is_empty());
        // Nothing is left to be held back but all that changed, which is the same.
        let refused = attempt.content();
        assert!(attempt.learn(&refused, &[shop()], "no"));
        assert_eq!(runs(&attempt.content()), [(SHOP, None)]);
        assert!(!attempt.learn(&refused, &[shop()], "no"));
    }

    #[test]
    fn an_unchanged_one_that_is_refused_by_now_is_left_out_at_once() {
        let hosts = [(SHOP, "a.example", json!({}))];
        let good = Content::whole(update(1, &hosts, "a:1"));
        let mut attempt = Attempt::new(update(2, &hosts, "a:1"), Some(good.clone()));
        assert_eq!(runs(&after(&mut attempt, &[shop()])), [(SHOP, None)]);
        let mut attempt = Attempt::new(update(2, &hosts, "a:1"), Some(good));
        let content = after(&mut attempt, &[blame(Blamed::Upstream(of::<_>(API)))]);
        assert_eq!(runs(&content), [(API, None), (SHOP, None)]);
    }

    #[test]
    fn a_certificate_is_shown_as_it_was_beside_the_one_of_others() {
        let tls =
            json!({"ssl_enabled": true, "ssl_certificate_id": of::<Certificate>(CERTIFICATE)});
        let hosts = [(SHOP, "a.example", tls.clone()), (BLOG, "b.example", tls)];
        let good = Content::whole(update(1, &hosts, "a:1"));
        let mut changed = hosts.clone();
        changed[0].1 = "c.example";
        let mut attempt = Attempt::new(update(2, &changed, "a:1"), Some(good));
        let content = after(&mut attempt, &[shop()]);
        let shown = |number| -> &str {
            let host = &content.projection.virtual_hosts[&of(number)];
            let id: CertificateId = host.ssl_certificate_id.unwrap();
            &content.projection.certificates[&id].certificate_pem
        };
        assert_eq!((shown(SHOP), shown(BLOG)), ("pem 1", "pem 2"));
    }

    #[test]
    fn the_same_outcome_has_the_same_name_and_another_has_another() {
        let hosts = [(SHOP, "a.example", json!({})), (BLOG, "b.example", json!({}))];
        let outcome = |blamed: u128, said: &str| {
            let mut attempt = Attempt::new(update(2, &hosts, "a:1"), None);
            let blame = Blame { said: said.into(), ..blame(Blamed::VirtualHost(of(blamed))) };
            after(&mut attempt, &[blame]).identity().checksum
        };
        assert_eq!(outcome(SHOP, "no"), outcome(SHOP, "never"));
        assert_ne!(outcome(SHOP, "no"), outcome(BLOG, "no"));
        assert!(outcome(SHOP, "no").starts_with("sum2-"));
        assert_eq!(Content::whole(update(2, &hosts, "a:1")).identity().checksum, "sum2");
    }

    #[test]
    fn what_was_refused_is_presumed_until_it_or_what_it_uses_changes() {
        let hosts = [(SHOP, "a.example", json!({}))];
        let mut attempt = Attempt::new(update(2, &hosts, "a:1"), None);
        let good = after(&mut attempt, &[shop()]);
        let held = |update| runs(&Attempt::new(update, Some(good.clone())).content()).len();
        let other = [hosts[0].clone(), (BLOG, "b.example", json!({}))];
        assert_eq!(held(update(3, &other, "a:1")), 1);
        assert_eq!(held(update(2, &hosts, "a:1")), 0, "the same is asked for again");
        assert_eq!(held(update(3, &[(SHOP, "c.example", json!({}))], "a:1")), 0);
        assert_eq!(held(update(3, &hosts, "b:1")), 0);
    }

    #[test]
    fn without_anything_good_what_is_not_named_fails_it_all() {
        let hosts = [(SHOP, "a.example", json!({}))];
        let mut attempt = Attempt::new(update(2, &hosts, "a:1"), None);
        let refused = attempt.content();
        assert!(!attempt.learn(&refused, &[], "whatever"));
        assert!(!attempt.learn(&refused, &[blame(Blamed::Settings), shop()], "no"));
    }
}
