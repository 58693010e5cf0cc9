//! Comparing what is there with what was written.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use nxmesh_core::gateway::drift::{DriftKind, MAX_DRIFT_DIFF};
use rustix::fs::OFlags;
use similar::TextDiff;

use super::manifest::{MANIFEST, Manifest, Written, hash};

/// How many files that nobody of us wrote are looked at.
const MAX_STRANGERS: usize = 1000;
/// How much of a file that is not as it was is read.
const MAX_READ: u64 = 256 * 1024;
/// How long it may take to find the shortest difference; a longer one is told after that.
const MAX_DIFFING: Duration = Duration::from_millis(200);

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// What has the same times, size and place on disk is the same.
    Stamps,
    /// All content is read.
    Content,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) path: String,
    pub(super) kind: DriftKind,
    /// Names what is there instead.
    pub(super) instead: String,
}

/// A folder that is watched.
#[derive(Debug)]
pub(super) struct Watched {
    folder: PathBuf,
    /// `None` when it is lost: then nobody knows what should be there.
    manifest: Option<Manifest>,
    manifest_hash: String,
    /// What each file was found to be, and its stamp at that time.
    found: HashMap<String, (Stamp, Option<Difference>)>,
}

/// What the kernel changes with any change of a file. The last of it, the time of the change
/// itself, cannot be set back by those who edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    mode: u32,
    owner: u32,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(it: &fs::Metadata) -> Self {
        Self {
            device: it.dev(),
            inode: it.ino(),
            size: it.len(),
            mode: it.mode(),
            owner: it.uid(),
            modified: (it.mtime(), it.mtime_nsec()),
            changed: (it.ctime(), it.ctime_nsec()),
        }
    }
}

impl Watched {
    pub(super) fn new(folder: &Path) -> Self {
        let manifest = Manifest::of(folder);
        let manifest_hash =
            fs::read(folder.join(MANIFEST)).map_or_else(|_| String::new(), |it| hash(&it));
        Self { folder: folder.to_owned(), manifest, manifest_hash, found: HashMap::new() }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether what is in this file is as it was written, or was not written and is not there.
    pub(super) fn is_right(&self, path: &str) -> bool {
        let Some(manifest) = &self.manifest else { return false };
        let there = fs::read(self.folder.join(path));
        match (manifest.files.get(path), there) {
            (Some(written), Ok(bytes)) => hash(&bytes) == written.hash,
            (None, Err(error)) => error.kind() == ErrorKind::NotFound,
            (Some(_), Err(_)) | (None, Ok(_)) => false,
        }
    }

    /// All that differs, in order of paths.
    pub(super) fn look(&mut self, depth: Depth) -> Vec<Difference> {
        let Some(manifest) = self.manifest.take() else {
            return vec![difference(MANIFEST, DriftKind::Missing, String::new())];
        };
        let mut found = Vec::new();
        for (path, written) in &manifest.files {
            found.extend(self.file(&manifest, path, written, depth));
        }
        let there = fs::read(self.folder.join(MANIFEST));
        if there.is_err() {
            found.push(difference(MANIFEST, DriftKind::Missing, String::new()));
        } else if there.is_ok_and(|it| hash(&it) != self.manifest_hash) {
            found.push(difference(MANIFEST, DriftKind::Changed, String::new()));
        }
        let mut room = MAX_STRANGERS;
        for (path, permissions) in &manifest.folders {
            found.extend(self.folder_differs(&manifest, path, *permissions));
            self.strangers(&manifest, path, &mut room, &mut found);
        }
        self.manifest = Some(manifest);
        found.sort_by(|one, other| (&one.path, one.kind).cmp(&(&other.path, other.kind)));
        found
    }

    fn file(
        &mut self,
        manifest: &Manifest,
        path: &str,
        written: &Written,
        depth: Depth,
    ) -> Option<Difference> {
        let file = self.folder.join(path);
        let Ok(there) = fs::symlink_metadata(&file) else {
            self.found.remove(path);
            return Some(difference(path, DriftKind::Missing, String::new()));
        };
        let stamp = Stamp::of(&there);
        if depth == Depth::Stamps
            && let Some((then, verdict)) = self.found.get(path)
            && *then == stamp
        {
            return verdict.clone();
        }
        let verdict = if !there.is_file() {
            Some(difference(path, DriftKind::Changed, "no file".to_owned()))
        } else {
            let limit = if there.len() == written.size { written.size } else { MAX_READ };
            let instead = read(&file, limit).map_or_else(|it| it.to_string(), |it| hash(&it));
            if there.len() != written.size || instead != written.hash {
                Some(difference(path, DriftKind::Changed, format!("{instead} {}", there.len())))
            } else if !manifest.allows_the_same(&there, written.permissions) {
                let instead = format!("{} {:o}", there.uid(), there.mode());
                Some(difference(path, DriftKind::Permissions, instead))
            } else {
                None
            }
        };
        self.found.insert(path.to_owned(), (stamp, verdict.clone()));
        verdict
    }

    fn folder_differs(
        &self,
        manifest: &Manifest,
        path: &str,
        permissions: u32,
    ) -> Option<Difference> {
        let name = format!("{path}/");
        let Ok(there) = fs::symlink_metadata(self.folder.join(path)) else {
            return Some(difference(&name, DriftKind::Missing, String::new()));
        };
        if !there.is_dir() {
            return Some(difference(&name, DriftKind::Changed, String::new()));
        }
        let instead = format!("{} {:o}", there.uid(), there.mode());
        let same = manifest.allows_the_same(&there, permissions);
        (!same).then(|| difference(&name, DriftKind::Permissions, instead))
    }

    /// What is in a folder and was not written there. What is in folders of strangers is not
    /// looked at.
    fn strangers(
        &self,
        manifest: &Manifest,
        path: &str,
        room: &mut usize,
        found: &mut Vec<Difference>,
    ) {
        let Ok(names) = fs::read_dir(self.folder.join(path)) else { return };
        for entry in names.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let inside = if path.is_empty() { name } else { format!("{path}/{name}") };
            let ours = manifest.files.contains_key(&inside)
                || manifest.folders.contains_key(&inside)
                || inside == MANIFEST;
            if ours {
                continue;
            }
            let Some(left) = room.checked_sub(1) else { return };
            *room = left;
            let stamp = entry.metadata().map_or_else(
                |_| String::new(),
                |it| format!("{} {} {:o}", it.len(), it.mtime(), it.mode()),
            );
            found.push(difference(&inside, DriftKind::Added, stamp));
        }
    }

    /// From what was written to what is there, as far as that can be shown, and whether it goes
    /// on. `rendered` is what was written, if it is known.
    pub(super) fn diff(
        &self,
        what: &Difference,
        rendered: &BTreeMap<String, String>,
    ) -> Option<(String, bool)> {
        let path = what.path.as_str();
        let written = self.manifest.as_ref().and_then(|it| it.files.get(path));
        let before = match (written, what.kind) {
            (Some(written), DriftKind::Changed | DriftKind::Missing) if !written.secret => {
                // Another nginx, or another agent, may render it differently now.
                rendered.get(path).filter(|it| hash(it.as_bytes()) == written.hash)?.as_str()
            }
            (None, DriftKind::Added) if path.ends_with(".conf") => "",
            _ => return None,
        };
        let file = self.folder.join(path);
        let (after, more) = match fs::symlink_metadata(&file) {
            Ok(it) if it.is_file() => (read(&file, MAX_READ).ok()?, it.len() > MAX_READ),
            Ok(_) => return None,
            Err(_) => (Vec::new(), false),
        };
        let after = String::from_utf8(after).ok()?;
        // Somebody may have put one where none belongs.
        if after.contains("PRIVATE KEY-----") || after.contains('\0') {
            return None;
        }
        let mut diff = TextDiff::configure()
            .timeout(MAX_DIFFING)
            .diff_lines(before, after.as_str())
            .unified_diff()
            .header(path, path)
            .to_string();
        let long = diff.len() > MAX_DRIFT_DIFF;
        diff.truncate(diff.floor_char_boundary(MAX_DRIFT_DIFF));
        Some((diff, long || more))
    }
}

fn difference(path: &str, kind: DriftKind, instead: String) -> Difference {
    Difference { path: path.to_owned(), kind, instead }
}

/// The beginning of a file. It may have become a link or a pipe meanwhile, which is not followed,
/// and not waited for.
fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    #[expect(clippy::cast_possible_wrap, reason = "flags are bits")]
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(folder: &Path) -> Watched {
        let mut manifest = Manifest::new();
        fs::write(folder.join("a.conf"), "one").unwrap();
        manifest.note(folder, "a.conf", b"one", 0o644).unwrap();
        manifest.note_folder(folder, "").unwrap();
        fs::write(folder.join(MANIFEST), serde_json::to_vec(&manifest).unwrap()).unwrap();
        Watched::new(folder)
    }

    #[test]
    fn what_has_the_times_of_before_is_found_by_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let mut watched = watched(folder.path());
        assert_eq!(watched.look(Depth::Stamps), []);
        fs::write(folder.path().join("a.conf"), "six").unwrap();
        // As where the clock of the machine was set back, and all times with it.
        let stamp = Stamp::of(&fs::symlink_metadata(folder.path().join("a.conf")).unwrap());
        watched.found.insert("a.conf".into(), (stamp, None));
        assert_eq!(watched.look(Depth::Stamps), []);
        let found = watched.look(Depth::Content);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].path.as_str(), found[0].kind), ("a.conf", DriftKind::Changed));
        assert_eq!(watched.look(Depth::Stamps), found, "and is known from then on");
    }

    #[test]
    fn what_others_put_there_is_counted_up_to_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let mut watched = watched(folder.path());
        for number in 0..=MAX_STRANGERS {
            fs::write(folder.path().join(number.to_string()), "").unwrap();
        }
        assert_eq!(watched.look(Depth::Stamps).len(), MAX_STRANGERS);
        fs::remove_file(folder.path().join("0")).unwrap();
        assert_eq!(watched.look(Depth::Stamps).len(), MAX_STRANGERS);
        fs::remove_file(folder.path().join("1")).unwrap();
        assert_eq!(watched.look(Depth::Stamps).len(), MAX_STRANGERS - 1);
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let mut watched = watched(folder.path());
        let elsewhere = tempfile::NamedTempFile::new().unwrap();
        fs::write(elsewhere.path(), "secret").unwrap();
        fs::remove_file(folder.path().join("a.conf")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("a.conf")).unwrap();
        let found = watched.look(Depth::Content);
        assert_eq!(found[0].kind, DriftKind::Changed);
        let written = [("a.conf".to_owned(), "one".to_owned())].into();
        assert_eq!(watched.diff(&found[0], &written), None);
    }

    #[test]
    fn a_lost_list_of_files_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut found = watched(folder.path());
        fs::write(folder.path().join(MANIFEST), "{}").unwrap();
        assert_eq!(found.look(Depth::Stamps)[0].kind, DriftKind::Changed);
        assert_eq!(Watched::new(folder.path()).look(Depth::Stamps)[0].kind, DriftKind::Missing);
    }
}
