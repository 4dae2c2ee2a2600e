//! Journal files that are cut short while they are mapped.
//!
//! The library reads journals through maps of their files. What lies behind the end of a file that has become shorter can't
//! be read any more: the kernel sends SIGBUS, which ends the process. systemd's own programs put a page of zeros there
//! (`sigbus.c`), which the library takes for a broken file; it leaves that to the program that loads it. So it is done here,
//! while a thread is inside [`watch`] and for what it reads itself. Any other SIGBUS goes to whoever had it before.
#![allow(unsafe_code, reason = "there is no other way to handle SIGBUS")]

use std::cell::Cell;
use std::io;
use std::mem;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::libc::{self, c_int, c_void, siginfo_t};

thread_local! {
    /// Whether this thread reads a journal, and how many pages of it were gone so far. Neither needs to be initialised or
    /// dropped at run time, so that a signal handler may use them.
    static IS_READING: Cell<bool> = const { Cell::new(false) };
    static GONE: Cell<usize> = const { Cell::new(0) };
}

/// Bytes in a page.
static PAGE: AtomicUsize = AtomicUsize::new(0);

/// Who had the signal before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// Runs something that reads journals, and says whether a part of one was gone, which reads as zeros then.
pub(crate) fn watch<T>(read: impl FnOnce() -> T) -> (T, bool) {
    let before = GONE.get();
    let reading = Reading(IS_READING.replace(true));
    let result = read();
    drop(reading);
    (result, GONE.get() != before)
}

/// Ends reading, also by a panic.
struct Reading(bool);

impl Drop for Reading {
    fn drop(&mut self) {
        IS_READING.set(self.0);
    }
}

/// Installs the handler, once.
///
/// # Errors
///
/// The system refuses.
pub(crate) fn handle() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    INSTALLED.get_or_init(install).map_err(io::Error::from_raw_os_error)
}

fn install() -> Result<(), i32> {
    let check = |result| if result < 0 { Err(nix::errno::Errno::last_raw()) } else { Ok(()) };
    // SAFETY: it has no preconditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    PAGE.store(usize::try_from(page).unwrap_or(4096), Ordering::Relaxed);
    // SAFETY: all zeros is a value of this type: numbers, and no function.
    let mut before: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: nothing is changed, and there is a place for what is asked.
    check(unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut before) })?;
    let _ = BEFORE.set(before);
    // SAFETY: as above.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = on_sigbus;
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the handler has the type that `SA_SIGINFO` asks for, and does only what a handler may.
    check(unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) })
}

/// Allocates nothing, locks nothing, leaves `errno` alone unless the process is lost.
extern "C" fn on_sigbus(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel hands over what is known of the signal.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    if IS_READING.get() && code == libc::BUS_ADRERR && fill(address) {
        GONE.set(GONE.get().wrapping_add(1));
    } else {
        pass_on(signal, info, context);
    }
}

/// Puts a page of zeros where nothing can be read.
fn fill(address: usize) -> bool {
    let page = PAGE.load(Ordering::Relaxed);
    let start = ptr::with_exposed_provenance_mut::<c_void>(address & !(page - 1));
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: the page is a part of a map, or reading it would not have come to this; nothing can be read there that somebody
    // might rely on; and whoever has made the map takes it away as before. The call is one of the kernel and nothing else.
    let mapped = unsafe { libc::mmap(start, page, libc::PROT_READ, flags, -1, 0) };
    mapped != libc::MAP_FAILED
}

/// Leaves the signal to whoever had it before; if that was nobody, it ends the process when the instruction is tried again.
fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let before = BEFORE.get().filter(|before| ![libc::SIG_DFL, libc::SIG_IGN].contains(&before.sa_sigaction));
    let Some(before) = before else {
        // SAFETY: it is the default action, for which no function is called.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    };
    if before.sa_flags & libc::SA_SIGINFO != 0 {
        // SAFETY: with this flag it is the address of a function of this type.
        let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
            unsafe { mem::transmute(before.sa_sigaction) };
        handler(signal, info, context);
    } else {
        // SAFETY: without that flag it is the address of a function of this type.
        let handler: extern "C" fn(c_int) = unsafe { mem::transmute(before.sa_sigaction) };
        handler(signal);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    /// Where a file of two pages is mapped, of which the second one is taken away.
    fn cut() -> (File, *const u8, usize) {
        handle().expect("a handler");
        let page = PAGE.load(Ordering::Relaxed);
        let file = tempfile::tempfile().expect("a file");
        file.set_len(2 * page as u64).expect("two pages");
        let (read, shared) = (libc::PROT_READ, libc::MAP_SHARED);
        // SAFETY: the kernel chooses where; nobody else has to do with it.
        let map = unsafe { libc::mmap(ptr::null_mut(), 2 * page, read, shared, file.as_raw_fd(), 0) };
        assert_ne!(map, libc::MAP_FAILED);
        file.set_len(page as u64).expect("one page");
        (file, map.cast(), page)
    }

    #[test]
    fn what_is_gone_reads_as_zeros_and_is_told() {
        let (_file, map, page) = cut();
        // SAFETY: both pages are mapped, for good.
        let read = |offset: usize| watch(|| unsafe { map.add(offset).read_volatile() });
        assert_eq!(read(page - 1), (0, false));
        assert_eq!(read(page + 7), (0, true));
        // It is there now.
        assert_eq!(read(page + 8), (0, false));
        assert!(!IS_READING.get());
    }

    #[test]
    fn elsewhere_the_signal_does_what_it_did() {
        const CHILD: &str = "F2B_TEST_SIGBUS";
        if std::env::var_os(CHILD).is_some() {
            let (_file, map, page) = cut();
            let _ = watch(|| ());
            // SAFETY: it is not: this process ends here.
            unsafe { map.add(page).read_volatile() };
            return;
        }
        let mut child = Command::new(std::env::current_exe().expect("this program"));
        child.args(["--exact", "cut::tests::elsewhere_the_signal_does_what_it_did"]).env(CHILD, "1");
        let output = child.output().expect("it runs");
        assert_eq!(output.status.signal(), Some(libc::SIGBUS), "{output:?}");
    }
}
