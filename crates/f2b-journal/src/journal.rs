//! An open journal and the place in it.
//!
//! The library follows the files that it has opened; it does not look for those that take their place if it was told to
//! open certain files. So where a rotation has changed them the journal is opened anew, with what was rotated out of use
//! just now, and reading goes on behind the entry that was read last: nothing is missed, nothing comes twice. So it is where
//! a file was cut short.

use std::ffi::{CStr, CString};
use std::fs;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::entry::{Entry, MAX_VALUE};
use crate::error::JournalError;
use crate::sd::{Handle, Place};
use crate::source::{Broken, OpenFile, Source};

/// What `sd_journal_process` answers when files were added or removed.
const INVALIDATE: i32 = 2;
const NOP: i32 = 0;

/// How long ago a file may have been written to that was rotated out of use just now.
const ROTATION: Duration = Duration::from_secs(3600);

/// How much older than its file an entry may be, which journald may have made for it only when it came.
const ON_THE_WAY: Duration = Duration::from_secs(10);

/// Bytes of a field, with its name, that are read at most.
const MAX_FIELD: usize = MAX_VALUE + 64;

/// A journal, read forwards.
pub struct Journal {
    source: Source,
    broken: Broken,
    handle: Handle,
    /// The files that it was opened by, if it was.
    files: Option<Vec<OpenFile>>,
    matches: Vec<Vec<String>>,
    start: Start,
    /// The cursor of the entry that was read last.
    place: Option<CString>,
    /// It may come once more.
    repeats: bool,
    /// The files have changed, and could not be opened yet.
    stale: bool,
    /// Until when it was read before; what has been rotated out of use since is not read to its end yet.
    until: Option<SystemTime>,
    /// When the files were known to be all that there are.
    complete: SystemTime,
    /// Files that have come since, while others were read on.
    newcomers: Option<Newcomers>,
}

/// What new files have from before the place.
struct Newcomers {
    handle: Handle,
    /// The files that were read until they came. What is in these has been read: journald copies what it has in `/run` to `/var`.
    known: Handle,
}

/// Where reading began, as long as nothing has been read.
#[derive(Debug, Clone, Copy)]
enum Start {
    Head,
    /// Microseconds since 1970.
    Time(u64),
}

/// What has happened to a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Nothing.
    Nothing,
    /// There may be more to read.
    Entries,
    /// The same, and the files were opened anew.
    Reopened,
}

impl Journal {
    /// Opens the journal at its first entry.
    ///
    /// # Errors
    ///
    /// [`JournalError`] where there is no library, or something can't be opened.
    pub fn open(source: &Source) -> Result<Self, JournalError> {
        Self::with(source, Broken::Refused, None)
    }

    /// The same for somebody who goes on reading, and who read it `until` then: what was rotated out of use since is opened as
    /// well. Files that can't be opened may be left out ([`Journal::left_out`]) until something comes of them; what one gets
    /// meanwhile is not read if others are read on.
    ///
    /// # Errors
    ///
    /// [`JournalError`] where there is no library, or nothing that can be opened.
    pub fn follow(source: &Source, until: Option<SystemTime>, broken: Broken) -> Result<Self, JournalError> {
        Self::with(source, broken, until)
    }

    fn with(source: &Source, broken: Broken, until: Option<SystemTime>) -> Result<Self, JournalError> {
        let (handle, files) = source.open(until, broken)?;
        Ok(Self {
            source: source.clone(),
            broken,
            stale: starts_late(source, &handle, files.as_deref()),
            handle,
            files,
            matches: Vec::new(),
            start: Start::Head,
            place: None,
            repeats: false,
            until,
            complete: SystemTime::now(),
            newcomers: None,
        })
    }

    /// Reads only what matches all of one of the lists; everything if there is none.
    ///
    /// # Errors
    ///
    /// [`JournalError::Invalid`] for what is no match ([`is_valid_match`]).
    pub fn set_matches(&mut self, matches: &[Vec<String>]) -> Result<(), JournalError> {
        matches.clone_into(&mut self.matches);
        let result = apply(&mut self.handle, matches);
        if self.place.is_some() {
            self.go_back()?;
        }
        result
    }

    /// The files that can't be opened.
    pub fn left_out(&self) -> impl Iterator<Item = &Path> {
        let files = self.files.iter().flatten().filter(|file| file.is_left_out());
        files.map(|file| &*file.path)
    }

    /// Whether the files can't be read any more as they were opened: they have changed, or one was cut short.
    pub fn is_stale(&self) -> bool {
        self.stale || self.handle.is_cut()
    }

    /// The next entry; `None` if there is none now.
    ///
    /// # Errors
    ///
    /// [`JournalError::CutShort`] until the files are opened anew ([`Journal::news`]); another one for an entry that can't be
    /// read, behind which the next one may be.
    pub fn read(&mut self) -> Result<Option<Entry>, JournalError> {
        if let Some(entry) = self.read_newcomers() {
            return Ok(Some(entry));
        }
        if !self.advance()? {
            self.until = None;
            return Ok(None);
        }
        let entry = entry_of(&self.handle)?;
        self.place = Some(self.handle.cursor()?);
        Ok(Some(entry))
    }

    /// The next entry of a file that has come late, up to the place; from there on it is read with the others.
    fn read_newcomers(&mut self) -> Option<Entry> {
        let place = self.place.as_deref().and_then(received)?;
        let entry = self.newcomers.as_mut()?.next_before(place).ok().flatten();
        if entry.is_none() {
            self.newcomers = None;
        }
        entry
    }

    fn advance(&mut self) -> Result<bool, JournalError> {
        if !self.handle.next()? {
            return Ok(false);
        }
        let is_seen =
            |seen: &CString| self.handle.cursor().is_ok_and(|cursor| is_of_one_entry(seen, &cursor));
        if std::mem::take(&mut self.repeats) && self.place.as_ref().is_some_and(is_seen) {
            return self.handle.next();
        }
        Ok(true)
    }

    /// The cursor of the entry that was read last.
    pub fn cursor(&self) -> Option<&CStr> {
        self.place.as_deref()
    }

    /// The cursor of the last entry that there is.
    ///
    /// # Errors
    ///
    /// [`JournalError`] if the library refuses, as it may while a file is being begun.
    pub fn last_cursor(&mut self) -> Result<Option<CString>, JournalError> {
        self.handle.seek_tail()?;
        Ok(if self.handle.previous()? { Some(self.handle.cursor()?) } else { None })
    }

    /// Goes on with the first entry that was received at that time (in seconds since 1970) or later.
    ///
    /// # Errors
    ///
    /// [`JournalError`] if the library refuses.
    pub fn seek_time(&mut self, seconds: f64) -> Result<(), JournalError> {
        self.place = None;
        self.start = Start::Time((seconds.max(0.0) * 1e6) as u64);
        self.go_back()
    }

    /// Goes on behind the entry with this cursor, or where it was if it is there no more.
    ///
    /// # Errors
    ///
    /// [`JournalError`] if it is no cursor.
    pub fn seek_behind(&mut self, cursor: &CStr) -> Result<(), JournalError> {
        if let Some(micros) = received(cursor) {
            self.start = Start::Time(micros);
        }
        self.place = Some(cursor.to_owned());
        self.go_back()
    }

    /// What becomes readable when something has happened; `None` if it has to be asked for.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.handle.fd()
    }

    /// Takes note of what has happened. Read everything before: of a file that was rotated out of use nothing can be read
    /// afterwards.
    ///
    /// # Errors
    ///
    /// [`JournalError`] if the files can't be opened now, or one is cut short; ask again later.
    pub fn news(&mut self) -> Result<News, JournalError> {
        if !self.is_stale() {
            match self.handle.process()? {
                NOP => return Ok(News::Nothing),
                INVALIDATE => {
                    self.stale = self.files.as_ref().is_some_and(|files| self.source.have_changed(files));
                    if !self.stale {
                        self.go_back()?;
                        return Ok(News::Entries);
                    }
                }
                _ => return Ok(News::Entries),
            }
        }
        self.reopen()?;
        Ok(News::Reopened)
    }

    /// Looks for what the library takes no note of: a file that has lost its beginning, which it takes for an empty one, one
    /// that could not be opened before, a change that it has overlooked, or the first of the files that were asked for. The
    /// journal may be stale then.
    ///
    /// # Errors
    ///
    /// [`JournalError::CutShort`] if there is such a file.
    pub fn check(&mut self) -> Result<(), JournalError> {
        let files = self.files.as_deref().unwrap_or_default();
        if files.iter().any(OpenFile::is_beheaded) {
            self.stale = true;
            return Err(JournalError::CutShort);
        }
        let now = SystemTime::now();
        self.stale |= self.source.have_changed(files);
        if !self.stale && !files.iter().any(OpenFile::is_left_out) {
            self.complete = now;
        }
        Ok(())
    }

    /// Opens the files anew and goes on behind the entry that was read last. What was read of the others stays mapped, up to
    /// half a gigabyte, and counts as memory of this process.
    ///
    /// # Errors
    ///
    /// [`JournalError`] if they can't be opened now; nothing has changed then.
    pub fn reopen(&mut self) -> Result<(), JournalError> {
        let recent = SystemTime::now().checked_sub(ROTATION);
        let since = self.until.filter(|until| recent.is_none_or(|recent| *until < recent)).or(recent);
        let (mut handle, files) = self.source.open(since, self.broken)?;
        if files.is_none() && self.files.is_some() {
            return Err(JournalError::System(nix::errno::Errno::ENOENT.into()));
        }
        apply(&mut handle, &self.matches)?;
        let newcomers = self.newcomers_among(files.as_deref().unwrap_or_default());
        let newcomers = if newcomers.is_empty() { None } else { self.look_behind(&newcomers).ok() };
        self.stale = starts_late(&self.source, &handle, files.as_deref());
        let known = std::mem::replace(&mut self.handle, handle);
        self.newcomers = newcomers.map(|handle| Newcomers { handle, known });
        self.files = files;
        self.go_back()
    }

    /// Files that have come while others were read on.
    fn newcomers_among(&self, files: &[OpenFile]) -> Vec<PathBuf> {
        let known: Vec<_> = self.files.iter().flatten().filter(|file| !file.is_left_out()).collect();
        let is_known = |file: &OpenFile| known.iter().any(|known| known.is_same(file));
        let (old, new): (Vec<_>, Vec<_>) =
            files.iter().filter(|file| !file.is_left_out()).partition(|file| is_known(file));
        if old.is_empty() || self.place.is_none() {
            return Vec::new();
        }
        new.into_iter().map(|file| file.path.clone()).collect()
    }

    /// Opens files at what they have got since all were known.
    fn look_behind(&self, files: &[PathBuf]) -> Result<Handle, JournalError> {
        let mut handle = Handle::open(&Place::Files(files), 0)?;
        apply(&mut handle, &self.matches)?;
        // The times of files are not as fine as the clock.
        let complete = self.complete.checked_sub(Duration::from_millis(20)).unwrap_or(UNIX_EPOCH);
        let made = |path: &PathBuf| fs::metadata(path).and_then(|meta| meta.created());
        let are_new = files.iter().all(|path| made(path).is_ok_and(|made| made >= complete));
        let since = if are_new { complete.checked_sub(ON_THE_WAY) } else { Some(self.complete) };
        let since = since.and_then(|since| since.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        handle.seek_time(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))?;
        let _ = handle.previous();
        Ok(handle)
    }

    /// Goes on behind the entry that was read last, or where reading began.
    fn go_back(&mut self) -> Result<(), JournalError> {
        match (&self.place, self.start) {
            (Some(cursor), _) => {
                self.handle.seek_cursor(cursor)?;
                self.repeats = true;
            }
            (None, Start::Time(micros)) => {
                self.handle.seek_time(micros)?;
                // A time behind the end is no place; the last entry before it is. There may be none.
                let _ = self.handle.previous();
            }
            (None, Start::Head) => {}
        }
        Ok(())
    }
}

impl Newcomers {
    /// The next entry up to the one that was received at `place` (microseconds since 1970).
    fn next_before(&mut self, place: u64) -> Result<Option<Entry>, JournalError> {
        while self.handle.next()? && self.handle.realtime()? <= place {
            if !self.is_known(&self.handle.cursor()?)? {
                return entry_of(&self.handle).map(Some);
            }
        }
        Ok(None)
    }

    fn is_known(&mut self, cursor: &CStr) -> Result<bool, JournalError> {
        self.known.seek_cursor(cursor)?;
        while self.known.next()? {
            if is_of_one_entry(cursor, &self.known.cursor()?) {
                return Ok(true);
            }
            if received(cursor).is_none_or(|micros| self.known.realtime().is_ok_and(|at| at > micros)) {
                break;
            }
        }
        Ok(false)
    }
}

/// The entry that the handle is at.
fn entry_of(handle: &Handle) -> Result<Entry, JournalError> {
    // It may come from a start of the machine of which nothing more is known.
    let mut entry = Entry::new(handle.realtime()?, handle.monotonic().unwrap_or(0));
    handle.each_field(MAX_FIELD, |field| entry.take(field))?;
    Ok(entry)
}

/// From now on the library takes note of what happens to the files. Whether something has happened before.
fn starts_late(source: &Source, handle: &Handle, files: Option<&[OpenFile]>) -> bool {
    let _ = handle.fd();
    files.is_some_and(|files| source.have_changed(files))
}

fn apply(handle: &mut Handle, matches: &[Vec<String>]) -> Result<(), JournalError> {
    handle.flush_matches();
    for alternative in matches {
        for text in alternative {
            handle.add_match(text)?;
        }
        handle.add_disjunction()?;
    }
    Ok(())
}

/// When the entry with this cursor was received, in microseconds since 1970.
pub fn received(cursor: &CStr) -> Option<u64> {
    let time = std::str::from_utf8(field(cursor, "t=")?).ok()?;
    u64::from_str_radix(time, 16).ok()
}

/// Whether cursors are of the same entry. In a file to which journald has moved it, it has another number there.
fn is_of_one_entry(cursor: &CStr, other: &CStr) -> bool {
    let is_same = |name: &str| field(cursor, name) == field(other, name);
    cursor == other || (!is_same("s=") && ["b=", "m=", "t=", "x="].into_iter().all(is_same))
}

/// A part of a cursor (`sd_journal_get_cursor`: `s=...;i=...;b=...;m=...;t=...;x=...`).
fn field<'c>(cursor: &'c CStr, name: &str) -> Option<&'c [u8]> {
    cursor.to_bytes().split(|byte| *byte == b';').find_map(|field| field.strip_prefix(name.as_bytes()))
}

/// The alternatives that words with `+` between them stand for.
pub fn alternatives(words: &[String]) -> Vec<Vec<String>> {
    words.split(|word| word == "+").map(<[String]>::to_vec).collect()
}

/// Whether the library takes the text for a match: a name of capital letters, digits and underscores, which does not begin
/// with two of these, and `=`.
pub fn is_valid_match(text: &str) -> bool {
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    text.split_once('=')
        .is_some_and(|(name, _)| !name.is_empty() && !name.starts_with("__") && name.chars().all(is_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_was_moved_to_another_file_is_the_same() {
        let cursor = c"s=9ec18b30;i=4;b=7c49d7d0;m=2540be400;t=64464a2f6c8f1;x=dcb1e5a8a0a5f8a6";
        for (other, is_same) in [
            (cursor, true),
            (c"s=aaaaaaaa;i=9;b=7c49d7d0;m=2540be400;t=64464a2f6c8f1;x=dcb1e5a8a0a5f8a6", true),
            (c"s=9ec18b30;i=5;b=7c49d7d0;m=2540be400;t=64464a2f6c8f1;x=dcb1e5a8a0a5f8a6", false),
            (c"s=aaaaaaaa;i=4;b=7c49d7d0;m=2540be400;t=64464a2f6c8f1;x=dcb1e5a8a0a5f8a7", false),
            (c"s=aaaaaaaa;i=4;b=7c49d7d0;m=2540be401;t=64464a2f6c8f1;x=dcb1e5a8a0a5f8a6", false),
        ] {
            assert_eq!(is_of_one_entry(cursor, other), is_same, "{other:?}");
        }
    }

    #[test]
    fn a_cursor_tells_when_its_entry_was_received() {
        let cursor = c"s=9ec18b30;i=4;b=7c49d7d0;m=2540be400;t=64464a2f6c8f1;x=dcb1e5a8a0a5f8a6";
        assert_eq!(received(cursor), Some(0x0006_4464_a2f6_c8f1));
        for none in [c"", c"t=", c"t=x", c"s=1;m=2", c"t=\xff"] {
            assert_eq!(received(none), None);
        }
    }
}
