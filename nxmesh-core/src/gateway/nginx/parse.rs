//! Reads nginx's language as nginx does (`ngx_conf_read_token`): the judge of what
//! is rendered, so it shares nothing with what renders.

use super::{Field, syntax::Directive};

/// The directives of a text, or why nginx would not read it.
pub(super) fn parse(text: &str) -> Result<Vec<Directive>, String> {
    let mut reader = Reader { chars: text.chars().peekable() };
    let (directives, end) = reader.directives()?;
    match end {
        End::File => Ok(directives),
        End::Block => Err("unexpected }".to_owned()),
    }
}

struct Reader<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
}

enum Read {
    Token(String),
    Semicolon,
    Open,
    Close,
    End,
}

#[derive(PartialEq)]
enum End {
    File,
    Block,
}

impl Reader<'_> {
    fn directives(&mut self) -> Result<(Vec<Directive>, End), String> {
        let mut found = Vec::new();
        let mut tokens: Vec<String> = Vec::new();
        loop {
            let read = self.read()?;
            if let Read::Token(token) = read {
                tokens.push(token);
                continue;
            }
            let mut words = std::mem::take(&mut tokens).into_iter();
            let name = words.next();
            let block = match (&read, &name) {
                (Read::Close, None) => return Ok((found, End::Block)),
                (Read::End, None) => return Ok((found, End::File)),
                (Read::Semicolon, Some(_)) => None,
                (Read::Open, Some(_)) => match self.directives()? {
                    (inside, End::Block) => Some(inside),
                    (_, End::File) => return Err("expecting }".to_owned()),
                },
                _ => return Err("a directive without name or end".to_owned()),
            };
            let name = name.unwrap_or_default();
            let args = words.collect();
            found.push(Directive { name, args, block, field: Field::Ours });
        }
    }

    fn read(&mut self) -> Result<Read, String> {
        loop {
            let Some(c) = self.chars.next() else { return Ok(Read::End) };
            return match c {
                ' ' | '\t' | '\r' | '\n' => continue,
                ';' => Ok(Read::Semicolon),
                '{' => Ok(Read::Open),
                '}' => Ok(Read::Close),
                '#' => {
                    while self.chars.next_if(|c| *c != '\n').is_some() {}
                    continue;
                }
                '"' | '\'' => self.quoted(c),
                c => self.bare(c),
            };
        }
    }

    fn quoted(&mut self, quote: char) -> Result<Read, String> {
        let mut raw = String::new();
        loop {
            match self.chars.next().ok_or("unexpected end of file in quotes")? {
                '\\' => raw.extend(['\\', self.chars.next().ok_or("unexpected end of file")?]),
                c if c == quote => break,
                c => raw.push(c),
            }
        }
        match self.chars.peek() {
            Some(' ' | '\t' | '\r' | '\n' | ';' | '{' | ')') => Ok(Read::Token(unescape(&raw))),
            other => Err(format!("unexpected {other:?} after quotes")),
        }
    }

    fn bare(&mut self, first: char) -> Result<Read, String> {
        let mut raw = String::from(first);
        let mut after_dollar = first == '$';
        if first == '\\' {
            raw.extend(self.chars.next());
        }
        loop {
            match self.chars.peek().copied().ok_or("unexpected end of file in a token")? {
                ' ' | '\t' | '\r' | '\n' | ';' => break,
                '{' if !after_dollar => break,
                '\\' => {
                    raw.extend(self.chars.next());
                    raw.extend(self.chars.next());
                    after_dollar = false;
                }
                c => {
                    raw.push(c);
                    after_dollar = c == '$';
                    self.chars.next();
                }
            }
        }
        Ok(Read::Token(unescape(&raw)))
    }
}

fn unescape(raw: &str) -> String {
    let mut text = String::new();
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        let next = if c == '\\' { chars.peek().copied() } else { None };
        let meant = match next {
            Some(it @ ('"' | '\'' | '\\')) => it,
            Some('t') => '\t',
            Some('r') => '\r',
            Some('n') => '\n',
            _ => {
                text.push(c);
                continue;
            }
        };
        chars.next();
        text.push(meant);
    }
    text
}
