//! How far a jail has read a log, as the database is told of it: behind the failures that were found up to there, and not beyond
//! one that does not count yet, since it would be missed after a crash otherwise.

use std::collections::VecDeque;

use f2b_types::Number;

use super::Outcome;
use super::database::Ask;
use super::jails::WatchedFile;
use super::log_file::LogFile;
use super::tail::{LineStart, Place};

/// The places of a jail in the files of a log.
pub(super) struct Places {
    /// The place that the database has been told of.
    saved: Place,
    /// In which of the texts that were read that is, if in one of these.
    number: Option<u64>,
    /// The same of the places in files that have lost the name.
    saved_old: Vec<Place>,
    /// Lines with failures that may not count yet, oldest first.
    uncounted: VecDeque<Uncounted>,
}

/// A line with failures.
struct Uncounted {
    outcome: Outcome,
    place: Place,
    /// Its file had lost the name.
    is_late: bool,
}

impl Places {
    /// Those that the database has of a file.
    pub(super) fn new(file: &WatchedFile) -> Self {
        Self {
            saved: file.place.clone(),
            number: None,
            saved_old: file.old.clone(),
            uncounted: VecDeque::new(),
        }
    }

    /// Whether the database knows which file of a log is read. The first one with the first line that it knows is that one; another
    /// one after that may have the same.
    pub(super) fn is_known(&mut self, log: &LogFile) -> bool {
        let is_same = self.saved.hash == log.place().hash;
        let number = log.number();
        if is_same && self.number.is_none() {
            self.number = number;
        }
        is_same && (number.is_none() || number == self.number)
    }

    /// A line was one of failures, which may have to be waited for.
    pub(super) fn has_found(&mut self, outcome: Outcome, start: LineStart<'_>) {
        if self.uncounted.len() == self.uncounted.capacity() {
            self.uncounted.retain(|line| !line.outcome.is_known());
        }
        self.uncounted.push_back(Uncounted { outcome, place: start.place(), is_late: start.is_late });
    }

    /// Whatever has been found is going to count.
    pub(super) fn let_all_count(&mut self) {
        self.uncounted.clear();
    }

    /// What the database is to be told, which knows it afterwards: of old files first, to which nothing else leads.
    pub(super) fn news(&mut self, log: &LogFile, jail: &str) -> Vec<Ask> {
        let read = log.place();
        let place = self.counted_up_to(read.clone());
        let old = log.old_places(&place).into_iter().map(|read| self.counted_in_old(read)).collect();
        let (jail, path) = (jail.to_owned(), log.path().display().to_string());
        let mut news = self.news_of_old(old, &jail, &path);
        if place == read {
            self.number = log.number();
        }
        if self.saved != place {
            self.saved = place.clone();
            let position = Number::Int(i64::try_from(place.position).unwrap_or(i64::MAX));
            news.push(Ask::UpdateLog { jail, path, position, hash: place.hash });
        }
        news
    }

    fn news_of_old(&mut self, old: Vec<Place>, jail: &str, path: &str) -> Vec<Ask> {
        let saved = std::mem::replace(&mut self.saved_old, old);
        let (jail, path) = (|| jail.to_owned(), || path.to_owned());
        let new = self.saved_old.iter().filter(|place| !saved.contains(place));
        let new = new.map(|place| Ask::UpdateOldLog { jail: jail(), path: path(), place: place.clone() });
        let gone = saved.iter().filter(|known| self.saved_old.iter().all(|place| place.hash != known.hash));
        let gone =
            gone.map(|known| Ask::ForgetOldLog { jail: jail(), path: path(), hash: known.hash.clone() });
        new.chain(gone).collect()
    }

    /// Where reading has to go on after a restart if it has come to `read`.
    fn counted_up_to(&mut self, read: Place) -> Place {
        while self.uncounted.pop_front_if(|line| line.outcome.is_known()).is_some() {}
        let is_before = |line: &&Uncounted| !line.is_late || line.place.hash == read.hash;
        self.uncounted.iter().find(is_before).map(|line| line.place.clone()).unwrap_or(read)
    }

    /// The same in a file that has lost the name.
    fn counted_in_old(&self, read: Place) -> Place {
        let first = self.uncounted.iter().find(|line| line.place.hash == read.hash);
        first.map_or(read, |line| line.place.clone())
    }
}
