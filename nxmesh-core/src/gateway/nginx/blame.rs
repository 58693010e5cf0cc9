//! What nginx complains of, in the words of who wrote it: object and field, never file and line.

use std::fmt;

use super::{
    NginxFacts, Owner, Place, Rendered, main_file, port, server,
    syntax::{self, Directive},
    upstream,
};
use crate::gateway::{ConfigUpdate, UpstreamId, VirtualHostId, VirtualHostSpec};

/// An object that nginx refuses, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blame {
    /// Which object.
    pub object: Blamed,
    /// What people call it; empty for the settings.
    pub name: String,
    /// Which of its fields: `locations[1].custom_directives.expires`; empty where that is not
    /// known.
    pub field: String,
    /// nginx's own words.
    pub said: String,
}

/// What can be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Blamed {
    /// A virtual host.
    VirtualHost(VirtualHostId),
    /// An upstream.
    Upstream(UpstreamId),
    /// What holds for the whole nginx.
    Settings,
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.object {
            Blamed::VirtualHost(id) => write!(f, "virtual host {} ({id}): ", self.name)?,
            Blamed::Upstream(id) => write!(f, "upstream {} ({id}): ", self.name)?,
            Blamed::Settings => f.write_str("the settings of the workspace: ")?,
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.said)
    }
}

/// Whom one complaint of nginx about these files is about: several where they share what it
/// names, nobody where it names nothing that is known.
#[must_use]
pub fn blame(
    update: &ConfigUpdate,
    nginx: &NginxFacts,
    place: &Place,
    complaint: &str,
) -> Vec<Blame> {
    let files = Files { update, nginx, place };
    if let Some((file, line, said)) = located(complaint) {
        return files.at(file, line, said);
    }
    let bind = complaint.strip_prefix("bind() to ").and_then(|it| it.split_once(" failed"));
    let port = bind.and_then(|(address, _)| address.rsplit_once(':')?.1.parse().ok());
    if let Some(port) = port {
        return files.on_port(port, complaint);
    }
    if let Owner::Certificate(id) = quoted(complaint).map_or(Owner::Settings, Rendered::owner_of) {
        let shows = |host: &VirtualHostSpec| host.ssl_certificate_id == Some(id);
        let path = quoted(complaint).unwrap_or_default();
        let said = complaint.replace(path, "the certificate");
        return files.hosts("ssl_certificate_id", &said, shows);
    }
    match (complaint.split('"').next(), quoted(complaint)) {
        (Some("unknown "), Some(name)) if complaint.ends_with(" variable") => files
            .with_line(complaint, |line| {
                has_word(line, "$", name) || line.contains(&format!("${{{name}}}"))
            }),
        (Some("zero size shared memory zone "), Some(name)) => files.with_line(complaint, |line| {
            let conn = line.trim_start().strip_prefix("limit_conn ");
            has_word(line, "zone=", name) || conn.is_some_and(|it| has_word(it, "", name))
        }),
        // A zone that was of another kind, or had another key, in the configuration before.
        (Some("limit_req " | "limit_conn " | "the shared memory zone "), Some(_)) => {
            vec![files.settings("settings.nginx_directives".to_owned(), complaint)]
        }
        _ => Vec::new(),
    }
}

/// The files that a complaint is about, made again as far as it needs.
struct Files<'a> {
    update: &'a ConfigUpdate,
    nginx: &'a NginxFacts,
    place: &'a Place,
}

impl Files<'_> {
    fn at(&self, file: &str, line: usize, said: &str) -> Vec<Blame> {
        let at = |directives: &[Directive]| {
            let fields = syntax::fields(directives);
            fields.into_iter().nth(line.saturating_sub(1)).unwrap_or_default()
        };
        match Rendered::owner_of(file) {
            Owner::VirtualHost(id) => {
                let server = self.server(id);
                vec![self.host(id, at(server.as_slice()), said)]
            }
            Owner::Upstream(id) => {
                let upstreams = &self.update.projection.upstreams;
                let spec = upstreams.get(&id);
                let name = spec.map(|it| it.name.to_string()).unwrap_or_default();
                let made = spec.map(|it| upstream::render(id, it, self.nginx));
                let (object, field) = (Blamed::Upstream(id), at(made.as_slice()));
                vec![Blame { object, name, field, said: said.to_owned() }]
            }
            Owner::Port(port) => self.on_port(port, said),
            Owner::Certificate(id) => {
                let shows = |host: &VirtualHostSpec| host.ssl_certificate_id == Some(id);
                self.hosts("ssl_certificate_id", said, shows)
            }
            Owner::Settings => vec![self.settings(at(&self.main()), said)],
        }
    }

    fn on_port(&self, port: u16, said: &str) -> Vec<Blame> {
        self.hosts("listen_port", said, |host| host.listen_port == port)
    }

    fn hosts(
        &self,
        field: &str,
        said: &str,
        is_meant: impl Fn(&VirtualHostSpec) -> bool,
    ) -> Vec<Blame> {
        let hosts = self.update.projection.virtual_hosts.iter().filter(|(_, it)| is_meant(it));
        hosts.map(|(id, _)| self.host(*id, field.to_owned(), said)).collect()
    }

    /// All that say something like this, each with the first field in which it does.
    fn with_line(&self, said: &str, is_meant: impl Fn(&str) -> bool) -> Vec<Blame> {
        let field_of = |directives: &[Directive]| {
            let text = syntax::write(directives);
            let mut lines = text.lines().zip(syntax::fields(directives));
            let (_, field) = lines.find(|(line, field)| !field.is_empty() && is_meant(line))?;
            Some(field)
        };
        let hosts = self.update.projection.virtual_hosts.keys().filter_map(|id| {
            let field = field_of(self.server(*id).as_slice())?;
            Some(self.host(*id, field, said))
        });
        let settings = field_of(&self.main()).map(|field| self.settings(field, said));
        hosts.chain(settings).collect()
    }

    fn host(&self, id: VirtualHostId, field: String, said: &str) -> Blame {
        let spec = self.update.projection.virtual_hosts.get(&id);
        let name = spec.map(|it| it.name.to_string()).unwrap_or_default();
        Blame { object: Blamed::VirtualHost(id), name, field, said: said.to_owned() }
    }

    fn settings(&self, field: String, said: &str) -> Blame {
        Blame { object: Blamed::Settings, name: String::new(), field, said: said.to_owned() }
    }

    fn server(&self, id: VirtualHostId) -> Option<Directive> {
        let spec = self.update.projection.virtual_hosts.get(&id)?;
        let ports = port::ports(&self.update.projection);
        let port = ports.get(&spec.listen_port)?;
        Some(server::render(id, spec, port, self.nginx))
    }

    fn main(&self) -> Vec<Directive> {
        // Files that are included stand behind all that callers say here.
        main_file::render(self.update, self.nginx, self.place, Vec::new())
    }
}

/// File and line at the end of a complaint, and the complaint without them.
fn located(complaint: &str) -> Option<(&str, usize, &str)> {
    let (rest, line) = complaint.rsplit_once(':')?;
    let line = line.parse().ok()?;
    // The path may have anything in it but for its end, which is ours.
    let ours = ["virtual-hosts/", "upstreams/", "ports/", "nginx.conf"];
    let at = ours.iter().filter_map(|it| rest.rfind(it)).max()?;
    let (before, _) = rest.split_at(at);
    let said = &rest[..before.rfind(" in ")?];
    Some((&rest[at..], line, said))
}

/// The first text in quotes.
fn quoted(complaint: &str) -> Option<&str> {
    complaint.split('"').nth(1)
}

/// Whether a line has this word behind that prefix.
fn has_word(line: &str, prefix: &str, word: &str) -> bool {
    let whole = format!("{prefix}{word}");
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(&whole).any(|(at, _)| {
        let before = prefix.is_empty() && line[..at].chars().next_back().is_some_and(in_word);
        !before && !line[at + whole.len()..].chars().next().is_some_and(in_word)
    })
}
