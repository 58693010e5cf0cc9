use std::sync::LazyLock;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc},
};
use tokio::sync::Semaphore;

use crate::{Error, ErrorKind, FieldCode, Malformed, Path, Problems, Result, Secret};

/// The shortest password that is accepted for a new user (NIST SP 800-63B).
pub const MIN_PASSWORD_CHARS: usize = 8;
/// The longest password: hashing costs time by length.
pub const MAX_PASSWORD_BYTES: usize = 1024;

// Each hash takes 19 MiB and a core for some 20 ms; more at once only wait for each other.
static HASHING: Semaphore = Semaphore::const_new(4);

/// A password as an Argon2id hash, in PHC form.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Hashes a new password.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid), naming `password`, when it is too short or too long.
    pub async fn create(password: Secret<String>) -> Result<Self> {
        Self::create_as("password", password).await
    }

    /// The same for a field of another name.
    pub(crate) async fn create_as(field: &str, password: Secret<String>) -> Result<Self> {
        let mut problems = Problems::default();
        problems.take(&Path::root().field(field), check(password.expose()));
        problems.finish(())?;
        blocking(move || hash(password.expose())).await?
    }

    /// Whether this is the password.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) when the stored hash cannot be read.
    pub async fn verify(&self, password: Secret<String>) -> Result<bool> {
        let stored = self.0.clone();
        blocking(move || {
            let stored = phc::PasswordHash::new(&stored).map_err(|error| {
                Error::new(ErrorKind::Corrupt, "a stored password hash is unreadable")
                    .with_source(error)
            })?;
            Ok(Argon2::default().verify_password(password.expose().as_bytes(), &stored).is_ok())
        })
        .await?
    }

    /// Takes as long as [`verify`](Self::verify) on a real hash, and is never right.
    pub(crate) async fn verify_nobody(password: Secret<String>) -> Result<bool> {
        static NOBODY: LazyLock<Result<PasswordHash>> = LazyLock::new(|| hash("nobody"));
        let nobody = blocking(|| NOBODY.as_ref().ok().cloned()).await?;
        match nobody {
            Some(nobody) => nobody.verify(password).await.map(|_| false),
            None => Ok(false),
        }
    }

    /// The hash in PHC form, to store it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// From its stored form.
    pub fn from_stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

fn check(password: &str) -> Result<(), Malformed> {
    if password.chars().count() < MIN_PASSWORD_CHARS {
        return Err(Malformed::range(format!(
            "must have {MIN_PASSWORD_CHARS} characters at least"
        )));
    }
    if password.len() > MAX_PASSWORD_BYTES {
        let message = format!("must have {MAX_PASSWORD_BYTES} bytes at most");
        return Err(Malformed { code: FieldCode::OutOfRange, message });
    }
    Ok(())
}

fn hash(password: &str) -> Result<PasswordHash> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| PasswordHash(hash.to_string())).map_err(|error| {
        Error::new(ErrorKind::Internal, "cannot hash a password").with_source(error)
    })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let internal =
        |error| Error::new(ErrorKind::Internal, "hashing was interrupted").with_source(error);
    let _turn = HASHING
        .acquire()
        .await
        .map_err(|error| Error::new(ErrorKind::Internal, "hashing is closed").with_source(error))?;
    tokio::task::spawn_blocking(work).await.map_err(internal)
}
