use std::{collections::BTreeSet, fmt};

use crate::{Error, ErrorKind, Result};

/// The version of an nginx.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NginxVersion(pub u32, pub u32, pub u32);

impl fmt::Display for NginxVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// What is known of the nginx that is rendered for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NginxFacts {
    /// Its version.
    pub version: NginxVersion,
    /// What it was built with and without: `http_v2_module`, `without-http_gzip_module`.
    pub build: BTreeSet<String>,
    /// Whether its host has IPv6.
    pub ipv6: bool,
}

/// The modules that matter, and what agents report for them.
const CAPABILITIES: [(&str, &str); 4] = [
    ("http_v2_module", "http2"),
    ("http_v3_module", "http3"),
    ("http_ssl_module", "ssl"),
    ("http_stub_status_module", "stub_status"),
];
/// What agents report for a host with IPv6.
const IPV6: &str = "ipv6";

impl NginxFacts {
    /// Reads what `nginx -V` prints.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when that names no version.
    pub fn parse(printed: &str, ipv6: bool) -> Result<Self> {
        let unknown = || Error::new(ErrorKind::Invalid, "nginx -V names no version");
        let version = printed.split_once("nginx/").ok_or_else(unknown)?.1;
        let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        let mut number = || numbers.next().and_then(Result::ok).ok_or_else(unknown);
        let version = NginxVersion(number()?, number()?, number()?);
        let options = printed.split_ascii_whitespace().filter_map(|word| word.strip_prefix("--"));
        let build = options.map(|option| option.strip_prefix("with-").unwrap_or(option).to_owned());
        Ok(Self { version, build: build.collect(), ipv6 })
    }

    /// Whether it has an optional module, built in.
    #[must_use]
    pub fn has(&self, module: &str) -> bool {
        self.build.contains(module)
    }

    /// Whether it has a module that is there unless it was left out.
    #[must_use]
    pub fn keeps(&self, module: &str) -> bool {
        !self.build.contains(&format!("without-{module}"))
    }

    /// What agents report of it: `http2`, `http3`, `ssl`, `stub_status`, `ipv6`.
    #[must_use]
    pub fn capabilities(&self) -> Vec<String> {
        let there = CAPABILITIES.iter().filter(|(module, _)| self.has(module));
        let names = there.map(|(_, name)| *name).chain(self.ipv6.then_some(IPV6));
        names.map(str::to_owned).collect()
    }

    /// What is known from what an agent reports; `None` when it reports no version.
    #[must_use]
    pub fn reported(version: &str, capabilities: &[String]) -> Option<Self> {
        let can = |name: &str| capabilities.iter().any(|it| it == name);
        let facts = Self::parse(&format!("nginx/{version}"), can(IPV6)).ok()?;
        let there = CAPABILITIES.iter().filter(|(_, name)| can(name));
        Some(Self { build: there.map(|(module, _)| (*module).to_owned()).collect(), ..facts })
    }

    pub(super) fn since(&self, major: u32, minor: u32, patch: u32) -> bool {
        self.version >= NginxVersion(major, minor, patch)
    }

    pub(super) fn speaks_http3(&self) -> bool {
        self.since(1, 25, 0) && self.has("http_v3_module")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_nginx_prints() {
        let printed = "nginx version: nginx/1.22.1\nbuilt with OpenSSL\nconfigure arguments: \
                       --with-cc-opt='-g -O2' --with-http_ssl_module --without-http_uwsgi_module";
        let facts = NginxFacts::parse(printed, true).unwrap();
        assert_eq!(facts.version, NginxVersion(1, 22, 1));
        assert!(facts.has("http_ssl_module") && !facts.has("http_v2_module"));
        assert!(facts.keeps("http_fastcgi_module") && !facts.keeps("http_uwsgi_module"));
        assert!(NginxFacts::parse("Apache/2.4", true).is_err());
        assert!(NginxFacts::parse("nginx/1.x", true).is_err());
    }

    #[test]
    fn what_agents_report_is_what_is_known() {
        let mut build = ["http_v2_module", "http_stub_status_module"].map(str::to_owned).into();
        for ipv6 in [true, false] {
            let facts = NginxFacts { version: NginxVersion(1, 25, 1), build, ipv6 };
            let told = NginxFacts::reported("1.25.1", &facts.capabilities());
            assert_eq!(told.as_ref(), Some(&facts));
            build = facts.build;
        }
        assert_eq!(NginxFacts::reported("", &["http2".to_owned()]), None);
    }
}
