//! The reader thread: follows the files and journals of all jails and matches their lines.
//!
//! It owns the files, the filters and the inotify instance. A line goes from the file's buffer through decoding and the
//! filters of all jails that watch it without anybody else being asked; only a failure leaves the thread. While a jail has too
//! much on its way ([`Backlog`]), its lines are left in the file, which is the queue.
//!
//! | module | what it holds |
//! |---|---|
//! | [`super::source`], [`super::group`] | a log file with all jails that watch it, and those at the same place of it |
//! | [`super::reading`] | a jail with its filter |
//! | [`super::places`] | how far a jail has read a log, as the database is told |
//! | [`super::log_file`] | a place in a file, whatever happens to it |
//! | [`super::journal`] | a place in the journal |

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use f2b_filter::Filter;
use indexmap::IndexMap;
use jiff::tz::TimeZone;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::generations::Logs;
use super::jails::WatchedFile;
use super::journal::{FollowedJournal, WatchedJournal};
use super::notify::Notify;
use super::reading::{Jail, State};
use super::resolver::Resolver;
use super::source::Source;
use super::ways::Ways;
use super::{Backlog, JailKey, Msg, descriptors};
use crate::logging::ServerLog;

/// How often a file is looked at that inotify doesn't report.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The same of one in which nothing has come for a moment. Upstream waits as long on the average (200, 400, 600 ms in turn).
pub(super) const QUIET_POLL_INTERVAL: Duration = Duration::from_millis(400);

/// How often a file is looked at though inotify reports its changes: it has no eyes for a directory that was replaced, a
/// link that points elsewhere, or a network.
pub(super) const RECHECK_INTERVAL: Duration = Duration::from_secs(2);

/// How often a file is looked for that is not there, or that can't be read.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How long a rotation is left alone that is under way.
pub(super) const UNSETTLED_INTERVAL: Duration = Duration::from_millis(5);

/// How long a jail is left alone that has too much on its way.
pub(super) const BACKLOG_INTERVAL: Duration = Duration::from_millis(5);

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
    /// A jail reads no more. Somebody waits until all that it had found is on its way to the core.
    Stop(JailKey),
    /// A jail is gone. Somebody waits until the places that it has come to are on their way to the core.
    Forget(JailKey),
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
                sources: IndexMap::new(),
                logs: Logs::default(),
                room: usize::MAX,
                begun: Instant::now(),
                has_changes: false,
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

struct Follower {
    inbox: Receiver<Watch>,
    woken: UnixStream,
    ways: Ways,
    notify: Notify,
    jails: Vec<Jail>,
    /// The log files by their names.
    sources: IndexMap<PathBuf, Source>,
    /// The same names, as the files know them.
    logs: Logs,
    /// How many files may be open at once.
    room: usize,
    /// Intervals count from here, so that all files are looked at together.
    begun: Instant,
    /// inotify has something to report.
    has_changes: bool,
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
        let files = self.sources.values().flat_map(|source| &source.groups).filter_map(|group| group.due);
        let reading = self.jails.iter().filter(|jail| jail.state() != State::Idle);
        let due = files.chain(reading.filter_map(|jail| jail.journal_due));
        let next = due.chain([self.next_save]).min().unwrap_or(self.next_save);
        // Rounded up, so that a deadline less than a millisecond away is slept through once, not spun through.
        let sleep = next.saturating_duration_since(now).as_micros().div_ceil(1000);
        let timeout = PollTimeout::try_from(sleep).unwrap_or(PollTimeout::MAX);
        let mut fds = vec![PollFd::new(self.woken.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.notify.fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let journals: Vec<(usize, BorrowedFd<'_>)> = self.journal_fds().collect();
        let fifos: Vec<((usize, usize), BorrowedFd<'_>)> = self.fifo_fds().collect();
        let first = fds.len();
        fds.extend(journals.iter().map(|(_, fd)| PollFd::new(*fd, PollFlags::POLLIN)));
        fds.extend(fifos.iter().map(|(_, fd)| PollFd::new(*fd, PollFlags::POLLIN)));
        // An interrupted poll is a short sleep.
        let _ = poll(&mut fds, timeout);
        let is_ready = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
        let (is_woken, has_changes) = (is_ready(&fds[0]), first > 1 && is_ready(&fds[1]));
        let (of_journals, of_fifos) = fds[first..].split_at(journals.len());
        let ready = of_journals.iter().zip(&journals).filter(|(fd, _)| is_ready(fd));
        let ready: Vec<usize> = ready.map(|(_, (index, _))| *index).collect();
        let written = of_fifos.iter().zip(&fifos).filter(|(fd, _)| is_ready(fd));
        let written: Vec<(usize, usize)> = written.map(|(_, (place, _))| *place).collect();
        for index in ready {
            self.jails[index].journal_due = Some(Instant::now());
        }
        for (source, group) in written {
            self.sources[source].groups[group].due = Some(Instant::now());
        }
        let mut drained = [0; 64];
        while is_woken && self.woken.read(&mut drained).is_ok_and(|count| count > 0) {}
        self.has_changes = has_changes;
    }

    /// What becomes readable when the journal of a jail changes. A jail that takes nothing now leaves it alone.
    fn journal_fds(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let reading = self.jails.iter().enumerate().filter(|(_, jail)| jail.state() == State::Ready);
        reading.filter_map(|(index, jail)| Some((index, jail.journal.as_ref()?.journal.as_ref()?.fd()?)))
    }

    /// The FIFOs among the logs, each with its place in the sources and their groups.
    fn fifo_fds(&self) -> impl Iterator<Item = ((usize, usize), BorrowedFd<'_>)> {
        self.sources.values().enumerate().flat_map(|(source, Source { groups, .. })| {
            let open = groups.iter().enumerate().filter_map(|(group, of)| Some((group, of, of.log.fd()?)));
            let ready = open.filter(|(_, group, _)| group.state(&self.jails) == State::Ready);
            ready.map(move |(group, _, fd)| ((source, group), fd))
        })
    }

    fn hear(&mut self, watch: Watch) {
        match watch {
            Watch::Jail(watched) => self.update(*watched),
            Watch::Start(key) => self.with(key, |jail| jail.started = true),
            Watch::Idle(key, idle) => self.with(key, |jail| jail.idle = idle),
            Watch::Stop(key) => {
                self.with(key, |jail| jail.started = false);
                // Failures may still wait for their addresses.
                self.ways.resolver.settle(key);
            }
            Watch::Forget(key) => {
                self.save_all(Some(key));
                for jail in self.jails.extract_if(.., |jail| jail.key == key) {
                    self.sources.values_mut().for_each(|source| source.remove(&jail, false, &self.ways.core));
                }
                self.drop_unwatched();
                let _ = self.ways.core.send(Msg::Settled { jail: key });
            }
            Watch::Settle(jail) => {
                let _ = self.ways.core.send(Msg::Settled { jail });
            }
        }
    }

    fn with(&mut self, key: JailKey, change: impl FnOnce(&mut Jail)) {
        if let Some(jail) = self.jails.iter_mut().find(|jail| jail.key == key) {
            change(jail);
            jail.journal_due = jail.journal.is_some().then(Instant::now);
            self.sources.values_mut().for_each(|source| source.look(key));
        }
    }

    /// Takes a jail up, or its new filter and files; what is being read already goes on from where it is.
    fn update(&mut self, watched: Watched) {
        let Watched { key, name, filter, polling, files, journal, backlog } = watched;
        let index = self.jails.iter().position(|jail| jail.key == key).unwrap_or_else(|| {
            self.jails.push(Jail::new(key, name, polling, backlog));
            self.jails.len() - 1
        });
        let jail = &mut self.jails[index];
        jail.adopt(&filter);
        match (&mut jail.journal, journal) {
            (Some(known), Some(watched)) => known.update(watched, &jail.name, &self.ways.log),
            (known, journal) => *known = journal.map(FollowedJournal::new),
        }
        jail.journal_due = jail.journal.is_some().then(Instant::now);
        // Whoever adds one of those that are gone again goes on where this one has stopped.
        let wanted: HashSet<&Path> = files.iter().map(|file| Path::new(&file.path)).collect();
        for source in self.sources.values_mut() {
            match wanted.contains(&*source.path) {
                true => source.update(jail),
                false => source.remove(jail, true, &self.ways.core),
            }
        }
        self.drop_unwatched();
        let jail = &self.jails[index];
        self.room = descriptors::make_room(self.sources.len() + files.len(), &*self.ways.log);
        for file in &files {
            let source = self.sources.entry(PathBuf::from(&file.path));
            let source = source.or_insert_with_key(|path| Source::new(path.clone(), &self.logs));
            if !source.is_watched_by(key) {
                source.add(file, jail);
            }
            source.look(key);
            source.wants_notify |= !jail.polling;
            source.watch(&mut self.notify, &self.ways.log);
        }
    }

    /// Lets go of logs that no jail follows any more.
    fn drop_unwatched(&mut self) {
        let Self { sources, notify, .. } = self;
        sources.retain(|_, source| {
            let is_watched = !source.groups.is_empty();
            if !is_watched {
                source.let_go(notify);
            }
            is_watched
        });
    }

    /// Files have changed: whoever follows one of them looks at it now.
    fn mark(&mut self) {
        if !self.has_changes {
            return;
        }
        for path in self.notify.changed() {
            if let Some(source) = self.sources.get_mut(&path) {
                source.mark(&mut self.notify, &self.ways.log);
            }
        }
    }

    /// Reads what there is to read, a bounded part of each log in turn.
    fn read_due(&mut self) {
        let now = Instant::now();
        for jail in self.jails.iter_mut().filter(|jail| jail.journal_due.is_some_and(|due| due <= now)) {
            let pause = match jail.state() {
                State::Idle => continue,
                State::Full => BACKLOG_INTERVAL,
                State::Ready => jail.read_journal(&self.ways),
            };
            if jail.journal.as_ref().is_some_and(FollowedJournal::is_unknown) {
                jail.save_journal(&self.ways.core);
            }
            jail.journal_due = Some(Instant::now() + pause);
        }
        let mut open: usize = self.sources.values().map(Source::open_files).sum();
        for index in 0..self.sources.len() {
            let before = self.sources[index].open_files();
            if before == 0 && open >= self.room && self.sources[index].is_due(now) {
                let closed = self.close_one();
                if closed == 0 {
                    self.sources[index].postpone(now, self.begun, &self.jails, &self.ways.log);
                    continue;
                }
                open = open.saturating_sub(closed);
            }
            let source = &mut self.sources[index];
            source.read((now, self.begun), &mut self.jails, &mut self.notify, &self.ways);
            open = open.saturating_sub(before) + source.open_files();
        }
    }

    /// Closes the log that has had nothing new for longest, and answers how many files that were.
    fn close_one(&mut self) -> usize {
        let open = self.sources.values_mut().filter(|source| source.open_files() > 0);
        let open = open.filter_map(|source| Some((source.rank()?, source)));
        open.min_by_key(|(rank, _)| *rank).map_or(0, |(_, source)| source.close())
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
        }
        for source in self.sources.values_mut() {
            source.save(only, &self.jails, &self.ways.core);
        }
    }
}

/// When a file is looked at that nobody reports a change of. Those with long pauses are looked at together: a thousand of
/// them wake the thread once.
pub(super) fn next_round(begun: Instant, pause: Duration) -> Instant {
    let now = Instant::now();
    if pause < POLL_INTERVAL {
        return now + pause;
    }
    let within = now.duration_since(begun).as_nanos() % pause.as_nanos();
    now + pause - Duration::from_nanos(u64::try_from(within).unwrap_or(0))
}
