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

/// Made as [`hash`] makes them, of zeros that are no hash of anything.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

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
            #[cfg(test)]
            tests::note(password.expose());
            let stored = phc::PasswordHash::new(&stored).map_err(|error| {
                Error::new(ErrorKind::Corrupt, "a stored password hash is unreadable")
                    .with_source(error)
            })?;
            Ok(Argon2::default().verify_password(password.expose().as_bytes(), &stored).is_ok())
        })
        .await?
    }

    /// What is verified in place of the hash of somebody who is not there, and is never right:
    /// it takes as long as a real one, from the first time on.
    pub(crate) fn of_nobody() -> Self {
        Self(NOBODY.to_owned())
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

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;
    use crate::{Mesh, store::memory::MemoryStore, tenancy::MasterKey};

    /// Each password that was verified.
    static VERIFIED: Mutex<Vec<String>> = Mutex::new(Vec::new());

    pub(super) fn note(password: &str) {
        VERIFIED.lock().unwrap_or_else(PoisonError::into_inner).push(password.to_owned());
    }

    fn count(password: &str) -> usize {
        let verified = VERIFIED.lock().unwrap_or_else(PoisonError::into_inner);
        verified.iter().filter(|it| *it == password).count()
    }

    #[test]
    fn the_hash_of_nobody_costs_what_a_real_one_costs() {
        let cost = |hash: &PasswordHash| {
            let parsed = phc::PasswordHash::new(hash.as_str()).unwrap();
            let lengths = [parsed.salt.unwrap().len(), parsed.hash.unwrap().len()];
            (parsed.algorithm.to_string(), parsed.version, parsed.params.to_string(), lengths)
        };
        assert_eq!(cost(&PasswordHash::of_nobody()), cost(&hash("correct horse").unwrap()));
    }

    #[tokio::test]
    async fn every_login_verifies_one_password_whoever_it_is_of() {
        let mesh = Mesh::builder().store(MemoryStore::new()).master_key(MasterKey::generate());
        let mesh = mesh.build().await.unwrap();
        let right = "correct horse of every_login";
        mesh.tenancy().users().create("me@example.com", right.to_owned().into()).await.unwrap();
        for (at, email) in ["me@example.com", "nobody@example.com", "no address"].iter().enumerate()
        {
            let wrong = format!("wrong horse {at} of every_login");
            let login = mesh.tenancy().auth().login(email, wrong.clone().into()).await;
            assert_eq!(login.unwrap_err().kind(), ErrorKind::Unauthenticated);
            assert_eq!(count(&wrong), 1, "{email}");
        }
        mesh.tenancy().auth().login("me@example.com", right.to_owned().into()).await.unwrap();
        assert_eq!(count(right), 1);
    }
}
