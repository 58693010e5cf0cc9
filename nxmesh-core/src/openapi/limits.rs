use serde_json::{Value, json};

use super::patterns;
use crate::{
    RevisionNumber,
    directive::{Context, MAX_DIRECTIVE_BYTES, MAX_DIRECTIVES},
    gateway::{
        HealthCheck, MAX_DEADLINE_SECONDS, MAX_FAILS, MAX_GATE, MAX_HEADERS, MAX_KEEPALIVE,
        MAX_LOCATIONS, MAX_NAMED_AGENTS, MAX_REWRITES, MAX_SECONDS, MAX_SELECTOR_BYTES,
        MAX_SERVER_NAMES, MAX_SERVERS, MAX_SOAK_SECONDS, MAX_THRESHOLD, MAX_TOKEN_HOURS, MAX_WAVES,
        MAX_WEIGHT, NewChange, NewChangeSet,
        labels::{MAX_LABEL_BYTES, MAX_LABELS},
        location_parts::{MAX_HEADER_NAME_BYTES, MAX_TEXT_BYTES},
    },
    tenancy::{
        MAX_DOMAIN_BYTES, MAX_ENV_NAME_BYTES, MAX_ENV_VALUE_BYTES, MAX_ENV_VARS, MAX_LOCAL_BYTES,
        MAX_SLUG_CHARS,
    },
    text::MAX_LABEL_CHARS,
};

/// What JSON Schema can say of the limits that parsing checks: keywords by schema (`Slug`) or by
/// schema and field (`UpstreamServer.weight`). Lengths in bytes are given in characters.
#[must_use]
pub fn limits() -> Vec<(&'static str, Value)> {
    let name = || text(1, MAX_LABEL_CHARS, &patterns::label());
    let plain = |pattern: &str| text(1, MAX_TEXT_BYTES, pattern);
    // The longest address of a host is a name of 253 characters, or a shorter one in brackets.
    let address = 253 + ":65535".len();
    vec![
        ("OrganizationName", name()),
        ("Slug", text(1, MAX_SLUG_CHARS, "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")),
        ("Email", text(3, MAX_LOCAL_BYTES + 1 + MAX_DOMAIN_BYTES, &patterns::email())),
        ("EnvValue", text(0, MAX_ENV_VALUE_BYTES, &patterns::no_control())),
        ("Settings.nginx_directives", directives("HttpDirective")),
        ("Settings.env_vars", map(MAX_ENV_VARS, "EnvName", "EnvValue")),
        ("NewSettings.nginx_directives", directives("HttpDirective")),
        ("NewSettings.env_vars", map(MAX_ENV_VARS, "EnvName", "EnvValue")),
        ("RevisionNumber", range(0, RevisionNumber::MAX.0)),
        ("AgentName", name()),
        ("Agent.labels", labels()),
        ("AgentSpec.labels", labels()),
        ("NewAgent.labels", labels()),
        ("NewDriftPolicy", one_policy()),
        ("NewDriftPolicy.policy", json!({"enum": ["restore", "report", "adopt", null]})),
        ("NewRegistrationToken.labels", labels()),
        ("NewRegistrationToken.expires_in_hours", range(1, MAX_TOKEN_HOURS)),
        ("ObjectName", name()),
        ("ServerAddress", text(3, address, &patterns::server_address())),
        ("UpstreamSpec.servers", items(1, MAX_SERVERS)),
        ("UpstreamSpec.keepalive_connections", range(0, MAX_KEEPALIVE)),
        ("NewUpstream.servers", items(1, MAX_SERVERS)),
        ("NewUpstream.servers", one_takes_requests()),
        ("NewUpstream.keepalive_connections", range(0, MAX_KEEPALIVE)),
        ("UpstreamServer.weight", range(1, MAX_WEIGHT)),
        ("UpstreamServer.max_fails", range(0, MAX_FAILS)),
        ("UpstreamServer.fail_timeout", range(1, MAX_SECONDS)),
        ("HealthCheck.path", text(1, HealthCheck::MAX_PATH, "^/[!-~]*$")),
        ("HealthCheck.interval", range(1, MAX_SECONDS)),
        ("HealthCheck.timeout", range(1, MAX_SECONDS)),
        ("HealthCheck.healthy_threshold", range(1, MAX_THRESHOLD)),
        ("HealthCheck.unhealthy_threshold", range(1, MAX_THRESHOLD)),
        ("ServerNames", text(1, MAX_SERVER_NAMES * 256, &patterns::server_names())),
        ("VirtualHostSpec.listen_port", range(1, u16::MAX)),
        ("VirtualHostSpec.locations", items(1, MAX_LOCATIONS)),
        ("VirtualHostSpec.custom_directives", directives("ServerDirective")),
        ("NewVirtualHost", tls_with_certificate()),
        ("NewVirtualHost.listen_port", range(1, u16::MAX)),
        ("NewVirtualHost.locations", items(1, MAX_LOCATIONS)),
        ("NewVirtualHost.custom_directives", directives("ServerDirective")),
        ("Location", one_target()),
        ("Location.custom_headers", items(0, MAX_HEADERS)),
        ("Location.rewrite_rules", items(0, MAX_REWRITES)),
        ("Location.custom_directives", directives("LocationDirective")),
        ("LocationPath", plain(&patterns::location_path())),
        ("ProxyUrl", plain(&patterns::proxy_url())),
        ("Root", plain(&patterns::root())),
        ("IndexFiles", plain(patterns::INDEX_FILES)),
        ("HeaderName", text(1, MAX_HEADER_NAME_BYTES, patterns::HEADER_NAME)),
        ("HeaderValue", plain(&patterns::header_value())),
        ("Pattern", regex()),
        ("Replacement", plain(&patterns::replacement())),
        ("NewTargetAgents", one_kind()),
        ("NewTargetAgents.type", json!({"enum": ["all", "selector", "agents", null]})),
        ("NewTargetAgents.agent_ids", items(1, MAX_NAMED_AGENTS)),
        ("NewRollout.message", name()),
        ("NewRollout.waves", items(0, MAX_WAVES)),
        ("NewWave", one_choice()),
        ("NewWave.percent", range(1, 100_u64)),
        ("NewWave.agent_ids", items(1, MAX_NAMED_AGENTS)),
        ("NewWave.soak_seconds", range(0, MAX_SOAK_SECONDS)),
        ("NewGates.max_failed_applies", range(0, MAX_GATE)),
        ("NewGates.max_5xx_percent", range(0, 100_u64)),
        ("NewGates.min_requests", range(0, MAX_GATE)),
        ("NewGates.deadline_seconds", range(1, MAX_DEADLINE_SECONDS)),
        ("NewChangeSet.message", text(1, NewChangeSet::MAX_MESSAGE, &patterns::label())),
        ("NewChangeSet.changes", items(1, NewChangeSet::MAX_CHANGES)),
        ("NewChange.ref", text(1, NewChange::MAX_REF, "^[A-Za-z0-9._-]+$")),
        ("NewChange.id", json!({"format": "uuid"})),
        ("LabelSelector", text(1, MAX_SELECTOR_BYTES, &patterns::label_selector())),
    ]
}

/// The schemas of texts that have no type of their own, by name: names and values of maps.
#[must_use]
pub fn texts() -> Vec<(&'static str, Value)> {
    let directive = |context: Context, place| {
        let names: Vec<_> = context.allowed().collect();
        let about = format!(
            "A directive of nginx that may stand in {place}: it tunes how requests are handled."
        );
        json!({"type": "string", "enum": names, "description": about})
    };
    let described = |mut schema: Value, about: &str| {
        schema["type"] = "string".into();
        schema["description"] = about.into();
        schema
    };
    let value = text(1, MAX_DIRECTIVE_BYTES, &patterns::directive());
    let label = text(0, MAX_LABEL_BYTES, &patterns::label_value());
    vec![
        (
            "EnvName",
            described(
                env_name(),
                "The name of an environment variable that neither loads code nor is nginx's own.",
            ),
        ),
        ("HttpDirective", directive(Context::Http, "the settings of a workspace")),
        ("ServerDirective", directive(Context::Server, "a virtual host")),
        ("LocationDirective", directive(Context::Location, "a location")),
        (
            "DirectiveValue",
            described(
                value,
                "What stands between the name of a directive and its `;`, which must be quoted in it.",
            ),
        ),
        (
            "LabelKey",
            described(
                text(1, 253 + 1 + MAX_LABEL_BYTES, &patterns::label_key()),
                "The key of a label, by the rules of Kubernetes.",
            ),
        ),
        ("LabelValue", described(label, "The value of a label, by the rules of Kubernetes.")),
    ]
}

fn map(max: usize, key: &str, value: &str) -> Value {
    let refer = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let (names, values) = (refer(key), refer(value));
    json!({"maxProperties": max, "propertyNames": names, "additionalProperties": values})
}

fn range(min: u64, max: impl Into<u64>) -> Value {
    json!({"minimum": min, "maximum": max.into()})
}

fn text(min: usize, max: usize, pattern: &str) -> Value {
    json!({"minLength": min, "maxLength": max, "pattern": pattern})
}

fn items(min: usize, max: usize) -> Value {
    json!({"minItems": min, "maxItems": max})
}

fn env_name() -> Value {
    let mut limit = text(1, MAX_ENV_NAME_BYTES, "^[A-Za-z_][A-Za-z0-9_]*$");
    limit["not"] = json!({"pattern": "^(LD_|NGINX)"});
    limit
}

fn labels() -> Value {
    map(MAX_LABELS, "LabelKey", "LabelValue")
}

fn directives(names: &str) -> Value {
    map(MAX_DIRECTIVES, names, "DirectiveValue")
}

fn regex() -> Value {
    let mut limit = text(1, MAX_TEXT_BYTES, &patterns::no_control());
    limit["format"] = "regex".into();
    limit
}

fn one_takes_requests() -> Value {
    let no = json!({"const": false});
    json!({"contains": {"properties": {"backup": no, "down": no}}})
}

/// A certificate goes with TLS, and HTTP/3 too.
fn tls_with_certificate() -> Value {
    let (no, yes) = (json!({"const": false}), json!({"const": true}));
    json!({"oneOf": [
        {"properties": {
            "ssl_enabled": no, "ssl_certificate_id": {"type": "null"}, "http3_enabled": no,
        }},
        {
            "properties": {"ssl_enabled": yes, "ssl_certificate_id": {"type": "string"}},
            "required": ["ssl_enabled", "ssl_certificate_id"],
        },
    ]})
}

/// A location has one target; `null` is none.
fn one_target() -> Value {
    let targets = ["proxy_pass", "upstream_id", "root"];
    let only = |target: &str| {
        let mut limit = json!({"required": [target], "properties": {target: {"type": "string"}}});
        let others = targets.iter().filter(|it| **it != target);
        // What is served for a folder goes with a folder.
        let others = others.chain((target != "root").then_some(&"index"));
        for other in others {
            limit["properties"][other] = json!({"type": "null"});
        }
        limit
    };
    json!({"oneOf": targets.map(only)})
}

/// A wave says in one way which agents are in it.
fn one_choice() -> Value {
    let ways = ["selector", "percent", "agent_ids"];
    let only = |way: &str| {
        let mut limit = json!({"required": [way], "properties": {way: {"not": {"type": "null"}}}});
        for other in ways.iter().filter(|it| **it != way) {
            limit["properties"][other] = json!({"type": "null"});
        }
        limit
    };
    json!({"oneOf": ways.map(only)})
}

/// Which fields go with which type of target.
fn one_policy() -> Value {
    let (none, text) = (json!({"type": "null"}), json!({"type": "string"}));
    json!({"oneOf": [
        {"properties": {"policy": {"enum": ["restore", "report", null]}, "until": none}},
        {
            "properties": {"policy": {"const": "adopt"}, "until": text},
            "required": ["policy", "until"],
        },
    ]})
}

fn one_kind() -> Value {
    let (none, text, list) =
        (json!({"type": "null"}), json!({"type": "string"}), json!({"type": "array"}));
    json!({"oneOf": [
        {"properties": {"type": {"enum": ["all", null]}, "label_selector": none, "agent_ids": none}},
        {
            "properties": {"type": {"const": "selector"}, "label_selector": text, "agent_ids": none},
            "required": ["type", "label_selector"],
        },
        {
            "properties": {"type": {"const": "agents"}, "label_selector": none, "agent_ids": list},
            "required": ["type", "agent_ids"],
        },
    ]})
}
