//! Host names for the tags `<ip-host>`, `<fq-hostname>` and `<sh-hostname>`, looked up only where a command asks.
//!
//! The standard library knows no reverse lookup and no canonical names, and calling the C library would need `unsafe`.
//! `getent` asks the same name services as upstream's `gethostbyaddr` and `getaddrinfo` do, and as a process of its
//! own it can be stopped when a name server does not answer.
//!
//! Upstream: `ipdns.DNSUtils.ipToName`, `getHostname` and `getfqdn`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use f2b_types::{Id, Number};

use crate::script::Script;
use crate::shell::{Runner, Shell};

/// Who knows the names of hosts.
pub trait Names {
    /// The name of the host with this address; `None` where it has none.
    fn host_of(&self, ip: &Id) -> Option<String>;

    /// The full name of this host.
    fn fq_hostname(&self) -> String;

    /// The name of this host as the kernel knows it.
    fn sh_hostname(&self) -> String;
}

/// The tags that any command may use, whatever it is about.
pub(crate) fn host_tag(name: &str, names: &dyn Names) -> Option<String> {
    match name {
        "br" => Some("\n".into()),
        "sp" => Some(" ".into()),
        "fq-hostname" => Some(names.fq_hostname()),
        "sh-hostname" => Some(names.sh_hostname()),
        _ => None,
    }
}

/// Names that are known beforehand, for tests.
#[derive(Debug, Clone)]
pub struct FixedNames {
    /// The name of every address.
    pub host: Option<String>,
    /// The full name of this host.
    pub fq_hostname: String,
    /// The short name of this host.
    pub sh_hostname: String,
}

impl Default for FixedNames {
    fn default() -> Self {
        Self { host: None, fq_hostname: "host.example.org".into(), sh_hostname: "host".into() }
    }
}

impl Names for FixedNames {
    fn host_of(&self, _: &Id) -> Option<String> {
        self.host.clone()
    }

    fn fq_hostname(&self) -> String {
        self.fq_hostname.clone()
    }

    fn sh_hostname(&self) -> String {
        self.sh_hostname.clone()
    }
}

/// How long an answer is good, also one without a name.
const KEEP: Duration = Duration::from_secs(300);

/// How many answers are kept.
const MAX_KEPT: usize = 1000;

/// How long the name services may take.
const TIMEOUT: Number = Number::Int(30);

/// The names that this system's name services know; answers are kept for five minutes.
#[derive(Debug, Default)]
pub struct SystemNames {
    known: Mutex<HashMap<String, (Option<String>, Instant)>>,
}

impl SystemNames {
    fn cached(&self, key: &str, look_up: impl FnOnce() -> Option<String>) -> Option<String> {
        let now = Instant::now();
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((name, until)) = known().get(key)
            && *until > now
        {
            return name.clone();
        }
        // The lock is not held while the name services think.
        let name = look_up();
        let mut known = known();
        if known.len() >= MAX_KEPT {
            known.retain(|_, (_, until)| *until > now);
        }
        if known.len() >= MAX_KEPT {
            known.clear();
        }
        known.insert(key.to_owned(), (name.clone(), now + KEEP));
        name
    }
}

impl Names for SystemNames {
    fn host_of(&self, ip: &Id) -> Option<String> {
        let ip = ip.to_string();
        if ip.is_empty() || ip.contains('\0') {
            return None;
        }
        // `192.0.2.1 name alias...`
        self.cached(&ip, || getent("hosts", &ip)?.split_whitespace().nth(1).map(Into::into))
    }

    fn fq_hostname(&self) -> String {
        let short = self.sh_hostname();
        // `192.0.2.1 STREAM canonical-name` in the first line, only the addresses in the others.
        let full = self.cached("", || {
            let answer = getent("ahosts", &short)?;
            answer.lines().next()?.split_whitespace().nth(2).map(Into::into)
        });
        full.unwrap_or(short)
    }

    fn sh_hostname(&self) -> String {
        let name = nix::unistd::gethostname().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

fn getent(database: &str, key: &str) -> Option<String> {
    let script = Script {
        text: "exec getent \"$0\" -- \"$1\"".into(),
        args: vec![database.to_owned(), key.to_owned()],
    };
    let outcome = Shell.run(&script, TIMEOUT);
    outcome.success().then(|| String::from_utf8_lossy(&outcome.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_name_or_none() {
        let names = SystemNames::default();
        assert_eq!(names.host_of(&Id::parse("127.0.0.1")).as_deref(), Some("localhost"));
        assert_eq!(names.host_of(&Id::raw("")), None);
        assert_eq!(names.host_of(&Id::raw("-x\0y")), None);
    }

    #[test]
    fn this_host_has_names() {
        let names = SystemNames::default();
        assert!(!names.sh_hostname().is_empty());
        assert!(!names.fq_hostname().is_empty());
        assert_eq!(names.fq_hostname(), names.fq_hostname());
    }
}
