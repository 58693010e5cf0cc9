//! Texts that mean something to nginx, to JSON, or to eyes.

use serde_json::Value;

/// A value as JSON text, which may have no value.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) json: String,
    /// `None` for what JSON can write and no text can be: half a surrogate.
    pub(super) value: Option<Value>,
}

impl From<Value> for Text {
    fn from(value: Value) -> Self {
        Self { json: value.to_string(), value: Some(value) }
    }
}

/// What breaks out where it is not quoted.
const CHARACTERS: &[&str] = &[
    ";",
    "{",
    "}",
    "#",
    "'",
    "\"",
    "$",
    "\\",
    "`",
    "$host",
    "${host}",
    "$(id)",
    "\n",
    "\r",
    "\r\n",
    "\t",
    "\u{b}",
    "\u{c}",
    "\u{8}",
    "\u{1}",
    "\u{1b}[2J",
    "\u{7f}",
    "\0",
    "\u{85}",
    "\u{9f}",
    "\u{a0}",
    "\u{ad}",
    "\u{200b}",
    "\u{202e}gnp",
    "e\u{301}",
    "\u{1f469}\u{200d}\u{1f680}",
    "\u{2028}",
    "\u{2029}",
    "\u{feff}",
    "\u{fffd}",
    "\u{10ffff}",
    "ß",
    "İ",
    "ﬀ",
    " ",
    "/../",
    "%0a",
    "%00",
    "*",
    "=",
    ",",
    "()",
    "[]",
    "!",
    "&",
    "|",
    "<script>",
    "~",
    "@",
    ":",
    "-",
    "\\n",
    "\\\"",
];
const PHRASES: &[&str] = &[
    "x; } server { listen 81; #",
    "x; } } server { listen 81; location / { return 200; } } #",
    "x\"; } server { listen 81; } #",
    "x'; } server { listen 81; } #",
    "x\\\"; } server { listen 81; } #",
    "x\\\\\"; } server { listen 81; } #",
    "x\n}\nserver { listen 81; }\n#",
    "\";\ninclude /etc/passwd;\n\"",
    "\"a\"; b \"c\"",
    "'a' \"b;\" c",
    " x",
    "x ",
    "#x",
    "{}",
    "../../etc/passwd",
    "include /etc/passwd;",
    "}",
    "null",
    "ref:",
    "ref:nobody",
    "http://a;b/",
    "http://unix:/run/x",
    "/a b",
];

/// Everything that is tried in place of a text.
pub(super) fn in_place_of(usual: &str) -> Vec<Text> {
    let mut texts: Vec<String> = vec![String::new(), "_".into(), " ".into(), "\u{2003}".into()];
    for part in CHARACTERS {
        texts.extend([(*part).to_owned(), format!("{usual}{part}")]);
    }
    for phrase in PHRASES {
        texts.extend([(*phrase).to_owned(), format!("{usual}{phrase}")]);
    }
    // At the edge of what nginx takes as one token, and far beyond; quotes are written as two.
    for (filler, counts) in [("a", [900, 2000, 4000, 65536]), ("\"", [500, 1000, 2000, 4000])] {
        texts.extend(counts.map(|count| format!("{usual}{}", filler.repeat(count))));
    }
    // What nginx reads at most as one token, and one more.
    texts.extend([2040, 2046, 2047].map(|count| format!("'{}'", "\"".repeat(count))));
    texts.extend([2046, 2047].map(|count| "\\".repeat(count)));
    let mut all: Vec<Text> = texts.into_iter().map(|it| Value::from(it).into()).collect();
    all.extend(of_other_types());
    for half in ["\\ud800", "\\udc00", "\\udc00\\ud800", "a\\ud83d"] {
        all.push(Text { json: format!("\"{half}\""), value: None });
    }
    all
}

/// What is no text.
pub(super) fn of_other_types() -> Vec<Text> {
    let values = serde_json::json!([null, 1, -1, 1.5, true, [], ["x"], {}, {"a": "b"}]);
    values.as_array().unwrap().iter().cloned().map(Text::from).collect()
}

/// Numbers that look random, and are the same each time (xorshift64*).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        drawn as usize % limit
    }

    /// A text that has something of the usual one, more often than not.
    pub(super) fn text(&mut self, usual: &str) -> String {
        let mut text: Vec<char> =
            if self.below(4) == 0 { Vec::new() } else { usual.chars().collect() };
        for _ in 0..=self.below(6) {
            let at = self.below(text.len() + 1);
            let part = match self.below(4) {
                0 => PHRASES[self.below(PHRASES.len())],
                1 | 2 => CHARACTERS[self.below(CHARACTERS.len())],
                _ => ["a", "0", "A", "_", ".", "/", " ", "\\"][self.below(8)],
            };
            match self.below(5) {
                0 if at < text.len() => drop(text.remove(at)),
                _ => drop(text.splice(at..at, part.chars())),
            }
        }
        text.into_iter().collect()
    }
}
