//! Canonical JSON and the parameter `bloom` hold what they promise, whatever bytes come.

#![cfg(feature = "rendezvous")]
#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

mod promises;

use promises::{canonical_json_holds, peer_filter_holds};

/// How many random cases of each: with `NXMESH_SOAK` three million.
#[expect(clippy::disallowed_methods, reason = "how long to test is said in the environment")]
fn cases() -> u64 {
    if std::env::var("NXMESH_SOAK").is_ok() { 3_000_000 } else { 30_000 }
}

/// Numbers that look random, and are the same for each case (xorshift64*).
struct Chance(u64);

impl Chance {
    fn of(case: u64) -> Self {
        let mut chance = Self((case + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        chance.next();
        chance
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    fn one_of<'a>(&mut self, parts: &[&'a str]) -> &'a str {
        parts[self.below(parts.len())]
    }

    /// Spoils a few bytes, more often than not none.
    fn spoil(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..self.below(8).saturating_sub(5) {
            let at = self.below(bytes.len() + 1);
            let byte = self.next() as u8;
            match self.below(3) {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                _ if at < bytes.len() => bytes[at] = byte,
                _ => bytes.truncate(at / 2),
            }
        }
    }
}

const CHARACTERS: &[&str] = &[
    "a",
    "Z",
    "0",
    "é",
    "\u{7f}",
    "\u{2028}",
    "\u{E000}",
    "\u{FFFF}",
    "😀",
    "\u{10FFFF}",
    "\\u0000",
    "\\u001f",
    "\\n",
    "\\b",
    "\\f",
    "\\\"",
    "\\\\",
    "\\/",
    "\\ud83d\\ude00",
    "\\ud83d",
    "/",
    "'",
];

/// JSON that is written in whichever way, of whichever depth.
fn json(chance: &mut Chance, text: &mut String, depth: usize) {
    let kind = if depth == 0 { chance.below(6) } else { chance.below(9) };
    match kind {
        0 => text.push_str(chance.one_of(&["null", "true", "false"])),
        1 => text.push_str(&format!("{}", f64::from_bits(chance.next()))),
        2 => text.push_str(&format!("{:e}", f64::from_bits(chance.next()))),
        3 => {
            let number = chance.next() as i64 >> chance.below(64);
            let power = chance.below(40) as i64 - 20;
            text.push_str(&format!(
                "{number}{}",
                if power == 0 { String::new() } else { format!("e{power}") }
            ));
        }
        4 | 5 => string(chance, text),
        6 => {
            // Now and then about as deep as it may be.
            let levels = if chance.below(50) == 0 { 90 + chance.below(30) } else { 1 };
            text.push_str(&"[".repeat(levels));
            list(chance, text, |chance, text| json(chance, text, depth - 1));
            text.push_str(&"]".repeat(levels));
        }
        _ => {
            text.push('{');
            list(chance, text, |chance, text| {
                string(chance, text);
                text.push_str(chance.one_of(&[":", " : "]));
                json(chance, text, depth - 1);
            });
            text.push('}');
        }
    }
}

fn list(chance: &mut Chance, text: &mut String, entry: impl Fn(&mut Chance, &mut String)) {
    for number in 0..chance.below(5) {
        text.push_str(if number == 0 { "" } else { chance.one_of(&[",", " ,\n"]) });
        entry(chance, text);
    }
}

fn string(chance: &mut Chance, text: &mut String) {
    text.push('"');
    for _ in 0..chance.below(5) {
        text.push_str(chance.one_of(CHARACTERS));
    }
    text.push('"');
}

#[test]
fn canonical_json_is_one_form_of_a_value_whatever_bytes_come() {
    let mut read = 0;
    for case in 0..cases() {
        let (mut chance, mut text) = (Chance::of(case), String::new());
        json(&mut chance, &mut text, 5);
        let mut bytes = text.into_bytes();
        chance.spoil(&mut bytes);
        read += u64::from(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
        canonical_json_holds(&bytes);
    }
    assert!(read > cases() / 4, "only {read} of {} were JSON at all", cases());
}

#[test]
fn a_filter_says_what_it_says_in_javascript_whatever_bytes_come() {
    let mut read = 0;
    for case in 0..cases() {
        let mut chance = Chance::of(case);
        let mut bytes = Vec::new();
        for _ in 0..chance.below(60) {
            bytes.push(b"ABCDwxyz0189+/AAAAAAAA"[chance.below(22)]);
        }
        for _ in 0..chance.below(4) {
            bytes.push(b"==== \t"[chance.below(6)]);
        }
        chance.spoil(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        let (parameter, _) = text.split_once('\n').unwrap_or((&text, ""));
        read += u64::from(nxmesh_core::rendezvous::PeerFilter::parse(parameter).is_ok());
        bytes.push(b'\n');
        for _ in 0..chance.below(5) {
            bytes.extend(chance.one_of(CHARACTERS).as_bytes());
        }
        peer_filter_holds(&bytes);
    }
    assert!(read > cases() / 4, "only {read} of {} were filters at all", cases());
}
