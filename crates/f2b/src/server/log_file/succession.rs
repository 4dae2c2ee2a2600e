//! From one file of a log to the next: where reading begins, and what comes after a file that was renamed, removed or emptied.

use std::fs::{self, File, Metadata};
use std::io;
use std::time::{Duration, Instant};

use super::super::fifo;
use super::super::generations::{self, Looked, inode};
use super::super::retired::GRACE;
use super::super::tail::{Place, TRACE, Tail, a_moment_ago, first_line_hash_of, open_if_there};
use super::{LogFile, Progress};

/// How long a rotation is waited for that does not come to its end.
pub(super) const LONGEST_ROTATION: Duration = Duration::from_secs(1);

/// As long after the last write a file may still be being written anew.
const BEING_WRITTEN: Duration = Duration::from_millis(500);

impl LogFile {
    /// Opens the file where reading was left before the start: if another one has the name by now, the old one is read on
    /// first.
    pub(super) fn open_first(&mut self) -> io::Result<Option<Progress>> {
        let Some(file) = open_if_there(self.names.own())? else { return Ok(Some(Progress::Missing)) };
        let own_hash = first_line_hash_of(&file)?;
        if let Some(old) = self.old.iter_mut().find(|old| old.hash == own_hash && own_hash != self.start.hash)
        {
            // It has got its name back, and the other one has lost it.
            std::mem::swap(old, &mut self.start);
        }
        if !self.find_old()? {
            return Ok(Some(Progress::Unsettled));
        }
        let Place { position, hash } = self.start.clone();
        let id = inode(&file.metadata()?);
        if self.retired.has_closed(id) {
            self.begin(file, 0)?;
            return Ok(None);
        }
        // Nothing tells a log that was empty from others but that nothing in it has been read.
        let was_empty = hash.is_empty() && position == 0 && self.read.is_some();
        if !was_empty && (hash.is_empty() || own_hash == hash) {
            self.begin(file, position)?;
            return Ok(None);
        }
        self.names.follow();
        if !self.rotation_is_over() {
            return Ok(Some(Progress::Unsettled));
        }
        let known = match was_empty {
            true => Looked::nothing(),
            false => generations::with_hash(&self.names, &hash, position),
        };
        let unread = match (&known.found, self.read) {
            (None, Some(read)) => {
                // If the log is another file by now, what was an empty one may be any of those with other names.
                let is_new = file.metadata().and_then(|meta| meta.created()).is_ok_and(|made| made > read);
                generations::written_since(&self.names, read, |_| is_new, |file| self.retired.has(file))
            }
            _ => Looked::nothing(),
        };
        if !(known.is_sure && unread.is_sure || self.has_waited()) {
            return Ok(Some(Progress::Unsettled));
        }
        match known.found {
            Some(old) => self.begin(old, position)?,
            None => self.begin(unread.found.unwrap_or(file), 0)?,
        }
        Ok(None)
    }

    /// Takes up the files that had lost the name before this reader and were read on, as far as they can be found. Answers whether
    /// that is certain.
    fn find_old(&mut self) -> io::Result<bool> {
        if self.old.is_empty() {
            return Ok(true);
        }
        self.names.follow();
        if !self.rotation_is_over() {
            return Ok(false);
        }
        let old = self.old.iter().filter(|place| place.hash != self.start.hash);
        let looked = old.map(|Place { position, hash }| {
            (generations::with_hash(&self.names, hash, *position), *position)
        });
        let looked: Vec<(Looked, u64)> = looked.collect();
        if !(looked.iter().all(|(looked, _)| looked.is_sure) || self.has_waited()) {
            return Ok(false);
        }
        self.rotated = None;
        self.old.clear();
        for (looked, position) in looked {
            let Some(file) = looked.found else { continue };
            self.retired.push(Tail::new(file, (position, self.openings), self.start.clone())?);
            self.openings += 1;
        }
        Ok(true)
    }

    /// Before the first byte is read behind an emptying: what was in the file may come back, since an editor writes it anew. `None`
    /// means to go on.
    pub(super) fn look_for_return(&mut self) -> io::Result<Option<Progress>> {
        let Some(tail) = self.tail.as_mut().filter(|tail| tail.end() == 0) else { return Ok(None) };
        let known = tail.emptied.as_ref().filter(|known| known.trace.len() == TRACE);
        let Some(known) = known.filter(|known| !known.hash.is_empty() && known.hash == tail.before.hash)
        else {
            return Ok(None);
        };
        if known.is_in(&tail.file) {
            tail.go_back()?;
            return Ok(None);
        }
        let meta = tail.file.metadata()?;
        let is_being_written =
            meta.modified()?.elapsed().is_ok_and(|ago| ago < BEING_WRITTEN) && meta.len() < known.end;
        if !is_being_written || meta.len() == 0 {
            return Ok(None);
        }
        let hash = first_line_hash_of(&tail.file)?;
        let may_be_it = hash.is_empty() || hash == known.hash;
        Ok((may_be_it && !self.has_waited()).then_some(Progress::Unsettled))
    }

    /// Before the first byte of a file is read: if it has been written to since it was begun, it may have been copied and emptied,
    /// and the copy comes first. `None` means to go on.
    pub(super) fn look_for_copy(&mut self) -> io::Result<Option<Progress>> {
        let unread = self.tail.as_ref().and_then(|tail| Some((tail, tail.unread?)));
        let Some((tail, since)) = unread.filter(|(tail, since)| tail.was_written_since(*since)) else {
            return Ok(None);
        };
        let now = a_moment_ago();
        let known = || self.retired.iter().chain([tail]).chain(&self.emptied);
        let is_known = |file: &File| known().any(|known| known.is_of(file)) || tail.holds(file);
        let was_old = |inode| self.retired.has_overwritten(inode);
        // There may be thousands of names, and each log begins once.
        let may_be_there = self.retired.overwrites() || generations::has_changed_since(&self.names, since);
        let Looked { found, is_sure } = match may_be_there {
            true => generations::written_since(&self.names, since, was_old, is_known),
            false => Looked::nothing(),
        };
        if found.is_none() && !is_sure && !self.has_waited() {
            return Ok(Some(Progress::Unsettled));
        }
        self.rotated = None;
        match (found, &mut self.tail) {
            (Some(copy), _) => self.begin_copy(copy, self.place(), 0)?,
            (None, Some(tail)) => tail.unread = now,
            (None, None) => {}
        }
        Ok(None)
    }

    /// The file has been emptied: it is read from its start, but before the rest of what was in it, if somebody has made a copy
    /// of that. `None` means to go on.
    pub(super) fn begin_anew(&mut self) -> io::Result<Option<Progress>> {
        let Some(tail) = &self.tail else { return Ok(None) };
        let (place, position) = (tail.place(), tail.position);
        let Looked { found, is_sure } = generations::copy_of(&self.names, &tail.read());
        if found.is_none() && !is_sure && !self.has_waited() {
            return Ok(Some(Progress::Unsettled));
        }
        self.rotated = None;
        self.tail.as_mut().map_or(Ok(()), |tail| tail.rewind(self.openings))?;
        self.openings += 1;
        if let (Some(copy), None) = (found, &self.emptied) {
            self.begin_copy(copy, place, position)?;
        }
        Ok(None)
    }

    /// Goes on in a copy of what was in the file, which is read when that has come to its end. A restart goes on at `place`.
    fn begin_copy(&mut self, copy: File, place: Place, position: u64) -> io::Result<()> {
        // Whatever was in that file before.
        self.retired.forget(inode(&copy.metadata()?));
        self.emptied = self.tail.take();
        self.start = place;
        self.begin(copy, position)
    }

    /// At the end of the file: whether it is still the one under its name. `None` means to go on.
    pub(super) fn look_behind(&mut self) -> io::Result<Option<Progress>> {
        let Some(tail) = &self.tail else { return Ok(None) };
        let is_tail = |meta: io::Result<Metadata>| meta.is_ok_and(|meta| inode(&meta) == tail.inode);
        if is_tail(fs::metadata(self.names.own())) {
            self.rotated = None;
            self.tail.iter_mut().for_each(Tail::saw_name);
            return Ok(Some(Progress::End));
        }
        // Whoever renamed it may have written to it just before, but since it was read.
        if tail.file.metadata()?.len() > tail.end() {
            return Ok(None);
        }
        if fifo::is_fifo(self.names.own()) {
            self.retire();
            return Ok(None);
        }
        let named = open_if_there(self.names.own())?;
        if named.as_ref().is_some_and(|file| is_tail(file.metadata())) {
            // It was away and has come back between the two looks.
            return Ok(Some(Progress::Unsettled));
        }
        if !self.rotation_is_over() {
            return Ok(Some(Progress::Unsettled));
        }
        let Some(tail) = &self.tail else { return Ok(None) };
        let known = || self.retired.iter().chain([tail]);
        let is_known = |file: &File| known().any(|known| known.is_of(file));
        // The file is open already: another rotation at this moment takes no generation away.
        let Looked { found, is_sure } = generations::next(&self.names, &tail.file, tail.had_name, is_known);
        let (read, position) = (tail.read(), tail.position);
        if !is_sure && !self.has_waited() {
            return Ok(Some(Progress::Unsettled));
        }
        let emptied = || self.emptied.as_ref().and_then(|tail| tail.file.try_clone().ok());
        let Some(next) = found.or_else(emptied).or(named) else {
            if self.changed.elapsed() >= GRACE && self.rotated.is_some_and(|since| since.elapsed() >= GRACE) {
                // Nobody writes in it any more, and its file system may have better use for the room.
                self.close();
            }
            return Ok(Some(Progress::Missing));
        };
        // Somebody may have put a copy in its place, as an editor does. A few bytes do not tell.
        let is_copy = read.trace.len() == TRACE && read.is_in(&next);
        self.begin(next, if is_copy { position } else { 0 })?;
        Ok(None)
    }

    /// The file that was read so far, if there is one, has lost its name.
    fn retire(&mut self) {
        let Some(tail) = self.tail.take() else { return };
        self.start = tail.place();
        self.retired.push(tail);
    }

    /// Goes on in another file. One that has had the name before is read on from where that was: it has got its name back.
    fn begin(&mut self, file: File, position: u64) -> io::Result<()> {
        let own = inode(&file.metadata()?);
        if fs::metadata(self.names.own()).is_ok_and(|meta| inode(&meta) == own) {
            self.names.follow();
        }
        let emptied = self.emptied.take_if(|tail| tail.inode == own);
        let emptied = emptied.map(|tail| Tail { unread: a_moment_ago(), ..tail });
        let (known, closed) = (self.retired.take(own).or(emptied), self.retired.take_closed(own));
        self.retire();
        let before = self.place();
        self.tail = Some(match (known, closed) {
            (Some(tail), _) => Tail { before, ..tail },
            (None, None) => Tail::new(file, (position, self.openings), before)?,
            (None, Some(closed)) => Tail::new(file, (0, self.openings), before)?.resume(closed)?,
        });
        self.read = None;
        self.openings += 1;
        self.rotated = None;
        Ok(())
    }

    /// Whether names have stopped changing, or have gone on for too long.
    fn rotation_is_over(&mut self) -> bool {
        self.has_waited() || generations::is_settled(&self.names)
    }

    /// Whether it has been waited long enough for a rotation to come to its end: there are directories in which names change
    /// all the time.
    fn has_waited(&mut self) -> bool {
        self.rotated.get_or_insert_with(Instant::now).elapsed() >= LONGEST_ROTATION
    }
}
