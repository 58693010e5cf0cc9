use std::sync::LazyLock;

use serde_json::{Map, Value, json};

/// Examples of bodies and answers, by schema.
static EXAMPLES: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("examples.json")).expect("a test reads it too")
});

/// An example of what a reference names; of a page, one with the example of its item.
pub(super) fn example(schema: &Value) -> Option<Value> {
    if let Some(choices) = schema["anyOf"].as_array() {
        return choices.first().and_then(example);
    }
    let name = schema["$ref"].as_str()?.rsplit('/').next()?;
    if let Some(item) = name.strip_suffix("Page") {
        let meta = json!({"page": 1, "per_page": 20, "total": 1});
        return Some(json!({"data": [EXAMPLES.get(item)?], "meta": meta}));
    }
    EXAMPLES.get(name).cloned()
}
