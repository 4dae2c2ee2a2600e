//! Jails at the same place of a log: what they share to read it, and what each has apart.

use std::io;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use f2b_filter::{Encoding, Entry, LineContext, LogFormat, OpenMessages};
use f2b_types::{Level, Log, Record};

use super::generations::Logs;
use super::jails::WatchedFile;
use super::log_file::{LogFile, Progress};
use super::places::Places;
use super::reader::{POLL_INTERVAL, QUIET_POLL_INTERVAL, RECHECK_INTERVAL};
use super::reading::{self, Jail, LineDates, State};
use super::tail::RawLine;
use super::ways::{Warned, Ways};
use super::{JailKey, Msg};
use crate::logging::ServerLog;

/// A log in which nothing has come for so long is looked at less often.
const A_MOMENT: Duration = Duration::from_secs(1);

/// As many bytes before the place where reading begins are looked at for messages that go on there.
const LOOK_BACK: u64 = 1 << 20;

/// Jails at the same place of a file.
pub(super) struct Group {
    pub(super) log: LogFile,
    encoding: Encoding,
    format: Option<LogFormat>,
    pub(super) members: Vec<Member>,
    /// There may be something new; the time says from when on to look.
    pub(super) due: Option<Instant>,
    /// Which file under the name inotify reports changes of.
    openings: u64,
    /// Messages that go on in another line.
    open: OpenMessages,
    /// What stands before the place has to be looked at for such messages before anything is read.
    looks_back: bool,
    /// Who is in it has changed: some may find the same dates.
    pub(super) is_new: bool,
}

/// What there is of a jail for one file.
pub(super) struct Member {
    jail: JailKey,
    places: Places,
    /// The file is to be searched for the first line that counts, before anything is read; until then it is alone.
    unsought: bool,
    /// The last look found no file, or one that can't be read; said in the log once.
    troubled: bool,
}

impl Group {
    /// One of a jail that begins to watch a file.
    pub(super) fn new(file: &WatchedFile, jail: &Jail, logs: &Logs) -> Self {
        let (encoding, format) = way_of(jail);
        let member =
            Member { jail: jail.key, places: Places::new(file), unsought: !file.tail, troubled: false };
        Self {
            log: LogFile::new(file.path.clone().into(), file.place.clone(), file.tail)
                .among(logs)
                .read_at(file.read, file.old.clone()),
            encoding: encoding.clone(),
            format: format.cloned(),
            members: vec![member],
            due: Some(Instant::now()),
            openings: 0,
            open: OpenMessages::default(),
            looks_back: format.is_some_and(LogFormat::has_parts),
            is_new: false,
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    pub(super) fn has(&self, jail: JailKey) -> bool {
        self.members.iter().any(|member| member.jail == jail)
    }

    /// Whether another file has been opened than at the last look.
    pub(super) fn has_opened(&mut self) -> bool {
        std::mem::replace(&mut self.openings, self.log.openings()) != self.log.openings()
    }

    /// How long it is left alone after it was read to its end. Where something has come in one log of a jail, more is expected
    /// in all of them.
    pub(super) fn pause(&self, notified: bool, jails: &mut [Jail]) -> Duration {
        if notified || self.log.fd().is_some() {
            return RECHECK_INTERVAL;
        }
        let mut last = self.log.quiet_since();
        for jail in jails.iter_mut().filter(|jail| self.has(jail.key)) {
            jail.quiet_since = jail.quiet_since.max(last);
            last = jail.quiet_since;
        }
        if last.elapsed() < A_MOMENT || self.log.is_fifo() { POLL_INTERVAL } else { QUIET_POLL_INTERVAL }
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
    pub(super) fn split(&mut self, going: &[JailKey]) -> Option<Self> {
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
    pub(super) fn take_in(&mut self, other: Self) {
        self.members.extend(other.members);
        self.due = self.due.min(other.due).or(self.due).or(other.due);
        self.is_new = true;
    }

    /// A jail does not watch the file any more. If it `goes_on`, what it has found is going to count; otherwise, what does not
    /// count yet is read again at its next start.
    pub(super) fn leave(&mut self, jail: &Jail, goes_on: bool, core: &Sender<Msg>) {
        for member in self.members.iter_mut().filter(|member| goes_on && member.jail == jail.key) {
            member.places.let_all_count();
        }
        self.save(Some(jail), |_| None, core);
        self.members.retain(|member| member.jail != jail.key);
    }

    /// Whether a jail with other settings reads the file as before.
    pub(super) fn is_read_as_by(&self, jail: &Jail) -> bool {
        self.way() == way_of(jail)
    }

    /// Reads the file as a jail reads it from now on.
    pub(super) fn read_as(&mut self, jail: &Jail) {
        let (encoding, format) = way_of(jail);
        self.encoding = encoding.clone();
        self.format = format.cloned();
        self.open = OpenMessages::default();
        self.looks_back = format.is_some_and(LogFormat::has_parts);
    }

    /// Those who have to leave the others, since they can't take lines now, in groups of their own.
    pub(super) fn part(&mut self, jails: &[Jail]) -> Vec<Self> {
        if self.members.len() < 2 || self.log.is_fifo() {
            return Vec::new();
        }
        // Looked at once, since the state of a jail may change at any time.
        let states = self.members.iter().map(|member| (member.jail, state_of(member, jails)));
        let states: Vec<(JailKey, State)> = states.collect();
        let mut parted = Vec::new();
        for state in [State::Full, State::Idle] {
            let going = states.iter().filter(|(_, other)| *other == state).map(|(jail, _)| *jail);
            let going: Vec<JailKey> = going.collect();
            if !going.is_empty() && going.len() < self.members.len() {
                parted.extend(self.split(&going));
            }
        }
        parted
    }

    /// How far this group is behind another one that it can join.
    pub(super) fn distance_to(&self, other: &Self, jails: &[Jail]) -> Option<u64> {
        if self.way() != other.way() && !self.log.is_fifo() {
            return None;
        }
        let is_free = |group: &Self| !group.looks_back && group.all_ready(jails);
        let distance = self.log.distance_to(&other.log)?;
        let is_like = distance > 0 || self.open == other.open;
        (self.log.is_fifo() || (is_free(self) && is_free(other) && is_like)).then_some(distance)
    }

    /// Reads a part of the file, no farther than `distance`, and has the members match its lines.
    pub(super) fn read(
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
                        member.places.has_found(outcome, start);
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
    /// leads to this one once it is renamed. Answers whether it knows now; it does not as long as failures in the file before
    /// do not count yet.
    pub(super) fn save_if_another(&mut self, jails: &[Jail], core: &Sender<Msg>) -> bool {
        if !self.is_known() {
            self.save(None, |key| jails.iter().find(|jail| jail.key == key), core);
        }
        self.is_known()
    }

    fn is_known(&mut self) -> bool {
        let Self { log, members, .. } = self;
        members.iter_mut().all(|member| member.places.is_known(log))
    }

    /// Has the database told how far reading has come. For `only` one jail, or all that `find` finds.
    pub(super) fn save<'j>(
        &mut self,
        only: Option<&'j Jail>,
        find: impl Fn(JailKey) -> Option<&'j Jail>,
        core: &Sender<Msg>,
    ) {
        for member in &mut self.members {
            let jail = only.filter(|jail| jail.key == member.jail).or_else(|| find(member.jail));
            let Some(jail) = jail else { continue };
            for ask in member.places.news(&self.log, &jail.name) {
                let _ = core.send(Msg::ReadUpTo(ask));
            }
        }
    }

    /// Says in the log, once for each jail, that the file has gone or can't be read, and that it is back.
    pub(super) fn report(
        &mut self,
        path: &Path,
        progress: &io::Result<Progress>,
        jails: &[Jail],
        log: &ServerLog,
    ) {
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

fn state_of(member: &Member, jails: &[Jail]) -> State {
    jails.iter().find(|jail| jail.key == member.jail).map_or(State::Idle, Jail::state)
}

/// How a jail reads its logs.
fn way_of(jail: &Jail) -> (&Encoding, Option<&LogFormat>) {
    (jail.filter().log_encoding(), jail.filter().log_format())
}
