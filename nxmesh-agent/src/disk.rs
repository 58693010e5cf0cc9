//! Changing what is on disk. All that the agent writes for an apply is written here, a step at a
//! time, so that a test can end it before each.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink},
    path::Path,
};

use crate::faults;

pub(crate) fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    faults::write("make", path);
    DirBuilder::new().mode(mode).create(path)
}

/// Writes a file that is not there yet.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    faults::write("open", path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    faults::write("write", path);
    file.write_all(bytes)
}

/// Writes a file for the owner only in place of another, by one rename, on disk when this returns.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    faults::write("open", &draft);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    faults::write("write", &draft);
    file.write_all(bytes)?;
    faults::write("sync", &draft);
    file.sync_all()?;
    rename(&draft, path)
}

/// Lets a link point elsewhere, by one rename, on disk when this returns.
pub(crate) fn point(link: &Path, to: &Path) -> io::Result<()> {
    let draft = link.with_extension("new");
    remove_file(&draft)?;
    // Where it points there already nothing is written: there may be no room for that.
    if fs::read_link(link).is_ok_and(|it| it == to) {
        return sync_above(link);
    }
    faults::write("link", &draft);
    symlink(to, &draft)?;
    rename(&draft, link)
}

/// Gives a file a second name; answers whether that worked.
pub(crate) fn share(file: &Path, name: &Path) -> bool {
    faults::write("share", name);
    fs::hard_link(file, name).is_ok()
}

/// Removes a file, if it is there.
pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    faults::write("remove", path);
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes a folder with all that is in it.
pub(crate) fn remove_folder(path: &Path) -> io::Result<()> {
    faults::removal(path);
    faults::write("remove", path);
    fs::remove_dir_all(path)
}

/// Puts a file, or the names in a folder, on disk.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    faults::write("sync", path);
    File::open(path)?.sync_all()
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    faults::write("rename", to);
    fs::rename(from, to)?;
    sync_above(to)
}

fn sync_above(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_link_that_points_there_already_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        let inode = || fs::symlink_metadata(&link).unwrap().ino();
        point(&link, Path::new("/one")).unwrap();
        let before = inode();
        for to in ["/one", "/two"] {
            // As an agent leaves it that dies in the middle.
            symlink("/somewhere", folder.path().join("link.new")).unwrap();
            point(&link, Path::new(to)).unwrap();
            assert_eq!(fs::read_link(&link).unwrap(), Path::new(to));
            assert_eq!(inode() == before, to == "/one");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }
}
