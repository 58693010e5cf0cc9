//! Ports that somebody else holds: found before nginx tries them in vain for seconds.

use std::{
    collections::BTreeSet,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use nxmesh_core::gateway::{Projection, nginx::NginxFacts};
use tokio::net::TcpSocket;

/// What nginx would say of the ports that it could not open, where it has those of `open`.
pub(super) fn held(wanted: &Projection, open: &Projection, nginx: &NginxFacts) -> Vec<String> {
    let ports = |it: &Projection| -> BTreeSet<u16> {
        it.virtual_hosts.values().map(|host| host.listen_port).collect()
    };
    let new = &ports(wanted) - &ports(open);
    new.into_iter().filter_map(|port| complaint(port, nginx)).collect()
}

fn complaint(port: u16, nginx: &NginxFacts) -> Option<String> {
    let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let v6 = nginx.ipv6.then(|| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    let held = [v4].into_iter().chain(v6).find(|it| is_held(*it))?;
    Some(format!("bind() to {held} failed (98: Address already in use)"))
}

/// Whether nginx could not open it. Any other trouble is for nginx to find.
fn is_held(address: SocketAddr) -> bool {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)
    };
    bind().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, sync::Arc};

    use nxmesh_core::{
        conformance::given::id, from_json, gateway::NewVirtualHost, gateway::nginx::NginxVersion,
    };
    use serde_json::json;

    use super::*;

    fn on(port: u16) -> Projection {
        let host: NewVirtualHost = from_json(json!({
            "name": "a", "server_name": "a.example", "listen_port": port,
            "locations": [{"path": "/", "root": "/srv"}],
        }))
        .unwrap();
        let virtual_hosts = [(id(), Arc::new(host.parse().unwrap().0))].into();
        Projection { virtual_hosts, ..Projection::default() }
    }

    #[test]
    fn a_port_that_somebody_else_holds_is_told_and_nginxs_own_is_not() {
        let facts = NginxFacts { version: NginxVersion(1, 22, 1), build: [].into(), ipv6: true };
        for address in ["0.0.0.0:0", "127.0.0.1:0", "[::1]:0"] {
            let holder = TcpListener::bind(address).unwrap();
            let port = holder.local_addr().unwrap().port();
            let said = held(&on(port), &Projection::default(), &facts);
            assert!(said[0].contains(&format!(":{port} failed (98: ")), "{address}: {said:?}");
            assert!(held(&on(port), &on(port), &facts).is_empty());
            drop(holder);
            assert!(held(&on(port), &Projection::default(), &facts).is_empty(), "{address}");
        }
    }
}
