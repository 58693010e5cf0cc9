//! One upstream.

use super::{
    Field, NginxFacts,
    syntax::{Directive, block, line},
};
use crate::gateway::{Algorithm, UpstreamId, UpstreamServer, UpstreamSpec};

/// What an upstream is called in nginx: names that people give may clash there.
pub(super) fn name(id: UpstreamId) -> String {
    format!("nxmesh-{id}")
}

/// The method stands first: nginx refuses what does not go with it only after it,
/// and `keepalive` must come after both.
pub(super) fn render(id: UpstreamId, upstream: &UpstreamSpec, nginx: &NginxFacts) -> Directive {
    let method = match upstream.algorithm {
        Algorithm::RoundRobin | Algorithm::WeightedRoundRobin => None,
        Algorithm::LeastConnections => Some("least_conn"),
        Algorithm::IpHash => Some("ip_hash"),
    };
    let weighted = upstream.algorithm != Algorithm::RoundRobin;
    let method = method.map(|name| line(name, [""; 0]).said(Field::Named("algorithm")));
    let mut inside: Vec<_> = method.into_iter().collect();
    let servers = upstream.servers.iter().enumerate();
    inside.extend(servers.map(|(at, it)| server(it, weighted).said(Field::Item("servers", at))));
    let keepalive = match upstream.keepalive_connections {
        // From 1.29.7 connections are kept open unless that is turned off.
        0 => nginx.since(1, 29, 7).then_some(0),
        count => Some(count),
    };
    let keepalive = keepalive.map(|count| line("keepalive", [count.to_string()]));
    inside.extend(keepalive.map(|it| it.said(Field::Named("keepalive_connections"))));
    block("upstream", [name(id)], inside)
}

fn server(server: &UpstreamServer, weighted: bool) -> Directive {
    let UpstreamServer { address, weight, backup, down, max_fails, fail_timeout } = server;
    let mut args = vec![address.as_str().to_owned()];
    if weighted && *weight != 1 {
        args.push(format!("weight={weight}"));
    }
    args.push(format!("max_fails={max_fails}"));
    args.push(format!("fail_timeout={fail_timeout}s"));
    args.extend(backup.then(|| "backup".to_owned()));
    args.extend(down.then(|| "down".to_owned()));
    line("server", args)
}
