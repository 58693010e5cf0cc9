//! One virtual host.

use super::{
    Field, NginxFacts, location,
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
    let names = line("server_name", host.server_name.iter().map(|name| name.as_str()));
    inside.push(names.said(Field::Named("server_name")));
    if host.http2_enabled && nginx.since(1, 25, 1) && nginx.has("http_v2_module") {
        inside.push(line("http2", ["on"]).said(Field::Named("http2_enabled")));
    }
    if let Some(certificate) = host.ssl_certificate_id {
        let files = [
            line("ssl_certificate", [certificate_file(certificate)]),
            line("ssl_certificate_key", [key_file(certificate)]),
        ];
        inside.extend(files.map(|it| it.said(Field::Named("ssl_certificate_id"))));
    }
    let custom = host.custom_directives.iter().map(|(name, args)| line(name, args));
    inside.extend(custom.map(|it| it.said(Field::Directive("custom_directives"))));
    let http3 = host.http3_enabled && nginx.speaks_http3();
    let announced = http3.then_some(host.listen_port);
    let locations = host.locations.iter().enumerate();
    inside.extend(locations.map(|(at, it)| {
        location::render(it, announced).said(Field::Opens("locations", at, "path"))
    }));
    block("server", [""; 0], inside)
}

pub(super) fn certificate_file(id: CertificateId) -> String {
    format!("certificates/{id}.crt")
}

pub(super) fn key_file(id: CertificateId) -> String {
    format!("certificates/{id}.key")
}
