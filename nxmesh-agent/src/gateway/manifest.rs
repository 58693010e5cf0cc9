//! What was written: by this it is known when somebody else changes it.

use std::{collections::BTreeMap, fs, io, os::unix::fs::MetadataExt, path::Path};

use serde::{Deserialize, Serialize};

/// Where it is kept, in the folder that it is about.
pub(super) const MANIFEST: &str = "files.json";
/// What only the owner may read is not shown to anybody.
const SECRET: u32 = 0o600;
const PERMISSIONS: u32 = 0o7777;

/// The files and folders of a configuration, by path from its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) owner: u32,
    pub(super) files: BTreeMap<String, Written>,
    /// Their permissions. The folder itself is the one without a name.
    pub(super) folders: BTreeMap<String, u32>,
}

/// A file as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Written {
    pub(super) hash: String,
    pub(super) size: u64,
    pub(super) permissions: u32,
    pub(super) secret: bool,
}

impl Manifest {
    pub(super) fn new() -> Self {
        let owner = rustix::process::geteuid().as_raw();
        Self { owner, files: BTreeMap::new(), folders: BTreeMap::new() }
    }

    /// Notes a file that is there with these bytes, and was meant to have this mode: the mask of
    /// the process may have left less of it.
    pub(super) fn note(
        &mut self,
        folder: &Path,
        path: &str,
        bytes: &[u8],
        mode: u32,
    ) -> io::Result<()> {
        let permissions = fs::symlink_metadata(folder.join(path))?.mode() & PERMISSIONS;
        let secret = mode == SECRET;
        let (hash, size) = (hash(bytes), bytes.len() as u64);
        self.files.insert(path.to_owned(), Written { hash, size, permissions, secret });
        Ok(())
    }

    /// Notes a folder that is there.
    pub(super) fn note_folder(&mut self, folder: &Path, path: &str) -> io::Result<()> {
        let permissions = fs::symlink_metadata(folder.join(path))?.mode() & PERMISSIONS;
        self.folders.insert(path.to_owned(), permissions);
        Ok(())
    }

    /// What was kept in this folder; `None` when nothing was that can be read.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(folder.join(MANIFEST)).ok()?).ok()
    }

    /// Whether owner and permissions are those of then.
    pub(super) fn allows_the_same(&self, there: &fs::Metadata, permissions: u32) -> bool {
        there.uid() == self.owner && there.mode() & PERMISSIONS == permissions
    }
}

pub(super) fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}
