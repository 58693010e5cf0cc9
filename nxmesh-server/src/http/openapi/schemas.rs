use std::collections::{BTreeMap, BTreeSet};

use nxmesh_core::{
    openapi::{limits, texts},
    tenancy::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS},
};
use serde_json::{Map, Value, json};
use utoipa::{ToSchema, openapi::RefOr};

use super::patch::add_patch;
use crate::http::MAX_BODY_BYTES;

/// Schemas by name, and of which of them there is a patch.
#[derive(Debug, Default)]
pub(crate) struct Schemas {
    all: BTreeMap<String, Value>,
    patched: BTreeSet<String>,
}

impl Schemas {
    /// A reference to the schema of a type, which is known from now on.
    pub(crate) fn refer<T: ToSchema>(&mut self) -> Value {
        let name = T::name().into_owned();
        // Types of Rust itself need no name.
        if name.starts_with(|it: char| it.is_ascii_lowercase()) {
            return json(&T::schema());
        }
        let mut found = vec![(name.clone(), T::schema())];
        T::schemas(&mut found);
        self.all.extend(found.into_iter().map(|(name, schema)| (name, json(&schema))));
        reference(&name)
    }

    /// A reference to the schema of a merge patch (RFC 7396) of what the type writes.
    pub(super) fn refer_patch<T: ToSchema>(&mut self) -> Value {
        self.refer::<T>();
        let name = T::name().into_owned();
        let patch = reference(&patch_name(&name));
        self.patched.insert(name);
        patch
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.all.extend(other.all);
        self.patched.extend(other.patched);
    }

    /// All of them, with their limits, and with descriptions that stand for themselves.
    pub(super) fn finish(mut self) -> Value {
        for schema in self.all.values_mut() {
            tidy(schema);
        }
        self.all.extend(texts().into_iter().map(|(name, schema)| (name.to_owned(), schema)));
        for (place, keywords) in limits().into_iter().chain(own_limits()) {
            limit(&mut self.all, place, keywords);
        }
        let known = self.all.clone();
        for schema in self.all.values_mut() {
            resolve(schema, &known);
        }
        for name in &self.patched {
            add_patch(name, &mut self.all);
        }
        Value::Object(self.all.into_iter().collect::<Map<_, _>>())
    }
}

/// A time, as RFC 3339 writes it.
#[derive(ToSchema)]
#[schema(value_type = String, format = DateTime)]
#[expect(dead_code, reason = "it is for the document: chrono's own type has no name there")]
pub(crate) struct Timestamp(String);

pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// `UpstreamPatch` for `NewUpstream`.
pub(super) fn patch_name(name: &str) -> String {
    format!("{}Patch", name.strip_prefix("New").unwrap_or(name))
}

/// The limits of what only this crate reads.
fn own_limits() -> Vec<(&'static str, Value)> {
    // What is only compared may be as long as a body.
    let any = || json!({"maxLength": MAX_BODY_BYTES});
    let new = json!({"minLength": MIN_PASSWORD_CHARS, "maxLength": MAX_PASSWORD_BYTES});
    vec![
        ("Login.email", any()),
        ("NewChange.if_match", any()),
        ("Login.password", any()),
        ("Refresh.refresh_token", any()),
        ("PasswordChange.current_password", any()),
        ("PasswordChange.new_password", new),
    ]
}

fn json(schema: &RefOr<utoipa::openapi::Schema>) -> Value {
    serde_json::to_value(schema).unwrap_or_default()
}

/// A choice of one is no choice: it is how the derive adds a default to a reference. What it says
/// of a choice between something and `null` is about both.
fn tidy(schema: &mut Value) {
    let described = schema["description"].is_string();
    if let Some([_, other]) =
        schema.get_mut("oneOf").and_then(Value::as_array_mut).map(Vec::as_mut_slice)
        && let Value::Object(other) = other
        && !described
        && let Some(description) = other.remove("description")
    {
        schema["description"] = description;
    }
    if let Some([only]) = schema["oneOf"].as_array().map(Vec::as_slice)
        && let (Value::Object(only), Value::Object(all)) = (only.clone(), &mut *schema)
    {
        all.remove("oneOf");
        all.extend(only);
    }
    match schema {
        Value::Object(inner) => inner.values_mut().for_each(tidy),
        Value::Array(inner) => inner.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Adds keywords to a schema, or to a field of one; those of features that are off are skipped.
fn limit(all: &mut BTreeMap<String, Value>, place: &str, keywords: Value) {
    let (name, field) = match place.split_once('.') {
        Some((name, field)) => (name, Some(field)),
        None => (place, None),
    };
    let schema = all.get_mut(name);
    let target = match field {
        Some(field) => schema.and_then(|it| it["properties"].get_mut(field)),
        None => schema,
    };
    if let (Some(Value::Object(target)), Value::Object(keywords)) = (target, keywords) {
        target.extend(keywords);
    }
}

/// Makes prose of what is written for readers of the code: follows `See [..]`, and takes links off.
fn resolve(schema: &mut Value, known: &BTreeMap<String, Value>) {
    match schema {
        Value::Object(inner) => {
            if let Some(Value::String(text)) = inner.get_mut("description") {
                *text = plain(&follow(text, known));
            }
            inner.values_mut().for_each(|it| resolve(it, known));
        }
        Value::Array(inner) => inner.iter_mut().for_each(|it| resolve(it, known)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What a text that begins with ``See [`Type::field`]`` refers to, and what else it says.
fn follow(text: &str, known: &BTreeMap<String, Value>) -> String {
    let mut text = text.to_owned();
    // Few refer to one that refers on; a circle is left as it is, and found by a test.
    for _ in 0..4 {
        let seen = text.strip_prefix("See [`").and_then(|rest| rest.split_once("`]"));
        let resolved = seen.and_then(|(place, rest)| {
            let (name, field) = place.split_once("::")?;
            let lead = property(known.get(name)?, field)?["description"].as_str()?;
            Some(format!("{}{rest}", lead.trim_end_matches('.')))
        });
        let Some(resolved) = resolved else { break };
        text = resolved;
    }
    text
}

fn plain(text: &str) -> String {
    text.replace("[`", "`").replace("`]", "`").replace('\n', " ")
}

fn property<'a>(schema: &'a Value, field: &str) -> Option<&'a Value> {
    schema["properties"].get(field).or_else(|| {
        let parts = schema["allOf"].as_array()?;
        parts.iter().find_map(|part| part["properties"].get(field))
    })
}
