//! Configurations on disk, a folder each.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nxmesh_core::{
    RevisionNumber,
    gateway::{ConfigUpdate, nginx::Rendered},
};
use serde::{Deserialize, Serialize};

use crate::{StateDir, state_dir::sync_folder};

/// How many configurations are kept beside the current one.
const KEPT: usize = 3;
const IDENTITY: &str = "generation.json";

/// What a configuration is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) config_id: String,
    pub(crate) version: RevisionNumber,
    pub(crate) checksum: String,
}

impl Identity {
    pub(crate) fn of(update: &ConfigUpdate) -> Self {
        let ConfigUpdate { config_id, version, checksum, projection: _ } = update;
        Self { config_id: config_id.clone(), version: *version, checksum: checksum.clone() }
    }

    /// What nginx answers when it serves this.
    pub(super) fn answer(&self) -> String {
        format!("{} {}", self.version, self.checksum).trim().to_owned()
    }
}

/// A configuration on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Generation {
    pub(super) folder: PathBuf,
    pub(super) identity: Identity,
}

/// The contents of a generation, by path: what the next one may share.
pub(super) type Contents = BTreeMap<String, blake3::Hash>;

impl Generation {
    /// What a link points to, if it points to one.
    pub(super) fn behind(link: &Path) -> Option<Self> {
        let folder = fs::canonicalize(link).ok()?;
        let identity = fs::read(folder.join(IDENTITY)).ok()?;
        Some(Self { identity: serde_json::from_slice(&identity).ok()?, folder })
    }

    /// Writes a new one. What is the same as in `like` is linked from there: a file
    /// never changes once it is written.
    pub(super) fn stage(
        dir: &StateDir,
        identity: Identity,
        rendered: &Rendered,
        like: Option<(&Path, &Contents)>,
    ) -> io::Result<(Self, Contents, Unsynced)> {
        let number = numbers(dir)?.last().map_or(1, |last| last + 1);
        let folder = dir.generations().join(number.to_string());
        DirBuilder::new().mode(0o700).create(&folder)?;
        let mut unsynced = Unsynced::default();
        let mut contents = Contents::new();
        let plain = rendered.files.iter().map(|(path, text)| (path, text.as_str(), 0o644));
        let secret =
            rendered.secrets.iter().map(|(path, text)| (path, text.expose().as_str(), 0o600));
        let mut folders = std::collections::BTreeSet::new();
        for (path, text, mode) in plain.chain(secret) {
            let file = folder.join(path);
            if let Some(parent) = Path::new(path).parent().filter(|it| !it.as_os_str().is_empty())
                && folders.insert(parent.to_owned())
            {
                DirBuilder::new().mode(0o700).create(folder.join(parent))?;
            }
            let hash = blake3::hash(text.as_bytes());
            let same = like.filter(|(_, contents)| contents.get(path) == Some(&hash));
            let linked =
                same.is_some_and(|(other, _)| fs::hard_link(other.join(path), &file).is_ok());
            if !linked {
                unsynced.files.push(write(&file, text.as_bytes(), mode)?);
            }
            contents.insert(path.clone(), hash);
        }
        let text = serde_json::to_vec(&identity).map_err(io::Error::other)?;
        unsynced.files.push(write(&folder.join(IDENTITY), &text, 0o644)?);
        unsynced.folders.extend(folders.into_iter().map(|it| folder.join(it)));
        unsynced.folders.extend([folder.clone(), dir.generations()]);
        Ok((Self { folder, identity }, contents, unsynced))
    }

    /// Removes it.
    pub(super) fn discard(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.folder)
    }
}

/// What is written, but not yet safe from a crash of the machine.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    files: Vec<File>,
    folders: Vec<PathBuf>,
}

impl Unsynced {
    pub(super) fn sync(self) -> io::Result<()> {
        self.files.iter().try_for_each(File::sync_all)?;
        self.folders.iter().try_for_each(|it| sync_folder(it))
    }
}

/// Removes all but the newest few; never what is linked to.
pub(super) fn prune(dir: &StateDir) -> io::Result<()> {
    let linked: Vec<_> =
        [dir.current(), dir.verified()].iter().filter_map(|it| fs::canonicalize(it).ok()).collect();
    let mut numbers = numbers(dir)?;
    numbers.truncate(numbers.len().saturating_sub(KEPT));
    let folders = numbers.iter().map(|it| dir.generations().join(it.to_string()));
    folders.filter(|it| !linked.contains(it)).try_for_each(fs::remove_dir_all)
}

/// The numbers of all generations, smallest first.
fn numbers(dir: &StateDir) -> io::Result<Vec<u64>> {
    let names = fs::read_dir(dir.generations())?;
    let numbers = names.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}
