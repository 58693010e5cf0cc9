//! Values that must not be seen.

use std::fmt;

use zeroize::Zeroize;

/// A secret: `Debug` does not show it, there is no `Display`, it is not
/// serialized, and its memory is overwritten when it is dropped.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes a value into custody.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Look twice at where it goes.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl Secret<String> {
    /// A password of 256 random bits.
    #[must_use]
    pub fn random_password() -> Self {
        crate::token::new_token("")
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
