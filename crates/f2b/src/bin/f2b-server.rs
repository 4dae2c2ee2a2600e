//! `f2b-server`: follows logs and bans.

use std::process::ExitCode;

fn main() -> ExitCode {
    f2b::server::run(std::env::args_os().collect())
}
