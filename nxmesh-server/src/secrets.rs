//! Secrets that the server makes for itself at its first start.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::{Context, Result};
use nxmesh_core::rendezvous::CredentialKey;
use nxmesh_core::tenancy::MasterKey;

/// The key that was given, or the one in the file, which is made if it is not there.
pub(crate) fn master_key(given: Option<&str>, file: &Path) -> Result<MasterKey> {
    if let Some(text) = given {
        return MasterKey::parse(text).context("NXMESH_MASTER_KEY");
    }
    let shown = file.display();
    if file.exists() {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
        return MasterKey::parse(&text).with_context(|| format!("{shown}"));
    }
    let key = MasterKey::generate();
    write_once(file, key.to_text().expose()).with_context(|| format!("cannot write {shown}"))?;
    Ok(key)
}

/// The key of rendezvous credentials in the file, which is made if it is not there.
pub(crate) fn credential_key(file: &Path) -> Result<CredentialKey> {
    let shown = file.display();
    if file.exists() {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
        return CredentialKey::parse(&text).with_context(|| format!("{shown}"));
    }
    let key = CredentialKey::generate();
    write_once(file, key.to_text().expose()).with_context(|| format!("cannot write {shown}"))?;
    Ok(key)
}

/// Written whole and synced before it has its name: half a key would lock out for good.
fn write_once(file: &Path, text: &str) -> Result<()> {
    let draft = file.with_extension("new");
    let mut out =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    writeln!(out, "{text}")?;
    out.sync_all()?;
    fs::rename(&draft, file)?;
    if let Some(folder) = file.parent() {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}
