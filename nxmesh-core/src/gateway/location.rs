use serde::{Deserialize, Serialize};

use crate::{
    FieldCode, Path, Problems,
    directive::{Context, Directives},
    gateway::{
        UpstreamId,
        location_parts::{
            HeaderName, HeaderValue, IndexFiles, LocationPath, Pattern, ProxyUrl, Replacement, Root,
        },
    },
};

/// How many headers a location may have.
pub const MAX_HEADERS: usize = 64;
/// How many rewrite rules a location may have.
pub const MAX_REWRITES: usize = 64;

/// What is served under a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "NewLocation", into = "NewLocation")]
pub struct Location {
    /// See [`NewLocation::path`].
    pub path: LocationPath,
    /// From where.
    pub target: LocationTarget,
    /// See [`NewLocation::custom_headers`].
    pub custom_headers: Vec<Header>,
    /// See [`NewLocation::rewrite_rules`].
    pub rewrite_rules: Vec<RewriteRule>,
    /// See [`NewLocation::custom_directives`].
    pub custom_directives: Directives,
}

/// From where a location is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocationTarget {
    /// From one server.
    Proxy(ProxyUrl),
    /// From a group of servers.
    Upstream(UpstreamId),
    /// From files of the agent's host.
    Files {
        /// The folder.
        root: Root,
        /// What is served for a folder.
        index: Option<IndexFiles>,
    },
}

/// A header that is set.
///
/// In a location that proxies, `Host`, `Forwarded`, `X-Real-IP`, `X-Request-ID`,
/// `Authorization` and `X-Forwarded-*` are set on the request to the server
/// behind (in place of what is set there by default); every other one is set on
/// the answer, by default only on successful ones, with `always` on all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(bound = ""))]
pub struct Header<Name = HeaderName, Value = HeaderValue> {
    /// Its name.
    #[cfg_attr(feature = "openapi", schema(value_type = HeaderName))]
    pub name: Name,
    /// Its value, in which nginx's variables are replaced. Configuration, not a place for secrets:
    /// whoever may read the workspace sees it.
    #[cfg_attr(feature = "openapi", schema(value_type = HeaderValue))]
    pub value: Value,
    /// Whether it is also set on answers that are errors.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = false))]
    pub always: bool,
}

/// How a path is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(bound = ""))]
pub struct RewriteRule<From = Pattern, To = Replacement, Flag = RewriteFlag> {
    /// Which paths.
    #[cfg_attr(feature = "openapi", schema(value_type = Pattern))]
    pub pattern: From,
    /// Into what; `$1` and named groups are replaced.
    #[cfg_attr(feature = "openapi", schema(value_type = Replacement))]
    pub replacement: To,
    /// What happens then.
    #[cfg_attr(feature = "openapi", schema(value_type = RewriteFlag))]
    pub flag: Flag,
}

/// What happens after a rewrite.
/// <https://nginx.org/en/docs/http/ngx_http_rewrite_module.html#rewrite>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RewriteFlag {
    /// A location is looked for anew.
    Last,
    /// The request stays in this location.
    Break,
    /// The client is sent there for now (302).
    Redirect,
    /// The client is sent there for good (301).
    Permanent,
}

/// What is served under a path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Location))]
pub struct NewLocation {
    /// The beginning of the paths that it serves.
    #[cfg_attr(feature = "openapi", schema(value_type = LocationPath))]
    pub path: String,
    /// The address of a server: one of this, `upstream_id` and `root`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<ProxyUrl>))]
    pub proxy_pass: Option<String>,
    /// The id of an upstream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<UpstreamId>))]
    pub upstream_id: Option<String>,
    /// A folder on the agent's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Root>))]
    pub root: Option<String>,
    /// What is served for a folder; only with `root`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<IndexFiles>))]
    pub index: Option<String>,
    /// Headers that are set; see [`Header`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Header>))]
    pub custom_headers: Vec<Header<String, String>>,
    /// How paths are changed, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<RewriteRule>))]
    pub rewrite_rules: Vec<RewriteRule<String, String>>,
    /// What else nginx should do, by directive.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub custom_directives: std::collections::BTreeMap<String, String>,
}

impl NewLocation {
    pub(super) fn parse(self, at: &Path<'_>, problems: &mut Problems) -> Option<Location> {
        let Self {
            path,
            proxy_pass,
            upstream_id,
            root,
            index,
            custom_headers,
            rewrite_rules,
            custom_directives,
        } = self;
        let path = problems.take(&at.field("path"), LocationPath::parse(path));
        let target = parse_target(proxy_pass, upstream_id, root, index, at, problems);
        let headers = at.field("custom_headers");
        check_count(custom_headers.len(), MAX_HEADERS, &headers, problems);
        let custom_headers = custom_headers.into_iter().enumerate();
        let custom_headers = custom_headers
            .filter_map(|(index, it)| it.parse(&headers.index(index), problems))
            .collect();
        let rules = at.field("rewrite_rules");
        check_count(rewrite_rules.len(), MAX_REWRITES, &rules, problems);
        let rewrite_rules = rewrite_rules.into_iter().enumerate();
        let rewrite_rules = rewrite_rules
            .filter_map(|(index, it)| it.parse(&rules.index(index), problems))
            .collect();
        let directives = at.field("custom_directives");
        let custom_directives =
            Directives::parse(custom_directives, Context::Location, &directives, problems);
        let (path, target) = path.zip(target)?;
        Some(Location { path, target, custom_headers, rewrite_rules, custom_directives })
    }
}

fn parse_target(
    proxy_pass: Option<String>,
    upstream_id: Option<String>,
    root: Option<String>,
    index: Option<String>,
    at: &Path<'_>,
    problems: &mut Problems,
) -> Option<LocationTarget> {
    if index.is_some() && root.is_none() {
        problems.add(&at.field("index"), FieldCode::Contradiction, "goes with root only");
    }
    match (proxy_pass, upstream_id, root) {
        (Some(url), None, None) => {
            problems.take(&at.field("proxy_pass"), ProxyUrl::parse(url)).map(LocationTarget::Proxy)
        }
        (None, Some(id), None) => match id.parse() {
            Ok(id) => Some(LocationTarget::Upstream(id)),
            Err(_) => {
                problems.add(
                    &at.field("upstream_id"),
                    FieldCode::InvalidFormat,
                    "must be the id of an upstream",
                );
                None
            }
        },
        (None, None, Some(root)) => {
            let index =
                index.and_then(|index| problems.take(&at.field("index"), IndexFiles::parse(index)));
            let root = problems.take(&at.field("root"), Root::parse(root))?;
            Some(LocationTarget::Files { root, index })
        }
        (None, None, None) => {
            problems.add(at, FieldCode::Required, "must have one of proxy_pass, upstream_id, root");
            None
        }
        _ => {
            problems.add(
                at,
                FieldCode::Contradiction,
                "must have only one of proxy_pass, upstream_id, root",
            );
            None
        }
    }
}

impl Header<String, String> {
    fn parse(self, at: &Path<'_>, problems: &mut Problems) -> Option<Header> {
        let Self { name, value, always } = self;
        let name = problems.take(&at.field("name"), HeaderName::parse(name));
        let value = problems.take(&at.field("value"), HeaderValue::parse(value));
        name.zip(value).map(|(name, value)| Header { name, value, always })
    }
}

impl RewriteRule<String, String> {
    fn parse(self, at: &Path<'_>, problems: &mut Problems) -> Option<RewriteRule> {
        let Self { pattern, replacement, flag } = self;
        let pattern = problems.take(&at.field("pattern"), Pattern::parse(pattern));
        let replacement = problems.take(&at.field("replacement"), Replacement::parse(replacement));
        pattern.zip(replacement).map(|(pattern, replacement)| RewriteRule {
            pattern,
            replacement,
            flag,
        })
    }
}

fn check_count(count: usize, max: usize, at: &Path<'_>, problems: &mut Problems) {
    if count > max {
        problems.add(at, FieldCode::OutOfRange, format!("must be {max} at most"));
    }
}

impl From<Location> for NewLocation {
    fn from(location: Location) -> Self {
        let Location { path, target, custom_headers, rewrite_rules, custom_directives } = location;
        let headers = custom_headers.into_iter().map(|it| {
            let Header { name, value, always } = it;
            Header { name: name.into(), value: value.into(), always }
        });
        let rules = rewrite_rules.into_iter().map(|it| {
            let RewriteRule { pattern, replacement, flag } = it;
            RewriteRule { pattern: pattern.into(), replacement: replacement.into(), flag }
        });
        let blank = Self {
            path: path.into(),
            custom_headers: headers.collect(),
            rewrite_rules: rules.collect(),
            custom_directives: custom_directives.into(),
            ..Self::default()
        };
        match target {
            LocationTarget::Proxy(url) => Self { proxy_pass: Some(url.into()), ..blank },
            LocationTarget::Upstream(id) => Self { upstream_id: Some(id.to_string()), ..blank },
            LocationTarget::Files { root, index } => {
                Self { root: Some(root.into()), index: index.map(Into::into), ..blank }
            }
        }
    }
}

impl TryFrom<NewLocation> for Location {
    type Error = crate::Error;

    fn try_from(new: NewLocation) -> Result<Self, crate::Error> {
        let mut problems = Problems::default();
        let location = new.parse(&Path::root(), &mut problems);
        problems.finish_with(location)
    }
}
