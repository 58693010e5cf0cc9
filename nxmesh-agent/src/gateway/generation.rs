//! Configurations on disk, a folder each.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use nxmesh_core::{
    RevisionNumber,
    gateway::{ConfigUpdate, nginx::Rendered},
    transport::grpc::{decode_update, encode_update},
};
use serde::{Deserialize, Serialize};

use super::{
    manifest::{MANIFEST, Manifest},
    quarantine::{Content, Quarantine},
    wanted::{Rotation, Wanted},
};
use crate::{StateDir, disk};

/// How many configurations are kept beside the current one.
const KEPT: usize = 3;
/// How many threads sync files, and how few are not worth one more.
const SYNCERS: usize = 4;
const FEW: usize = 32;
const IDENTITY: &str = "generation.json";
/// What was asked for, as it came: private keys are in it.
const UPDATE: &str = "update.pb";
/// What is served of it, where a part is held back, and that part.
const SERVED: &str = "served.pb";
const QUARANTINE: &str = "quarantine.json";
/// What else bore on what was made of it.
const ROTATION: &str = "rotation.json";

/// What is kept beside the files that nginx reads, where there is reason to.
pub(super) const KEPT_FILES: [&str; 4] = [UPDATE, SERVED, QUARANTINE, ROTATION];

/// What a configuration is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) config_id: String,
    pub(crate) version: RevisionNumber,
    pub(crate) checksum: String,
    /// Names what differs here from that content by the agent's own doing; empty for nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) variant: String,
}

impl Identity {
    pub(crate) fn of(update: &ConfigUpdate) -> Self {
        let ConfigUpdate { config_id, version, checksum, projection: _, drift: _ } = update;
        Self {
            config_id: config_id.clone(),
            version: *version,
            checksum: checksum.clone(),
            variant: String::new(),
        }
    }

    /// Whether nginx serves the same with either, whichever revision it was first seen in.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        (&self.checksum, &self.variant) == (&other.checksum, &other.variant)
    }

    /// What nginx answers when it serves this.
    pub(super) fn answer(&self) -> String {
        format!("{} {} {}", self.version, self.checksum, self.variant).trim_end().to_owned()
    }
}

/// A configuration on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Generation {
    pub(super) folder: PathBuf,
    pub(super) identity: Identity,
}

impl Generation {
    /// What a link points to, if it points to one.
    pub(super) fn behind(link: &Path) -> Option<Self> {
        let folder = fs::canonicalize(link).ok()?;
        let identity = fs::read(folder.join(IDENTITY)).ok()?;
        Some(Self { identity: serde_json::from_slice(&identity).ok()?, folder })
    }

    /// What was asked for when it was made, and what is served of it; `None` when that was not
    /// kept, or not by a version that this one understands.
    pub(super) fn content(&self) -> Option<Content> {
        let update = Arc::new(self.kept_update(UPDATE)?);
        let Ok(kept) = fs::read(self.folder.join(QUARANTINE)) else {
            return Some(Content::whole(update));
        };
        let kept = serde_json::from_slice(&kept).ok()?;
        let projection = self.kept_update(SERVED)?.projection;
        Some(Content { update, projection, kept })
    }

    fn kept_update(&self, file: &str) -> Option<ConfigUpdate> {
        let bytes = fs::read(self.folder.join(file)).ok()?;
        let read = decode_update(&bytes);
        read.inspect_err(|error| tracing::warn!(%error, "cannot read what was asked for")).ok()
    }

    /// What was out of rotation when it was made.
    pub(super) fn rotation(&self) -> Rotation {
        let kept = fs::read(self.folder.join(ROTATION)).ok();
        kept.and_then(|it| serde_json::from_slice(&it).ok()).unwrap_or_default()
    }

    /// Writes a new one; leaves nothing behind when that fails. What is the same as in
    /// `like` is linked from there: that was made safe when `like` was.
    pub(super) fn stage(
        dir: &StateDir,
        identity: Identity,
        wanted: &Wanted,
        rendered: &Rendered,
        like: Option<&Path>,
    ) -> io::Result<(Self, Unsynced)> {
        let number = numbers(dir)?.last().map_or(1, |last| last + 1);
        let staged = Self { folder: dir.generations().join(number.to_string()), identity };
        disk::make_folder(&staged.folder, 0o700)?;
        match staged.fill(wanted, rendered, like) {
            Ok(mut unsynced) => {
                unsynced.folders.push(dir.generations());
                Ok((staged, unsynced))
            }
            Err(error) => {
                // What it failed of matters more than that this fails too.
                let _ = staged.discard();
                Err(error)
            }
        }
    }

    fn fill(
        &self,
        wanted: &Wanted,
        rendered: &Rendered,
        like: Option<&Path>,
    ) -> io::Result<Unsynced> {
        let mut unsynced = Unsynced::default();
        let kept = wanted_files(wanted)?;
        let plain =
            rendered.files.iter().map(|(path, text)| (path.as_str(), text.as_bytes(), 0o644));
        let secret = rendered
            .secrets
            .iter()
            .map(|(path, text)| (path.as_str(), text.expose().as_bytes(), 0o600));
        let kept = kept.iter().map(|(path, bytes)| (*path, bytes.as_slice(), 0o600));
        let mut manifest = Manifest::new();
        let mut folders = BTreeSet::new();
        for (path, bytes, mode) in plain.chain(secret).chain(kept) {
            let file = self.folder.join(path);
            if let Some(parent) = Path::new(path).parent().filter(|it| !it.as_os_str().is_empty())
                && folders.insert(parent.to_owned())
            {
                disk::make_folder(&self.folder.join(parent), 0o700)?;
            }
            let same = like.map(|it| it.join(path)).filter(|it| holds(it, bytes, mode));
            if !same.is_some_and(|it| disk::share(&it, &file)) {
                disk::write_new(&file, bytes, mode)?;
                unsynced.files.push(file);
            }
            manifest.note(&self.folder, path, bytes, mode)?;
        }
        let identity = serde_json::to_vec(&self.identity).map_err(io::Error::other)?;
        disk::write_new(&self.folder.join(IDENTITY), &identity, 0o644)?;
        manifest.note(&self.folder, IDENTITY, &identity, 0o644)?;
        manifest.note_folder(&self.folder, "")?;
        for folder in &folders {
            manifest.note_folder(&self.folder, &folder.to_string_lossy())?;
        }
        let manifest = serde_json::to_vec(&manifest).map_err(io::Error::other)?;
        disk::write_new(&self.folder.join(MANIFEST), &manifest, 0o644)?;
        unsynced.files.extend([IDENTITY, MANIFEST].map(|it| self.folder.join(it)));
        unsynced.folders.extend(folders.into_iter().map(|it| self.folder.join(it)));
        unsynced.folders.push(self.folder.clone());
        Ok(unsynced)
    }

    /// Removes it.
    pub(super) fn discard(&self) -> io::Result<()> {
        disk::remove_folder(&self.folder)
    }
}

/// What was asked for, as it is kept.
fn wanted_files(wanted: &Wanted) -> io::Result<Vec<(&'static str, Vec<u8>)>> {
    let Wanted { content: Content { update, projection, kept }, rotation } = wanted;
    let json = |it: Result<Vec<u8>, serde_json::Error>| it.map_err(io::Error::other);
    let mut files = vec![
        (UPDATE, encode_update(update)),
        (ROTATION, json(serde_json::to_vec(rotation.as_ref()))?),
    ];
    if *kept != Quarantine::default() {
        let projection = Arc::clone(projection);
        let served = ConfigUpdate { projection, ..update.as_ref().clone() };
        files.push((SERVED, encode_update(&served)));
        files.push((QUARANTINE, json(serde_json::to_vec(kept))?));
    }
    Ok(files)
}

/// What is written, but not yet safe from a crash of the machine. By path: with a file
/// open for each, a process would soon have as many as it may.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

impl Unsynced {
    pub(super) fn sync(&self) -> io::Result<()> {
        // The machine syncs several in about the time of one.
        let share = self.files.len().div_ceil(SYNCERS).max(FEW);
        std::thread::scope(|scope| {
            let sync = |paths: &[PathBuf]| paths.iter().try_for_each(|it| disk::sync(it));
            let mut shares = self.files.chunks(share);
            let own = shares.next().unwrap_or_default();
            let others: Vec<_> = shares.map(|share| scope.spawn(move || sync(share))).collect();
            let died = |_| Err(io::Error::other("a thread that syncs files died"));
            others
                .into_iter()
                .fold(sync(own), |so_far, it| so_far.and(it.join().unwrap_or_else(died)))
        })?;
        self.folders.iter().try_for_each(|it| disk::sync(it))
    }
}

/// Removes all but the newest few; never what is linked to.
pub(super) fn prune(dir: &StateDir) -> io::Result<()> {
    let linked: Vec<_> =
        [dir.current(), dir.verified()].iter().filter_map(|it| fs::canonicalize(it).ok()).collect();
    let mut numbers = numbers(dir)?;
    numbers.truncate(numbers.len().saturating_sub(KEPT));
    let folders = numbers.iter().map(|it| dir.generations().join(it.to_string()));
    folders.filter(|it| !linked.contains(it)).try_for_each(|it| disk::remove_folder(&it))
}

/// The numbers of all generations, smallest first.
fn numbers(dir: &StateDir) -> io::Result<Vec<u64>> {
    let names = fs::read_dir(dir.generations())?;
    let numbers = names.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Whether a file has exactly this in it, is ours, and is open to nobody else: files of before may
/// have been edited by hand.
fn holds(path: &Path, bytes: &[u8], mode: u32) -> bool {
    let as_it_was = || {
        let mut file = File::open(path)?;
        let it = file.metadata()?;
        let ours = it.uid() == rustix::process::geteuid().as_raw();
        if it.len() != bytes.len() as u64 || it.mode() & 0o7777 & !mode != 0 || !ours {
            return Ok(false);
        }
        let mut there = Vec::with_capacity(bytes.len());
        file.read_to_end(&mut there)?;
        Ok::<_, io::Error>(there == bytes)
    };
    as_it_was().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use nxmesh_core::Secret;

    use super::*;

    fn identity(version: u64) -> Identity {
        Identity { version: RevisionNumber(version), ..Identity::default() }
    }

    fn wanted(version: u64) -> Wanted {
        let update = ConfigUpdate {
            config_id: String::new(),
            version: RevisionNumber(version),
            checksum: String::new(),
            projection: Arc::default(),
            drift: Default::default(),
        };
        Wanted { content: Content::whole(Arc::new(update)), rotation: Arc::default() }
    }

    fn rendered(files: impl IntoIterator<Item = (String, String)>) -> Rendered {
        let secrets = [("keys/a".to_owned(), Secret::new("key".to_owned()))].into();
        Rendered { files: files.into_iter().collect(), secrets }
    }

    fn inode(generation: &Generation, file: &str) -> u64 {
        fs::metadata(generation.folder.join(file)).unwrap().ino()
    }

    #[test]
    fn what_is_the_same_is_linked_and_what_was_edited_by_hand_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::open(folder.path()).unwrap();
        let text = |it: &str| (it.to_owned(), it.to_owned());
        let all = rendered(["same", "edited", "opened"].map(text));
        let (first, unsynced) =
            Generation::stage(&dir, identity(1), &wanted(1), &all, None).unwrap();
        unsynced.sync().unwrap();
        fs::write(first.folder.join("edited"), "EDITED").unwrap();
        let open = fs::Permissions::from_mode(0o666);
        fs::set_permissions(first.folder.join("opened"), open).unwrap();
        let (second, unsynced) =
            Generation::stage(&dir, identity(2), &wanted(2), &all, Some(&first.folder)).unwrap();
        unsynced.sync().unwrap();
        let linked = |file| inode(&first, file) == inode(&second, file);
        assert!(linked("same") && linked("keys/a"));
        assert!(!linked("edited") && !linked("opened") && !linked(IDENTITY));
        assert_eq!(fs::read_to_string(second.folder.join("edited")).unwrap(), "edited");
        let mode = |file| fs::metadata(second.folder.join(file)).unwrap().mode() & 0o777;
        assert_eq!((mode("keys/a"), mode("opened") & 0o022), (0o600, 0));
    }

    #[test]
    fn what_was_asked_for_is_kept_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::open(folder.path()).unwrap();
        let rotation = [(nxmesh_core::conformance::given::id(), "a:1".to_owned())].into();
        let asked = Wanted { rotation: Arc::new(rotation), ..wanted(7) };
        let (staged, _) =
            Generation::stage(&dir, identity(7), &asked, &rendered([]), None).unwrap();
        assert_eq!(staged.content().unwrap().update, asked.content.update);
        assert_eq!(staged.rotation(), *asked.rotation);
        assert_eq!(fs::metadata(staged.folder.join(UPDATE)).unwrap().mode() & 0o777, 0o600);
        fs::remove_file(staged.folder.join(UPDATE)).unwrap();
        assert!(staged.content().is_none(), "as in a folder of an older agent");
    }

    #[test]
    fn what_cannot_be_staged_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::open(folder.path()).unwrap();
        // A file where a folder should be: as when the disk is full, half of it is written.
        let torn = rendered([("a".to_owned(), String::new()), ("a/b".to_owned(), String::new())]);
        Generation::stage(&dir, identity(1), &wanted(1), &torn, None).unwrap_err();
        assert_eq!(fs::read_dir(dir.generations()).unwrap().count(), 0);
    }

    #[test]
    fn thousands_of_files_are_not_held_open() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::open(folder.path()).unwrap();
        let all = rendered((0..2000).map(|it| (it.to_string(), it.to_string())));
        let (_, unsynced) = Generation::stage(&dir, identity(1), &wanted(1), &all, None).unwrap();
        let open = fs::read_dir("/proc/self/fd").unwrap().count();
        assert!(open < 500, "{open} files are open");
        unsynced.sync().unwrap();
    }
}
