//! A jail as the reader sees it: what it makes of lines, and whether it takes any.
//!
//! Jails that get the same lines share what finds their dates. A detector learns from the lines that it sees, and what it has
//! learned decides what it finds; so two jails may have one only as long as every line of the one is a line of the other, and
//! they may only come to one if theirs are alike ([`DateDetector::is_like`]): when both have read the same so far. Where a jail
//! gets a line that another one with the same detector doesn't get, each goes on with one of its own. Detectors that have learned
//! different things still share what their templates find in a line ([`LineSearches`]).

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use f2b_filter::{DateDetector, EntryTime, Filter, LineContext, LineDate, LineSearches};
use f2b_types::{Level, Number};

use super::database::Ask;
use super::journal::{self, FollowedJournal};
use super::log_file::{LogFile, Progress};
use super::reader::{POLL_INTERVAL, RECHECK_INTERVAL, RETRY_INTERVAL};
use super::ways::Ways;
use super::{Backlog, JailKey, Msg, Outcome};

/// A jail as the reader sees it.
pub(super) struct Jail {
    pub(super) key: JailKey,
    pub(super) name: String,
    /// Without what finds dates; boxed, as a list that grows has room for more jails than there are.
    filter: Box<Filter>,
    dates: Option<SharedDates>,
    pub(super) polling: bool,
    backlog: Backlog,
    pub(super) journal: Option<FollowedJournal>,
    /// When the journal is to be looked at.
    pub(super) journal_due: Option<Instant>,
    /// Since when nothing has come in any of its logs.
    pub(super) quiet_since: Instant,
    pub(super) started: bool,
    pub(super) idle: bool,
}

type SharedDates = Rc<RefCell<DateDetector>>;

/// Whether a jail takes lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It does.
    Ready,
    /// It has too much on its way.
    Full,
    /// It has not begun, or pauses.
    Idle,
}

/// The date of a line for all jails that get it.
#[derive(Default)]
pub(super) struct LineDates {
    /// For those with the same detector, which stand behind each other.
    found: Option<(*const RefCell<DateDetector>, LineDate)>,
    /// What the templates of one detector find, those of another need not search.
    searches: LineSearches,
    /// There are several detectors.
    has_several: bool,
}

impl Jail {
    /// One without settings.
    pub(super) fn new(key: JailKey, name: String, polling: bool, backlog: Backlog) -> Self {
        Self {
            key,
            filter: Box::new(Filter::new(&name, 0)),
            name,
            dates: None,
            polling,
            backlog,
            journal: None,
            journal_due: None,
            quiet_since: Instant::now(),
            started: false,
            idle: false,
        }
    }

    /// Takes over the settings of another filter.
    pub(super) fn adopt(&mut self, filter: &Filter) {
        self.filter.adopt(filter);
        self.take_dates_out();
    }

    fn take_dates_out(&mut self) {
        self.dates = self.filter.take_date_detector().map(|dates| Rc::new(RefCell::new(dates)));
    }

    pub(super) fn filter(&self) -> &Filter {
        &self.filter
    }

    pub(super) fn state(&self) -> State {
        match () {
            () if !self.started || self.idle => State::Idle,
            () if self.backlog.is_full() => State::Full,
            () => State::Ready,
        }
    }

    /// Goes in a log to where it begins to count.
    pub(super) fn seek(&mut self, log: &mut LogFile, ways: &Ways) {
        if let Some(dates) = &self.dates {
            self.filter.restore_date_detector(dates.borrow().clone());
        }
        self.filter.set_log_level(ways.log.level());
        let encoding = self.filter.log_encoding().clone();
        ways.seek(&mut self.filter, log, &encoding);
        self.take_dates_out();
    }

    /// Matches a line, or the message of an entry and its time; gives what comes of that if it is anything.
    pub(super) fn line(
        &mut self,
        (line, time): (&str, Option<EntryTime>),
        dates: &mut LineDates,
        context: &LineContext<'_>,
        ways: &Ways,
    ) -> Option<Outcome> {
        let time = time.and_then(|time| self.filter.entry_time(time, context));
        let date = dates.of(line, self.dates.as_ref(), context);
        let outcome = match time {
            Some(time) => self.filter.process_found(line, &date.at(time), None, context),
            None => self.filter.process_found(line, date, None, context),
        };
        ways.outcome(self.key, &mut self.filter, &self.backlog, (line, outcome), context)
    }

    /// Has the database told of the last entry of the journal that was read.
    pub(super) fn save_journal(&mut self, core: &Sender<Msg>) {
        let Some((time, date)) = self.journal.as_mut().and_then(FollowedJournal::unsaved) else { return };
        let position = Ask::UpdateLog {
            jail: self.name.clone(),
            path: journal::PATH.into(),
            position: Number::Float(time),
            hash: date,
        };
        let _ = core.send(Msg::ReadUpTo(position));
    }

    /// Reads a part of the journal and matches its entries; says when to look again if nobody reports a change.
    pub(super) fn read_journal(&mut self, ways: &Ways) -> Duration {
        let Self { key, name, filter, backlog, journal, .. } = self;
        let Some(journal) = journal else { return RECHECK_INTERVAL };
        filter.set_log_level(ways.log.level());
        let (clock, find_time) = (ways.clock(), filter.find_time().as_f64());
        let encoding = filter.log_encoding().clone();
        let progress = journal.read(name, &encoding, find_time, &ways.log, |entry, in_operation| {
            let context = LineContext { clock: &clock, in_operation, check_find_time: true };
            let found = filter.process_dated(entry.parts(), Number::Float(entry.time), &context);
            ways.pass_on(*key, filter, backlog, found, &context)
        });
        journal.report(name, &progress, &ways.log);
        match progress {
            Ok(Progress::More | Progress::Met) => Duration::ZERO,
            Ok(Progress::End) if journal.journal.as_ref().is_some_and(|journal| journal.fd().is_some()) => {
                RECHECK_INTERVAL
            }
            Ok(Progress::End | Progress::Unsettled) => POLL_INTERVAL,
            Ok(Progress::Missing) | Err(_) => RETRY_INTERVAL,
        }
    }
}

impl LineDates {
    /// For jails whose order is that of [`prepare`].
    pub(super) fn new(order: &[usize], jails: &[Jail]) -> Self {
        let detector = |index: &usize| jails[*index].dates.as_ref().map(Rc::as_ptr);
        let has_several = order.iter().map(detector).any(|one| one != order.first().and_then(detector));
        Self { has_several, ..Self::default() }
    }

    /// Another line comes.
    pub(super) fn clear(&mut self) {
        self.found = None;
        self.searches.clear();
    }

    /// The date of the line, found by those of a jail unless it is known already.
    fn of(&mut self, line: &str, dates: Option<&SharedDates>, context: &LineContext<'_>) -> &LineDate {
        let by = dates.map_or(std::ptr::null(), Rc::as_ptr);
        let known = self.found.take().filter(|(known, _)| *known == by);
        let found = known.unwrap_or_else(|| {
            let date = match dates.map(|dates| dates.borrow_mut()) {
                None => LineDate::none(line),
                Some(mut dates) if self.has_several => dates.find_among(line, context, &mut self.searches),
                Some(mut dates) => dates.find(line, context),
            };
            (by, date)
        });
        &self.found.insert(found).1
    }
}

/// Prepares jails for lines that all of them get and no other jail does: sees to it that they share no detector with
/// others, and puts those with the same one behind each other. `order` has their places in `jails`.
pub(super) fn prepare(order: &mut [usize], jails: &mut [Jail], level: Level) {
    for place in 0..order.len() {
        let jail = &mut jails[order[place]];
        jail.filter.set_log_level(level);
        let Some(dates) = jail.dates.clone() else { continue };
        dates.borrow_mut().set_log_level(level);
        let has_it = |jail: &Jail| jail.dates.as_ref().is_some_and(|own| Rc::ptr_eq(own, &dates));
        // The one in hand counts as well.
        if Rc::strong_count(&dates) - 1 == order.iter().filter(|index| has_it(&jails[**index])).count() {
            continue;
        }
        let own = Rc::new(RefCell::new(dates.borrow().clone()));
        for index in order.iter() {
            if has_it(&jails[*index]) {
                jails[*index].dates = Some(Rc::clone(&own));
            }
        }
    }
    let detector = |index: usize| jails[index].dates.as_ref().map(Rc::as_ptr);
    let first: Vec<_> = order.iter().map(|index| detector(*index)).collect();
    order.sort_by_cached_key(|index| first.iter().position(|known| *known == detector(*index)));
}

/// Lets those of the jails that find the same dates share what finds them.
pub(super) fn share_dates(order: &[usize], jails: &mut [Jail]) {
    for place in 1..order.len() {
        let Some(dates) = jails[order[place]].dates.clone() else { continue };
        let is_like =
            |other: &SharedDates| Rc::ptr_eq(other, &dates) || other.borrow().is_like(&dates.borrow());
        let like =
            order[..place].iter().find_map(|index| jails[*index].dates.as_ref().filter(|o| is_like(o)));
        if let Some(like) = like.map(Rc::clone) {
            jails[order[place]].dates = Some(like);
        }
    }
}

#[cfg(test)]
mod tests {
    use f2b_filter::Clock;
    use f2b_types::Time;
    use jiff::tz::TimeZone;

    use super::*;

    fn jails(patterns: &[&str]) -> Vec<Jail> {
        let jail = |(number, pattern): (usize, &&str)| {
            let mut filter = Filter::new("j", 2005);
            if !pattern.is_empty() {
                filter.set_date_pattern(pattern).expect("a pattern");
            }
            let mut jail = Jail::new(JailKey(number as u64), "j".into(), false, Backlog::default());
            jail.adopt(&filter);
            jail
        };
        patterns.iter().enumerate().map(jail).collect()
    }

    fn dates(jail: &Jail) -> *const RefCell<DateDetector> {
        jail.dates.as_ref().map_or(std::ptr::null(), Rc::as_ptr)
    }

    /// What a line is for jails that are prepared for it: how many have looked for its date.
    fn searches(order: &[usize], jails: &[Jail], line: &str) -> usize {
        let clock = Clock::new(Time(1_124_013_600.0), TimeZone::UTC);
        let context = LineContext { clock: &clock, in_operation: true, check_find_time: true };
        let (mut found, mut known, mut searches) = (LineDates::default(), std::ptr::null(), 0);
        for index in order {
            let jail = &jails[*index];
            found.of(line, jail.dates.as_ref(), &context);
            searches += usize::from(std::mem::replace(&mut known, dates(jail)) != dates(jail));
        }
        searches
    }

    #[test]
    fn jails_that_see_the_same_lines_look_for_a_date_once() {
        let mut jails = jails(&["", "%Y-%m-%d", "", "%Y-%m-%d", ""]);
        let mut all = [0, 1, 2, 3, 4];
        share_dates(&all, &mut jails);
        prepare(&mut all, &mut jails, Level::INFO);
        assert_eq!(all, [0, 2, 4, 1, 3]);
        assert_eq!(searches(&all, &jails, "2005-08-14 10:00:00 x"), 2);
        // A line that not all of them see.
        let mut some = [1, 2, 0];
        prepare(&mut some, &mut jails, Level::INFO);
        assert_eq!(searches(&some, &jails, "14/Aug/2005:10:00:00 x"), 2);
        assert_eq!(dates(&jails[0]), dates(&jails[2]));
        assert_ne!(dates(&jails[0]), dates(&jails[4]));
        assert_ne!(dates(&jails[1]), dates(&jails[3]));
        // They are not alike any more, but for those that have but one pattern and find it at the same place again.
        let mut all = [0, 1, 2, 3, 4];
        prepare(&mut all, &mut jails, Level::INFO);
        assert_eq!(searches(&all, &jails, "2005-08-14 10:00:00 x"), 4);
        share_dates(&all, &mut jails);
        prepare(&mut all, &mut jails, Level::INFO);
        assert_eq!(searches(&all, &jails, "2005-08-14 10:00:00 x"), 3);
    }

    #[test]
    fn a_jail_with_other_settings_has_its_own_dates() {
        let mut jails = jails(&["", ""]);
        share_dates(&[0, 1], &mut jails);
        assert_eq!(dates(&jails[0]), dates(&jails[1]));
        jails[1].adopt(&Filter::new("j", 2005));
        assert_ne!(dates(&jails[0]), dates(&jails[1]));
    }
}
