//! Random values, with much of what is seldom.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;

/// A source of values. Its seed is printed, so that what failed can be played again.
pub(crate) struct Random(StdRng);

impl Random {
    pub(crate) fn new() -> Self {
        let seed = rand::random();
        println!("seed {seed}");
        Self(StdRng::seed_from_u64(seed))
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    pub(crate) fn hex(&mut self, digits: usize) -> String {
        (0..digits).map(|_| char::from(self.one_of(b"0123456789abcdef"))).collect()
    }

    pub(crate) fn text(&mut self, most: usize) -> String {
        (0..self.below(most + 1)).map(|_| self.char()).collect()
    }

    /// Something that is base64, or nearly.
    pub(crate) fn base64(&mut self, most: usize) -> String {
        let odd = self.below(4) == 0;
        let mut text: String = (0..self.below(most + 1))
            .map(|_| match self.below(if odd { 12 } else { 200 }) {
                0 => '=',
                1 => char::from(self.one_of(b" \t\n\r\x0C")),
                2 => char::from(self.one_of(b"-_.,\x0B\0")),
                _ => char::from(self.one_of(b"ABCDEFghijkl01289+/")),
            })
            .collect();
        text.push_str(["", "", "", "=", "==", "==="][self.below(6)]);
        text
    }

    /// The text of a JSON value, with numbers, escapes and spaces of all sorts.
    pub(crate) fn json(&mut self, depth: usize) -> String {
        let space = ["", "", "", " ", "\n\t"][self.below(5)];
        let kinds = if depth == 0 { 4 } else { 7 };
        let value = match self.below(kinds) {
            0 => ["null", "true", "false"][self.below(3)].to_owned(),
            1 | 2 => self.number(),
            3 => self.string(8),
            4 => {
                let items: Vec<_> = (0..self.below(5)).map(|_| self.json(depth - 1)).collect();
                format!("[{space}{}]", items.join(","))
            }
            _ => {
                let members: Vec<_> = (0..self.below(6)).map(|_| self.member(depth - 1)).collect();
                format!("{{{space}{}}}", members.join(","))
            }
        };
        format!("{space}{value}{space}")
    }

    fn member(&mut self, depth: usize) -> String {
        let key = match self.below(8) {
            0 => "\"__proto__\"".to_owned(),
            1 => format!("\"{}\"", self.below(20)),
            _ => self.string(3),
        };
        format!("{key}: {}", self.json(depth))
    }

    fn string(&mut self, most: usize) -> String {
        let text = self.text(most);
        if self.below(4) > 0 {
            return Value::from(text).to_string();
        }
        // Any character may be written by its code units.
        let units: String = text.encode_utf16().map(|it| format!("\\u{it:04X}")).collect();
        format!("\"{units}\\/\"")
    }

    fn number(&mut self) -> String {
        let sign = ["", "-"][self.below(2)];
        match self.below(6) {
            0 => format!("{sign}{}", self.below(3)),
            1 => format!("{sign}{}", self.0.random::<u64>() >> self.below(64)),
            2 => loop {
                let number = f64::from_bits(self.0.random());
                if number.is_finite() {
                    return format!("{number:e}");
                }
            },
            3 => format!("{sign}{}", self.0.random::<f64>() * 10_f64.powi(self.exponent(30))),
            4 => {
                let (whole, part) = (self.digits(24), self.digits(24));
                format!("{sign}1{whole}.{part}0")
            }
            _ => {
                let (whole, exponent) = (self.digits(20), self.exponent(300));
                format!("{sign}9{whole}E{exponent:+}")
            }
        }
    }

    fn digits(&mut self, most: usize) -> String {
        (0..self.below(most)).map(|_| char::from(self.one_of(b"0123456789"))).collect()
    }

    fn exponent(&mut self, most: i32) -> i32 {
        self.0.random_range(-most..=most - 20)
    }

    fn char(&mut self) -> char {
        let code = match self.below(8) {
            0 => self.0.random_range(0..0x20),
            1 => u32::from(self.one_of(b"\"\\/\x7F\x08\x0C")),
            2 => self.0.random_range(0x80..0x800),
            3 => self.0.random_range(0x2020..0x2030),
            4 => self.0.random_range(0xE000..0x10000),
            5 => self.0.random_range(0x10000..0x11_0000),
            _ => self.0.random_range(0x20..0x7F),
        };
        char::from_u32(code).expect("no range has a surrogate in it")
    }

    fn one_of(&mut self, bytes: &[u8]) -> u8 {
        bytes[self.below(bytes.len())]
    }
}
