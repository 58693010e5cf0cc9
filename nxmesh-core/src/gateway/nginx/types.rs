//! The media types of files, by their ends (IANA's names).

use super::syntax::{Directive, block, line};

#[rustfmt::skip]
const TYPES: &[(&str, &[&str])] = &[
    ("application/javascript", &["js", "mjs"]),
    ("application/json", &["json", "map"]),
    ("application/manifest+json", &["webmanifest"]),
    ("application/pdf", &["pdf"]),
    ("application/wasm", &["wasm"]),
    ("application/xml", &["xml"]),
    ("application/zip", &["zip"]),
    ("audio/mpeg", &["mp3"]),
    ("audio/ogg", &["ogg"]),
    ("font/woff", &["woff"]),
    ("font/woff2", &["woff2"]),
    ("image/avif", &["avif"]),
    ("image/gif", &["gif"]),
    ("image/jpeg", &["jpeg", "jpg"]),
    ("image/png", &["png"]),
    ("image/svg+xml", &["svg", "svgz"]),
    ("image/webp", &["webp"]),
    ("image/x-icon", &["ico"]),
    ("text/css", &["css"]),
    ("text/csv", &["csv"]),
    ("text/html", &["html", "htm"]),
    ("text/markdown", &["md"]),
    ("text/plain", &["txt", "log"]),
    ("video/mp4", &["mp4"]),
    ("video/webm", &["webm"]),
];

pub(super) fn types() -> Directive {
    let lines = TYPES.iter().map(|(name, ends)| line(*name, ends.iter().copied()));
    block("types", [""; 0], lines.collect())
}
