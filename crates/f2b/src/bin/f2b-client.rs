//! `f2b-client`: commands for the server.

use std::process::ExitCode;

fn main() -> ExitCode {
    f2b::client::run(std::env::args_os().collect())
}
