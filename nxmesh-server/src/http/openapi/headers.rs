//! The headers of answers, described once.

use serde_json::{Map, Value, json};

/// Every answer has this one.
pub(super) const REQUEST_ID: &str = "x-request-id";

/// Answers under `/v1` have these while requests are limited.
pub(super) const LIMITS: [&str; 3] =
    ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"];

/// Answers that were given before have this one.
pub(super) const REPLAYED: &str = "idempotency-replayed";

/// All headers, by name.
pub(super) fn headers() -> Value {
    let number = || json!({"type": "integer", "minimum": 0});
    let text = || json!({"type": "string"});
    let described = [
        (REQUEST_ID, true, "Names the request, here and in the log.", text()),
        ("etag", true, "Names this state of the object, for `If-Match`.", text()),
        ("location", true, "The path of the object.", text()),
        ("www-authenticate", true, "How to prove who you are: `Bearer`.", text()),
        ("retry-after", true, "How many seconds to wait.", number()),
        (REPLAYED, false, "The answer is that of an earlier request with this key.", text()),
        (LIMITS[0], false, "How many requests a minute are answered.", number()),
        (LIMITS[1], false, "How many of them are left.", number()),
        (LIMITS[2], false, "After how many seconds all are left again.", number()),
    ];
    let described = described.map(|(name, required, description, schema)| {
        let header = json!({"required": required, "description": description, "schema": schema});
        (name.to_owned(), header)
    });
    Value::Object(Map::from_iter(described))
}

/// References to these.
pub(super) fn refer<'a>(names: impl IntoIterator<Item = &'a str>) -> Value {
    let refer =
        |name: &str| (name.to_owned(), json!({"$ref": format!("#/components/headers/{name}")}));
    Value::Object(names.into_iter().map(refer).collect())
}
