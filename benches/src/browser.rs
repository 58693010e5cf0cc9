use std::path::Path;

use anyhow::{Result, ensure};
use tokio::process::Command;

use crate::Process;

const CHROMIUM: &str = "/usr/bin/chromium";

/// A browser that nobody sees, with one page open; it ends when this is dropped.
#[derive(Debug)]
pub struct Browser(Process);

impl Browser {
    /// Opens a page, with what the browser keeps in this folder.
    ///
    /// # Errors
    /// When there is no browser, saying how to get one.
    pub fn open(folder: &Path, url: &str) -> Result<Self> {
        ensure!(Path::new(CHROMIUM).is_file(), "no {CHROMIUM}: run scripts/install chromium");
        std::fs::create_dir_all(folder)?;
        let mut command = Command::new(CHROMIUM);
        command.args([
            // Root may not use its own sandbox, and here it opens only what the test wrote.
            "--no-sandbox",
            "--headless=new",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            // It is to ask nobody but the test.
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            // Peers are to reach each other on a machine without a network, and without names for its addresses.
            "--allow-loopback-in-peer-connection",
            "--disable-features=WebRtcHideLocalIpsWithMdns",
        ]);
        command.arg(format!("--user-data-dir={}", folder.display())).arg(url);
        Ok(Self(Process::start(&mut command, &folder.join("browser.log"))?))
    }

    /// Ends it, and waits for that.
    ///
    /// # Errors
    /// When it cannot be told.
    pub async fn close(mut self) -> Result<()> {
        self.0.terminate().await.map(|_| ())
    }
}
