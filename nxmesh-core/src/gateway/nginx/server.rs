//! One virtual host.

use super::{
    NginxFacts, location,
    port::Port,
    syntax::{Directive, block, line},
};
use crate::gateway::{CertificateId, VirtualHostId, VirtualHostSpec};

pub(super) fn render(
    id: VirtualHostId,
    host: &VirtualHostSpec,
    port: &Port,
    nginx: &NginxFacts,
) -> Directive {
    let mut inside = port.listen(id, host.listen_port, nginx);
    inside.push(line("server_name", host.server_name.iter().map(|name| name.as_str())));
    if host.http2_enabled && nginx.since(1, 25, 1) && nginx.has("http_v2_module") {
        inside.push(line("http2", ["on"]));
    }
    if let Some(certificate) = host.ssl_certificate_id {
        inside.push(line("ssl_certificate", [certificate_file(certificate)]));
        inside.push(line("ssl_certificate_key", [key_file(certificate)]));
    }
    inside.extend(host.custom_directives.iter().map(|(name, args)| line(name, args)));
    let http3 = host.http3_enabled && nginx.speaks_http3();
    let announced = http3.then_some(host.listen_port);
    inside.extend(host.locations.iter().map(|it| location::render(it, announced)));
    block("server", [""; 0], inside)
}

pub(super) fn certificate_file(id: CertificateId) -> String {
    format!("certificates/{id}.crt")
}

pub(super) fn key_file(id: CertificateId) -> String {
    format!("certificates/{id}.key")
}
