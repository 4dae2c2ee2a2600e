//! The reader thread: follows the files and journals of all jails and matches their lines.
//!
//! It owns the files, the filters and the inotify instance. A line goes from the file's buffer through decoding and
//! the filter without anybody else being asked; only a failure leaves the thread. While a jail has too much on its way
//! ([`Backlog`]), its files are left alone: the file is the queue.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use f2b_filter::{Filter, LineContext};
use f2b_types::{Level, Log, Number, Record};
use jiff::tz::TimeZone;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::database::Ask;
use super::jails::WatchedFile;
use super::journal::{self, FollowedJournal, WatchedJournal};
use super::log_file::{LogFile, Place, Progress};
use super::notify::Notify;
use super::resolver::Resolver;
use super::ways::Ways;
use super::{Backlog, JailKey, Msg, descriptors};
use crate::clock;
use crate::logging::ServerLog;

/// How often a file is looked at that inotify doesn't report.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// How often a file is looked at though inotify reports its changes: it has no eyes for a directory that was replaced, a
/// link that points elsewhere, or a network.
const RECHECK_INTERVAL: Duration = Duration::from_secs(2);

/// How often a file is looked for that is not there, or that can't be read.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How long a rotation is left alone that is under way.
const UNSETTLED_INTERVAL: Duration = Duration::from_millis(5);

/// How long a jail is left alone that has too much on its way.
const BACKLOG_INTERVAL: Duration = Duration::from_millis(5);

/// How often the database learns how far reading has come.
const SAVE_INTERVAL: Duration = Duration::from_secs(10);

/// What the reader is told.
pub(super) enum Watch {
    /// A jail is new, or its filter or files have changed.
    Jail(Box<Watched>),
    /// A jail begins to read.
    Start(JailKey),
    /// A jail pauses or goes on.
    Idle(JailKey, bool),
    /// A jail is gone. Somebody waits until all that it had found is on its way to the core.
    Stop(JailKey),
    /// Somebody waits until everything up to here has been heard, and what came of it is on its way to the core.
    Settle(JailKey),
}

/// What the reader needs to know of a jail.
pub(super) struct Watched {
    pub(super) key: JailKey,
    pub(super) name: String,
    pub(super) filter: Filter,
    pub(super) polling: bool,
    pub(super) files: Vec<WatchedFile>,
    pub(super) journal: Option<WatchedJournal>,
    pub(super) backlog: Backlog,
}

/// The way to the reader.
pub(super) struct Reader {
    watches: Sender<Watch>,
    wake: UnixStream,
}

impl Reader {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system has no thread or descriptor left.
    pub(super) fn start(
        core: &Sender<Msg>,
        resolver: &Resolver,
        log: &Arc<ServerLog>,
        zone: TimeZone,
    ) -> io::Result<Self> {
        let (watches, inbox) = mpsc::channel();
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let ways = Ways { core: core.clone(), resolver: resolver.clone(), log: Arc::clone(log), zone };
        // It is put together in its thread, which alone may have to do with the journals.
        let follow = move || {
            let follower = Follower {
                inbox,
                woken,
                notify: Notify::new(&*ways.log),
                ways,
                jails: Vec::new(),
                begun: Instant::now(),
                next_save: Instant::now() + SAVE_INTERVAL,
            };
            follower.run();
        };
        thread::Builder::new().name("f2b/reader".into()).spawn(follow)?;
        Ok(Self { watches, wake })
    }

    pub(super) fn tell(&self, watch: Watch) {
        // The thread lives as long as this handle; a wake-up that doesn't fit means that one is there already.
        let _ = self.watches.send(watch);
        let _ = (&self.wake).write(&[1]);
    }
}

/// A jail as the thread sees it.
struct Jail {
    key: JailKey,
    name: String,
    filter: Filter,
    polling: bool,
    backlog: Backlog,
    files: Vec<Followed>,
    journal: Option<FollowedJournal>,
    /// When the journal is to be looked at.
    journal_due: Option<Instant>,
    started: bool,
    idle: bool,
}

/// A file that is being followed.
struct Followed {
    log: LogFile,
    /// The place that the database has been told of.
    saved: Place,
    /// It may have something new; the time says from when on to look.
    due: Option<Instant>,
    /// The last look found no file, or one that can't be read; said in the log once.
    troubled: bool,
    /// inotify reports its changes.
    notified: bool,
    /// Which file under the name it does so for.
    openings: u64,
    /// When the log was told last that lines are not in the encoding of the jail.
    decode_warned: Option<Instant>,
}

struct Follower {
    inbox: Receiver<Watch>,
    woken: UnixStream,
    ways: Ways,
    notify: Notify,
    jails: Vec<Jail>,
    /// Intervals count from here, so that all files are looked at together.
    begun: Instant,
    next_save: Instant,
}

impl Follower {
    fn run(mut self) {
        loop {
            self.wait();
            loop {
                match self.inbox.try_recv() {
                    Ok(watch) => self.hear(watch),
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => return,
                }
            }
            self.mark();
            self.read_due();
            self.save_positions();
        }
    }

    /// Sleeps until a file changes, somebody says something, or a file is to be looked at anyway.
    fn wait(&mut self) {
        let now = Instant::now();
        let reading = || self.jails.iter().filter(|jail| jail.reads());
        let due = reading()
            .flat_map(|jail| &jail.files)
            .filter_map(|file| file.due)
            .chain(reading().filter_map(|jail| jail.journal_due));
        let next = due.chain([self.next_save]).min().unwrap_or(self.next_save);
        // Rounded up, so that a deadline less than a millisecond away is slept through once, not spun through.
        let sleep = next.saturating_duration_since(now).as_micros().div_ceil(1000);
        let timeout = PollTimeout::try_from(sleep).unwrap_or(PollTimeout::MAX);
        let mut fds = vec![PollFd::new(self.woken.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.notify.fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let journals: Vec<(usize, BorrowedFd<'_>)> = self.journal_fds().collect();
        let first = fds.len();
        fds.extend(journals.iter().map(|(_, fd)| PollFd::new(*fd, PollFlags::POLLIN)));
        // An interrupted poll is a short sleep.
        let _ = poll(&mut fds, timeout);
        let is_ready = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
        let ready = fds[first..].iter().zip(&journals).filter(|(fd, _)| is_ready(fd));
        let ready: Vec<usize> = ready.map(|(_, (index, _))| *index).collect();
        for index in ready {
            self.jails[index].journal_due = Some(Instant::now());
        }
        let mut drained = [0; 64];
        while self.woken.read(&mut drained).is_ok_and(|count| count > 0) {}
    }

    /// What becomes readable when the journal of a jail changes. A jail that does not read now leaves it alone.
    fn journal_fds(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let reading =
            self.jails.iter().enumerate().filter(|(_, jail)| jail.reads() && !jail.backlog.is_full());
        reading.filter_map(|(index, jail)| Some((index, jail.journal.as_ref()?.journal.as_ref()?.fd()?)))
    }

    fn hear(&mut self, watch: Watch) {
        match watch {
            Watch::Jail(watched) => self.update(*watched),
            Watch::Start(key) => self.with(key, |jail| jail.started = true),
            Watch::Idle(key, idle) => self.with(key, |jail| jail.idle = idle),
            Watch::Stop(key) => {
                self.save_all(Some(key));
                self.jails.retain(|jail| jail.key != key);
                // The places are behind failures that may still wait for their addresses.
                self.ways.resolver.settle(key);
            }
            Watch::Settle(jail) => {
                let _ = self.ways.core.send(Msg::Settled { jail });
            }
        }
    }

    fn with(&mut self, key: JailKey, change: impl FnOnce(&mut Jail)) {
        if let Some(jail) = self.jails.iter_mut().find(|jail| jail.key == key) {
            change(jail);
            jail.look_at_everything();
        }
    }

    /// Takes a jail up, or its new filter and files; what is being read already goes on from where it is.
    fn update(&mut self, watched: Watched) {
        let Watched { key, name, filter, polling, files, journal, backlog } = watched;
        let index = match self.jails.iter().position(|jail| jail.key == key) {
            Some(index) => {
                self.jails[index].filter.adopt(&filter);
                index
            }
            None => {
                let files = Vec::new();
                self.jails.push(Jail {
                    key,
                    name,
                    filter,
                    polling,
                    backlog,
                    files,
                    journal: None,
                    journal_due: None,
                    started: false,
                    idle: false,
                });
                self.jails.len() - 1
            }
        };
        let jail = &mut self.jails[index];
        match (&mut jail.journal, journal) {
            (Some(known), Some(watched)) => known.update(watched, &jail.name, &self.ways.log),
            (known, journal) => *known = journal.map(FollowedJournal::new),
        }
        jail.journal_due = jail.journal.is_some().then(Instant::now);
        let mut old = std::mem::take(&mut jail.files);
        for file in files {
            let known = old.iter().position(|known| known.log.path() == Path::new(&file.path));
            let mut followed = match known {
                Some(index) => old.swap_remove(index),
                None => Followed::new(&file),
            };
            followed.due = Some(Instant::now());
            jail.files.push(followed);
        }
        // Whoever adds one of them again goes on there.
        old.iter_mut().for_each(|file| file.save(&jail.name, &self.ways.core));
        descriptors::make_room(self.jails.iter().map(|jail| jail.files.len()).sum(), &*self.ways.log);
        let jail = &mut self.jails[index];
        for file in &mut jail.files {
            file.notified = !jail.polling && self.notify.add(file.log.path(), &*self.ways.log);
        }
    }

    /// Files have changed: whoever follows one of them looks at it now.
    fn mark(&mut self) {
        let (now, changed) = (Instant::now(), self.notify.changed());
        if changed.is_empty() {
            return;
        }
        let files = self.jails.iter_mut().flat_map(|jail| &mut jail.files);
        for file in files.filter(|file| changed.contains(file.log.path())) {
            file.due = Some(now);
            file.notified = file.notified && self.notify.add(file.log.path(), &*self.ways.log);
        }
    }

    /// Reads what there is to read, a bounded part of each file in turn.
    fn read_due(&mut self) {
        let (now, begun) = (Instant::now(), self.begun);
        for jail in self.jails.iter_mut().filter(|jail| jail.reads()) {
            if jail.journal_due.is_some_and(|due| due <= now) {
                let pause = match jail.backlog.is_full() {
                    true => BACKLOG_INTERVAL,
                    false => jail.read_journal(&self.ways),
                };
                if jail.journal.as_ref().is_some_and(FollowedJournal::is_unknown) {
                    jail.save_journal(&self.ways.core);
                }
                jail.journal_due = Some(Instant::now() + pause);
            }
            for index in 0..jail.files.len() {
                if jail.files[index].due.is_none_or(|due| due > now) {
                    continue;
                }
                let pause = match jail.backlog.is_full() {
                    true => Some(BACKLOG_INTERVAL),
                    false => jail.read(index, &self.ways),
                };
                let file = &mut jail.files[index];
                if file.is_another() {
                    file.save(&jail.name, &self.ways.core);
                }
                file.due = pause.map(|pause| next_round(begun, pause));
                if file.openings != file.log.openings() {
                    file.openings = file.log.openings();
                    file.notified = !jail.polling && self.notify.add(file.log.path(), &*self.ways.log);
                }
            }
        }
    }

    fn save_positions(&mut self) {
        if Instant::now() >= self.next_save {
            self.next_save = Instant::now() + SAVE_INTERVAL;
            self.save_all(None);
        }
    }

    /// Has the database told how far reading has come, for one jail or for all.
    fn save_all(&mut self, only: Option<JailKey>) {
        for jail in self.jails.iter_mut().filter(|jail| only.is_none_or(|key| jail.key == key)) {
            jail.save_journal(&self.ways.core);
            for file in &mut jail.files {
                file.save(&jail.name, &self.ways.core);
            }
        }
    }
}

/// When a file is looked at that nobody reports a change of. Those with long pauses are looked at together: a thousand of
/// them wake the thread once.
fn next_round(begun: Instant, pause: Duration) -> Instant {
    let now = Instant::now();
    if pause < POLL_INTERVAL {
        return now + pause;
    }
    let within = now.duration_since(begun).as_nanos() % pause.as_nanos();
    now + pause - Duration::from_nanos(u64::try_from(within).unwrap_or(0))
}

impl Jail {
    fn reads(&self) -> bool {
        self.started && !self.idle
    }

    fn look_at_everything(&mut self) {
        let now = Instant::now();
        for file in &mut self.files {
            file.due = Some(now);
        }
        self.journal_due = self.journal.is_some().then_some(now);
    }

    /// Has the database told of the last entry that was read.
    fn save_journal(&mut self, core: &Sender<Msg>) {
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
    fn read_journal(&mut self, ways: &Ways) -> Duration {
        let Self { key, name, filter, backlog, journal, .. } = self;
        let Some(journal) = journal else { return RECHECK_INTERVAL };
        filter.set_log_level(ways.log.level());
        let (now, find_time) = (clock::now(), filter.find_time().as_f64());
        let encoding = filter.log_encoding().clone();
        let progress = journal.read(name, &encoding, find_time, &ways.log, |entry, in_operation| {
            let context = LineContext { now, zone: &ways.zone, in_operation, check_find_time: true };
            let found = filter.process_dated(entry.parts(), Number::Float(entry.time), &context);
            ways.pass_on(*key, filter, backlog, found, &context);
        });
        journal.report(name, &progress, &ways.log);
        match progress {
            Ok(Progress::More) => Duration::ZERO,
            Ok(Progress::End) if journal.journal.as_ref().is_some_and(|journal| journal.fd().is_some()) => {
                RECHECK_INTERVAL
            }
            Ok(Progress::End | Progress::Unsettled) => POLL_INTERVAL,
            Ok(Progress::Missing) | Err(_) => RETRY_INTERVAL,
        }
    }

    /// Reads a part of a file and matches its lines; says when to look again if nobody reports a change.
    fn read(&mut self, index: usize, ways: &Ways) -> Option<Duration> {
        let Self { key, name, filter, backlog, files, polling, .. } = self;
        let file = &mut files[index];
        let Followed { log, decode_warned, .. } = file;
        filter.set_log_level(ways.log.level());
        let (now, path) = (clock::now(), log.path().to_owned());
        let encoding = filter.log_encoding().clone();
        let progress = log.read_lines(&encoding, |bytes, encoding, in_operation| {
            let context = LineContext { now, zone: &ways.zone, in_operation, check_find_time: true };
            let (line, valid) = encoding.decode_line(bytes);
            if !valid {
                ways.warn_of_bytes(bytes, &path, encoding.name(), decode_warned);
            }
            ways.line(*key, filter, backlog, &line, &context);
        });
        let again = match progress {
            Ok(Progress::More) => return Some(Duration::ZERO),
            Ok(Progress::End) if *polling || !file.notified => Some(POLL_INTERVAL),
            Ok(Progress::End) => Some(RECHECK_INTERVAL),
            Ok(Progress::Unsettled) => return Some(UNSETTLED_INTERVAL),
            Ok(Progress::Missing) | Err(_) => Some(RETRY_INTERVAL),
        };
        file.report(name, progress, &ways.log);
        again
    }
}

impl Followed {
    fn new(file: &WatchedFile) -> Self {
        Self {
            log: LogFile::new(PathBuf::from(&file.path), file.place.clone(), file.tail),
            saved: file.place.clone(),
            due: None,
            troubled: false,
            notified: false,
            openings: 0,
            decode_warned: None,
        }
    }

    /// Whether another file is being read than the one that the database knows of: it has to know before a crash comes,
    /// since nothing else leads to this one once it is renamed.
    fn is_another(&self) -> bool {
        self.log.place().hash != self.saved.hash
    }

    /// Has the database told how far reading has come, behind the failures that were found up to there: after a crash
    /// they would be missed otherwise.
    fn save(&mut self, jail: &str, core: &Sender<Msg>) {
        let place = self.log.place();
        if place == self.saved {
            return;
        }
        let position = Ask::UpdateLog {
            jail: jail.into(),
            path: self.log.path().display().to_string(),
            position: Number::Int(i64::try_from(place.position).unwrap_or(i64::MAX)),
            hash: place.hash.clone(),
        };
        self.saved = place;
        let _ = core.send(Msg::ReadUpTo(position));
    }

    /// Says in the log, once, that a file has gone or can't be read, and that it is back.
    fn report(&mut self, jail: &str, progress: io::Result<Progress>, log: &ServerLog) {
        let path = self.log.path().display();
        let (troubled, level, message) = match progress {
            Ok(Progress::End | Progress::More | Progress::Unsettled) => {
                (false, Level::MSG, format!("[{jail}] Log presence detected for file {path}"))
            }
            Ok(Progress::Missing) => {
                (true, Level::MSG, format!("[{jail}] Log absence detected (possibly rotation) for {path}"))
            }
            Err(error) => (true, Level::ERROR, format!("[{jail}] Unable to read {path}: {error}")),
        };
        if troubled != self.troubled {
            self.troubled = troubled;
            log.write(Record::new(level, "filter", message));
        }
    }
}
