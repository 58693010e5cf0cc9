use chrono::{DateTime, Utc};

use crate::{Id, tenancy::Email};

/// The id of a [`User`].
pub type UserId = Id<User>;

/// A person who can log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Never changes.
    pub id: UserId,
    /// What the person logs in with, unique in any case.
    pub email: Email,
    /// The password as an Argon2id hash in PHC form.
    pub password: crate::tenancy::PasswordHash,
    /// When the user was made.
    pub created_at: DateTime<Utc>,
}
