//! Files that have lost the name of their log and have been read: they are read on for a while, since whoever wrote them may
//! not have noticed.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use f2b_filter::Encoding;

use super::generations::Inode;
use super::log_file::BUDGET;
use super::tail::{RawLine, Tail};

/// How long a file is read on after the last line that came in it.
const GRACE: Duration = Duration::from_secs(30);

/// How many of them are read on.
const MAX_RETIRED: usize = 16;

/// The files, oldest first, and since when nothing has come in each.
#[derive(Debug, Default)]
pub(super) struct Retired(pub(super) VecDeque<(Tail, Instant)>);

impl Retired {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Tail> {
        self.0.iter().map(|(tail, _)| tail)
    }

    /// Another reader of the same files.
    pub(super) fn fork(&self) -> Self {
        Self(self.0.iter().map(|(tail, since)| (tail.fork(), *since)).collect())
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// A file has lost the name; of too many the oldest goes.
    pub(super) fn push(&mut self, tail: Tail) {
        self.0.push_back((tail, Instant::now()));
        if self.0.len() > MAX_RETIRED {
            self.0.pop_front();
        }
    }

    /// A file has got the name back, if it is one of these.
    pub(super) fn take(&mut self, inode: Inode) -> Option<Tail> {
        let index = self.0.iter().position(|(tail, _)| tail.inode == inode)?;
        self.0.remove(index).map(|(tail, _)| tail)
    }

    /// Hands out the lines that have come, up to a budget for each file, and lets go of files in which none has come for long
    /// enough. Answers whether there is more.
    ///
    /// # Errors
    ///
    /// A file can't be read.
    pub(super) fn read_lines(
        &mut self,
        encoding: &Encoding,
        is_news: bool,
        each: &mut impl FnMut(RawLine<'_>),
    ) -> io::Result<bool> {
        for (tail, since) in &mut self.0 {
            for round in 0.. {
                if tail.fill(None)? == 0 {
                    break;
                }
                *since = Instant::now();
                // After a restart it is the file with the name that reading goes on in.
                tail.hand_out(encoding, is_news, &mut |line| each(RawLine { start: None, ..line }))?;
                if round == BUDGET {
                    return Ok(true);
                }
            }
        }
        self.0.retain(|(_, since)| since.elapsed() < GRACE);
        Ok(false)
    }
}
