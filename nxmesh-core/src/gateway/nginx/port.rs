//! What the virtual hosts on one port share: the socket, and what answers unknown names.

use std::collections::BTreeMap;

use super::{
    Field, NginxFacts,
    syntax::{Directive, block, line},
};
use crate::gateway::{Projection, VirtualHostId};

/// One port, as all its virtual hosts together want it.
#[derive(Debug, Default)]
pub(super) struct Port {
    tls: bool,
    http2: bool,
    /// Who answers names that no other does.
    default: Option<VirtualHostId>,
    /// Who opens the socket for QUIC, which only one may do.
    quic: Option<VirtualHostId>,
}

pub(super) fn ports(projection: &Projection) -> BTreeMap<u16, Port> {
    let mut ports: BTreeMap<u16, Port> = BTreeMap::new();
    for (id, host) in &projection.virtual_hosts {
        let port = ports.entry(host.listen_port).or_default();
        port.tls |= host.ssl_enabled;
        port.http2 |= host.http2_enabled;
        if host.server_name.iter().any(|name| name.as_str() == "_") {
            port.default = port.default.or(Some(*id));
        }
        if host.http3_enabled {
            port.quic = port.quic.or(Some(*id));
        }
    }
    ports
}

impl Port {
    /// The `listen` lines of one virtual host.
    ///
    /// Before 1.25.1 `http2` is said of the socket, and there only one way for all
    /// who listen on it: all say it as soon as one wants it.
    pub(super) fn listen(
        &self,
        id: VirtualHostId,
        number: u16,
        nginx: &NginxFacts,
    ) -> Vec<Directive> {
        let is_default = self.default == Some(id);
        let mut lines = self.sockets(number, is_default, nginx);
        if self.quic.is_some() && nginx.speaks_http3() {
            let first = if self.quic == Some(id) { Some("reuseport") } else { None };
            let options = ["quic"].into_iter().chain(first);
            lines.extend(addresses(number, nginx).map(|it| listen(it, options.clone())));
        }
        lines
    }

    /// Answers names that no virtual host has: otherwise the first one would.
    pub(super) fn catch_all(&self, number: u16, nginx: &NginxFacts) -> Option<Directive> {
        if self.default.is_some() {
            return None;
        }
        let mut inside = self.sockets(number, true, nginx);
        inside.push(line("server_name", [""]));
        inside.push(match self.tls {
            true => line("ssl_reject_handshake", ["on"]),
            false => line("return", ["404"]),
        });
        Some(block("server", [""; 0], inside))
    }

    fn sockets(&self, number: u16, is_default: bool, nginx: &NginxFacts) -> Vec<Directive> {
        let tls = self.tls.then_some("ssl");
        let http2 = (self.http2 && self.says_http2(nginx)).then_some("http2");
        let default = is_default.then_some("default_server");
        let options = tls.into_iter().chain(http2).chain(default);
        addresses(number, nginx).map(|it| listen(it, options.clone())).collect()
    }

    fn says_http2(&self, nginx: &NginxFacts) -> bool {
        !nginx.since(1, 25, 1) && nginx.has("http_v2_module")
    }
}

fn addresses(number: u16, nginx: &NginxFacts) -> impl Iterator<Item = String> {
    let v6 = nginx.ipv6.then(|| format!("[::]:{number}"));
    [number.to_string()].into_iter().chain(v6)
}

fn listen<'a>(address: String, options: impl Iterator<Item = &'a str>) -> Directive {
    line("listen", [address].into_iter().chain(options.map(str::to_owned)))
        .said(Field::Named("listen_port"))
}
