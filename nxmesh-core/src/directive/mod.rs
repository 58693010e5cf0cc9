//! nginx directives that callers may name themselves.
//!
//! A caller gives a name and the text that would stand between it and the `;`.
//! The text is split into tokens as nginx does it, and each token is quoted anew
//! when it is rendered: whatever the text is, it stays one directive. Only names
//! that are listed for a context are taken; see [`Context`].

mod allowed;
mod directives;
mod tokens;

pub use self::{
    allowed::Context,
    directives::{Directives, MAX_DIRECTIVE_BYTES, MAX_DIRECTIVES},
};
