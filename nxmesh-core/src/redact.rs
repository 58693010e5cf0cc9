//! What may be shown of an object in the audit log.

use serde::Serialize;
use serde_json::{Map, Value};

/// What stands where a secret may be.
pub(crate) const BLANK: &str = "(blanked)";

/// Names, or parts of them, of what may be a secret.
const SENSITIVE: &[&str] = &[
    "apikey",
    "auth",
    "cookie",
    "credential",
    "passphrase",
    "passwd",
    "password",
    "private",
    "secret",
    "session",
    "signature",
    "token",
];
/// Fields that change with every write, and say nothing.
const NOISE: &[&str] = &["revision", "updated_at", "version"];

/// What an object was and became, without secrets; of one that changed, only the fields that did.
pub(crate) fn difference<T: Serialize>(
    before: Option<&T>,
    after: Option<&T>,
) -> (Option<Value>, Option<Value>) {
    let show = |it: Option<&T>| it.and_then(|it| serde_json::to_value(it).ok());
    let (before, after) = (show(before), show(after));
    let (mut before, mut after) = match (before, after) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let (before, after) = changed_fields(before, after);
            (Some(Value::Object(before)), Some(Value::Object(after)))
        }
        other => other,
    };
    before.iter_mut().chain(&mut after).for_each(blank);
    (before, after)
}

fn changed_fields(
    mut before: Map<String, Value>,
    mut after: Map<String, Value>,
) -> (Map<String, Value>, Map<String, Value>) {
    let same = |name: &String| before.get(name) == after.get(name);
    let same: Vec<_> = before.keys().filter(|it| same(it)).cloned().collect();
    for name in same.iter().map(String::as_str).chain(NOISE.iter().copied()) {
        before.remove(name);
        after.remove(name);
    }
    (before, after)
}

/// Blanks what may be a secret: values of environment variables, of headers, directives and
/// fields with a telling name, and whatever is logged in to in a URL.
fn blank(value: &mut Value) {
    match value {
        Value::Object(fields) => blank_fields(fields),
        Value::Array(items) => items.iter_mut().for_each(blank),
        Value::String(text) if has_login(text) => BLANK.clone_into(text),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn blank_fields(fields: &mut Map<String, Value>) {
    // A header, or whatever else is a name with a value.
    let header = fields.get("name").and_then(Value::as_str).is_some_and(is_sensitive);
    for (name, value) in fields {
        match name.as_str() {
            "env_vars" => blank_all(value),
            "custom_directives" | "nginx_directives" => blank_directives(value),
            "value" if header => blank_all(value),
            name if is_sensitive(name) => blank_all(value),
            _ => blank(value),
        }
    }
}

fn blank_directives(value: &mut Value) {
    let Value::Object(directives) = value else { return blank(value) };
    for (name, value) in directives {
        // `proxy_set_header Authorization ..` tells by its value.
        if is_sensitive(name) || value.as_str().is_some_and(|it| is_sensitive(it) || has_login(it))
        {
            blank_all(value);
        } else {
            blank(value);
        }
    }
}

fn blank_all(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(blank_all),
        Value::Array(items) => items.iter_mut().for_each(blank_all),
        Value::Null => {}
        Value::String(_) | Value::Bool(_) | Value::Number(_) => *value = Value::from(BLANK),
    }
}

fn is_sensitive(name: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|it| it.to_ascii_lowercase())
        .collect();
    SENSITIVE.iter().any(|it| plain.contains(it))
}

/// `http://user:password@host`
fn has_login(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    rest.split(['/', '?', '#', ' ']).next().is_some_and(|host| host.contains('@'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_blanked_wherever_they_stand() {
        let secret = "s3cr3t";
        let object = json!({
            "name": "shop",
            "env_vars": {"DB_URL": secret},
            "locations": [{
                "proxy_pass": format!("http://me:{secret}@10.0.0.1"),
                "custom_headers": [
                    {"name": "Authorization", "value": secret},
                    {"name": "X-Api-Key", "value": secret},
                    {"name": "X-Frame-Options", "value": "DENY"},
                ],
                "custom_directives": {
                    "proxy_set_header": format!("Authorization \"Basic {secret}\""),
                    "client_max_body_size": "1m",
                    "auth_basic_user_file": secret,
                },
            }],
            "ssl": {"private_key_pem": secret, "password": [secret]},
        });
        let (before, after) = difference(None, Some(&object));
        assert_eq!(before, None);
        let after = after.unwrap();
        assert!(!after.to_string().contains(secret), "{after}");
        assert_eq!(after["name"], "shop");
        assert_eq!(after["env_vars"]["DB_URL"], BLANK);
        assert_eq!(after["locations"][0]["custom_headers"][2]["value"], "DENY");
        assert_eq!(after["locations"][0]["custom_directives"]["client_max_body_size"], "1m");
    }

    #[test]
    fn only_what_changed_is_shown_and_a_secret_that_changed_is_seen_to_have() {
        let object = |name: &str, key: &str| json!({"name": name, "same": 1, "revision": 1, "env_vars": {"KEY": key}});
        let (before, after) = difference(Some(&object("a", "x")), Some(&object("b", "x")));
        assert_eq!((before, after), (Some(json!({"name": "a"})), Some(json!({"name": "b"}))));
        let (before, after) = difference(Some(&object("a", "x")), Some(&object("a", "y")));
        assert_eq!(before, Some(json!({"env_vars": {"KEY": BLANK}})));
        assert_eq!(after, before);
    }
}
