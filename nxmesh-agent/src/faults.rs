//! Where a test may hold the agent, and where it may end it.
//!
//! Only with the feature `faults`, and only where `NXMESH_FAULTS` names a folder. There the agent
//! waits at a point while the file `hold-POINT` lies there, after it has written `at-POINT`; it
//! notes each of its writes in `writes`; and when it finds `kill-at` with a number, it kills
//! itself before that write, counted from then on. It says by the file `ready` that it does.

/// A point of an apply.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Point {
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

#[cfg(not(feature = "faults"))]
pub(crate) use self::off::{at, begin, removal, write};
#[cfg(feature = "faults")]
pub(crate) use self::on::{at, begin, removal, write};

#[cfg(not(feature = "faults"))]
mod off {
    use std::{future::Ready, path::Path};

    use super::Point;

    pub(crate) const fn begin() {}

    pub(crate) fn at(_: Point) -> Ready<()> {
        std::future::ready(())
    }

    pub(crate) const fn write(_: &str, _: &Path) {}

    pub(crate) const fn removal(_: &Path) {}
}

#[cfg(feature = "faults")]
mod on {
    use std::{
        fs::{self, OpenOptions},
        io::Write,
        path::{Path, PathBuf},
        sync::{LazyLock, Mutex, PoisonError},
        time::Duration,
    };

    use rustix::process::{Signal, getpid, kill_process};

    use super::Point;

    static FOLDER: LazyLock<Option<PathBuf>> =
        LazyLock::new(|| std::env::var_os("NXMESH_FAULTS").map(PathBuf::from));
    /// How many writes are left until the end. Files are synced by several threads: locked, they
    /// are counted one after the other.
    static LEFT: Mutex<Option<u64>> = Mutex::new(None);

    fn note(file: &Path, text: &str) {
        let noted = OpenOptions::new().create(true).append(true).open(file);
        let noted = noted.and_then(|mut it| it.write_all(text.as_bytes()));
        noted.expect("a folder for faults that can be written");
    }

    /// Says that this agent can be held and ended.
    pub(crate) fn begin() {
        if let Some(folder) = &*FOLDER {
            note(&folder.join("ready"), "");
        }
    }

    /// Waits as long as a test wants to.
    pub(crate) async fn at(point: Point) {
        let Some(folder) = &*FOLDER else { return };
        let name = format!("{point:?}").to_lowercase();
        let hold = folder.join(format!("hold-{name}"));
        if hold.exists() {
            note(&folder.join(format!("at-{name}")), "");
        }
        while hold.exists() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(fs::remove_file(folder.join(format!("panic-{name}"))).is_err(), "as was ordered");
    }

    /// This is about to be written.
    pub(crate) fn write(what: &str, path: &Path) {
        let Some(folder) = &*FOLDER else { return };
        let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
        let order = folder.join("kill-at");
        if let Ok(text) = fs::read_to_string(&order) {
            *left = Some(text.trim().parse().expect("the number of a write"));
            fs::remove_file(&order).expect("an order that can be taken");
        }
        note(&folder.join("writes"), &format!("{what} {}\n", path.display()));
        match left.as_mut() {
            None => {}
            Some(0 | 1) => {
                // As `kill -9`: nothing is tidied up.
                let _ = kill_process(getpid(), Signal::KILL);
                std::process::abort();
            }
            Some(left) => *left -= 1,
        }
    }

    /// A folder is about to be removed: here one file after the other, so that it may be left
    /// half removed.
    pub(crate) fn removal(folder: &Path) {
        if FOLDER.is_none() {
            return;
        }
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|it| it.is_dir()) {
                removal(&path);
            } else {
                write("remove", &path);
                // What is left is removed with the rest, and told there.
                let _ = fs::remove_file(&path);
            }
        }
    }
}
