//! Walks JSON bodies, whatever is in them.

use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// A place in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place(pub(super) Vec<Step>);

/// Objects whose keys callers choose.
pub(super) const MAPS: &[&str] = &["custom_directives", "nginx_directives", "env_vars", "labels"];

impl Place {
    /// As errors name it: `a[0].b`.
    pub(super) fn field(&self) -> String {
        self.0.iter().fold(String::new(), |path, step| match step {
            Step::Key(key) if path.is_empty() => key.clone(),
            Step::Key(key) => format!("{path}.{key}"),
            Step::Index(at) => format!("{path}[{at}]"),
        })
    }

    /// The same for all elements of a list.
    pub(super) fn shape(&self) -> String {
        let all = self.0.iter().map(|step| match step {
            Step::Key(key) => format!(".{key}"),
            Step::Index(_) => "[]".to_owned(),
        });
        all.collect()
    }

    pub(super) fn parent(&self) -> Self {
        Self(self.0[..self.0.len() - 1].to_vec())
    }

    /// The name of the field, or of the list that it is in.
    pub(super) fn name(&self) -> &str {
        let keys = self.0.iter().rev().filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        });
        keys.into_iter().next().unwrap_or_default()
    }

    /// Whether it is an object whose keys callers choose.
    pub(super) fn is_map(&self) -> bool {
        matches!(self.0.last(), Some(Step::Key(key)) if MAPS.contains(&key.as_str()))
    }

    pub(super) fn get<'a>(&self, body: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(body, |value, step| match step {
            Step::Key(key) => value.get(key),
            Step::Index(at) => value.get(at),
        })
    }

    /// Where it is in a body that has it.
    pub(super) fn get_mut<'a>(&self, body: &'a mut Value) -> &'a mut Value {
        self.0.iter().fold(body, |value, step| match step {
            Step::Key(key) => &mut value[key],
            Step::Index(at) => &mut value[at],
        })
    }
}

/// Every place in a body, the body itself first.
pub(super) fn places(body: &Value) -> Vec<Place> {
    let mut found = vec![Place(Vec::new())];
    let mut at = 0;
    while at < found.len() {
        let here = found[at].clone();
        let below = |step| Place([here.0.as_slice(), &[step]].concat());
        match here.get(body) {
            Some(Value::Object(fields)) => {
                found.extend(fields.keys().map(|key| below(Step::Key(key.clone()))));
            }
            Some(Value::Array(items)) => {
                found.extend((0..items.len()).map(|index| below(Step::Index(index))));
            }
            _ => {}
        }
        at += 1;
    }
    found
}
