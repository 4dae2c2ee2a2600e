//! The three programs of f2b, each a thin `main` over a module of this library.
//!
//! | program | module | upstream's counterpart |
//! |---|---|---|
//! | `f2b-server` | [`server`] | `server/*.py`, `client/fail2banserver.py` |
//! | `f2b-client` | [`client`] | `client/fail2banclient.py`, `client/beautifier.py` |
//! | `f2b-regex` | [`regex`] | `client/fail2banregex.py` |
//!
//! [`cmdline`] is the command line of server and client, `complete` what a shell can complete it to, [`logging`] the log,
//! and [`clock`] reads the clock.

pub mod client;
pub mod clock;
pub mod cmdline;
mod complete;
mod line_buffer;
mod log_format;
pub mod logging;
mod memory;
pub mod regex;
pub mod server;
