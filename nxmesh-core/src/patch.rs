//! JSON Merge Patch (RFC 7396).

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{Error, FieldCode, Result, strict::Strict};

/// What a `PATCH` says: fields that are named replace, `null` clears, the rest stays.
///
/// ```
/// use nxmesh_core::MergePatch;
/// use serde_json::json;
///
/// let patch: MergePatch = serde_json::from_value(json!({"a": {"x": null}, "b": [2]}))?;
/// let mut target = json!({"a": {"x": 1, "y": 1}, "b": [1, 1], "c": 1});
/// patch.apply_to(&mut target);
/// assert_eq!(target, json!({"a": {"y": 1}, "b": [2], "c": 1}));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MergePatch(Map<String, Value>);

impl MergePatch {
    /// A patch that sets the fields `value` has.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when `value` is no JSON object.
    pub fn new(value: impl Serialize) -> Result<Self> {
        match serde_json::to_value(value) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(body("must be a JSON object")),
            Err(source) => Err(body("cannot be written as JSON").with_source(source)),
        }
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it says anything about this field.
    #[must_use]
    pub fn names(&self, field: &str) -> bool {
        self.0.contains_key(field)
    }

    /// Whether it says anything about a field of this field.
    #[must_use]
    pub fn names_within(&self, field: &str, inner: &str) -> bool {
        self.0.get(field).is_some_and(|value| value.get(inner).is_some())
    }

    /// The fields that it says anything about.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What it says about a field.
    pub(crate) fn field_mut(&mut self, field: &str) -> Option<&mut Value> {
        self.0.get_mut(field)
    }

    /// What it says, as the whole of something.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid), naming the field that does not fit.
    pub(crate) fn into_whole<T: DeserializeOwned>(self) -> Result<T> {
        from_json(Value::Object(self.0))
    }

    /// Changes `target` in place.
    pub fn apply_to(&self, target: &mut Value) {
        merge(target, &self.0);
    }

    /// `current` with this patch applied: the same fields may be named as on creation.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid), naming the field that does not fit.
    pub fn apply<T: Serialize + DeserializeOwned>(&self, current: &T) -> Result<T> {
        let mut value = serde_json::to_value(current)
            .map_err(|source| body("cannot be written as JSON").with_source(source))?;
        // A field that is cleared is gone before anybody asks whether there is such a field.
        let mut cleared = value.clone();
        note_cleared(&mut cleared, &self.0);
        if let Err(error) = from_json::<T>(cleared)
            && error.fields().iter().any(|it| it.code == FieldCode::UnknownField)
        {
            return Err(error);
        }
        self.apply_to(&mut value);
        from_json(value)
    }
}

/// Reads `T` from JSON: objects from objects only, names of variants from strings.
///
/// # Errors
/// [`Invalid`](crate::ErrorKind::Invalid), naming the field that does not fit.
pub fn from_json<'de, T: Deserialize<'de>>(
    json: impl serde::Deserializer<'de, Error = serde_json::Error>,
) -> Result<T> {
    serde_path_to_error::deserialize(Strict(json)).map_err(|error| {
        let path = error.path().to_string();
        let message = error.into_inner().to_string();
        misread(&path, message)
    })
}

/// What serde says of a field, with the whole path of it.
fn misread(path: &str, message: String) -> Error {
    // Where the text breaks off, the last part of the path is not known.
    let known = path.strip_suffix('?').map_or(path, |it| it.trim_end_matches('.'));
    let parent = if known == "." { String::new() } else { known.to_owned() };
    // serde names a missing or unknown field only in its message, and the path
    // it gives is for the one the object, for the other already the field.
    let named = |lead: &str| {
        let rest = message.strip_prefix(lead)?;
        rest.split_once('`').map(|(name, _)| name.to_owned())
    };
    let below = |name: &str| match parent.as_str() {
        "" => name.to_owned(),
        parent if parent == name || parent.ends_with(&format!(".{name}")) => parent.to_owned(),
        parent => format!("{parent}.{name}"),
    };
    if let Some(name) = named("missing field `") {
        return Error::invalid_field(below(&name), FieldCode::Required, "is required");
    }
    if let Some(name) = named("unknown field `") {
        let known = message.split_once("expected ").map_or("", |(_, known)| known);
        let known = known.split(" at line ").next().unwrap_or_default();
        let message = format!("no such field; there are {}", known.trim_start_matches("one of "));
        return Error::invalid_field(below(&name), FieldCode::UnknownField, message);
    }
    let field = if parent.is_empty() { "body".to_owned() } else { parent };
    Error::invalid_field(field, FieldCode::InvalidValue, message)
}

fn body(message: &str) -> Error {
    Error::invalid_field("body", FieldCode::InvalidFormat, message)
}

/// Sets to `null` what a patch clears, and leaves the rest.
fn note_cleared(target: &mut Value, patch: &Map<String, Value>) {
    let Value::Object(fields) = target else { return };
    for (name, value) in patch {
        match (value, fields.get_mut(name)) {
            (Value::Null, None) => drop(fields.insert(name.clone(), Value::Null)),
            (Value::Object(inner), Some(at)) => note_cleared(at, inner),
            _ => {}
        }
    }
}

fn merge(target: &mut Value, patch: &Map<String, Value>) {
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, value) in patch {
        match value {
            Value::Null => {
                fields.remove(name);
            }
            Value::Object(inner) => {
                let at = fields.entry(name.clone()).or_insert(Value::Null);
                merge(at, inner);
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                fields.insert(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn behaves_as_the_appendix_of_rfc_7396_says() {
        for (mut target, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let patch: MergePatch = serde_json::from_value(patch).unwrap();
            patch.apply_to(&mut target);
            assert_eq!(target, result);
        }
    }

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        inner: Vec<Inner>,
    }

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        name: String,
    }

    #[test]
    fn a_mistake_is_named_by_its_path() {
        for (json, field, code) in [
            (json!({"inner": [{"name": "a"}, {}]}), "inner[1].name", FieldCode::Required),
            (json!({"inner": [{"name": 1}]}), "inner[0].name", FieldCode::InvalidValue),
            (json!({"inner": [{"name": "a", "x": 1}]}), "inner[0].x", FieldCode::UnknownField),
            (json!({"other": []}), "other", FieldCode::UnknownField),
            (json!({}), "inner", FieldCode::Required),
            (json!([]), "body", FieldCode::InvalidValue),
        ] {
            let error = from_json::<Outer>(json.clone()).unwrap_err();
            assert_eq!(
                (error.fields()[0].field.as_str(), error.fields()[0].code),
                (field, code),
                "{json}"
            );
        }
    }

    #[test]
    fn an_object_is_an_object_and_a_name_a_string() {
        #[derive(Debug, Deserialize)]
        struct Outer {
            inner: Option<Vec<Inner>>,
        }
        #[derive(Debug, Deserialize)]
        struct Inner {
            sort: Sort,
        }
        #[derive(Debug, PartialEq, Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Sort {
            This,
        }
        let read: Outer = from_json(json!({"inner": [{"sort": "this"}]})).unwrap();
        assert_eq!(read.inner.unwrap()[0].sort, Sort::This);
        for (value, field) in [
            (json!([[{"sort": "this"}]]), "body"),
            (json!({"inner": [["this"]]}), "inner[0]"),
            (json!({"inner": [{"sort": {"this": null}}]}), "inner[0].sort"),
        ] {
            let error = from_json::<Outer>(value.clone()).unwrap_err();
            assert_eq!(error.fields()[0].field, field, "{value}");
        }
    }

    #[test]
    fn a_field_that_is_not_there_cannot_be_cleared() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Thing {
            #[serde(default, skip_serializing_if = "Option::is_none")]
            note: Option<String>,
        }
        let thing = Thing { note: None };
        let apply = |patch| MergePatch::new(patch).unwrap().apply(&thing);
        assert_eq!(apply(json!({"note": null})).unwrap(), thing);
        let error = apply(json!({"colour": null})).unwrap_err();
        assert_eq!(error.fields()[0].field, "colour");
    }

    #[test]
    fn a_whole_number_may_be_written_as_a_fraction() {
        assert_eq!(from_json::<Vec<u32>>(json!([2.0, 3, 1e3])).unwrap(), [2, 3, 1000]);
        assert_eq!(from_json::<Vec<i8>>(json!([-2.0, -0.0])).unwrap(), [-2, 0]);
        assert_eq!(from_json::<Vec<f64>>(json!([2.0, 0.5])).unwrap(), [2.0, 0.5]);
        for value in [json!([0.5]), json!([-1.0]), json!([1e300]), json!([256.0])] {
            assert!(from_json::<Vec<u8>>(value.clone()).is_err(), "{value}");
        }
    }
}
