use crate::{Error, ErrorKind, Result, Trail, tenancy::TenancyChange};

/// Refuses a trail where none is recorded, so that none is lost in silence.
pub(super) fn check_trail(change: &TenancyChange, trail: &Trail) -> Result<()> {
    match trail.is_empty() || change.leaves_trail() {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Invalid, "a change of this sort leaves no trail")),
    }
}
