//! How much memory the C library keeps beyond what is in use.
//!
//! By itself it gives nearly each thread an arena of its own, and hands back what is free at the end of the first only. A
//! server with many jails has many threads, which allocate little, and has read a configuration. A client comes to its
//! end before it is worth while to hand back anything.
#![allow(unsafe_code, reason = "nothing else tells the C library")]

#[cfg(target_env = "gnu")]
use nix::libc;

/// That many arenas are enough for the few threads that allocate at the same time.
#[cfg(target_env = "gnu")]
const ARENAS: libc::c_int = 2;

/// What a client takes at once.
#[cfg(target_env = "gnu")]
const STEP: libc::c_int = 2 << 20;

/// Takes memory in large steps and gives nothing back.
pub(crate) fn hold() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets numbers that are read under the library's own lock.
    unsafe {
        libc::mallopt(libc::M_TOP_PAD, STEP);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
    }
}

/// Makes the threads share their arenas. To be called before there is any.
pub(crate) fn share() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a number that is read under the library's own lock.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
}

/// Gives back what has become free, of all arenas: when a configuration has been read.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the library's own locks and touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
