//! `f2b-regex`: tries filters on log lines.

use std::process::ExitCode;

fn main() -> ExitCode {
    f2b::regex::run(std::env::args_os())
}
