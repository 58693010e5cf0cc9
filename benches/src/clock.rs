use std::{fs, path::Path};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// A clock of the machine that can jump, for the programs that are started with it. The one that
/// only counts on does not.
#[derive(Debug)]
pub struct FakeClock {
    folder: TempDir,
    library: String,
}

/// Where the library keeps what it shares between threads, by the id of a process.
const SHARED: &str = "/dev/shm";
const SHARED_NAMES: [&str; 2] = ["faketime_shm_", "sem.faketime_sem_"];

impl FakeClock {
    /// One that shows the right time.
    ///
    /// # Errors
    /// Without libfaketime.
    pub fn new() -> Result<Self> {
        let libraries = fs::read_dir("/usr/lib")?.flatten();
        let mut libraries = libraries
            .map(|it| it.path().join("faketime/libfaketimeMT.so.1"))
            .filter(|it| it.is_file());
        let library =
            libraries.next().context("libfaketime is missing: ./scripts/test installs it")?;
        let it = Self { folder: tempfile::tempdir()?, library: library.display().to_string() };
        it.jump(0)?;
        sweep();
        Ok(it)
    }

    /// What a program is started with.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let file = self.folder.path().join("time").display().to_string();
        let variables = [
            ("LD_PRELOAD", self.library.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
            // Files keep the times that the kernel wrote.
            ("NO_FAKE_STAT", "1"),
        ];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    /// Shows so many seconds more than the right time, from now on.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn jump(&self, seconds: i64) -> Result<()> {
        let draft = self.folder.path().join("draft");
        fs::write(&draft, format!("{seconds:+}\n"))?;
        Ok(fs::rename(draft, self.folder.path().join("time"))?)
    }
}

impl Drop for FakeClock {
    fn drop(&mut self) {
        sweep();
    }
}

/// Removes what programs left behind that were killed.
fn sweep() {
    for entry in fs::read_dir(SHARED).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = SHARED_NAMES.iter().find_map(|it| name.strip_prefix(it)?.parse::<u32>().ok());
        if pid.is_some_and(|it| !Path::new(&format!("/proc/{it}")).exists()) {
            // Another test may have been faster.
            let _ = fs::remove_file(entry.path());
        }
    }
}
