//! `f2b-client`: commands for the server.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Reading a configuration asks for some fifty thousand small pieces of memory, and ends before they are of any age.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    f2b::client::run(std::env::args_os().collect())
}
