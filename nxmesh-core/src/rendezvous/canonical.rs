use serde_json::{Map, Value};

use super::utf16_cmp;
use crate::{Error, ErrorKind, Result};

/// How many arrays and objects may be around a value.
const MAX_DEPTH: usize = 100;

/// JSON in the one form that is signed: what `JSON.stringify` makes of a value, the keys of each
/// object sorted by UTF-16 code units. Numbers are doubles, as they are in JavaScript.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) when there are more than 100 arrays and objects around a value.
pub fn canonical_json(value: &Value) -> Result<String> {
    let mut text = String::new();
    write_value(&mut text, value, 0)?;
    Ok(text)
}

/// The same of an object as clients write it who take a member that is `undefined` for one that is
/// there: with the bare word, which is no JSON.
pub(super) fn canonical_with_undefined(
    members: &Map<String, Value>,
    undefined: &str,
) -> Result<String> {
    let mut text = String::new();
    let members = members.iter().map(|(key, member)| (key.as_str(), Some(member)));
    write_object(&mut text, members.chain([(undefined, None)]).collect(), 0)?;
    Ok(text)
}

/// The depth is limited, and so is the stack that this takes.
fn write_value(text: &mut String, value: &Value, depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Error::new(ErrorKind::Invalid, "more than 100 levels of arrays and objects"));
    }
    match value {
        Value::Null | Value::Bool(_) => text.push_str(&value.to_string()),
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or(f64::NAN);
            text.push_str(ryu_js::Buffer::new().format(number));
        }
        Value::String(string) => write_string(text, string)?,
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "," });
                write_value(text, item, depth + 1)?;
            }
            text.push(']');
        }
        Value::Object(members) => {
            let members = members.iter().map(|(key, member)| (key.as_str(), Some(member)));
            write_object(text, members.collect(), depth)?;
        }
    }
    Ok(())
}

fn write_object(
    text: &mut String,
    mut members: Vec<(&str, Option<&Value>)>,
    depth: usize,
) -> Result<()> {
    members.sort_by(|(one, _), (other, _)| utf16_cmp(one, other));
    text.push('{');
    for (at, (key, member)) in members.into_iter().enumerate() {
        text.push_str(if at == 0 { "" } else { "," });
        write_string(text, key)?;
        text.push(':');
        match member {
            Some(member) => write_value(text, member, depth + 1)?,
            None => text.push_str("undefined"),
        }
    }
    text.push('}');
    Ok(())
}

/// serde_json escapes what `JSON.stringify` does, and in the same way.
fn write_string(text: &mut String, string: &str) -> Result<()> {
    let quoted = serde_json::to_string(string);
    let quoted = quoted
        .map_err(|it| Error::new(ErrorKind::Internal, "cannot write text").with_source(it))?;
    text.push_str(&quoted);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn canonical(text: &str) -> String {
        canonical_json(&serde_json::from_str(text).unwrap()).unwrap()
    }

    #[test]
    fn keys_are_sorted_and_nothing_is_between() {
        let value = json!({"b": [1, {"z": null, "a": true}], "a": "é", "": {}, "B": []});
        assert_eq!(
            canonical_json(&value).unwrap(),
            r#"{"":{},"B":[],"a":"é","b":[1,{"a":true,"z":null}]}"#
        );
        let value = json!({"\u{E000}": 1, "\u{1F600}": 2});
        assert_eq!(canonical_json(&value).unwrap(), "{\"\u{1F600}\":2,\"\u{E000}\":1}");
    }

    #[test]
    fn texts_are_escaped_as_javascript_does() {
        let text = "\"\\/\u{8}\t\n\u{C}\r\u{1}\u{1F}\u{7F}\u{2028}é😀";
        let wanted = "\"\\\"\\\\/\\b\\t\\n\\f\\r\\u0001\\u001f\u{7F}\u{2028}é😀\"";
        assert_eq!(canonical_json(&json!(text)).unwrap(), wanted);
    }

    #[test]
    fn numbers_are_written_as_javascript_does() {
        for (text, wanted) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("1.0", "1"),
            ("300000", "300000"),
            ("-1700000000000", "-1700000000000"),
            ("9007199254740993", "9007199254740992"),
            ("18446744073709551615", "18446744073709552000"),
            ("100000000000000000000", "100000000000000000000"),
            ("1e21", "1e+21"),
            ("123456789012345680000", "123456789012345680000"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1e-7"),
            ("1.5e300", "1.5e+300"),
            ("0.1", "0.1"),
        ] {
            assert_eq!(canonical(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_undefined_has_its_place_among_the_keys() {
        let members = json!({"b": {"z": 1}, "a": 1, "u": 2});
        let text = canonical_with_undefined(members.as_object().unwrap(), "ttl").unwrap();
        assert_eq!(text, r#"{"a":1,"b":{"z":1},"ttl":undefined,"u":2}"#);
        assert_eq!(
            canonical_with_undefined(&Map::new(), "since").unwrap(),
            r#"{"since":undefined}"#
        );
    }

    #[test]
    fn a_hundred_levels_are_the_most() {
        let nested = |levels: usize| (0..levels).fold(json!(1), |it, _| json!([it]));
        assert_eq!(canonical_json(&nested(100)).unwrap().len(), 201);
        assert_eq!(canonical_json(&nested(101)).unwrap_err().kind(), ErrorKind::Invalid);
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-(1_i64 << 53)..1 << 53).prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(".{0,6}", inner, 0..6)
                    .prop_map(|it| Value::Object(it.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_the_same_value_and_its_own(value in values()) {
            let text = canonical_json(&value).unwrap();
            let again: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&again, &value);
            prop_assert_eq!(canonical_json(&again).unwrap(), text);
        }
    }
}
