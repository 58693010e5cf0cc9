use std::{collections::BTreeMap, path::PathBuf};

use super::{NginxFacts, main_file, port, server, syntax, upstream};
use crate::{
    Secret,
    gateway::{CertificateId, ConfigUpdate, UpstreamId, VirtualHostId},
};

/// Where nginx keeps what is not configuration. All paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The Unix socket on which nginx says which version it serves.
    pub status_socket: PathBuf,
    /// Where the master writes its process id.
    pub pid_file: PathBuf,
    /// Where nginx writes what goes wrong.
    pub error_log: PathBuf,
    /// Where nginx writes a line for each answer with a status of 500 or above.
    pub failed_log: PathBuf,
    /// Where bodies are kept that are too large for memory.
    pub temp_dir: PathBuf,
    /// As whom workers run; `None` for nginx's own choice.
    pub user: Option<String>,
    /// How many connections one worker may have: at most its limit of open files.
    pub worker_connections: u32,
}

/// The files of one configuration, by path from its folder.
#[derive(Debug, Clone, Default)]
pub struct Rendered {
    /// What anybody may read. `nginx.conf` is where nginx begins.
    pub files: BTreeMap<String, String>,
    /// What only nginx's master may read.
    pub secrets: BTreeMap<String, Secret<String>>,
}

/// Whose fault an error in a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A virtual host.
    VirtualHost(VirtualHostId),
    /// An upstream.
    Upstream(UpstreamId),
    /// A certificate.
    Certificate(CertificateId),
    /// The virtual hosts on a port.
    Port(u16),
    /// The settings of the workspace, or the renderer.
    Settings,
}

impl Rendered {
    /// Whose a file is, by its path or the end of it.
    #[must_use]
    pub fn owner_of(path: &str) -> Owner {
        let mut parts = path.rsplit('/');
        let file = parts.next().unwrap_or_default();
        let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
        let owner = match parts.next() {
            Some("virtual-hosts") => stem.parse().ok().map(Owner::VirtualHost),
            Some("upstreams") => stem.parse().ok().map(Owner::Upstream),
            Some("certificates") => stem.parse().ok().map(Owner::Certificate),
            Some("ports") => stem.parse().ok().map(Owner::Port),
            Some(_) | None => None,
        };
        owner.unwrap_or(Owner::Settings)
    }
}

/// Renders what an agent should serve, for the nginx it has.
///
/// The files refer to each other by relative paths, which nginx takes from the
/// folder of the file it was started with: the same bytes can be tested in one
/// folder and used through a link to it.
#[must_use]
pub fn render(update: &ConfigUpdate, nginx: &NginxFacts, place: &Place) -> Rendered {
    let projection = update.projection.as_ref();
    let ports = port::ports(projection);
    let mut files = BTreeMap::new();
    for (id, spec) in &projection.upstreams {
        let upstream = upstream::render(*id, spec, nginx);
        files.insert(format!("upstreams/{id}.conf"), syntax::write(&[upstream]));
    }
    for (id, spec) in &projection.virtual_hosts {
        if let Some(port) = ports.get(&spec.listen_port) {
            let server = server::render(*id, spec, port, nginx);
            files.insert(format!("virtual-hosts/{id}.conf"), syntax::write(&[server]));
        }
    }
    for (number, port) in &ports {
        if let Some(server) = port.catch_all(*number, nginx) {
            files.insert(format!("ports/{number}.conf"), syntax::write(&[server]));
        }
    }
    let mut secrets = BTreeMap::new();
    for (id, certificate) in &projection.certificates {
        files.insert(server::certificate_file(*id), certificate.certificate_pem.clone());
        secrets.insert(server::key_file(*id), certificate.private_key_pem.clone());
    }
    let includes = files.keys().filter(|path| path.ends_with(".conf")).cloned().collect();
    files.insert(
        "nginx.conf".to_owned(),
        syntax::write(&main_file::render(update, nginx, place, includes)),
    );
    Rendered { files, secrets }
}
