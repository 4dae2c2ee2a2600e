//! `f2b-regex`: tries filters on log lines.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// What a line says is a few small pieces of memory, which are given back with the next line.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    f2b::regex::run(std::env::args_os())
}
