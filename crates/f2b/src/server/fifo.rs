//! A FIFO as a log (beyond upstream, where opening one waits for a writer, and every jail with it).
//!
//! It is opened for reading and writing: so opening waits for nobody, and while no writer is there it is empty, not at its
//! end, which would be reported again and again. Writers come and go; a line is what ends with a newline, whoever wrote its
//! parts. What nobody has read stays in the FIFO, at which its writers wait; there is no place in it to go on at.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use f2b_filter::Encoding;
use nix::fcntl::OFlag;

use super::generations::{Inode, inode};
use super::tail::MAX_LINE;
use crate::line_buffer::LineBuffer;

/// Whether the name is that of a FIFO.
pub(super) fn is_fifo(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.file_type().is_fifo())
}

/// An open FIFO.
#[derive(Debug)]
pub(super) struct Fifo {
    file: File,
    inode: Inode,
    buffer: LineBuffer,
    /// We are a writer ourselves, so that it has no end.
    is_held: bool,
}

impl Fifo {
    /// Opens the FIFO; `None` if the name is not that of one.
    ///
    /// # Errors
    ///
    /// It can't be read.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        if !is_fifo(path) {
            return Ok(None);
        }
        let open = |write| {
            OpenOptions::new().read(true).write(write).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)
        };
        let (file, is_held) = match open(true) {
            Ok(file) => (file, true),
            // Whoever may not write can still read.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => (open(false)?, false),
            Err(error) => return Err(error),
        };
        let meta = file.metadata()?;
        // Between the two looks it may have become something else.
        let is_fifo = meta.file_type().is_fifo();
        Ok(is_fifo.then(|| Self { file, inode: inode(&meta), buffer: LineBuffer::new(MAX_LINE), is_held }))
    }

    /// What becomes readable when somebody has written something. One that we only read is at its end again and again, so
    /// there it is `None`.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.is_held.then(|| self.file.as_fd())
    }

    /// Whether it still has its name.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|meta| inode(&meta) == self.inode)
    }

    /// Hands out the lines of the next chunk; false if there is nothing now.
    ///
    /// # Errors
    ///
    /// It can't be read.
    pub(super) fn read(&mut self, encoding: &Encoding, mut each: impl FnMut(&[u8])) -> io::Result<bool> {
        let count = self.buffer.fill(&mut NonBlocking(&self.file))?;
        while let Some(line) = self.buffer.next_line(encoding) {
            each(line);
        }
        Ok(count > 0)
    }
}

/// A file of which nothing is read where reading would wait.
struct NonBlocking<'f>(&'f File);

impl Read for NonBlocking<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self.0.read(room) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            result => result,
        }
    }
}
