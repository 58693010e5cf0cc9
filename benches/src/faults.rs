use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::wait_for;

const PATIENCE: Duration = Duration::from_secs(30);

/// A point of an apply at which an agent can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// An update has come, and nothing is done yet.
    Before,
    /// It is written, and nginx has not tested it.
    Test,
    /// It is tested, and `current` still links to what was before.
    Switch,
    /// `current` links to it, and nginx knows nothing of that.
    Reload,
    /// nginx was told, and nobody has asked what it serves.
    Proof,
}

/// Orders to an agent that was built with its feature `faults`, by files in a folder.
#[derive(Debug)]
pub struct Faults {
    folder: TempDir,
}

impl Faults {
    /// Nothing is ordered yet.
    ///
    /// # Errors
    /// When there is no folder to be had.
    pub fn new() -> Result<Self> {
        Ok(Self { folder: tempfile::tempdir()? })
    }

    /// What the agent is started with.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        vec![("NXMESH_FAULTS".to_owned(), self.folder.path().display().to_string())]
    }

    /// Whether an agent that runs by now takes orders.
    ///
    /// # Errors
    /// When it does not, saying how to build one that does.
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.file("ready").exists(),
            "nxmesh-agent was built without its feature `faults`: run ./scripts/test, \
             or `cargo build --workspace --bins --all-features`"
        );
        Ok(())
    }

    /// Has the agent wait at this point.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn hold(&self, point: Point) -> Result<()> {
        Ok(fs::write(self.of("hold", point), "")?)
    }

    /// Waits until it waits there.
    ///
    /// # Errors
    /// When it does not come so far.
    pub async fn reached(&self, point: Point) -> Result<()> {
        let there = self.of("at", point);
        wait_for(&format!("the agent to be at {point:?}"), PATIENCE, || async { there.exists() })
            .await?;
        Ok(())
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn release(&self, point: Point) -> Result<()> {
        fs::remove_file(self.of("at", point))?;
        Ok(fs::remove_file(self.of("hold", point))?)
    }

    /// Has it panic at this point, once it goes on.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn panic_at(&self, point: Point) -> Result<()> {
        Ok(fs::write(self.of("panic", point), "")?)
    }

    /// Has it kill itself before this one of its writes, counted from the next.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn kill_at(&self, write: usize) -> Result<()> {
        let draft = self.file("draft");
        fs::write(&draft, write.to_string())?;
        Ok(fs::rename(draft, self.file("kill-at"))?)
    }

    /// Takes that order back, if nobody has seen it yet.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn spare(&self) -> Result<()> {
        let order = self.file("kill-at");
        if order.exists() {
            fs::remove_file(order)?;
        }
        Ok(())
    }

    /// All that it has written, or was killed before it did: what was done and to which file.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn writes(&self) -> Result<Vec<String>> {
        let writes = fs::read_to_string(self.file("writes"))?;
        Ok(writes.lines().map(str::to_owned).collect())
    }

    fn of(&self, what: &str, point: Point) -> PathBuf {
        self.file(&format!("{what}-{}", format!("{point:?}").to_lowercase()))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
