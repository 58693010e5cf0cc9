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

// Only what no mail system accepts is refused (RFC 5321 4.5.3.1: 64 octets
// before the @, 255 after it): whether an address works, only a mail can tell.
fn check(text: &str) -> Result<(), Malformed> {
    let bad = || Malformed::format("must be an e-mail address: name@domain");
    let (local, domain) = text.rsplit_once('@').ok_or_else(bad)?;
    if local.is_empty() || domain.is_empty() || local.len() > 64 || domain.len() > 255 {
        return Err(bad());
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(bad());
    }
    Ok(())
}
