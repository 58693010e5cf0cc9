use std::{
    fs::File,
    net::Ipv4Addr,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread::{Builder, JoinHandle},
};

use anyhow::{Context, Result, ensure};
use rustix::{
    fd::AsFd,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

static MADE: AtomicU32 = AtomicU32::new(0);

/// A network namespace with one cable to this machine, which can be cut. It ends with this.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    cable: String,
    near: Ipv4Addr,
}

impl Namespace {
    /// Makes one.
    ///
    /// # Errors
    /// When this is not allowed: it needs root.
    pub fn make() -> Result<Self> {
        let (process, number) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        // A subnet of four addresses; two processes of a machine seldom have equal low bits.
        let subnet = (process * 4 + number) % (1 << 14) * 4;
        let near = Ipv4Addr::from_bits(Ipv4Addr::new(10, 203, 0, 0).to_bits() + subnet + 1);
        let far = Ipv4Addr::from_bits(near.to_bits() + 1);
        let it = Self {
            name: format!("nxmesh-{process}-{number}"),
            cable: format!("nx{process}-{number}"),
            near,
        };
        ip(&format!("netns add {}", it.name))?;
        ip(&format!("link add {} type veth peer name eth0 netns {}", it.cable, it.name))?;
        ip(&format!("addr add {near}/30 dev {}", it.cable))?;
        ip(&format!("link set {} up", it.cable))?;
        ip(&format!("-n {} addr add {far}/30 dev eth0", it.name))?;
        ip(&format!("-n {} link set eth0 up", it.name))?;
        ip(&format!("-n {} link set lo up", it.name))?;
        Ok(it)
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address of this machine, as seen from there.
    #[must_use]
    pub const fn near(&self) -> Ipv4Addr {
        self.near
    }

    /// Cuts the cable: nothing gets through, and nobody is told.
    ///
    /// # Errors
    /// When that fails.
    pub fn cut(&self) -> Result<()> {
        ip(&format!("link set {} down", self.cable))
    }

    /// Mends it.
    ///
    /// # Errors
    /// When that fails.
    pub fn mend(&self) -> Result<()> {
        ip(&format!("link set {} up", self.cable))
    }

    /// Does something there, in a thread and a runtime of its own.
    ///
    /// # Errors
    /// When there is no such thread to be had.
    pub fn run<F, T>(
        &self,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> Result<JoinHandle<Result<T>>>
    where
        F: Future<Output = T>,
        T: Send + 'static,
    {
        let there = File::open(format!("/run/netns/{}", self.name))?;
        let inside = move || {
            move_into_link_name_space(there.as_fd(), Some(LinkNameSpaceType::Network))?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(work()))
        };
        Ok(Builder::new().name(self.name.clone()).spawn(inside)?)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The cable goes with it.
        let _ = ip(&format!("netns del {}", self.name));
    }
}

fn ip(args: &str) -> Result<()> {
    let ended = Command::new("ip").args(args.split(' ')).output();
    let ended = ended.context("cannot run ip (iproute2): ./scripts/test installs it")?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(ended.status.success(), "ip {args}: {said} (network namespaces need root)");
    Ok(())
}
