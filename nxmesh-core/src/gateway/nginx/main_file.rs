//! `nginx.conf`: what holds for all, and the server that says which version runs.

use super::{
    Field, NginxFacts, Place,
    syntax::{Directive, block, line},
    types::types,
};
use crate::gateway::{ConfigUpdate, Projection};

/// Where nginx answers version and checksum of what it serves, on the status socket.
pub const VERSION_PATH: &str = "/version";
/// Where nginx answers its counters, on the status socket, if it was built for that.
pub const STATUS_PATH: &str = "/stub_status";

/// How long old workers may finish what they began: WebSockets would keep them for ever.
const SHUTDOWN_TIMEOUT: &str = "60s";
/// For how long after its last request a kept connection is not closed by a
/// reload: longer than a busy client pauses, so that none is closed while the
/// next request is on its way.
/// <https://nginx.org/en/docs/http/ngx_http_core_module.html#keepalive_min_timeout>
const KEEPALIVE_MIN_TIMEOUT: &str = "2s";

pub(super) fn render(
    update: &ConfigUpdate,
    nginx: &NginxFacts,
    place: &Place,
    includes: Vec<String>,
) -> Vec<Directive> {
    let path = |path: &std::path::Path| path.display().to_string();
    let mut main: Vec<_> = place.user.iter().map(|user| line("user", [user])).collect();
    main.push(line("worker_processes", ["auto"]));
    main.push(line("worker_shutdown_timeout", [SHUTDOWN_TIMEOUT]));
    main.push(line("worker_rlimit_nofile", [place.worker_connections.to_string()]));
    main.push(line("pid", [path(&place.pid_file)]));
    main.push(line("error_log", [path(&place.error_log), "warn".to_owned()]));
    let variables = &update.projection.settings.env_vars;
    let variables = variables.iter().map(|(name, value)| line("env", [format!("{name}={value}")]));
    main.extend(variables.map(|it| it.said(Field::Named("settings.env_vars"))));
    let connections = line("worker_connections", [place.worker_connections.to_string()]);
    main.push(block("events", [""; 0], vec![connections]));
    main.push(block("http", [""; 0], http(update, nginx, place, includes)));
    main
}

fn http(
    update: &ConfigUpdate,
    nginx: &NginxFacts,
    place: &Place,
    includes: Vec<String>,
) -> Vec<Directive> {
    let projection = update.projection.as_ref();
    let chosen = &projection.settings.nginx_directives;
    let mut inside = vec![types()];
    inside.extend(failed_log(nginx, place));
    // Ours where the workspace does not name them itself.
    inside.extend(defaults(projection, nginx).into_iter().filter(|it| !chosen.contains(&it.name)));
    inside.extend(names_hash(projection));
    inside.extend(temp_paths(nginx, place));
    let upgrade = vec![line("default", ["upgrade"]), line("", [""])];
    inside.push(block("map", ["$http_upgrade", "$nxmesh_connection"], upgrade));
    let chosen = chosen.iter().map(|(name, args)| line(name, args));
    inside.extend(chosen.map(|it| it.said(Field::Directive("settings.nginx_directives"))));
    inside.push(status_server(update, nginx, place));
    inside.extend(includes.into_iter().map(|file| line("include", [file])));
    inside
}

fn defaults(projection: &Projection, nginx: &NginxFacts) -> Vec<Directive> {
    let mut lines = vec![
        line("default_type", ["application/octet-stream"]),
        line("server_tokens", ["off"]),
        line("sendfile", ["on"]),
        line("tcp_nopush", ["on"]),
    ];
    if nginx.since(1, 27, 4) {
        lines.push(line("keepalive_min_timeout", [KEEPALIVE_MIN_TIMEOUT]));
    }
    if projection.virtual_hosts.values().any(|host| host.ssl_enabled) {
        lines.push(line("ssl_protocols", ["TLSv1.2", "TLSv1.3"]));
        lines.push(line("ssl_session_cache", ["shared:nxmesh_tls:10m"]));
    }
    lines
}

/// A line with port and first name of the virtual host for each answer that failed: to a file, which
/// a worker never waits for, and which takes all that comes while nobody reads. (A socket takes ten
/// lines, and with nobody at its other end each line costs one in the error log.)
fn failed_log(nginx: &NginxFacts, place: &Place) -> Vec<Directive> {
    if !nginx.keeps("pcre") {
        return vec![line("access_log", ["off"])];
    }
    let failed = vec![line("default", ["0"]), line("~^5", ["1"])];
    let path = place.failed_log.display().to_string();
    vec![
        block("map", ["$status", "$nxmesh_failed"], failed),
        line("log_format", ["nxmesh_failed", "$server_port:$server_name"]),
        line("access_log", [&path, "nxmesh_failed", "if=$nxmesh_failed"]),
    ]
}

/// Always large enough: with the sizes nginx takes by itself, one more long name
/// fails the whole configuration. A bucket holds at least the longest name with
/// its pointers, and several usual ones, so that a fit is found at once.
/// <https://nginx.org/en/docs/hash.html>
fn names_hash(projection: &Projection) -> [Directive; 2] {
    let hosts = projection.virtual_hosts.values();
    let lengths = hosts.flat_map(|host| host.server_name.iter().map(|name| name.as_str().len()));
    let (count, longest) =
        lengths.fold((0_usize, 0), |(count, longest), it| (count + 1, it.max(longest)));
    let bucket = (longest + 2 + 3 * 8).next_multiple_of(64).max(256);
    let size = (4 * count).next_power_of_two().max(512);
    [
        line("server_names_hash_bucket_size", [bucket.to_string()]),
        line("server_names_hash_max_size", [size.to_string()]),
    ]
}

/// nginx makes all of them when it starts, whether anything uses them or not.
fn temp_paths(nginx: &NginxFacts, place: &Place) -> Vec<Directive> {
    let modules = ["proxy", "fastcgi", "uwsgi", "scgi"];
    let modules = modules.into_iter().filter(|it| nginx.keeps(&format!("http_{it}_module")));
    let names = std::iter::once("client_body").chain(modules);
    names
        .map(|name| {
            line(format!("{name}_temp_path"), [place.temp_dir.join(name).display().to_string()])
        })
        .collect()
}

fn status_server(update: &ConfigUpdate, nginx: &NginxFacts, place: &Place) -> Directive {
    let answer = format!("{} {}", update.version, update.checksum);
    let version = vec![line("return", ["200".to_owned(), answer])];
    let mut inside = vec![
        line("listen", [format!("unix:{}", place.status_socket.display())]),
        line("access_log", ["off"]),
        block("location", ["=", VERSION_PATH], version),
    ];
    if nginx.has("http_stub_status_module") {
        inside.push(block("location", ["=", STATUS_PATH], vec![line("stub_status", [""; 0])]));
    }
    inside.push(block("location", ["/"], vec![line("return", ["404"])]));
    block("server", [""; 0], inside)
}
