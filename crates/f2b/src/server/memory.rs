//! How much memory the C library keeps for the server beyond what is in use.
//!
//! By itself it gives nearly each thread an arena of its own, and hands back what is free at the end of the first only. A
//! server with many jails has many threads, which allocate little, and has read a configuration.
#![allow(unsafe_code, reason = "nothing else tells the C library")]

#[cfg(target_env = "gnu")]
use nix::libc;

/// That many arenas are enough for the few threads that allocate at the same time.
#[cfg(target_env = "gnu")]
const ARENAS: libc::c_int = 2;

/// Makes the threads share their arenas. To be called before there is any.
pub(super) fn share() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a number that is read under the library's own lock.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
}

/// Gives back what has become free, of all arenas: when a configuration has been read.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the library's own locks and touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
