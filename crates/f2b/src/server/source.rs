//! A log file, and all jails that watch it: as far as they are at the same place, it is read and decoded once for all.
//!
//! Jails at the same place, which read the file by the same encoding and format, are a group with one reader. A jail that is
//! added begins by itself, where the database says; so does one that can't take lines for a while, since it pauses or has too
//! much on its way: it leaves its group, which goes on, and its lines stay in the file. A group that is behind another one
//! reads up to the place of that and then joins it. So everybody gets every line once, and nobody waits for anybody.
//!
//! What is in a FIFO can be read only once: there all jails are one group, which waits while one of them has too much on its way.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use f2b_filter::{Encoding, Entry, Filter, LineContext, LogFormat, OpenMessages};
use f2b_types::{Level, Log, Number, Record};

use super::database::Ask;
use super::jails::WatchedFile;
use super::log_file::{LogFile, Progress};
use super::notify::Notify;
use super::reader::{
    BACKLOG_INTERVAL, POLL_INTERVAL, QUIET_POLL_INTERVAL, RECHECK_INTERVAL, RETRY_INTERVAL,
    UNSETTLED_INTERVAL, next_round,
};
use super::reading::{self, Jail, LineDates, State};
use super::tail::{Place, RawLine};
use super::ways::{Warned, Ways};
use super::{JailKey, Msg, Outcome};
use crate::logging::ServerLog;

/// A log in which nothing has come for so long is looked at less often.
const A_MOMENT: Duration = Duration::from_secs(1);

/// As many bytes before the place where reading begins are looked at for messages that go on there.
const LOOK_BACK: u64 = 1 << 20;

/// A log file, and all jails that watch it.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) groups: Vec<Group>,
    /// inotify is to report its changes.
    pub(super) wants_notify: bool,
    /// It does.
    notified: bool,
    /// It may also report changes of files that have lost the name.
    watches_old: bool,
    warned: Warned,
}

/// Jails at the same place of a file.
pub(super) struct Group {
    pub(super) log: LogFile,
    encoding: Encoding,
    format: Option<LogFormat>,
    members: Vec<Member>,
    /// There may be something new; the time says from when on to look.
    pub(super) due: Option<Instant>,
    /// Which file under the name inotify reports changes of.
    openings: u64,
    /// Messages that go on in another line.
    open: OpenMessages,
    /// What stands before the place has to be looked at for such messages before anything is read.
    looks_back: bool,
    /// Who is in it has changed: some may find the same dates.
    is_new: bool,
}

/// What there is of a jail for one file.
struct Member {
    jail: JailKey,
    /// The place that the database has been told of.
    saved: Place,
    /// Lines with failures that may not count yet, oldest first.
    uncounted: VecDeque<(Outcome, Place)>,
    /// The file is to be searched for the first line that counts, before anything is read; until then it is alone.
    unsought: bool,
    /// The last look found no file, or one that can't be read; said in the log once.
    troubled: bool,
}

impl Source {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            groups: Vec::new(),
            wants_notify: false,
            notified: false,
            watches_old: false,
            warned: Warned::default(),
        }
    }

    /// A jail begins to watch the file.
    pub(super) fn add(&mut self, file: &WatchedFile, jail: &Jail) {
        let member = Member {
            jail: jail.key,
            saved: file.place.clone(),
            uncounted: VecDeque::new(),
            unsought: !file.tail,
            troubled: false,
        };
        let log = LogFile::new(self.path.clone(), file.place.clone(), file.tail).read_at(file.read);
        self.groups.push(Group::new(log, jail.filter(), member));
    }

    /// Whatever a jail has found here will count, since it goes on.
    pub(super) fn keep_findings(&mut self, jail: JailKey) {
        let members = self.groups.iter_mut().flat_map(|group| &mut group.members);
        members.filter(|member| member.jail == jail).for_each(|member| member.uncounted.clear());
    }

    /// A jail does not watch the file any more.
    pub(super) fn remove(&mut self, jail: &Jail, core: &Sender<Msg>) {
        for group in &mut self.groups {
            group.save(Some(jail), |_| None, core);
            group.members.retain(|member| member.jail != jail.key);
        }
        self.groups.retain(|group| !group.members.is_empty());
    }

    pub(super) fn is_watched_by(&self, jail: JailKey) -> bool {
        self.groups.iter().any(|group| group.has(jail))
    }

    /// A jail has other settings: if it reads the file in another way now, it leaves its group.
    pub(super) fn update(&mut self, jail: &Jail) {
        let Some(group) = self.groups.iter_mut().find(|group| group.has(jail.key)) else { return };
        group.is_new = true;
        let (encoding, format) = way_of(jail);
        if group.way() == (encoding, format) {
            return;
        }
        let mut own = match group.members.len() {
            1 => None,
            // They have to agree before they read on.
            _ if group.log.is_fifo() => return,
            _ => group.split(&[jail.key]),
        };
        let group = own.as_mut().unwrap_or(group);
        group.encoding = encoding.clone();
        group.format = format.cloned();
        group.open = OpenMessages::default();
        group.looks_back = format.is_some_and(LogFormat::has_parts);
        self.groups.extend(own);
    }

    /// A jail has begun, pauses or goes on, or has other settings.
    pub(super) fn look(&mut self, jail: JailKey) {
        for group in self.groups.iter_mut().filter(|group| group.has(jail)) {
            group.due = Some(Instant::now());
        }
    }

    /// The file has changed.
    pub(super) fn mark(&mut self, notify: &mut Notify, log: &ServerLog) {
        self.notified = self.notified && notify.add(&self.path, log);
        for group in &mut self.groups {
            group.due = Some(Instant::now());
        }
    }

    /// Watches the file under its name.
    pub(super) fn watch(&mut self, notify: &mut Notify, log: &ServerLog) {
        self.notified = self.wants_notify && notify.add(&self.path, log);
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.groups.iter().any(|group| group.is_due(now))
    }

    /// How many files it keeps open.
    pub(super) fn open_files(&self) -> usize {
        self.groups.iter().map(|group| group.log.open_files()).sum()
    }

    /// What tells which log is closed first where too many are open; `None` for one that can't be closed now. Files that have
    /// lost their name are kept for as long as there are others.
    pub(super) fn rank(&self) -> Option<(bool, Instant)> {
        let ranks = self.groups.iter().map(|group| group.log.rank());
        // All of them, or what is closed here would be opened there.
        ranks.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Closes the file until there is something new in it, and answers how many that were.
    pub(super) fn close(&mut self) -> usize {
        let open = self.open_files();
        self.groups.iter_mut().for_each(|group| group.log.close());
        open
    }

    /// Looks again later, since no more files can be open now.
    pub(super) fn postpone(&mut self, now: Instant, begun: Instant, jails: &[Jail], log: &ServerLog) {
        for group in self.groups.iter_mut().filter(|group| group.is_due(now)) {
            let error = io::Error::from_raw_os_error(nix::errno::Errno::EMFILE as i32);
            group.report(&self.path, &Err(error), jails, log);
            group.due = Some(next_round(begun, RETRY_INTERVAL));
        }
    }

    /// Reads what there is to read, a bounded part for each group in turn.
    pub(super) fn read(
        &mut self,
        (now, begun): (Instant, Instant),
        jails: &mut [Jail],
        notify: &mut Notify,
        ways: &Ways,
    ) {
        if !self.is_due(now) {
            return;
        }
        self.part(jails);
        let mut index = 0;
        while index < self.groups.len() {
            self.join(index, jails);
            let group = &self.groups[index];
            if group.is_due(now) && self.read_group(index, begun, jails, ways) {
                // Its place has been taken by another one.
                continue;
            }
            index += 1;
        }
        if self.groups.iter_mut().any(Group::has_opened) {
            self.watch(notify, &ways.log);
            self.watches_old = true;
        }
        if self.watches_old && self.groups.iter().all(|group| group.log.has_one_file()) {
            notify.let_old_go(&self.path);
            self.watches_old = false;
        }
    }

    /// Who can't take lines now leaves those who can.
    fn part(&mut self, jails: &[Jail]) {
        let mut parted = Vec::new();
        for group in self.groups.iter_mut().filter(|group| group.members.len() > 1 && !group.log.is_fifo()) {
            // Looked at once, since the state of a jail may change at any time.
            let states = group.members.iter().map(|member| (member.jail, state_of(member, jails)));
            let states: Vec<(JailKey, State)> = states.collect();
            for state in [State::Full, State::Idle] {
                let going = states.iter().filter(|(_, other)| *other == state).map(|(jail, _)| *jail);
                let going: Vec<JailKey> = going.collect();
                if !going.is_empty() && going.len() < group.members.len() {
                    parted.extend(group.split(&going));
                }
            }
        }
        self.groups.extend(parted);
    }

    /// Takes all groups into the one at `index` that are at its place.
    fn join(&mut self, index: usize, jails: &[Jail]) {
        let mut other = index + 1;
        while other < self.groups.len() {
            let can_join = self.distance(other, index, jails) == Some(0);
            if !can_join && self.distance(index, other, jails) == Some(0) {
                self.groups.swap(index, other);
            }
            if can_join || self.distance(other, index, jails) == Some(0) {
                let joined = self.groups.swap_remove(other);
                self.groups[index].take_in(joined);
            } else {
                other += 1;
            }
        }
    }

    /// How far the group at `index` is behind another one that it can join.
    fn distance(&self, index: usize, other: usize, jails: &[Jail]) -> Option<u64> {
        let (group, other) = (&self.groups[index], &self.groups[other]);
        if group.way() != other.way() && !group.log.is_fifo() {
            return None;
        }
        let is_free = |group: &Group| !group.looks_back && group.all_ready(jails);
        let distance = group.log.distance_to(&other.log)?;
        let is_like = distance > 0 || group.open == other.open;
        (group.log.is_fifo() || (is_free(group) && is_free(other) && is_like)).then_some(distance)
    }

    /// Reads a part of the file for a group; true if it has come to the place of another one and joined it.
    fn read_group(&mut self, index: usize, begun: Instant, jails: &mut [Jail], ways: &Ways) -> bool {
        let others = (0..self.groups.len()).filter(|other| *other != index);
        let distances = others.filter_map(|other| Some((self.distance(index, other, jails)?, other)));
        let next = distances.filter(|(distance, _)| *distance > 0).min();
        let Self { path, groups, warned, notified, .. } = self;
        let group = &mut groups[index];
        let again = match group.state(jails) {
            State::Full => Some(BACKLOG_INTERVAL),
            State::Idle => None,
            State::Ready if !group.log.has_news() => Some(group.pause(*notified)),
            State::Ready => {
                let progress = group.read(path, next.map(|(distance, _)| distance), (jails, warned), ways);
                let again = match progress {
                    Ok(Progress::More | Progress::Met) => Duration::ZERO,
                    Ok(Progress::Unsettled) => UNSETTLED_INTERVAL,
                    Ok(Progress::End) => group.pause(*notified),
                    Ok(Progress::Missing) | Err(_) => RETRY_INTERVAL,
                };
                let has_met = matches!(progress, Ok(Progress::Met));
                group.report(path, &progress, jails, &ways.log);
                group.save_if_another(jails, &ways.core);
                if let (true, Some((_, other))) = (has_met, next)
                    && self.distance(index, other, jails) == Some(0)
                {
                    let joined = self.groups.remove(index);
                    let other = if other > index { other - 1 } else { other };
                    self.groups[other].take_in(joined);
                    return true;
                }
                Some(again)
            }
        };
        self.groups[index].due = again.map(|again| next_round(begun, again));
        false
    }

    /// Has the database told how far reading has come, for one jail or for all.
    pub(super) fn save(&mut self, only: Option<JailKey>, jails: &[Jail], core: &Sender<Msg>) {
        let find = |key| jails.iter().find(|jail| jail.key == key && only.is_none_or(|only| only == key));
        for group in &mut self.groups {
            group.save(None, find, core);
        }
    }
}

fn state_of(member: &Member, jails: &[Jail]) -> State {
    jails.iter().find(|jail| jail.key == member.jail).map_or(State::Idle, Jail::state)
}

/// How a jail reads its logs.
fn way_of(jail: &Jail) -> (&Encoding, Option<&LogFormat>) {
    (jail.filter().log_encoding(), jail.filter().log_format())
}

impl Member {
    /// A line was one of failures, which may have to be waited for.
    fn has_found(&mut self, outcome: Outcome, place: Place) {
        if self.uncounted.len() == self.uncounted.capacity() {
            self.uncounted.retain(|(outcome, _)| !outcome.is_known());
        }
        self.uncounted.push_back((outcome, place));
    }

    /// Where reading has to go on after a restart if it has come to `read`.
    fn counted_up_to(&mut self, read: &Place) -> Place {
        while self.uncounted.pop_front_if(|(outcome, _)| outcome.is_known()).is_some() {}
        self.uncounted.front().map_or(read, |(_, place)| place).clone()
    }
}

impl Group {
    fn new(log: LogFile, filter: &Filter, member: Member) -> Self {
        Self {
            log,
            encoding: filter.log_encoding().clone(),
            format: filter.log_format().cloned(),
            members: vec![member],
            due: Some(Instant::now()),
            openings: 0,
            open: OpenMessages::default(),
            looks_back: filter.log_format().is_some_and(LogFormat::has_parts),
            is_new: false,
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    fn has(&self, jail: JailKey) -> bool {
        self.members.iter().any(|member| member.jail == jail)
    }

    /// Whether another file has been opened than at the last look.
    fn has_opened(&mut self) -> bool {
        std::mem::replace(&mut self.openings, self.log.openings()) != self.log.openings()
    }

    /// How long it is left alone after it was read to its end.
    fn pause(&self, notified: bool) -> Duration {
        match () {
            () if notified || self.log.fd().is_some() => RECHECK_INTERVAL,
            () if self.log.quiet_since().elapsed() < A_MOMENT || self.log.is_fifo() => POLL_INTERVAL,
            () => QUIET_POLL_INTERVAL,
        }
    }

    /// Whether all members have begun and take lines.
    fn all_ready(&self, jails: &[Jail]) -> bool {
        self.members.iter().all(|member| !member.unsought && state_of(member, jails) == State::Ready)
    }

    /// The members of a file are in the same state; if one is in another by now, they wait until they have parted. A FIFO waits
    /// for those that have too much on their way, but not for those that pause.
    pub(super) fn state(&self, jails: &[Jail]) -> State {
        let states = || self.members.iter().map(|member| state_of(member, jails));
        let is = |state| states().any(|other| other == state);
        match (is(State::Ready), is(State::Full), is(State::Idle)) {
            (false, false, _) => State::Idle,
            (true, false, false) => State::Ready,
            (true, false, true) if self.log.is_fifo() => State::Ready,
            _ => State::Full,
        }
    }

    /// The members that go their own way, unless it is a FIFO.
    fn split(&mut self, going: &[JailKey]) -> Option<Self> {
        let log = self.log.fork()?;
        let members = std::mem::take(&mut self.members);
        let (going, staying) = members.into_iter().partition(|member| going.contains(&member.jail));
        self.members = staying;
        Some(Self {
            log,
            encoding: self.encoding.clone(),
            format: self.format.clone(),
            members: going,
            due: Some(Instant::now()),
            openings: self.openings,
            open: self.open.clone(),
            looks_back: self.looks_back,
            is_new: false,
        })
    }

    fn way(&self) -> (&Encoding, Option<&LogFormat>) {
        (&self.encoding, self.format.as_ref())
    }

    /// What is in a FIFO is read in one way: that of all members or, where they differ, the one that it has been read in for as
    /// long as somebody wants that. The others are told.
    fn agree(&mut self, path: &Path, jails: &[Jail], log: &ServerLog) {
        let members =
            self.members.iter().filter_map(|member| jails.iter().find(|jail| jail.key == member.jail));
        let members: Vec<&Jail> = members.collect();
        let keeps = members.iter().find(|jail| way_of(jail) == self.way());
        let Some(first) = keeps.or(members.first()).copied() else { return };
        for other in members.iter().filter(|other| way_of(other) != way_of(first)) {
            let message = format!(
                "[{}] '{}' is a FIFO and read once, so its lines are read as [{}] says, with the logencoding and the \
                 logformat of that jail",
                other.name,
                path.display(),
                first.name
            );
            log.write(Record::new(Level::WARNING, "filter", message));
        }
        self.encoding = first.filter().log_encoding().clone();
        self.format = first.filter().log_format().cloned();
    }

    /// Those of another group at the same place.
    fn take_in(&mut self, other: Self) {
        self.members.extend(other.members);
        self.due = self.due.min(other.due).or(self.due).or(other.due);
        self.is_new = true;
    }

    /// Reads a part of the file, no farther than `distance`, and has the members match its lines.
    fn read(
        &mut self,
        path: &Path,
        distance: Option<u64>,
        (jails, warned): (&mut [Jail], &mut Warned),
        ways: &Ways,
    ) -> io::Result<Progress> {
        let takes_lines = |jail: &Jail| jail.state() != State::Idle;
        let place =
            |member: &Member| jails.iter().position(|jail| jail.key == member.jail && takes_lines(jail));
        let mut order: Vec<usize> = self.members.iter().filter_map(place).collect();
        if let [member] = &mut *self.members {
            member.unsought &= !self.log.in_operation && !self.log.is_fifo();
            if let (true, Some(jail)) = (member.unsought, order.first())
                && self.log.open()?.is_none()
            {
                member.unsought = false;
                jails[*jail].seek(&mut self.log, ways);
                // Others may be at that place.
                return Ok(Progress::More);
            }
        }
        if self.looks_back && !self.log.is_fifo() {
            if let Some(progress) = self.log.open()? {
                return Ok(progress);
            }
            self.look_back()?;
        }
        if std::mem::take(&mut self.is_new) {
            if self.log.is_fifo() {
                self.agree(path, jails, &ways.log);
            }
            reading::share_dates(&order, jails);
        }
        reading::prepare(&mut order, jails, ways.log.level());
        let clock = ways.clock();
        let mut dates = LineDates::new(&order, jails);
        let Self { log, encoding, format, open, members, .. } = self;
        log.read_lines(encoding, distance, |RawLine { bytes, encoding, is_news, start }| {
            let context = LineContext { clock: &clock, in_operation: is_news, check_find_time: true };
            let (line, valid) = encoding.decode_line(bytes);
            if !valid {
                ways.warn_of_bytes(bytes, path, encoding.name(), warned);
            }
            dates.clear();
            let mut hand_out = |line| {
                for jail in &order {
                    let jail = &mut jails[*jail];
                    let outcome = jail.line(line, &mut dates, &context, ways);
                    let found = outcome.zip(start).zip(members.iter_mut().find(|of| of.jail == jail.key));
                    if let Some(((outcome, start), member)) = found {
                        member.has_found(outcome, start.place());
                    }
                }
            };
            match format.as_ref().map(|format| format.read(&line, open)) {
                None => hand_out((&*line, None)),
                Some(Entry::Message(text, time)) => hand_out((text, time)),
                Some(Entry::Part) => {}
                Some(Entry::Other) => ways.warn_of_format(&line, path, format.as_ref(), warned),
            }
        })
    }

    /// Learns which messages have begun before the place where reading begins: what comes of them there is no message of its own.
    fn look_back(&mut self) -> io::Result<()> {
        let Self { log, encoding, format, open, .. } = self;
        if let Some(format) = format {
            log.look_back(encoding, LOOK_BACK, |line| {
                format.read(line, open);
            })?;
        }
        self.looks_back = false;
        Ok(())
    }

    /// Has the database told of another file than it knows of: it has to know before a crash comes, since nothing else
    /// leads to this one once it is renamed.
    fn save_if_another(&mut self, jails: &[Jail], core: &Sender<Msg>) {
        let hash = self.log.place().hash;
        if self.members.iter().any(|member| member.saved.hash != hash) {
            self.save(None, |key| jails.iter().find(|jail| jail.key == key), core);
        }
    }

    /// Has the database told how far reading has come, behind the failures that were found up to there, and not beyond one that
    /// does not count yet: after a crash they would be missed otherwise. For `only` one jail, or all that `find` finds.
    fn save<'j>(
        &mut self,
        only: Option<&'j Jail>,
        find: impl Fn(JailKey) -> Option<&'j Jail>,
        core: &Sender<Msg>,
    ) {
        let read = self.log.place();
        for member in &mut self.members {
            let place = member.counted_up_to(&read);
            if member.saved == place {
                continue;
            }
            let jail = only.filter(|jail| jail.key == member.jail).or_else(|| find(member.jail));
            let Some(jail) = jail else { continue };
            let position = Ask::UpdateLog {
                jail: jail.name.clone(),
                path: self.log.path().display().to_string(),
                position: Number::Int(i64::try_from(place.position).unwrap_or(i64::MAX)),
                hash: place.hash.clone(),
            };
            member.saved = place;
            let _ = core.send(Msg::ReadUpTo(position));
        }
    }

    /// Says in the log, once for each jail, that the file has gone or can't be read, and that it is back.
    fn report(&mut self, path: &Path, progress: &io::Result<Progress>, jails: &[Jail], log: &ServerLog) {
        let troubled = match progress {
            Ok(Progress::Unsettled) => return,
            Ok(Progress::End | Progress::More | Progress::Met) => false,
            Ok(Progress::Missing) | Err(_) => true,
        };
        for member in self.members.iter_mut().filter(|member| member.troubled != troubled) {
            member.troubled = troubled;
            let Some(Jail { name, .. }) = jails.iter().find(|jail| jail.key == member.jail) else { continue };
            let path = path.display();
            let (level, message) = match progress {
                Ok(Progress::Missing) => {
                    (Level::MSG, format!("[{name}] Log absence detected (possibly rotation) for {path}"))
                }
                Ok(_) => (Level::MSG, format!("[{name}] Log presence detected for file {path}")),
                Err(error) => (Level::ERROR, format!("[{name}] Unable to read {path}: {error}")),
            };
            log.write(Record::new(level, "filter", message));
        }
    }
}
