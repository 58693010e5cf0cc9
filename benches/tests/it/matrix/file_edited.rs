//! Somebody edits a file of the configuration, and of the one that is about to be served.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result, ensure};
use nxmesh_benches::Point;

use super::cell::{Cell, Fault};

struct FileEdited;

at_each_moment!(FileEdited);

/// Has the virtual host in this folder answer with another version. As editors do it, by a rename:
/// nginx, which may read the file just now, would take half a file as it is.
fn edit(configuration: &Path, draft: &Path) -> Result<()> {
    let mut hosts = fs::read_dir(configuration.join("virtual-hosts"))?;
    let file = hosts.next().context("there is no virtual host")??.path();
    let text = fs::read_to_string(&file)?;
    let other = text.replace("X-Version old", "X-Version edited");
    let other = other.replace("X-Version new", "X-Version edited");
    ensure!(other != text, "nothing is edited in {text}");
    fs::write(draft, other)?;
    Ok(fs::rename(draft, file)?)
}

impl Fault for FileEdited {
    async fn prepare() -> Result<(Self, Cell)> {
        Ok((Self, Cell::start().await?))
    }

    async fn change(&mut self, cell: &Cell, _: Point) -> Result<()> {
        cell.change().await
    }

    async fn come(&mut self, cell: &mut Cell, at: Point) -> Result<()> {
        let mut folders = BTreeSet::from([cell.current()?]);
        if at != Point::Before {
            folders.insert(cell.newest()?);
        }
        let draft = cell.mesh.folder().join("draft");
        folders.iter().try_for_each(|it| edit(it, &draft))
    }

    /// What was edited may be loaded, which is told, until it is put back: nobody has to do that.
    async fn last(&mut self, cell: &mut Cell, _: Point) -> Result<()> {
        cell.tells_the_truth().await?;
        cell.comes_to("new").await?;
        cell.rest(&["old", "edited", "new"]).await?;
        cell.work();
        Ok(())
    }

    async fn go(&mut self, _: &mut Cell) -> Result<()> {
        Ok(())
    }

    async fn after(&mut self, _: &Cell) -> Result<()> {
        Ok(())
    }
}
