//! Asking JavaScript.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    thread,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

/// What `reference.js` answers to each of these, in one process.
pub(crate) fn ask(questions: impl Iterator<Item = Value>) -> Vec<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rendezvous_js/reference.js");
    let mut node = Command::new("node")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is missing: install the package nodejs (./scripts/install nodejs)");
    let questions: Vec<_> = questions.map(|it| it.to_string()).collect();
    let (mut input, output) = (node.stdin.take().unwrap(), node.stdout.take().unwrap());
    let wanted = questions.len();
    let asking = thread::spawn(move || questions.iter().try_for_each(|it| writeln!(input, "{it}")));
    let lines = BufReader::new(output).lines().map(|it| it.unwrap());
    let answers: Vec<Value> = lines.map(|it| serde_json::from_str(&it).unwrap()).collect();
    let (asked, ended) = (asking.join().unwrap(), node.wait().unwrap());
    assert!(ended.success() && asked.is_ok(), "node {ended}, after {asked:?}");
    assert_eq!(answers.len(), wanted);
    answers
}

/// The bytes of these digits, in base64.
pub(crate) fn base64_of_hex(digits: &str) -> String {
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    STANDARD.encode((0..digits.len()).step_by(2).map(byte).collect::<Vec<_>>())
}
