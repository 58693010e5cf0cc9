pub(in crate::gateway) mod virtual_hosts;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    ETag, FieldCode, Id, Malformed, Path, Problems, Result, RevisionNumber,
    directive::{Context, Directives},
    gateway::{
        CertificateId, Location, NewLocation, NewTargetAgents, ObjectName, ServerName, TargetAgents,
    },
    tenancy::WorkspaceId,
};

pub use self::virtual_hosts::VirtualHosts;

/// The id of a [`VirtualHost`].
pub type VirtualHostId = Id<VirtualHost>;

/// How many names a virtual host may have.
pub const MAX_SERVER_NAMES: usize = 64;
/// How many locations a virtual host may have.
pub const MAX_LOCATIONS: usize = 256;

/// A name on a port, and what is served there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VirtualHost {
    /// Never changes.
    pub id: VirtualHostId,
    /// Where it belongs.
    pub workspace_id: WorkspaceId,
    /// What nginx does for it.
    #[serde(flatten)]
    pub spec: Arc<VirtualHostSpec>,
    /// On which agents.
    #[serde(default)]
    pub target_agents: TargetAgents,
    /// The revision that last changed it.
    #[serde(default)]
    pub revision: RevisionNumber,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// What nginx does for a virtual host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VirtualHostSpec {
    /// What people call it.
    pub name: ObjectName,
    /// The names it answers to.
    pub server_name: ServerNames,
    /// The port it answers on.
    pub listen_port: u16,
    /// Whether that port speaks TLS; then there is a certificate.
    pub ssl_enabled: bool,
    /// The certificate it shows.
    pub ssl_certificate_id: Option<CertificateId>,
    /// Whether it also speaks HTTP/2.
    pub http2_enabled: bool,
    /// Whether it also speaks HTTP/3, where nginx can; only with TLS.
    pub http3_enabled: bool,
    /// What is served, by path.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<NewLocation>))]
    pub locations: Vec<Location>,
    /// What else nginx should do.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, String>))]
    pub custom_directives: Directives,
}

/// The names of a virtual host, each once, in the order they were given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String))]
pub struct ServerNames(Vec<ServerName>);

/// What a caller writes of a virtual host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewVirtualHost {
    /// See [`VirtualHostSpec::name`].
    #[cfg_attr(feature = "openapi", schema(value_type = ObjectName))]
    pub name: String,
    /// One or more names, separated by spaces.
    #[cfg_attr(feature = "openapi", schema(value_type = ServerNames))]
    pub server_name: String,
    /// See [`VirtualHostSpec::listen_port`].
    pub listen_port: u32,
    /// See [`VirtualHostSpec::ssl_enabled`].
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = false))]
    pub ssl_enabled: bool,
    /// See [`VirtualHostSpec::ssl_certificate_id`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<CertificateId>))]
    pub ssl_certificate_id: Option<String>,
    /// See [`VirtualHostSpec::http2_enabled`].
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = false))]
    pub http2_enabled: bool,
    /// See [`VirtualHostSpec::http3_enabled`].
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = false))]
    pub http3_enabled: bool,
    /// See [`VirtualHostSpec::locations`].
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub locations: Vec<NewLocation>,
    /// See [`VirtualHostSpec::custom_directives`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_directives: BTreeMap<String, String>,
    /// See [`VirtualHost::target_agents`].
    #[serde(default)]
    pub target_agents: NewTargetAgents,
}

impl VirtualHost {
    /// Names this state of it.
    #[must_use]
    pub fn etag(&self) -> ETag {
        ETag::new(self.revision)
    }
}

impl ServerNames {
    /// Reads one or more names, separated by spaces; upper case is made lower.
    ///
    /// # Errors
    /// Says which name is wrong, and why.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut seen = BTreeSet::new();
        let mut names = Vec::new();
        for name in text.split(' ').filter(|it| !it.is_empty()) {
            let name = ServerName::parse(name.to_ascii_lowercase())?;
            if !seen.insert(name.clone()) {
                let message = format!("{name} is listed twice");
                return Err(Malformed { code: FieldCode::Duplicate, message });
            }
            names.push(name);
        }
        if !(1..=MAX_SERVER_NAMES).contains(&names.len()) {
            return Err(Malformed::range(format!(
                "must have 1 to {MAX_SERVER_NAMES} names, separated by spaces"
            )));
        }
        Ok(Self(names))
    }

    /// The names.
    pub fn iter(&self) -> impl Iterator<Item = &ServerName> {
        self.0.iter()
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn contains(&self, name: &ServerName) -> bool {
        self.0.contains(name)
    }
}

impl TryFrom<String> for ServerNames {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        Self::parse(&text)
    }
}

impl From<ServerNames> for String {
    fn from(names: ServerNames) -> Self {
        names.0.iter().map(ServerName::as_str).collect::<Vec<_>>().join(" ")
    }
}

impl NewVirtualHost {
    /// Checks all that can be checked without looking at anything else.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid), naming every field that is not right.
    pub fn parse(self) -> Result<(VirtualHostSpec, TargetAgents)> {
        let mut problems = Problems::default();
        check_tls(&self, &mut problems);
        let Self {
            name,
            server_name,
            listen_port,
            ssl_enabled,
            ssl_certificate_id,
            http2_enabled,
            http3_enabled,
            locations,
            custom_directives,
            target_agents,
        } = self;
        let root = Path::root();
        let name = problems.take(&root.field("name"), ObjectName::parse(name));
        let server_name =
            problems.take(&root.field("server_name"), ServerNames::parse(&server_name));
        let listen_port = parse_port(listen_port, &root.field("listen_port"), &mut problems);
        let certificate = root.field("ssl_certificate_id");
        let ssl_certificate_id = ssl_certificate_id
            .and_then(|id| parse_certificate_id(&id, &certificate, &mut problems));
        let locations = parse_locations(locations, &root.field("locations"), &mut problems);
        let directives = root.field("custom_directives");
        let custom_directives =
            Directives::parse(custom_directives, Context::Server, &directives, &mut problems);
        let target = target_agents.parse(&root.field("target_agents"), &mut problems);
        let spec = name.zip(server_name).map(|(name, server_name)| VirtualHostSpec {
            name,
            server_name,
            listen_port,
            ssl_enabled,
            ssl_certificate_id,
            http2_enabled,
            http3_enabled,
            locations,
            custom_directives,
        });
        problems.finish_with(spec.map(|spec| (spec, target)))
    }
}

fn check_tls(host: &NewVirtualHost, problems: &mut Problems) {
    let root = Path::root();
    let certificate = root.field("ssl_certificate_id");
    match (host.ssl_enabled, &host.ssl_certificate_id) {
        (true, None) => {
            problems.add(&certificate, FieldCode::Required, "is required with ssl_enabled")
        }
        (false, Some(_)) => {
            problems.add(&certificate, FieldCode::Contradiction, "goes with ssl_enabled only")
        }
        (true, Some(_)) | (false, None) => {}
    }
    if host.http3_enabled && !host.ssl_enabled {
        problems.add(
            &root.field("http3_enabled"),
            FieldCode::Contradiction,
            "goes with ssl_enabled only: HTTP/3 is always encrypted",
        );
    }
}

fn parse_port(port: u32, path: &Path<'_>, problems: &mut Problems) -> u16 {
    match u16::try_from(port) {
        Ok(port) if port > 0 => port,
        Ok(_) | Err(_) => {
            problems.add(path, FieldCode::OutOfRange, "must be from 1 to 65535");
            0
        }
    }
}

fn parse_certificate_id(
    id: &str,
    path: &Path<'_>,
    problems: &mut Problems,
) -> Option<CertificateId> {
    let parsed = id.parse().ok();
    if parsed.is_none() {
        problems.add(path, FieldCode::InvalidFormat, "must be the id of a certificate");
    }
    parsed
}

fn parse_locations(
    locations: Vec<NewLocation>,
    path: &Path<'_>,
    problems: &mut Problems,
) -> Vec<Location> {
    if !(1..=MAX_LOCATIONS).contains(&locations.len()) {
        problems.add(path, FieldCode::OutOfRange, format!("must be 1 to {MAX_LOCATIONS}"));
        return Vec::new();
    }
    let mut seen = BTreeMap::new();
    for (index, location) in locations.iter().enumerate() {
        if let Some(first) = seen.insert(location.path.clone(), index) {
            let at = path.index(index);
            problems.add(
                &at.field("path"),
                FieldCode::Duplicate,
                format!("is the path of locations[{first}] too"),
            );
        }
    }
    let locations = locations.into_iter().enumerate();
    locations.filter_map(|(index, location)| location.parse(&path.index(index), problems)).collect()
}

impl NewVirtualHost {
    pub(crate) fn from_parts(spec: VirtualHostSpec, target_agents: TargetAgents) -> Self {
        let VirtualHostSpec {
            name,
            server_name,
            listen_port,
            ssl_enabled,
            ssl_certificate_id,
            http2_enabled,
            http3_enabled,
            locations,
            custom_directives,
        } = spec;
        Self {
            name: name.into(),
            server_name: server_name.into(),
            listen_port: listen_port.into(),
            ssl_enabled,
            ssl_certificate_id: ssl_certificate_id.map(|id| id.to_string()),
            http2_enabled,
            http3_enabled,
            locations: locations.into_iter().map(Into::into).collect(),
            custom_directives: custom_directives.into(),
            target_agents: target_agents.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::from_json;

    fn good() -> Value {
        json!({"name": "a", "server_name": "a.example", "listen_port": 80, "locations": [{"path": "/", "root": "/srv"}]})
    }

    /// The fields that are refused in `good` with this changed.
    fn refused(change: impl Into<Value>) -> Vec<String> {
        let change: Value = change.into();
        let mut body = good();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let parsed = from_json::<NewVirtualHost>(body).and_then(NewVirtualHost::parse);
        parsed
            .err()
            .map(|error| error.fields().iter().map(|it| it.field.clone()).collect())
            .unwrap_or_default()
    }

    #[test]
    fn what_nginx_would_refuse_is_refused_first_naming_the_field() {
        let id = "990e8400-e29b-41d4-a716-446655440005";
        let location = |change: Value| {
            let mut location = json!({"path": "/", "root": "/srv"});
            location.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            json!({"locations": [{"path": "/first", "root": "/srv"}, location]})
        };
        let rule = |pattern: &str| {
            location(
                json!({"rewrite_rules": [{"pattern": pattern, "replacement": "/", "flag": "last"}]}),
            )
        };
        for (change, fields) in [
            (json!({}), vec![]),
            (json!({"ssl_enabled": true}), vec!["ssl_certificate_id"]),
            (json!({"ssl_certificate_id": id}), vec!["ssl_certificate_id"]),
            (json!({"ssl_enabled": true, "ssl_certificate_id": "x"}), vec!["ssl_certificate_id"]),
            (json!({"ssl_enabled": true, "ssl_certificate_id": id, "http3_enabled": true}), vec![]),
            (json!({"http3_enabled": true}), vec!["http3_enabled"]),
            (json!({"server_name": "www.*.com"}), vec!["server_name"]),
            (json!({"server_name": "a.com; return 200 x"}), vec!["server_name"]),
            (json!({"server_name": "a.com A.com"}), vec!["server_name"]),
            (json!({"server_name": ""}), vec!["server_name"]),
            (json!({"server_name": "a.com\nb.com"}), vec!["server_name"]),
            (json!({"server_name": "a.com\tb.com"}), vec!["server_name"]),
            (json!({"listen_port": 0}), vec!["listen_port"]),
            (json!({"listen_port": 65536}), vec!["listen_port"]),
            (json!({"listen_port": 65535}), vec![]),
            (json!({"locations": []}), vec!["locations"]),
            (json!({"locations": [{"path": "/"}]}), vec!["locations[0]"]),
            (location(json!({"proxy_pass": "http://a"})), vec!["locations[1]"]),
            (location(json!({"upstream_id": id})), vec!["locations[1]"]),
            (location(json!({"path": "/first"})), vec!["locations[1].path"]),
            (location(json!({"path": "= /"})), vec!["locations[1].path"]),
            (rule("("), vec!["locations[1].rewrite_rules[0].pattern"]),
            (rule("^/(.*)$"), vec![]),
            (
                location(json!({"custom_headers": [{"name": "a b", "value": "x\r\ny"}]})),
                vec!["locations[1].custom_headers[0].name", "locations[1].custom_headers[0].value"],
            ),
            (
                location(json!({"custom_directives": {"include": "/etc/passwd"}})),
                vec!["locations[1].custom_directives.include"],
            ),
            (location(json!({"index": "a;b"})), vec!["locations[1].index"]),
            (
                json!({"locations": [{"path": "/", "proxy_pass": "http://a", "index": "a"}]}),
                vec!["locations[0].index"],
            ),
            (
                json!({"custom_directives": {"gzip": "on; return 200"}}),
                vec!["custom_directives.gzip"],
            ),
            (json!({"target_agents": {"type": "some"}}), vec!["target_agents.type"]),
            (json!({"target_agents": {"type": "selector"}}), vec!["target_agents.label_selector"]),
            (
                json!({"target_agents": {"type": "selector", "label_selector": "a b"}}),
                vec!["target_agents.label_selector"],
            ),
            (
                json!({"target_agents": {"type": "agents", "agent_ids": []}}),
                vec!["target_agents.agent_ids"],
            ),
            (
                json!({"target_agents": {"type": "agents", "agent_ids": ["x"]}}),
                vec!["target_agents.agent_ids[0]"],
            ),
            (
                json!({"target_agents": {"label_selector": "a"}}),
                vec!["target_agents.label_selector"],
            ),
            (json!({"target_agents": {}}), vec![]),
            (json!({"nonsense": 1}), vec!["nonsense"]),
        ] {
            assert_eq!(refused(change.clone()), fields, "{change}");
        }
    }

    #[test]
    fn flags_of_rewrites_are_the_four_of_nginx() {
        for (flag, good) in [
            ("last", true),
            ("break", true),
            ("redirect", true),
            ("permanent", true),
            ("", false),
            ("next", false),
        ] {
            let rules = json!([{"pattern": "^/", "replacement": "/", "flag": flag}]);
            let fields = refused(
                json!({"locations": [{"path": "/", "root": "/srv", "rewrite_rules": rules}]}),
            );
            assert_eq!(fields.is_empty(), good, "{flag} {fields:?}");
            assert!(good || fields == ["locations[0].rewrite_rules[0].flag"], "{fields:?}");
        }
    }

    #[test]
    fn limits_hold_at_their_edges() {
        let locations = |count| -> Vec<Value> {
            (0..count).map(|at| json!({"path": format!("/{at}"), "root": "/srv"})).collect()
        };
        assert!(refused(json!({"locations": locations(256)})).is_empty());
        assert_eq!(refused(json!({"locations": locations(257)})), ["locations"]);
        let names =
            |count| (0..count).map(|at| format!("a{at}.example")).collect::<Vec<_>>().join(" ");
        assert!(refused(json!({"server_name": names(64)})).is_empty());
        assert_eq!(refused(json!({"server_name": names(65)})), ["server_name"]);
        let headers = |count| vec![json!({"name": "X-A", "value": "1"}); count];
        let with = |count| json!({"locations": [{"path": "/", "root": "/srv", "custom_headers": headers(count)}]});
        assert!(refused(with(64)).is_empty());
        assert_eq!(refused(with(65)), ["locations[0].custom_headers"]);
    }
}
