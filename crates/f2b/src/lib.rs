//! fail2ban in Rust: f2b-server, f2b-client and f2b-regex.
