//! nginx's language: directives, and how their tokens are written.
//!
//! A token is written bare when that is unmistakable and in double quotes
//! otherwise, so no text can end a directive, open a block or begin a comment.
//! `$` cannot be escaped in nginx: whether a text may contain variables is
//! decided where the text is parsed.

use std::{
    fmt::{self, Display, Write},
    iter,
};

use super::Field;

/// One directive, with a block or without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// Its name.
    pub name: String,
    /// What stands between the name and `;` or `{`.
    pub args: Vec<String>,
    /// What stands between `{` and `}`.
    pub block: Option<Vec<Self>>,
    /// Where callers said it, from where they said what is around it.
    pub field: Field,
}

/// A directive that ends with `;`.
pub fn line<A: Into<String>>(
    name: impl Into<String>,
    args: impl IntoIterator<Item = A>,
) -> Directive {
    Directive {
        name: name.into(),
        args: args.into_iter().map(Into::into).collect(),
        block: None,
        field: Field::Ours,
    }
}

/// A directive with a block.
pub fn block<A: Into<String>>(
    name: impl Into<String>,
    args: impl IntoIterator<Item = A>,
    inside: Vec<Directive>,
) -> Directive {
    Directive { block: Some(inside), ..line(name, args) }
}

/// Writes directives as a file.
#[must_use]
pub fn write(directives: &[Directive]) -> String {
    let mut text = String::new();
    for directive in directives {
        // Writing to a String cannot fail.
        let _ = directive.write(&mut text, 0);
    }
    text
}

/// Which field stands in which line of what [`write`] makes of these.
pub(super) fn fields(directives: &[Directive]) -> Vec<String> {
    directives.iter().flat_map(|it| it.fields("")).collect()
}

impl Directive {
    /// The same, said by callers there.
    #[must_use]
    pub(super) fn said(self, field: Field) -> Self {
        Self { field, ..self }
    }

    fn fields(&self, around: &str) -> Vec<String> {
        let own = self.field.within(around, &self.name);
        let Some(inside) = &self.block else { return vec![own] };
        let within = self.field.around(around);
        let inside = inside.iter().flat_map(|it| it.fields(&within));
        iter::once(own.clone()).chain(inside).chain([own]).collect()
    }

    fn write(&self, out: &mut String, depth: usize) -> fmt::Result {
        write!(out, "{:indent$}{}", "", Token(&self.name), indent = depth * 4)?;
        for arg in &self.args {
            write!(out, " {}", Token(arg))?;
        }
        let Some(inside) = &self.block else { return out.write_str(";\n") };
        out.write_str(" {\n")?;
        for directive in inside {
            directive.write(out, depth + 1)?;
        }
        writeln!(out, "{:indent$}}}", "", indent = depth * 4)
    }
}

struct Token<'a>(&'a str);

impl Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain =
            |byte: u8| byte.is_ascii_alphanumeric() || b"_./:=*~^$-+@%,?&!|()<>[]".contains(&byte);
        if !self.0.is_empty() && self.0.bytes().all(plain) {
            return f.write_str(self.0);
        }
        f.write_char('"')?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(c)?;
        }
        f.write_char('"')
    }
}
