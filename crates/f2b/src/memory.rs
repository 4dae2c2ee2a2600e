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

#[cfg(all(target_os = "linux", target_env = "gnu"))]
const HUGE_PAGE: usize = 2 << 20;

/// Where the step begins before the huge page: what is taken to make the library take it, and what goes with that.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const BEFORE: usize = LARGE + (1 << 10);

/// More than is left of the heap at the start, and less than what gets pages of its own.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: usize = 127 << 10;

/// What a client takes at once: more than a huge page.
#[cfg(target_env = "gnu")]
const STEP: libc::c_int = 3 << 20;

/// Takes memory in large steps and gives nothing back.
pub(crate) fn hold() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets numbers that are read under the library's own lock.
    unsafe {
        libc::mallopt(libc::M_TOP_PAD, STEP);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
    }
}

/// Has the next step begin at a huge page, if the system has any: a configuration with many jails takes four hundred small ones,
/// each of which it would have to ask for.
pub(crate) fn expect_much() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the library puts up with somebody else who moves the end of its heap; nobody has what is between. What is said of
    // the pages behind does not change what is in them.
    unsafe {
        let end = libc::sbrk(0).addr();
        let Some(start) = end.saturating_add(BEFORE).checked_next_multiple_of(HUGE_PAGE) else { return };
        // What the library writes in front of what is taken and behind must not be in the huge page, or it would become none.
        libc::sbrk((start - BEFORE - end).cast_signed());
        let mut taken = Vec::<u8>::new();
        // Where that is too much, so be it.
        let _ = taken.try_reserve_exact(LARGE);
        drop(std::hint::black_box(taken));
        libc::madvise(std::ptr::with_exposed_provenance_mut(start), HUGE_PAGE, libc::MADV_HUGEPAGE);
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
