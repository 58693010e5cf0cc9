//! What holds whatever bytes come: driven by the test beside this, and by the targets in `fuzz/`. Whatever
//! is compared with is written here once more, from what JavaScript does.

use nxmesh_core::{
    ErrorKind,
    rendezvous::{PeerFilter, canonical_json},
};
use serde_json::Value;

/// Bytes that may be a JSON text have one canonical form, or are too deep.
pub(crate) fn canonical_json_holds(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return };
    let text = match canonical_json(&value) {
        Ok(text) => text,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            assert!(depth(&value) > 100, "refused: {error}: {value}");
            return;
        }
    };
    assert!(depth(&value) <= 100, "taken: {value}");
    let mut wanted = String::new();
    write(&mut wanted, &value);
    assert_eq!(text, wanted);
    // What was signed is read back as what it was made of, or the signature would not hold.
    let again: Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(canonical_json(&again).expect("it is as deep"), text);
}

/// How many arrays and objects are around the value that has the most of them around it.
fn depth(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        Value::Array(items) => items.iter().map(|it| 1 + depth(it)).max().unwrap_or(0),
        Value::Object(members) => members.values().map(|it| 1 + depth(it)).max().unwrap_or(0),
    }
}

fn write(text: &mut String, value: &Value) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => text.push_str(&number_text(number.as_f64().expect("a double"))),
        Value::String(string) => write_string(text, string),
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write(text, item);
                text.push(',');
            }
            end(text, ']');
        }
        Value::Object(members) => {
            let units = |it: &str| it.encode_utf16().collect::<Vec<_>>();
            let mut members: Vec<_> =
                members.iter().map(|(key, it)| (units(key), key, it)).collect();
            members.sort_by(|one, other| one.0.cmp(&other.0));
            text.push('{');
            for (_, key, member) in members {
                write_string(text, key);
                text.push(':');
                write(text, member);
                text.push(',');
            }
            end(text, '}');
        }
    }
}

/// Ends a list, and takes the comma after its last entry away.
fn end(text: &mut String, bracket: char) {
    if text.ends_with(',') {
        text.pop();
    }
    text.push(bracket);
}

fn write_string(text: &mut String, string: &str) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\u{C}' => text.push_str("\\f"),
            '\r' => text.push_str("\\r"),
            '\0'..=' ' if character != ' ' => {
                text.push_str(&format!("\\u{:04x}", character as u32))
            }
            _ => text.push(character),
        }
    }
    text.push('"');
}

/// `Number::toString` of ECMAScript: as few digits as name the number, and of those the nearest; of
/// two that are as near, the even one.
fn number_text(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    // Rust writes as few digits, but not always the even ones, unless it is told how many.
    let shortest = format!("{:e}", number.abs());
    let few = shortest.bytes().take_while(|it| *it != b'e').filter(u8::is_ascii_digit).count();
    let nearest = format!("{:.*e}", few - 1, number.abs());
    let (digits, exponent) = nearest.split_once('e').expect("it has an exponent");
    let digits = digits.replace('.', "");
    let count = digits.len() as i32;
    // The number is 0.DIGITS times ten to this.
    let point = exponent.parse::<i32>().expect("it is a number") + 1;
    let zeros = |count: i32| "0".repeat(count.unsigned_abs() as usize);
    let text = match point {
        _ if (count..=21).contains(&point) => digits + &zeros(point - count),
        1..=21 => format!("{}.{}", &digits[..point as usize], &digits[point as usize..]),
        -5..=0 => format!("0.{}{digits}", zeros(point)),
        _ => {
            let sign = if point > 0 { '+' } else { '-' };
            let (first, rest) = digits.split_at(1);
            let dot = if rest.is_empty() { "" } else { "." };
            format!("{first}{dot}{rest}e{sign}{}", (point - 1).abs())
        }
    };
    if number < 0.0 { format!("-{text}") } else { text }
}

/// Bytes that may be the parameter `bloom`, and after a line feed a peer's name, say what they
/// say in JavaScript.
pub(crate) fn peer_filter_holds(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (parameter, peer) = text.split_once('\n').unwrap_or((&text, "a"));
    let wanted = atob(parameter).filter(|it| it.len() <= PeerFilter::MAX_BYTES);
    let parsed = PeerFilter::parse(parameter);
    assert_eq!(parsed.is_ok(), wanted.is_some(), "{parameter:?}: {parsed:?}");
    let (Ok(mut filter), Some(set)) = (parsed, wanted) else { return };
    assert_eq!(filter.contains(peer), is_in(&set, peer), "{peer:?} in {set:?}");
    let again = PeerFilter::parse(&filter.to_base64());
    assert_eq!(again.expect("it was written"), filter);
    filter.insert(peer);
    assert_eq!(filter.contains(peer), !set.is_empty(), "{peer:?} was put in");
}

/// What `atob` answers, by the steps of its standard; `None` where it throws.
fn atob(text: &str) -> Option<Vec<u8>> {
    let mut text = text.replace([' ', '\t', '\n', '\r', '\u{C}'], "");
    if text.chars().count().is_multiple_of(4) {
        let padding = text.chars().rev().take(2).take_while(|it| *it == '=').count();
        text.truncate(text.len() - padding);
    }
    if text.chars().count() % 4 == 1 {
        return None;
    }
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for character in text.chars() {
        let value = match character {
            'A'..='Z' => character as u32 - 'A' as u32,
            'a'..='z' => character as u32 - 'a' as u32 + 26,
            '0'..='9' => character as u32 - '0' as u32 + 52,
            '+' => 62,
            '/' => 63,
            _ => return None,
        };
        (bits, held) = (bits << 6 | value, held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

/// Whether all bits of a peer are set, with the additions and shifts of the first server.
fn is_in(set: &[u8], peer: &str) -> bool {
    !set.is_empty()
        && (0..3).all(|seed| {
            let hash = peer.encode_utf16().fold(0x811C_9DC5_u32 ^ seed, |hash, unit| {
                let hash = hash ^ u32::from(unit);
                [1, 4, 7, 8, 24].into_iter().fold(hash, |sum, by| sum.wrapping_add(hash << by))
            });
            let bit = hash as usize % (set.len() * 8);
            set[bit / 8] >> (bit % 8) & 1 == 1
        })
}
