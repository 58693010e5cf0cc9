use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use nxmesh_core::{Secret, gateway::drift::DriftPolicy};

use crate::disk;

/// The longest path of a Unix socket that Linux takes, in bytes (`sun_path`, unix(7)).
const MAX_SOCKET_PATH: usize = 107;
const STATUS_SOCKET: &str = "run/status.sock";
const LOCK: &str = "lock";
const DRIFT: &str = "drift.json";
/// The folders in it, and who may do what there.
const FOLDERS: [(&str, u32); 4] = [("gen", 0o700), ("run", 0o711), ("logs", 0o711), ("tmp", 0o711)];

/// The folder under which the agent keeps all that it writes.
///
/// `gen/N/` are configurations, `current` links to the one nginx uses, `verified`
/// to the last one that was proven: as long as the two differ, an apply is under
/// way. `run/` has process id, status socket and what failed, `logs/` what nginx complains of,
/// `tmp/` large bodies, `credential` what lets the agent in, `drift.json` what it does when somebody
/// else changes a configuration. One agent at a time.
#[derive(Debug)]
pub struct StateDir {
    root: PathBuf,
    _lock: File,
}

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateDirError {
    /// It cannot be made, read or written.
    #[error("cannot use the state folder {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another agent uses it.
    #[error("another agent uses the state folder {path}")]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// It has folders of the same names that are somebody else's.
    #[error(
        "{path} is no state folder, but has a folder gen, run, logs or tmp: name one that is new or empty"
    )]
    Foreign {
        /// Which.
        path: PathBuf,
    },
    /// A socket in it could not be opened.
    #[error(
        "the state folder {path} has too long a path: {MAX_SOCKET_PATH} bytes, with /run/status.sock, are the most that a socket can have"
    )]
    TooLong {
        /// Which.
        path: PathBuf,
    },
}

impl StateDir {
    /// Makes the folder if it is not there, and claims it.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(root: &Path) -> Result<Self, StateDirError> {
        let io = |source| StateDirError::Io { path: root.to_owned(), source };
        let made = !root.exists();
        DirBuilder::new().recursive(true).mode(0o711).create(root).map_err(io)?;
        let root = root.canonicalize().map_err(io)?;
        let fits = root.join(STATUS_SOCKET).as_os_str().len() <= MAX_SOCKET_PATH;
        if !fits {
            if made {
                // Whoever asked for it asks for another one: an empty folder does no harm.
                let _ = fs::remove_dir(&root);
            }
            return Err(StateDirError::TooLong { path: root });
        }
        let lock = root.join(LOCK);
        if !lock.exists() && FOLDERS.iter().any(|(folder, _)| root.join(folder).exists()) {
            return Err(StateDirError::Foreign { path: root });
        }
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(lock);
        let lock = lock.map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateDirError::InUse { path: root }),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        // Workers, which may run as another user, pass through to `tmp` and to the log.
        let mode = fs::metadata(&root).map_err(io)?.permissions().mode();
        fs::set_permissions(&root, Permissions::from_mode(mode | 0o011)).map_err(io)?;
        for (folder, mode) in FOLDERS {
            let folder = root.join(folder);
            DirBuilder::new().recursive(true).mode(mode).create(&folder).map_err(io)?;
            fs::set_permissions(&folder, Permissions::from_mode(mode)).map_err(io)?;
        }
        let dir = Self { root, _lock: lock };
        dir.begin_error_log().map_err(io)?;
        Ok(dir)
    }

    /// Makes nginx's log if there is none, for nobody else to read: nginx gives it to the user of its
    /// workers when it opens it anew, and leaves its permissions.
    pub(crate) fn begin_error_log(&self) -> io::Result<()> {
        let mut how = OpenOptions::new();
        how.create(true).append(true).mode(0o600).open(self.error_log()).map(drop)
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A folder above this one that other users cannot pass through, if there is one: workers
    /// of another user then cannot keep what does not fit into memory.
    pub(crate) fn closed_above(&self) -> Option<&Path> {
        let open = |it: &&Path| fs::metadata(it).is_ok_and(|it| it.permissions().mode() & 1 == 1);
        self.root.ancestors().find(|it| !open(it))
    }

    pub(crate) fn generations(&self) -> PathBuf {
        self.root.join("gen")
    }

    pub(crate) fn current(&self) -> PathBuf {
        self.root.join("current")
    }

    pub(crate) fn verified(&self) -> PathBuf {
        self.root.join("verified")
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.root.join("run/nginx.pid")
    }

    pub(crate) fn status_socket(&self) -> PathBuf {
        self.root.join(STATUS_SOCKET)
    }

    pub(crate) fn error_log(&self) -> PathBuf {
        self.root.join("logs/error.log")
    }

    pub(crate) fn failed_log(&self) -> PathBuf {
        self.root.join("run/failed.log")
    }

    pub(crate) fn temp_dir(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// What lets the agent in, if it was let in before.
    pub(crate) fn credential(&self) -> io::Result<Option<Secret<String>>> {
        match fs::read_to_string(self.root.join("credential")) {
            Ok(text) => Ok(Some(Secret::new(text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// On disk when this returns.
    pub(crate) fn keep_credential(&self, credential: &Secret<String>) -> io::Result<()> {
        disk::replace(&self.root.join("credential"), credential.expose().as_bytes())
    }

    /// What is done about drift, as it was last heard; the default where that cannot be read:
    /// no change may win because a file was changed.
    pub(crate) fn drift_policy(&self) -> DriftPolicy {
        let kept = fs::read(self.root.join(DRIFT)).ok();
        kept.and_then(|it| serde_json::from_slice(&it).ok()).unwrap_or_default()
    }

    /// On disk when this returns.
    pub(crate) fn keep_drift_policy(&self, policy: DriftPolicy) -> io::Result<()> {
        let policy = serde_json::to_vec(&policy).map_err(io::Error::other)?;
        disk::replace(&self.root.join(DRIFT), &policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_agent_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = StateDir::open(folder.path()).unwrap();
        assert!(matches!(StateDir::open(folder.path()), Err(StateDirError::InUse { .. })));
        drop(first);
        StateDir::open(folder.path()).unwrap();
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_refused_at_its_edge() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        let room = MAX_SOCKET_PATH - "/run/status.sock".len() - base.as_os_str().len() - 1;
        StateDir::open(&base.join("a".repeat(room))).unwrap();
        let error = StateDir::open(&base.join("a".repeat(room + 1))).unwrap_err();
        assert!(matches!(error, StateDirError::TooLong { .. }));
    }

    #[test]
    fn what_is_refused_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        let tmp = folder.path().join("tmp");
        fs::create_dir(&tmp).unwrap();
        fs::set_permissions(&tmp, Permissions::from_mode(0o1777)).unwrap();
        let before = mode(folder.path());
        let error = StateDir::open(folder.path()).unwrap_err();
        assert!(matches!(error, StateDirError::Foreign { .. }));
        assert_eq!((mode(folder.path()), mode(&tmp)), (before, 0o1777));
        let long = folder.path().join("a".repeat(MAX_SOCKET_PATH));
        StateDir::open(&long).unwrap_err();
        assert!(!long.exists());
    }

    #[test]
    fn a_folder_with_other_files_can_be_used_and_stays_as_open_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), "").unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o750)).unwrap();
        drop(StateDir::open(folder.path()).unwrap());
        drop(StateDir::open(folder.path()).unwrap());
        let mode = fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o751 | 0o010);
    }

    #[test]
    fn a_closed_folder_above_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let above = folder.path().canonicalize().unwrap();
        let dir = StateDir::open(&above.join("a/b")).unwrap();
        for (mode, closed) in [(0o755, None), (0o711, None), (0o750, Some(above.as_path()))] {
            fs::set_permissions(&above, Permissions::from_mode(mode)).unwrap();
            assert_eq!(dir.closed_above(), closed);
        }
    }

    #[test]
    fn the_credential_is_kept_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::open(folder.path()).unwrap();
        assert!(dir.credential().unwrap().is_none());
        dir.keep_credential(&Secret::new("abc".to_owned())).unwrap();
        assert_eq!(dir.credential().unwrap().unwrap().expose(), "abc");
        let mode = fs::metadata(folder.path().join("credential")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
