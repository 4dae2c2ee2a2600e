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

#[cfg(target_os = "linux")]
const PAGE: usize = 4096;

/// More than there is at first, and less than what gets pages of its own.
#[cfg(target_os = "linux")]
const LARGE: usize = 127 << 10;

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

/// As much as reading a whole configuration takes.
#[cfg(target_os = "linux")]
const MUCH: usize = 3 << 19;

/// Has the system provide at once what is going to be used of that, which is quicker than page by page. Where it can't, it goes
/// page by page.
pub(crate) fn expect_much() {
    #[cfg(target_os = "linux")]
    // SAFETY: it asks for the end of the heap, and for pages before it to be there, whose contents stay as they are.
    unsafe {
        // More than is left, so that the library takes its next step.
        let taken = Vec::<u8>::with_capacity(LARGE);
        let start = taken.as_ptr().addr().next_multiple_of(PAGE);
        let length = libc::sbrk(0).addr().saturating_sub(start).min(MUCH);
        libc::madvise(std::ptr::with_exposed_provenance_mut(start), length, libc::MADV_POPULATE_WRITE);
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

/// Gives back what has become free, of all arenas, and what is in memory of the program itself: when a configuration has been
/// read, for which most of it is.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the library's own locks and touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: between the two names, which every linker gives, is what nobody writes to: the system reads a page again from the
    // file as soon as it is used.
    unsafe {
        unsafe extern "C" {
            static __executable_start: u8;
            static etext: u8;
        }
        let start = &raw const __executable_start;
        let length = (&raw const etext).addr() - start.addr();
        libc::madvise(start.cast_mut().cast(), length, libc::MADV_DONTNEED);
    }
}
