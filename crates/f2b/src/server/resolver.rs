//! Host names, looked up by a thread of their own, so that matching waits for no name server.

use std::collections::HashMap;
use std::io;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use f2b_types::{Failure, Id, Level, Log, Record};

use super::ipv6::Ipv6;
use super::{Backlog, JailKey, Msg};
use crate::logging::ServerLog;

/// How long an answer is good.
const KEEP: Duration = Duration::from_secs(300);

/// How long it is good that there is no answer.
const KEEP_FAILURE: Duration = Duration::from_secs(20);

/// How many answers are kept.
const MAX_KEPT: usize = 1000;

/// What is to be looked up.
enum Job {
    /// A name that a jail ignores.
    Ignored { jail: JailKey, name: String },
    /// A name that failed in a jail; each of its addresses has failed then.
    Failed { jail: JailKey, name: String, warn: bool, failure: Failure, backlog: Backlog },
}

/// The way to the thread.
#[derive(Clone)]
pub(super) struct Resolver {
    jobs: Sender<Job>,
}

impl Resolver {
    pub(super) fn start(core: &Sender<Msg>, log: &Arc<ServerLog>, ipv6: &Ipv6) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel();
        let ipv6 = ipv6.clone();
        let thread = Lookup { core: core.clone(), log: Arc::clone(log), ipv6, known: HashMap::new() };
        thread::Builder::new().name("f2b/resolver".into()).spawn(move || thread.run(&inbox))?;
        Ok(Self { jobs })
    }

    /// Looks up the names that a jail ignores; the answers come as [`Msg::Resolved`].
    pub(super) fn look_up<'a>(&self, jail: JailKey, names: impl Iterator<Item = &'a str>) {
        for name in names {
            let _ = self.jobs.send(Job::Ignored { jail, name: name.into() });
        }
    }

    /// Looks up who failed; the answers come as [`Msg::Found`]. `warn` where the log is to say so (`usedns = warn`).
    pub(super) fn failed(&self, jail: JailKey, name: String, warn: bool, failure: Failure, backlog: Backlog) {
        backlog.enter();
        let _ = self.jobs.send(Job::Failed { jail, name, warn, failure, backlog });
    }
}

/// The addresses of this machine's interfaces, for `ignoreself`.
pub(super) fn own_addresses() -> Vec<Id> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            if let Some(v4) = address.as_sockaddr_in() {
                return Some(Id::from(std::net::IpAddr::V4(v4.ip())));
            }
            address.as_sockaddr_in6().map(|v6| Id::from(std::net::IpAddr::V6(v6.ip())))
        })
        .collect()
}

struct Lookup {
    core: Sender<Msg>,
    log: Arc<ServerLog>,
    ipv6: Ipv6,
    known: HashMap<String, (Vec<Id>, Instant)>,
}

impl Lookup {
    fn run(mut self, inbox: &Receiver<Job>) {
        while let Ok(job) = inbox.recv() {
            match job {
                Job::Ignored { jail, name } => {
                    let addresses = self.addresses(&name);
                    // A name that can't be looked up now stands for what it stood for before.
                    if !addresses.is_empty() {
                        let _ = self.core.send(Msg::Resolved { jail, name, addresses });
                    }
                }
                Job::Failed { jail, name, warn, failure, backlog } => {
                    self.failed(jail, &name, warn, &failure, &backlog);
                    backlog.leave();
                }
            }
        }
    }

    fn failed(&mut self, jail: JailKey, name: &str, warn: bool, failure: &Failure, backlog: &Backlog) {
        let addresses = self.addresses(name);
        if warn && !addresses.is_empty() {
            let list: Vec<String> = addresses.iter().map(|id| format!("'{id}'")).collect();
            let message = format!("Determined IP using DNS Lookup: {name} = {{{}}}", list.join(", "));
            self.log.write(Record::new(Level::WARNING, "ipdns", message));
        }
        for id in addresses {
            backlog.enter();
            let failure = Failure { id, ..failure.clone() };
            let _ = self.core.send(Msg::Found { jail, failure });
        }
    }

    fn addresses(&mut self, name: &str) -> Vec<Id> {
        let now = Instant::now();
        if let Some((addresses, until)) = self.known.get(name)
            && *until > now
        {
            return addresses.clone();
        }
        let mut addresses: Vec<Id> = Vec::new();
        match (name, 0).to_socket_addrs() {
            Ok(found) => {
                let ipv6 = self.ipv6.is_allowed();
                let found = found.filter(|address| ipv6 || address.is_ipv4());
                for id in found.map(|address| Id::from(address.ip())) {
                    if !addresses.contains(&id) {
                        addresses.push(id);
                    }
                }
            }
            Err(error) => {
                let message = format!("Unable to find a corresponding IP address for {name}: {error}");
                self.log.write(Record::new(Level::WARNING, "ipdns", message));
            }
        }
        if self.known.len() >= MAX_KEPT {
            self.known.clear();
        }
        let keep = if addresses.is_empty() { KEEP_FAILURE } else { KEEP };
        self.known.insert(name.into(), (addresses.clone(), now + keep));
        addresses
    }
}
