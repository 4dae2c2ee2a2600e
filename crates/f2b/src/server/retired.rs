//! Files that have lost the name of their log and have been read: they are read on for a while, since whoever wrote them may
//! not have noticed. Then they are closed; the place in them is known for longer, since a file may get its name back.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use f2b_filter::Encoding;

use super::generations::Inode;
use super::log_file::BUDGET;
use super::tail::{Closed, Filled, LineStart, RawLine, Tail};

/// How long a file is read on after the last line that came in it.
pub(super) const GRACE: Duration = Duration::from_secs(30);

/// How many of them are read on, and how many are known.
const MAX_RETIRED: usize = 16;

/// The files, oldest first.
#[derive(Debug, Default)]
pub(super) struct Retired {
    /// Those that are read on, and since when nothing has come in each.
    pub(super) open: VecDeque<(Tail, Instant)>,
    /// Those that are closed.
    closed: VecDeque<Closed>,
    /// Those that were overwritten.
    overwritten: VecDeque<Inode>,
}

impl Retired {
    /// Whether none is read on.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// How many are read on.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Those that are read on.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Tail> {
        self.open.iter().map(|(tail, _)| tail)
    }

    /// Whether it is one of those.
    pub(super) fn has(&self, file: &File) -> bool {
        self.iter().any(|tail| tail.is_of(file))
    }

    /// Another reader of the same files.
    pub(super) fn fork(&self) -> Self {
        let open = self.open.iter().map(|(tail, since)| (tail.fork(), *since)).collect();
        Self { open, closed: self.closed.clone(), overwritten: self.overwritten.clone() }
    }

    /// A file has lost the name; of too many the oldest is closed.
    pub(super) fn push(&mut self, tail: Tail) {
        self.open.push_back((tail, Instant::now()));
        if self.open.len() > MAX_RETIRED
            && let Some((oldest, _)) = self.open.pop_front()
        {
            self.close(oldest);
        }
    }

    /// Closes a file, whose place is known as long as there are not too many of these.
    pub(super) fn close(&mut self, tail: Tail) {
        self.closed.push_back(tail.close());
        if self.closed.len() > MAX_RETIRED {
            self.closed.pop_front();
        }
    }

    /// Closes all that are read on.
    pub(super) fn close_all(&mut self) {
        while let Some((tail, _)) = self.open.pop_front() {
            self.close(tail);
        }
    }

    /// A file has got the name back, if it is one that is read on.
    pub(super) fn take(&mut self, inode: Inode) -> Option<Tail> {
        let index = self.open.iter().position(|(tail, _)| tail.inode == inode)?;
        self.open.remove(index).map(|(tail, _)| tail)
    }

    /// The same if it is one that was closed.
    pub(super) fn take_closed(&mut self, inode: Inode) -> Option<Closed> {
        let index = self.closed.iter().position(|closed| closed.inode == inode)?;
        self.closed.remove(index)
    }

    /// There is something else in the file now.
    pub(super) fn forget(&mut self, inode: Inode) {
        self.open.retain(|(tail, _)| tail.inode != inode);
        self.closed.retain(|closed| closed.inode != inode);
        if !self.overwritten.contains(&inode) {
            self.overwritten.push_back(inode);
        }
        if self.overwritten.len() > MAX_RETIRED {
            self.overwritten.pop_front();
        }
    }

    /// Whether there is one in which there was something else before.
    pub(super) fn overwrites(&self) -> bool {
        !self.overwritten.is_empty()
    }

    /// Whether it is one of those.
    pub(super) fn has_overwritten(&self, inode: Inode) -> bool {
        self.overwritten.contains(&inode)
    }

    /// Whether it is one that was closed.
    pub(super) fn has_closed(&self, inode: Inode) -> bool {
        self.closed.iter().any(|closed| closed.inode == inode)
    }

    /// Hands out the lines that have come, up to a budget for each file, and closes files in which none has come for long
    /// enough. Answers whether there is more. `is_copy` says whether what comes in one that was empty is what is in another one.
    ///
    /// # Errors
    ///
    /// A file can't be read.
    pub(super) fn read_lines(
        &mut self,
        encoding: &Encoding,
        is_news: bool,
        is_copy: impl Fn(&Tail) -> bool,
        each: &mut impl FnMut(RawLine<'_>),
    ) -> io::Result<bool> {
        let mut broken = None;
        let mut overwritten = Vec::new();
        for (index, (tail, since)) in self.open.iter_mut().enumerate() {
            for round in 0.. {
                let was_empty = tail.end() == 0;
                match tail.fill(None) {
                    Ok(Filled::End) => break,
                    Ok(Filled::More) if !(was_empty && is_copy(tail)) => {}
                    Ok(Filled::More | Filled::Emptied) => {
                        overwritten.push(tail.inode);
                        break;
                    }
                    Err(error) => {
                        broken = Some((index, error));
                        break;
                    }
                }
                *since = Instant::now();
                tail.hand_out(encoding, is_news, &mut |line| {
                    each(RawLine { start: line.start.map(LineStart::late), ..line });
                })?;
                if round == BUDGET {
                    return Ok(true);
                }
            }
        }
        // A file that can't be read any more must not keep anybody from the next one.
        if let Some((index, error)) = broken {
            self.open.remove(index).into_iter().for_each(|(tail, _)| self.close(tail));
            return Err(error);
        }
        // Whoever overwrites a file that has lost the name makes a copy of one that is read under the name.
        overwritten.into_iter().for_each(|inode| self.forget(inode));
        while let Some(index) = self.open.iter().position(|(_, since)| since.elapsed() >= GRACE) {
            self.open.remove(index).into_iter().for_each(|(tail, _)| self.close(tail));
        }
        Ok(false)
    }
}
