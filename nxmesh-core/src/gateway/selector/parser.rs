//! Reads label selectors as Kubernetes does (`k8s.io/apimachinery/pkg/labels`), but for
//! the empty selector, and `>` and `<`, which are refused.

use super::{Requirement, Test};
use crate::{
    Malformed,
    gateway::labels::{check_key, check_value},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Sign(&'static str),
    End,
}

/// The longest come first: `==` is one sign.
const SIGNS: &[&str] = &["==", "!=", "=", "!", "(", ")", ",", ">", "<"];

/// The requirements of a selector, one at least.
pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, Malformed> {
    let mut reader = Reader { rest: text };
    if reader.peek() == Token::End {
        return Err(Malformed::format("must name one label at least"));
    }
    let mut found = Vec::new();
    loop {
        found.push(reader.requirement()?);
        match reader.take() {
            Token::End => return Ok(found),
            Token::Sign(",") => {}
            other @ (Token::Word(_) | Token::Sign(_)) => {
                return Err(unexpected(other, "a comma or the end"));
            }
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn requirement(&mut self) -> Result<Requirement, Malformed> {
        let missing = self.skip("!");
        let key = match self.take() {
            Token::Word(word) => word,
            other @ (Token::Sign(_) | Token::End) => return Err(unexpected(other, "a label key")),
        };
        check_key(key)?;
        let test = if missing { Test::Missing } else { self.test()? };
        Ok(Requirement { key: key.to_owned(), test })
    }

    fn test(&mut self) -> Result<Test, Malformed> {
        if matches!(self.peek(), Token::End | Token::Sign(",")) {
            return Ok(Test::Exists);
        }
        match self.take() {
            Token::Sign("=" | "==") => self.value().map(Test::Is),
            Token::Sign("!=") => self.value().map(Test::IsNot),
            Token::Word("in") => self.values().map(Test::In),
            Token::Word("notin") => self.values().map(Test::NotIn),
            Token::Sign(sign @ (">" | "<")) => Err(Malformed::format(format!(
                "{sign} is not supported: labels are compared by =, !=, in and notin"
            ))),
            other @ (Token::Word(_) | Token::Sign(_) | Token::End) => {
                Err(unexpected(other, "=, !=, in, notin, a comma or the end"))
            }
        }
    }

    /// One value, which may be empty.
    fn value(&mut self) -> Result<String, Malformed> {
        match self.peek() {
            Token::End | Token::Sign(",") => Ok(String::new()),
            Token::Word(word) => {
                self.take();
                check_value(word).map(|()| word.to_owned())
            }
            other @ Token::Sign(_) => Err(unexpected(other, "a label value")),
        }
    }

    /// Values in parentheses, sorted, each once. Nothing before, after or between commas is
    /// the empty value; nothing at all is a mistake.
    fn values(&mut self) -> Result<Vec<String>, Malformed> {
        match self.take() {
            Token::Sign("(") => {}
            other @ (Token::Word(_) | Token::Sign(_) | Token::End) => {
                return Err(unexpected(other, "("));
            }
        }
        if self.peek() == Token::Sign(")") {
            return Err(Malformed::format("must have a value at least between ( and )"));
        }
        let mut values = Vec::new();
        loop {
            values.push(match self.peek() {
                Token::Sign("," | ")") => String::new(),
                Token::Word(_) | Token::Sign(_) | Token::End => self.value()?,
            });
            match self.take() {
                Token::Sign(")") => break,
                Token::Sign(",") => {}
                other @ (Token::Word(_) | Token::Sign(_) | Token::End) => {
                    return Err(unexpected(other, "a comma or )"));
                }
            }
        }
        values.sort();
        values.dedup();
        Ok(values)
    }

    fn skip(&mut self, sign: &'static str) -> bool {
        let is_next = self.peek() == Token::Sign(sign);
        if is_next {
            self.take();
        }
        is_next
    }

    fn peek(&self) -> Token<'a> {
        Reader { rest: self.rest }.take()
    }

    fn take(&mut self) -> Token<'a> {
        let text = self.rest.trim_start_matches(SPACES);
        let sign = SIGNS.iter().find_map(|sign| Some((*sign, text.strip_prefix(*sign)?)));
        if let Some((sign, rest)) = sign {
            self.rest = rest;
            return Token::Sign(sign);
        }
        let ends = |c: char| SPACES.contains(&c) || "=!(),><".contains(c);
        let (word, rest) = text.split_at(text.find(ends).unwrap_or(text.len()));
        self.rest = rest;
        if word.is_empty() { Token::End } else { Token::Word(word) }
    }
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

fn unexpected(found: Token<'_>, wanted: &str) -> Malformed {
    let found = match found {
        Token::Word(word) => format!("{word:?}"),
        Token::Sign(sign) => format!("{sign:?}"),
        Token::End => "the end".to_owned(),
    };
    Malformed::format(format!(
        "has {found} where {wanted} is expected; there are key=value, key!=value, key in (a,b), key notin (a,b), key, !key, joined by commas"
    ))
}
