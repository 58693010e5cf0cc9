use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// A disk of a few MiB, which can be filled. It ends with this.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Makes one.
    ///
    /// # Errors
    /// When this is not allowed: it needs root.
    pub fn make() -> Result<Self> {
        let it = Self { folder: tempfile::tempdir()? };
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m,nr_inodes=512,mode=0755", "nxmesh-test"]);
        let ended = mount.arg(it.folder.path()).output().context("cannot run mount")?;
        let said = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.success(), "cannot mount a small disk: {said} (it needs root)");
        Ok(it)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Fills it to the last byte, and so that no file can be made.
    ///
    /// # Errors
    /// When it fails of something else than that.
    pub fn fill(&self) -> Result<()> {
        fs::create_dir(self.ballast())?;
        let mut large = File::create(self.ballast().join("large"))?;
        let full = |error: &std::io::Error| error.kind() == ErrorKind::StorageFull;
        for size in [64 * 1024, 1] {
            let bytes = vec![0; size];
            let error = std::iter::repeat_with(|| large.write_all(&bytes)).find_map(Result::err);
            ensure!(error.as_ref().is_some_and(full), "the disk takes no more, but: {error:?}");
        }
        let mut made = (0..).map(|it| File::create(self.ballast().join(format!("{it}"))));
        let error = made.find_map(Result::err);
        ensure!(error.as_ref().is_some_and(full), "no more files can be made, but: {error:?}");
        Ok(())
    }

    /// Makes room again.
    ///
    /// # Errors
    /// When that fails.
    pub fn free(&self) -> Result<()> {
        Ok(fs::remove_dir_all(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.folder.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Programs that end just now may still use it: it goes with the last of them.
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}
