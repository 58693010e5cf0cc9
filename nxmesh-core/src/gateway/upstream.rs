pub(in crate::gateway) mod upstreams;

use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    ETag, FieldCode, Id, Path, Problems, Result, RevisionNumber,
    gateway::{ObjectName, ServerAddress},
    tenancy::WorkspaceId,
};

pub use self::upstreams::Upstreams;

/// The id of an [`Upstream`].
pub type UpstreamId = Id<Upstream>;

/// How many servers an upstream may have.
pub const MAX_SERVERS: usize = 256;
/// The largest weight of a server; nginx counts in 16 bits.
pub const MAX_WEIGHT: u32 = 65535;
/// The largest `max_fails`.
pub const MAX_FAILS: u32 = 1000;
/// The longest time of any setting here, in seconds: a day.
pub const MAX_SECONDS: u32 = 86400;
/// The largest threshold of a health check.
pub const MAX_THRESHOLD: u32 = 100;
/// The most connections that are kept open to an upstream by each worker.
pub const MAX_KEEPALIVE: u32 = 10_000;

/// A group of servers that share the load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Upstream {
    /// Never changes.
    pub id: UpstreamId,
    /// Where it belongs.
    pub workspace_id: WorkspaceId,
    /// What it does.
    #[serde(flatten)]
    pub spec: Arc<UpstreamSpec>,
    /// The revision that last changed it.
    #[serde(default)]
    pub revision: RevisionNumber,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// What an upstream does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpstreamSpec {
    /// What people call it.
    pub name: ObjectName,
    /// Who gets the next request.
    pub algorithm: Algorithm,
    /// The servers, at least one of which takes requests.
    pub servers: Vec<UpstreamServer>,
    /// How agents find out whether a server is well.
    pub health_check: Option<HealthCheck>,
    /// How many idle connections each worker keeps open; 0 for none.
    pub keepalive_connections: u32,
}

/// Who gets the next request.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Algorithm {
    /// Each in turn; weights are ignored.
    #[default]
    RoundRobin,
    /// The one with the fewest connections, by weight.
    LeastConnections,
    /// Always the same one for an address.
    IpHash,
    /// Each in turn, by weight.
    WeightedRoundRobin,
}

/// One server of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(bound = ""))]
pub struct UpstreamServer<Address = ServerAddress> {
    /// Where it is: `10.0.1.20:8080`, `[2001:db8::1]:8080`, `backend.internal:8080`.
    #[cfg_attr(feature = "openapi", schema(value_type = ServerAddress))]
    pub address: Address,
    /// Its share, 1 to 65535.
    #[serde(default = "one")]
    #[cfg_attr(feature = "openapi", schema(default = one))]
    pub weight: u32,
    /// Whether it only steps in when the others are gone.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = false))]
    pub backup: bool,
    /// Whether it takes no requests.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = false))]
    pub down: bool,
    /// After how many failures within `fail_timeout` it is avoided; 0 for never.
    #[serde(default = "one")]
    #[cfg_attr(feature = "openapi", schema(default = one))]
    pub max_fails: u32,
    /// Within how many seconds failures are counted, and for how long it is then avoided.
    #[serde(default = "ten")]
    #[cfg_attr(feature = "openapi", schema(default = ten))]
    pub fail_timeout: u32,
}

/// How agents find out whether a server is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HealthCheck {
    /// Whether agents ask at all.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = false))]
    pub enabled: bool,
    /// What they ask for.
    #[serde(default = "slash")]
    #[cfg_attr(feature = "openapi", schema(default = slash))]
    pub path: String,
    /// How often, in seconds.
    #[serde(default = "ten")]
    #[cfg_attr(feature = "openapi", schema(default = ten))]
    pub interval: u32,
    /// How long an answer may take, in seconds.
    #[serde(default = "five")]
    #[cfg_attr(feature = "openapi", schema(default = five))]
    pub timeout: u32,
    /// After how many good answers in a row a server is well.
    #[serde(default = "two")]
    #[cfg_attr(feature = "openapi", schema(default = two))]
    pub healthy_threshold: u32,
    /// After how many bad ones it is not.
    #[serde(default = "three")]
    #[cfg_attr(feature = "openapi", schema(default = three))]
    pub unhealthy_threshold: u32,
}

/// What a caller writes of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewUpstream {
    /// See [`UpstreamSpec::name`].
    #[cfg_attr(feature = "openapi", schema(value_type = ObjectName))]
    pub name: String,
    /// See [`UpstreamSpec::algorithm`].
    #[serde(default)]
    pub algorithm: Algorithm,
    /// See [`UpstreamSpec::servers`].
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<UpstreamServer>))]
    pub servers: Vec<UpstreamServer<String>>,
    /// See [`UpstreamSpec::health_check`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// See [`UpstreamSpec::keepalive_connections`]; 32 when left out.
    #[serde(default = "keepalive")]
    #[cfg_attr(feature = "openapi", schema(default = keepalive))]
    pub keepalive_connections: u32,
}

const fn one() -> u32 {
    1
}
const fn two() -> u32 {
    2
}
const fn three() -> u32 {
    3
}
const fn five() -> u32 {
    5
}
const fn ten() -> u32 {
    10
}
const fn keepalive() -> u32 {
    32
}
fn slash() -> String {
    "/".to_owned()
}

impl Upstream {
    /// Names this state of it.
    #[must_use]
    pub fn etag(&self) -> ETag {
        ETag::new(self.revision)
    }
}

impl UpstreamServer<String> {
    /// A server with the usual settings.
    pub fn at(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            weight: 1,
            backup: false,
            down: false,
            max_fails: 1,
            fail_timeout: 10,
        }
    }

    fn parse(self, path: &Path<'_>, problems: &mut Problems) -> Option<UpstreamServer> {
        let Self { address, weight, backup, down, max_fails, fail_timeout } = self;
        check_range(weight, 1, MAX_WEIGHT, &path.field("weight"), problems);
        check_range(max_fails, 0, MAX_FAILS, &path.field("max_fails"), problems);
        check_range(fail_timeout, 1, MAX_SECONDS, &path.field("fail_timeout"), problems);
        let address = problems.take(&path.field("address"), ServerAddress::parse(address))?;
        Some(UpstreamServer { address, weight, backup, down, max_fails, fail_timeout })
    }
}

impl NewUpstream {
    /// Checks all of it.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid), naming every field that is not right.
    pub fn parse(self) -> Result<UpstreamSpec> {
        let Self { name, algorithm, servers, health_check, keepalive_connections } = self;
        let root = Path::root();
        let mut problems = Problems::default();
        let name = problems.take(&root.field("name"), ObjectName::parse(name));
        let at = root.field("servers");
        check_servers(algorithm, &servers, &at, &mut problems);
        let servers = servers.into_iter().enumerate();
        let servers = servers
            .filter_map(|(index, server)| server.parse(&at.index(index), &mut problems))
            .collect();
        if let Some(check) = &health_check {
            check.check(&root.field("health_check"), &mut problems);
        }
        let at = root.field("keepalive_connections");
        check_range(keepalive_connections, 0, MAX_KEEPALIVE, &at, &mut problems);
        let spec = name.map(|name| UpstreamSpec {
            name,
            algorithm,
            servers,
            health_check,
            keepalive_connections,
        });
        problems.finish_with(spec)
    }
}

fn check_servers(
    algorithm: Algorithm,
    servers: &[UpstreamServer<String>],
    path: &Path<'_>,
    problems: &mut Problems,
) {
    if !(1..=MAX_SERVERS).contains(&servers.len()) {
        problems.add(path, FieldCode::OutOfRange, format!("must be 1 to {MAX_SERVERS}"));
        return;
    }
    let mut seen = BTreeSet::new();
    for (index, server) in servers.iter().enumerate() {
        if !seen.insert(server.address.to_ascii_lowercase()) {
            let at = path.index(index);
            problems.add(&at.field("address"), FieldCode::Duplicate, "is listed twice");
        }
        // https://nginx.org/en/docs/http/ngx_http_upstream_module.html#ip_hash
        if algorithm == Algorithm::IpHash && server.backup {
            let at = path.index(index);
            problems.add(&at.field("backup"), FieldCode::Contradiction, "does not go with ip_hash");
        }
    }
    if servers.iter().all(|server| server.backup || server.down) {
        let message = "must have one that is neither backup nor down";
        problems.add(path, FieldCode::Contradiction, message);
    }
}

impl HealthCheck {
    /// The longest path that is asked for, in bytes.
    pub const MAX_PATH: usize = 1024;

    fn check(&self, path: &Path<'_>, problems: &mut Problems) {
        let Self {
            enabled: _,
            path: asked,
            interval,
            timeout,
            healthy_threshold,
            unhealthy_threshold,
        } = self;
        let plain = asked.bytes().all(|byte| byte.is_ascii_graphic());
        if !asked.starts_with('/') || !plain || asked.len() > Self::MAX_PATH {
            let message = format!(
                "must begin with / and have {} visible ASCII characters at most",
                Self::MAX_PATH
            );
            problems.add(&path.field("path"), FieldCode::InvalidFormat, message);
        }
        check_range(*interval, 1, MAX_SECONDS, &path.field("interval"), problems);
        check_range(*timeout, 1, MAX_SECONDS, &path.field("timeout"), problems);
        check_range(
            *healthy_threshold,
            1,
            MAX_THRESHOLD,
            &path.field("healthy_threshold"),
            problems,
        );
        check_range(
            *unhealthy_threshold,
            1,
            MAX_THRESHOLD,
            &path.field("unhealthy_threshold"),
            problems,
        );
    }
}

fn check_range(value: u32, min: u32, max: u32, path: &Path<'_>, problems: &mut Problems) {
    if !(min..=max).contains(&value) {
        problems.add(path, FieldCode::OutOfRange, format!("must be from {min} to {max}"));
    }
}

impl From<UpstreamSpec> for NewUpstream {
    fn from(spec: UpstreamSpec) -> Self {
        let UpstreamSpec { name, algorithm, servers, health_check, keepalive_connections } = spec;
        let servers = servers.into_iter().map(|server| {
            let UpstreamServer { address, weight, backup, down, max_fails, fail_timeout } = server;
            UpstreamServer {
                address: address.into(),
                weight,
                backup,
                down,
                max_fails,
                fail_timeout,
            }
        });
        Self {
            name: name.into(),
            algorithm,
            servers: servers.collect(),
            health_check,
            keepalive_connections,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::from_json;

    /// The fields that are refused.
    fn refused(body: Value) -> Vec<String> {
        let parsed = from_json::<NewUpstream>(body).and_then(NewUpstream::parse);
        parsed
            .err()
            .map(|error| error.fields().iter().map(|it| it.field.clone()).collect())
            .unwrap_or_default()
    }

    fn with(servers: impl Into<Value>, algorithm: &str) -> Value {
        let servers: Value = servers.into();
        json!({"name": "api", "algorithm": algorithm, "servers": servers})
    }

    #[test]
    fn ip_hash_with_a_backup_is_refused() {
        let servers =
            json!([{"address": "10.0.0.1:80"}, {"address": "10.0.0.2:80", "backup": true}]);
        assert_eq!(refused(with(servers.clone(), "ip_hash")), ["servers[1].backup"]);
        assert!(refused(with(servers, "least_connections")).is_empty());
    }

    #[test]
    fn servers_that_all_stand_aside_are_refused() {
        let servers = json!([{"address": "10.0.0.1:80", "down": true}, {"address": "10.0.0.2:80", "backup": true}]);
        assert_eq!(refused(with(servers, "round_robin")), ["servers"]);
        assert_eq!(refused(with(json!([]), "round_robin")), ["servers"]);
    }

    #[test]
    fn every_mistake_is_named() {
        let body = json!({
            "name": " ",
            "servers": [
                {"address": "10.0.0.1", "weight": 0, "max_fails": 1001, "fail_timeout": 0},
                {"address": "a:80; evil"},
                {"address": "A:80"}, {"address": "a:80"},
            ],
            "health_check": {"path": "x", "interval": 0, "timeout": 86401, "healthy_threshold": 0, "unhealthy_threshold": 101},
            "keepalive_connections": 10001,
        });
        let expected = [
            "name",
            "servers[3].address",
            "servers[0].weight",
            "servers[0].max_fails",
            "servers[0].fail_timeout",
            "servers[0].address",
            "servers[1].address",
            "health_check.path",
            "health_check.interval",
            "health_check.timeout",
            "health_check.healthy_threshold",
            "health_check.unhealthy_threshold",
            "keepalive_connections",
        ];
        assert_eq!(refused(body), expected);
    }

    #[test]
    fn limits_hold_at_their_edges() {
        let many = |count: usize| -> Vec<Value> {
            (0..count)
                .map(|at| json!({"address": format!("10.0.{}.{}:80", at / 256, at % 256)}))
                .collect()
        };
        assert!(refused(with(json!(many(256)), "round_robin")).is_empty());
        assert_eq!(refused(with(json!(many(257)), "round_robin")), ["servers"]);
        let weight = |weight: u32| {
            with(json!([{"address": "10.0.0.1:80", "weight": weight}]), "round_robin")
        };
        assert!(refused(weight(65535)).is_empty());
        assert_eq!(refused(weight(65536)), ["servers[0].weight"]);
    }

    #[test]
    fn unknown_fields_and_algorithms_are_refused() {
        assert_eq!(
            refused(with(json!([{"address": "a:80", "wait": 1}]), "round_robin")),
            ["servers[0].wait"]
        );
        assert_eq!(refused(with(json!([{"address": "a:80"}]), "fastest")), ["algorithm"]);
    }
}
