use crate::{problems::Malformed, text::text_type};

text_type! {
    /// An e-mail address. Two that differ only in case are one: [`Email::key`].
    Email, check
}

impl Email {
    /// What makes two addresses the same.
    #[must_use]
    pub fn key(&self) -> String {
        self.as_str().to_lowercase()
    }
}

/// The longest part before the `@`, in bytes.
pub const MAX_LOCAL_BYTES: usize = 64;
/// The longest part after it.
pub const MAX_DOMAIN_BYTES: usize = 255;

// Only what no mail system accepts is refused (RFC 5321 4.5.3.1: 64 octets
// before the @, 255 after it): whether an address works, only a mail can tell.
fn check(text: &str) -> Result<(), Malformed> {
    let bad = || Malformed::format("must be an e-mail address: name@domain");
    let (local, domain) = text.rsplit_once('@').ok_or_else(bad)?;
    let empty = local.is_empty() || domain.is_empty();
    if empty || local.len() > MAX_LOCAL_BYTES || domain.len() > MAX_DOMAIN_BYTES {
        return Err(bad());
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(bad());
    }
    Ok(())
}
