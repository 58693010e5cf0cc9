//! The schema of a merge patch (RFC 7396), made of the schema of what it is applied to.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::schemas::{patch_name, reference};

/// Adds the schema of a patch of this one: every field may be left out; `null` clears those that
/// need not be there; objects are patched in turn, lists replaced whole.
pub(super) fn add_patch(name: &str, all: &mut BTreeMap<String, Value>) {
    let patch_name = patch_name(name);
    let Some(Value::Object(mut patch)) = all.get(name).cloned() else { return };
    let needed = patch.remove("required").unwrap_or_default();
    let needed: Vec<_> = needed.as_array().into_iter().flatten().collect();
    // Which fields go together is asked of what comes of the patch, not of the patch.
    patch.remove("oneOf");
    if let Some(Value::Object(fields)) = patch.get_mut("properties") {
        for (field, schema) in fields {
            let stays = needed.iter().any(|it| *it == field);
            let mut patched = patch_value(schema.take(), all);
            if let Value::Object(keywords) = &mut patched {
                keywords.remove("default");
            }
            *schema = if stays { patched } else { nullable(patched) };
        }
    }
    let text = format!(
        "A merge patch (RFC 7396): what is left out stays, `null` clears. {}",
        all[name]["description"].as_str().unwrap_or_default()
    );
    patch.insert("description".to_owned(), text.trim_end().into());
    all.insert(patch_name, Value::Object(patch));
}

fn patch_value(schema: Value, all: &mut BTreeMap<String, Value>) -> Value {
    if let Some(choices) = schema["oneOf"].as_array() {
        let choices: Vec<_> = choices.iter().map(|it| patch_value(it.clone(), all)).collect();
        return with(schema, "oneOf", choices.into());
    }
    let referred = schema["$ref"].as_str().and_then(|it| it.rsplit('/').next());
    if let Some(name) = referred.map(str::to_owned) {
        if !all.get(&name).is_some_and(|it| it["properties"].is_object()) {
            return schema;
        }
        add_patch(&name, all);
        let target = reference(&patch_name(&name))["$ref"].take();
        return with(schema, "$ref", target);
    }
    match schema.get("additionalProperties") {
        Some(values @ Value::Object(_)) => {
            let values = nullable(values.clone());
            with(schema, "additionalProperties", values)
        }
        _ => schema,
    }
}

fn with(mut schema: Value, keyword: &str, value: Value) -> Value {
    schema[keyword] = value;
    schema
}

/// The same, or `null`.
fn nullable(schema: Value) -> Value {
    let null = || json!({"type": "null"});
    match (&schema["type"], schema["oneOf"].as_array()) {
        (Value::String(one), _) if schema.get("enum").is_none() => {
            let types = json!([one, "null"]);
            with(schema, "type", types)
        }
        (Value::Array(types), _) if types.iter().any(|it| it == "null") => schema,
        (_, Some(choices)) if choices.contains(&null()) => schema,
        _ => {
            let Value::Object(mut inner) = schema else { return schema };
            let mut outer = Map::new();
            if let Some(description) = inner.remove("description") {
                outer.insert("description".to_owned(), description);
            }
            outer.insert("oneOf".to_owned(), Value::Array(vec![null(), Value::Object(inner)]));
            Value::Object(outer)
        }
    }
}
