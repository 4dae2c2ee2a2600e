//! The functions of `libsystemd.so.0`, and the one type that calls them.
//!
//! Everything unsafe of this crate is in here. What the calls rely on: the functions have the types that
//! `systemd/sd-journal.h` gives them and that its versioned ABI keeps; the library is never unloaded; a handle is used by
//! one thread only, which its raw pointer sees to (it is neither `Send` nor `Sync`); what the library lends is copied
//! before the next call. All of them read files that are mapped into memory, so each runs inside [`cut::watch`].
#![allow(unsafe_code, reason = "functions of a shared library can't be called otherwise")]

use std::cell::Cell;
use std::error::Error as _;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;

use libloading::Library;

use crate::cut;
use crate::error::JournalError;

const LIBRARY: &str = "libsystemd.so.0";

/// `sd_journal`, of which nothing is known here.
#[repr(C)]
struct RawJournal {
    _private: [u8; 0],
}

type Raw = *mut RawJournal;

/// Declares the functions with their types, and how to look all of them up.
macro_rules! functions {
    ($($name:ident($($arg:ty),*) -> $result:ty;)*) => {
        struct Functions {
            $($name: unsafe extern "C" fn($($arg),*) -> $result,)*
        }

        impl Functions {
            /// # Safety
            ///
            /// The functions of `library` have these types, and it stays loaded for as long as they are called.
            unsafe fn of(library: &Library) -> Result<Self, libloading::Error> {
                Ok(Self {
                    // SAFETY: the types are those of `sd-journal.h`, which the caller vouches for.
                    $($name: *unsafe { library.get(stringify!($name).as_bytes()) }?,)*
                })
            }
        }
    };
}

functions! {
    sd_journal_open(*mut Raw, c_int) -> c_int;
    sd_journal_open_directory(*mut Raw, *const c_char, c_int) -> c_int;
    sd_journal_open_files(*mut Raw, *const *const c_char, c_int) -> c_int;
    sd_journal_open_namespace(*mut Raw, *const c_char, c_int) -> c_int;
    sd_journal_close(Raw) -> ();
    sd_journal_add_match(Raw, *const c_void, usize) -> c_int;
    sd_journal_add_disjunction(Raw) -> c_int;
    sd_journal_flush_matches(Raw) -> ();
    sd_journal_seek_tail(Raw) -> c_int;
    sd_journal_seek_realtime_usec(Raw, u64) -> c_int;
    sd_journal_seek_cursor(Raw, *const c_char) -> c_int;
    sd_journal_get_cursor(Raw, *mut *mut c_char) -> c_int;
    sd_journal_next(Raw) -> c_int;
    sd_journal_previous(Raw) -> c_int;
    sd_journal_get_realtime_usec(Raw, *mut u64) -> c_int;
    sd_journal_get_monotonic_usec(Raw, *mut u64, *mut c_void) -> c_int;
    sd_journal_restart_data(Raw) -> ();
    sd_journal_enumerate_data(Raw, *mut *const c_void, *mut usize) -> c_int;
    sd_journal_get_fd(Raw) -> c_int;
    sd_journal_process(Raw) -> c_int;
    free(*mut c_void) -> ();
}

static FUNCTIONS: OnceLock<Result<Functions, String>> = OnceLock::new();

/// Loads the library, once; afterwards the answer is always the same.
///
/// # Errors
///
/// [`JournalError::NoLibrary`] says what is missing.
pub fn load() -> Result<(), JournalError> {
    functions().map(|_| ())
}

fn functions() -> Result<&'static Functions, JournalError> {
    let functions = FUNCTIONS.get_or_init(|| {
        // SAFETY: what the library does when it is loaded (it sets variables of its own) is safe in any thread.
        let library = unsafe { Library::new(LIBRARY) }.map_err(|error| reason(&error))?;
        // Never dropped, so that it is never unloaded.
        let library: &'static Library = Box::leak(Box::new(library));
        // SAFETY: `libsystemd.so.0` has these functions with these types since version 209, and it stays loaded.
        unsafe { Functions::of(library) }.map_err(|error| reason(&error))
    });
    functions.as_ref().map_err(|reason| JournalError::NoLibrary(reason.clone()))
}

/// What the loader says.
fn reason(error: &libloading::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// Where the files of a journal are.
pub(crate) enum Place<'a> {
    /// Where the system has them.
    System,
    /// In a directory.
    Directory(&'a Path),
    /// These.
    Files(&'a [std::path::PathBuf]),
    /// Where the system has those of a namespace.
    Namespace(&'a str),
}

/// An open journal.
pub(crate) struct Handle {
    raw: NonNull<RawJournal>,
    functions: &'static Functions,
    /// One of its files was cut short: what it says is worth nothing any more.
    is_cut: Cell<bool>,
}

impl Handle {
    pub(crate) fn open(place: &Place<'_>, flags: c_int) -> Result<Self, JournalError> {
        let functions = functions()?;
        cut::handle().map_err(JournalError::System)?;
        let mut raw: Raw = ptr::null_mut();
        let (result, is_cut) = match place {
            // SAFETY: `raw` is a place for the handle.
            Place::System => cut::watch(|| unsafe { (functions.sd_journal_open)(&raw mut raw, flags) }),
            Place::Directory(path) => {
                let path = c_path(path)?;
                // SAFETY: as above; the path is a terminated string that outlives the call.
                cut::watch(|| unsafe {
                    (functions.sd_journal_open_directory)(&raw mut raw, path.as_ptr(), flags)
                })
            }
            Place::Namespace(name) => {
                let name = c_text(name)?;
                // SAFETY: as above; the name is a terminated string that outlives the call.
                cut::watch(|| unsafe {
                    (functions.sd_journal_open_namespace)(&raw mut raw, name.as_ptr(), flags)
                })
            }
            Place::Files(paths) => {
                let paths = paths.iter().map(|path| c_path(path)).collect::<Result<Vec<_>, _>>()?;
                let mut list: Vec<*const c_char> = paths.iter().map(|path| path.as_ptr()).collect();
                list.push(ptr::null());
                // SAFETY: as above; the list ends with a null pointer, it and its terminated strings outlive the call.
                cut::watch(|| unsafe {
                    (functions.sd_journal_open_files)(&raw mut raw, list.as_ptr(), flags)
                })
            }
        };
        if result < 0 {
            return Err(JournalError::of(result, OPENING_FAILED));
        }
        let raw = NonNull::new(raw).ok_or(JournalError::Invalid(OPENING_FAILED))?;
        let handle = Self { raw, functions, is_cut: Cell::new(is_cut) };
        if is_cut { Err(JournalError::CutShort) } else { Ok(handle) }
    }

    /// Lets a function of the library, which gets the handle, do something; `invalid` is said of parameters that it refuses.
    fn run(&self, invalid: &'static str, function: impl FnOnce(Raw) -> c_int) -> Result<c_int, JournalError> {
        if self.is_cut.get() {
            return Err(JournalError::CutShort);
        }
        match cut::watch(|| function(self.raw.as_ptr())) {
            (_, true) => {
                self.is_cut.set(true);
                Err(JournalError::CutShort)
            }
            (result, false) if result < 0 => Err(JournalError::of(result, invalid)),
            (result, false) => Ok(result),
        }
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.get()
    }

    /// Calls a function that takes nothing but the handle.
    fn call(&self, function: unsafe extern "C" fn(Raw) -> c_int) -> Result<c_int, JournalError> {
        // SAFETY: the handle is open, and this is the only thread that has it.
        self.run(INVALID, |raw| unsafe { function(raw) })
    }

    /// Calls one that has nothing to answer.
    fn tell(&self, function: unsafe extern "C" fn(Raw)) -> Result<(), JournalError> {
        let tell = |raw| {
            // SAFETY: as above.
            unsafe { function(raw) };
            0
        };
        self.run(INVALID, tell).map(|_| ())
    }

    /// Calls a function that writes a number of microseconds.
    fn ask(&self, function: unsafe extern "C" fn(Raw, *mut u64) -> c_int) -> Result<u64, JournalError> {
        let mut micros = 0;
        // SAFETY: the handle is open, and there is a place for the number.
        self.run(INVALID, |raw| unsafe { function(raw, &raw mut micros) })?;
        Ok(micros)
    }

    pub(crate) fn add_match(&mut self, text: &str) -> Result<(), JournalError> {
        // A length of zero would mean a terminated string.
        if text.is_empty() {
            return Err(JournalError::Invalid(INVALID_MATCH));
        }
        let function = self.functions.sd_journal_add_match;
        // SAFETY: the handle is open; the text is copied, as many bytes as it has.
        let add = |raw| unsafe { function(raw, text.as_ptr().cast(), text.len()) };
        self.run(INVALID_MATCH, add).map(|_| ())
    }

    pub(crate) fn add_disjunction(&mut self) -> Result<(), JournalError> {
        self.call(self.functions.sd_journal_add_disjunction).map(|_| ())
    }

    pub(crate) fn flush_matches(&mut self) {
        // If it can't be read any more, whoever reads it next is told.
        let _ = self.tell(self.functions.sd_journal_flush_matches);
    }

    pub(crate) fn seek_tail(&mut self) -> Result<(), JournalError> {
        self.call(self.functions.sd_journal_seek_tail).map(|_| ())
    }

    pub(crate) fn seek_time(&mut self, micros: u64) -> Result<(), JournalError> {
        let function = self.functions.sd_journal_seek_realtime_usec;
        // SAFETY: the handle is open.
        self.run(INVALID, |raw| unsafe { function(raw, micros) }).map(|_| ())
    }

    pub(crate) fn seek_cursor(&mut self, cursor: &CStr) -> Result<(), JournalError> {
        let function = self.functions.sd_journal_seek_cursor;
        // SAFETY: the handle is open; the cursor is a terminated string.
        self.run(INVALID, |raw| unsafe { function(raw, cursor.as_ptr()) }).map(|_| ())
    }

    /// The cursor of the entry at hand.
    pub(crate) fn cursor(&self) -> Result<CString, JournalError> {
        let mut text: *mut c_char = ptr::null_mut();
        let function = self.functions.sd_journal_get_cursor;
        // SAFETY: the handle is open, and there is a place for the pointer.
        let result = self.run(INVALID, |raw| unsafe { function(raw, &raw mut text) });
        if text.is_null() {
            return Err(result.err().unwrap_or(JournalError::Invalid(INVALID)));
        }
        // SAFETY: unless it is null, it points to a terminated string that is ours.
        let cursor = unsafe { CStr::from_ptr(text) }.to_owned();
        // SAFETY: the library has allocated it for us, with the allocator whose `free` this is.
        unsafe { (self.functions.free)(text.cast()) };
        result.map(|_| cursor)
    }

    /// Goes to the next entry; false if there is none.
    pub(crate) fn next(&mut self) -> Result<bool, JournalError> {
        self.call(self.functions.sd_journal_next).map(|moved| moved > 0)
    }

    /// Goes to the entry before; false if there is none.
    pub(crate) fn previous(&mut self) -> Result<bool, JournalError> {
        self.call(self.functions.sd_journal_previous).map(|moved| moved > 0)
    }

    /// When the entry at hand was received, in microseconds since 1970.
    pub(crate) fn realtime(&self) -> Result<u64, JournalError> {
        self.ask(self.functions.sd_journal_get_realtime_usec)
    }

    /// When the entry at hand was received, in microseconds since the start of the machine.
    pub(crate) fn monotonic(&self) -> Result<u64, JournalError> {
        let (mut micros, mut boot) = (0, [0_u8; 16]);
        let function = self.functions.sd_journal_get_monotonic_usec;
        // SAFETY: the handle is open; there is a place for the number, and one of 16 bytes for the id.
        self.run(INVALID, |raw| unsafe { function(raw, &raw mut micros, (&raw mut boot).cast()) })?;
        Ok(micros)
    }

    /// Shows every field of the entry at hand, each as `NAME=value`, and no more than so many bytes of it.
    pub(crate) fn each_field(&self, limit: usize, mut each: impl FnMut(&[u8])) -> Result<(), JournalError> {
        self.tell(self.functions.sd_journal_restart_data)?;
        let next = self.functions.sd_journal_enumerate_data;
        let mut field: Vec<u8> = Vec::new();
        loop {
            field.clear();
            let copy = |raw| {
                let (mut data, mut length): (*const c_void, usize) = (ptr::null(), 0);
                // SAFETY: the handle is open, and there are places for the pointer and the length.
                let result = unsafe { next(raw, &raw mut data, &raw mut length) };
                if result > 0 && !data.is_null() {
                    let length = length.min(limit);
                    field.reserve(length);
                    // SAFETY: the library lends as many bytes until its next call, from memory that is not this vector's,
                    // which has room for them and has them all afterwards.
                    unsafe {
                        ptr::copy_nonoverlapping(data.cast(), field.as_mut_ptr(), length);
                        field.set_len(length);
                    }
                }
                result
            };
            if self.run(INVALID, copy)? == 0 {
                return Ok(());
            }
            each(&field);
        }
    }

    /// What becomes readable when there may be something new; `None` if it has to be looked for.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        let fd = self.call(self.functions.sd_journal_get_fd).ok()?;
        // SAFETY: the descriptor belongs to the handle, which is borrowed for as long and never changes it.
        Some(unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// Takes note of what is new, and says which of `SD_JOURNAL_NOP`, `SD_JOURNAL_APPEND` and `SD_JOURNAL_INVALIDATE` it is.
    pub(crate) fn process(&mut self) -> Result<c_int, JournalError> {
        self.call(self.functions.sd_journal_process)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let function = self.functions.sd_journal_close;
        // SAFETY: it is open, and nobody uses it hereafter.
        let _ = cut::watch(|| unsafe { function(self.raw.as_ptr()) });
    }
}

/// What Python says of parameters that the library refuses.
const OPENING_FAILED: &str = "Opening the journal failed";
const INVALID_MATCH: &str = "Invalid match";
const INVALID: &str = "Invalid argument";

fn c_path(path: &Path) -> Result<CString, JournalError> {
    CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| JournalError::Invalid("embedded null byte"))
}

fn c_text(text: &str) -> Result<CString, JournalError> {
    CString::new(text).map_err(|_| JournalError::Invalid("embedded null byte"))
}
