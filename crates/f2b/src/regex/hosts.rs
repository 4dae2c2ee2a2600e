//! Host names in lines, each looked up once (`ipdns.DNSUtils.textToIp`).

use std::collections::HashMap;
use std::io;
use std::net::ToSocketAddrs;

use f2b_filter::{UseDns, repr};
use f2b_types::{Id, Level, Record};

/// Names that are remembered; then all are forgotten.
const MAX_KNOWN: usize = 10_000;

/// Error numbers of `getaddrinfo` by their texts, which are all that the library tells.
const ERRORS: &[(&str, i32)] = &[
    ("Name or service not known", -2),
    ("Temporary failure in name resolution", -3),
    ("Non-recoverable failure in name resolution", -4),
    ("No address associated with hostname", -5),
];

/// The addresses of the names so far.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    known: HashMap<Box<str>, Vec<Id>>,
}

impl Hosts {
    /// The addresses of `host`, none if it has none, and what upstream logs about it.
    pub(super) fn addresses(&mut self, host: &str, use_dns: UseDns) -> (Vec<Id>, Vec<Record>) {
        let mut records = Vec::new();
        let mut warn = |message: String| records.push(Record::new(Level::WARNING, "ipdns", message));
        let ids = match self.known.get(host) {
            Some(ids) => ids.clone(),
            None => {
                let ids = look_up(host).unwrap_or_else(|error| {
                    let error = errno(&error);
                    warn(format!("Unable to find a corresponding IP address for {host}: {error}"));
                    Vec::new()
                });
                if self.known.len() >= MAX_KNOWN {
                    self.known.clear();
                }
                self.known.insert(host.into(), ids.clone());
                ids
            }
        };
        if use_dns == UseDns::Warn && !ids.is_empty() {
            let list: Vec<_> = ids.iter().map(|id| repr(&id.to_string())).collect();
            warn(format!("Determined IP using DNS Lookup: {host} = {{{}}}", list.join(", ")));
        }
        (ids, records)
    }
}

fn look_up(host: &str) -> io::Result<Vec<Id>> {
    let mut ids: Vec<Id> = (host, 0).to_socket_addrs()?.map(|address| Id::from(address.ip())).collect();
    ids.sort();
    ids.dedup();
    Ok(ids)
}

/// The error as Python prints it: with its number.
fn errno(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    match ERRORS.iter().find(|(known, _)| *known == text) {
        Some((_, number)) => format!("[Errno {number}] {text}"),
        None => text.to_owned(),
    }
}
