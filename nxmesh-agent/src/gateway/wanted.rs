//! What should be served here, and what that comes to: pure.

use std::{collections::BTreeSet, sync::Arc};

use nxmesh_core::gateway::{ConfigUpdate, Projection, UpstreamId, UpstreamSpec};

use super::generation::Identity;

/// Servers of upstreams that should get no requests for now, by their addresses.
pub(crate) type Rotation = BTreeSet<(UpstreamId, String)>;

/// What should be served, and what is known here that bears on it.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// As it was sent.
    pub(super) update: Arc<ConfigUpdate>,
    /// What is out of rotation.
    pub(super) rotation: Arc<Rotation>,
}

/// What nginx is to serve. With the facts of an nginx it has all that rendering needs, so the
/// same wish comes to the same files.
#[derive(Debug, Clone)]
pub(super) struct Effective {
    pub(super) identity: Identity,
    pub(super) projection: Arc<Projection>,
}

impl Wanted {
    pub(super) fn effective(&self) -> Effective {
        let out: Rotation = self.rotation.iter().filter(|it| self.is_there(it)).cloned().collect();
        let mut identity = Identity::of(&self.update);
        if out.is_empty() {
            return Effective { identity, projection: Arc::clone(&self.update.projection) };
        }
        identity.variant = digest(&out);
        let mut projection = Projection::clone(&self.update.projection);
        for (id, upstream) in &mut projection.upstreams {
            let is_out = |address: &str| out.contains(&(*id, address.to_owned()));
            if upstream.servers.iter().any(|it| is_out(it.address.as_str())) {
                *upstream = Arc::new(without(upstream, is_out));
            }
        }
        Effective { identity, projection: Arc::new(projection) }
    }

    /// What is out of rotation elsewhere makes no difference here.
    fn is_there(&self, (id, address): &(UpstreamId, String)) -> bool {
        let upstream = self.update.projection.upstreams.get(id);
        upstream.is_some_and(|it| it.servers.iter().any(|it| it.address.as_str() == address))
    }
}

impl Effective {
    /// What the renderer takes. nginx answers with the variant too: old workers that serve
    /// another one are told apart.
    pub(super) fn to_render(&self) -> ConfigUpdate {
        let Identity { config_id, version, checksum, variant } = &self.identity;
        ConfigUpdate {
            config_id: config_id.clone(),
            version: *version,
            checksum: format!("{checksum} {variant}").trim_end().to_owned(),
            projection: Arc::clone(&self.projection),
        }
    }
}

fn without(upstream: &UpstreamSpec, is_out: impl Fn(&str) -> bool) -> UpstreamSpec {
    let mut upstream = upstream.clone();
    for server in &mut upstream.servers {
        server.down |= is_out(server.address.as_str());
    }
    upstream
}

/// Names what is out of rotation.
fn digest(out: &Rotation) -> String {
    let mut content = blake3::Hasher::new();
    for (id, address) in out {
        content.update(id.as_uuid().as_bytes()).update(address.as_bytes()).update(b"\n");
    }
    content.finalize().to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use nxmesh_core::{RevisionNumber, conformance::given::id, from_json, gateway::NewUpstream};
    use serde_json::json;

    use super::*;

    fn wanted(out: &[(UpstreamId, &str)], upstream: UpstreamId) -> Wanted {
        let spec: NewUpstream =
            from_json(json!({"name": "api", "servers": [{"address": "a:1"}, {"address": "b:1"}]}))
                .unwrap();
        let upstreams = [(upstream, Arc::new(spec.parse().unwrap()))].into();
        let update = ConfigUpdate {
            config_id: "1-abc".into(),
            version: RevisionNumber(1),
            checksum: "abc".into(),
            projection: Arc::new(Projection { upstreams, ..Projection::default() }),
        };
        let rotation = out.iter().map(|(id, address)| (*id, (*address).to_owned())).collect();
        Wanted { update: Arc::new(update), rotation: Arc::new(rotation) }
    }

    #[test]
    fn a_server_out_of_rotation_is_down_and_the_content_keeps_its_name() {
        let api = id();
        let all = wanted(&[], api).effective();
        assert_eq!(all.to_render().checksum, "abc");
        let one = wanted(&[(api, "b:1")], api).effective();
        let down: Vec<_> =
            one.projection.upstreams[&api].servers.iter().map(|it| it.down).collect();
        assert_eq!(down, [false, true]);
        assert_eq!(one.identity.checksum, "abc");
        assert_ne!(one.identity, all.identity);
        assert_eq!(one.to_render().checksum, format!("abc {}", one.identity.variant));
    }

    #[test]
    fn what_is_out_of_rotation_elsewhere_makes_no_difference() {
        let api = id();
        let all = wanted(&[], api).effective();
        let elsewhere = wanted(&[(id(), "b:1"), (api, "c:1")], api).effective();
        assert_eq!(elsewhere.identity, all.identity);
    }
}
