//! Who asks.

use crate::tenancy::UserId;

/// On whose behalf a call is made. Every operation takes one and checks what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    user_id: UserId,
}

impl Actor {
    /// A user.
    #[must_use]
    pub const fn user(user_id: UserId) -> Self {
        Self { user_id }
    }

    /// Which user acts.
    #[must_use]
    pub const fn user_id(&self) -> UserId {
        self.user_id
    }
}
