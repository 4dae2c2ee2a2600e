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

use super::database::{Ask, Database};
use super::jails::WatchedFile;
use super::journal::{self, FollowedJournal, WatchedJournal};
use super::log_file::{self, LogFile, Progress};
use super::notify::Notify;
use super::resolver::Resolver;
use super::ways::Ways;
use super::{Backlog, JailKey, Msg};
use crate::logging::ServerLog;

/// How often a file is looked at that inotify doesn't report.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// How often a file is looked at though inotify reports its changes: it has no eyes for a directory that was replaced, a
/// link that points elsewhere, or a network.
const RECHECK_INTERVAL: Duration = Duration::from_secs(2);

/// How often a file is looked for that is not there, or that can't be read.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

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
    /// The database is there, or another one.
    Database(Option<Database>),
    /// A jail is gone. Answers when its positions are on their way to the database.
    Stop(JailKey, Sender<()>),
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
                database: None,
                jails: Vec::new(),
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

    /// Ends reading for a jail and waits until its positions are on their way to the database.
    pub(super) fn stop(&self, key: JailKey) {
        let (done, receiver) = mpsc::channel();
        self.tell(Watch::Stop(key, done));
        let _ = receiver.recv();
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
    hash: String,
    saved: u64,
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
    database: Option<Database>,
    jails: Vec<Jail>,
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
            for path in self.notify.changed() {
                self.mark(&path);
            }
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
            Watch::Database(database) => self.database = database,
            Watch::Stop(key, done) => {
                self.save_all(Some(key));
                self.jails.retain(|jail| jail.key != key);
                let _ = done.send(());
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
        for file in &mut jail.files {
            file.notified = !jail.polling && self.notify.add(file.log.path());
        }
    }

    /// A file has changed: whoever follows it looks at it now.
    fn mark(&mut self, path: &Path) {
        let now = Instant::now();
        for file in
            self.jails.iter_mut().flat_map(|jail| &mut jail.files).filter(|file| file.log.path() == path)
        {
            file.due = Some(now);
            file.notified = file.notified && self.notify.add(path);
        }
    }

    /// Reads what there is to read, a bounded part of each file in turn.
    fn read_due(&mut self) {
        let now = Instant::now();
        for jail in self.jails.iter_mut().filter(|jail| jail.reads()) {
            if jail.journal_due.is_some_and(|due| due <= now) {
                let pause = match jail.backlog.is_full() {
                    true => BACKLOG_INTERVAL,
                    false => jail.read_journal(&self.ways),
                };
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
                file.due = pause.map(|pause| Instant::now() + pause);
                if file.openings != file.log.openings() {
                    file.openings = file.log.openings();
                    file.notified = !jail.polling && self.notify.add(file.log.path());
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

    /// Tells the database how far reading has come, for one jail or for all.
    fn save_all(&mut self, only: Option<JailKey>) {
        let Some(database) = &self.database else { return };
        for jail in self.jails.iter_mut().filter(|jail| only.is_none_or(|key| jail.key == key)) {
            if let Some((time, date)) = jail.journal.as_mut().and_then(FollowedJournal::unsaved) {
                let position = Ask::UpdateLog {
                    jail: jail.name.clone(),
                    path: journal::PATH.into(),
                    position: Number::Float(time),
                    hash: date,
                };
                let _ = database.tell(position);
            }
            for file in jail.files.iter_mut().filter(|file| file.saved != file.log.position()) {
                file.saved = file.log.position();
                // The hash is of the file as it is now; one that can't be read keeps the old hash.
                if let Ok(hash) = log_file::first_line_hash(file.log.path()) {
                    file.hash = hash;
                }
                let position = Ask::UpdateLog {
                    jail: jail.name.clone(),
                    path: file.log.path().display().to_string(),
                    position: Number::Int(file.saved as i64),
                    hash: file.hash.clone(),
                };
                // Without a database the place is not kept, and reading goes on.
                let _ = database.tell(position);
            }
        }
    }
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

    /// Reads a part of the journal and matches its entries; says when to look again if nobody reports a change.
    fn read_journal(&mut self, ways: &Ways) -> Duration {
        let Self { key, name, filter, backlog, journal, .. } = self;
        let Some(journal) = journal else { return RECHECK_INTERVAL };
        filter.set_log_level(ways.log.level());
        let (clock, find_time) = (ways.clock(), filter.find_time().as_f64());
        let encoding = filter.log_encoding().clone();
        let progress = journal.read(name, &encoding, find_time, &ways.log, |entry, in_operation| {
            let context = LineContext { clock: &clock, in_operation, check_find_time: true };
            let found = filter.process_dated(entry.parts(), Number::Float(entry.time), &context);
            ways.pass_on(*key, filter, backlog, found, &context);
        });
        journal.report(name, &progress, &ways.log);
        match progress {
            Ok(Progress::More) => Duration::ZERO,
            Ok(Progress::End) if journal.journal.as_ref().is_some_and(|journal| journal.fd().is_some()) => {
                RECHECK_INTERVAL
            }
            Ok(Progress::End) => POLL_INTERVAL,
            Ok(Progress::Missing) | Err(_) => RETRY_INTERVAL,
        }
    }

    /// Reads a part of a file and matches its lines; says when to look again if nobody reports a change.
    fn read(&mut self, index: usize, ways: &Ways) -> Option<Duration> {
        let Self { key, name, filter, backlog, files, polling, .. } = self;
        let file = &mut files[index];
        let Followed { log, decode_warned, .. } = file;
        filter.set_log_level(ways.log.level());
        let (clock, path) = (ways.clock(), log.path().to_owned());
        let encoding = filter.log_encoding().clone();
        let progress = log.read_lines(&encoding, |bytes, encoding, in_operation| {
            let context = LineContext { clock: &clock, in_operation, check_find_time: true };
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
            Ok(Progress::Missing) | Err(_) => Some(RETRY_INTERVAL),
        };
        file.report(name, progress, &ways.log);
        again
    }
}

impl Followed {
    fn new(file: &WatchedFile) -> Self {
        Self {
            log: LogFile::new(PathBuf::from(&file.path), file.position, file.tail),
            hash: file.hash.clone(),
            saved: file.position,
            due: None,
            troubled: false,
            notified: false,
            openings: 0,
            decode_warned: None,
        }
    }

    /// Says in the log, once, that a file has gone or can't be read, and that it is back.
    fn report(&mut self, jail: &str, progress: io::Result<Progress>, log: &ServerLog) {
        let path = self.log.path().display();
        let (troubled, level, message) = match progress {
            Ok(Progress::End | Progress::More) => {
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
