//! Whether IPv6 is in use: the option `allowipv6`, and what the system says where that is `auto`.
//!
//! Actions that are started at once are started for the families in use, and host names stand for addresses of these.
//!
//! Upstream: `ipdns.DNSUtils.IPv6IsAllowed`.

use std::fs;
use std::net::{Ipv6Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use f2b_protocol::Value;

const AUTO: u8 = 0;
const ON: u8 = 1;
const OFF: u8 = 2;

/// The option, shared by the threads that go by it.
#[derive(Debug, Clone, Default)]
pub(super) struct Ipv6(Arc<AtomicU8>);

impl Ipv6 {
    /// Takes the option as it was sent, and says what it means.
    pub(super) fn set(&self, value: &Value) -> &'static str {
        let is_on = match value.as_str() {
            Some("auto") => None,
            Some(text) => Some(f2b_types::is_on(text)),
            None => Some(!matches!(value, Value::Bool(false) | Value::Int(0) | Value::None)),
        };
        let (option, text) = match is_on {
            None => (AUTO, "auto"),
            Some(true) => (ON, "on"),
            Some(false) => (OFF, "off"),
        };
        self.0.store(option, Ordering::Relaxed);
        text
    }

    pub(super) fn is_allowed(&self) -> bool {
        match self.0.load(Ordering::Relaxed) {
            ON => true,
            OFF => false,
            _ => is_supported_by_system(),
        }
    }
}

fn is_supported_by_system() -> bool {
    match fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6") {
        Ok(text) => text.trim() == "0",
        // Without the kernel's word a socket tells.
        Err(_) => TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_read_as_upstream_reads_it() {
        let ipv6 = Ipv6::default();
        for (text, meaning) in
            [("auto", "auto"), ("yes", "on"), ("True", "on"), ("no", "off"), ("Auto", "off")]
        {
            assert_eq!(ipv6.set(&text.into()), meaning, "{text}");
        }
        assert_eq!(ipv6.set(&Value::Bool(true)), "on");
        assert!(ipv6.is_allowed());
        assert_eq!(ipv6.set(&Value::Int(0)), "off");
        assert!(!ipv6.is_allowed());
    }
}
