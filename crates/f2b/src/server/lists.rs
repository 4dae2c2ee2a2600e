//! The lists that jails ignore and that are kept elsewhere, `file:` and `url:`, read by a thread of their own.
//!
//! A list that several jails name is read once. What is known of it stays in force until something better is known: a
//! file that has gone, a server that does not answer and an answer that is no list are reasons for a warning, not for
//! forgetting who must not be banned. A copy of each fetched list is kept on disk, so that a restart knows it at once.
//!
//! The thread reads only files itself. Fetching is done by a thread for each fetch, so that no slow server delays
//! another list.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use f2b_action::{FetchError, FetchLimits, fetch, parse_file, parse_list};
use f2b_jail::{IdSet, ListPlace, ListSource};
use f2b_protocol::Value;
use f2b_types::{Id, Level, Log, Record};
use sha1::{Digest, Sha1};

use super::tail::open_regular;
use super::{JailKey, Msg};
use crate::logging::ServerLog;

/// How often it is seen whether a file has changed (`FileIPAddrSet.maxUpdateLatency`).
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a file is left alone that can't be read.
const FILE_RETRY: Duration = Duration::from_secs(61);

/// How soon a failed fetch is repeated; each further failure doubles it, up to the time between two fetches.
const FETCH_RETRY: Duration = Duration::from_secs(60);

/// Larger files are not read.
const MAX_FILE: u64 = 16 << 20;

/// As many host names of one file are looked up.
const MAX_NAMES: usize = 1000;

/// As many fetches run at a time.
const MAX_FETCHES: usize = 4;

/// As long a jail waits for the files that it ignores, so that a disk which hangs does not keep it from its start.
const PATIENCE: Duration = Duration::from_secs(1);

enum Order {
    /// A jail wants these lists and no others.
    Watch { jail: JailKey, name: String, lists: Vec<ListSource>, done: Sender<()> },
    /// A fetch has ended.
    Fetched { list: ListSource, result: Result<String, FetchError> },
    /// Where the copies are kept.
    KeepIn(Option<PathBuf>),
}

/// The way to the thread.
#[derive(Clone)]
pub(super) struct Lists {
    orders: Sender<Order>,
}

impl Lists {
    pub(super) fn start(core: &Sender<Msg>, log: &Arc<ServerLog>) -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel();
        let (core, log) = (core.clone(), Arc::clone(log));
        let reader = ListReader { core, log, orders: orders.clone(), folder: None, watched: Vec::new() };
        thread::Builder::new().name("f2b/lists".into()).spawn(move || reader.run(&inbox))?;
        Ok(Self { orders })
    }

    /// Keeps copies beside a database, or nowhere.
    pub(super) fn keep_beside(&self, database: Option<&str>) {
        let file = database.filter(|name| *name != ":memory:").map(Path::new);
        let folder = file.and_then(Path::parent).map(|dir| dir.join("f2b-lists"));
        let _ = self.orders.send(Order::KeepIn(folder));
    }

    /// Says which lists a jail wants, instead of those that it wanted before. What is known without a network is on its
    /// way as [`Msg::Listed`] when this returns, so that it arrives before the failures that are read from now on.
    pub(super) fn watch<'a>(&self, jail: JailKey, name: &str, lists: impl Iterator<Item = &'a ListSource>) {
        let lists: Vec<ListSource> = lists.cloned().collect();
        let waits = !lists.is_empty();
        let (done, receiver) = mpsc::channel();
        let order = Order::Watch { jail, name: name.into(), lists, done };
        if self.orders.send(order).is_ok() && waits {
            let _ = receiver.recv_timeout(PATIENCE);
        }
    }
}

/// A list and who wants it.
struct Watched {
    list: ListSource,
    jails: Vec<(JailKey, String)>,
    /// `None` while nobody knows.
    set: Option<Arc<IdSet>>,
    /// When to look or to fetch next.
    next: Instant,
    /// Of a file: what tells whether it has changed.
    stats: Option<(i64, i64, u64, u64)>,
    /// Of a fetched list: how often in a row it could not be fetched.
    failures: u32,
    is_being_fetched: bool,
    /// The copy on disk is what is known.
    is_kept: bool,
}

struct ListReader {
    core: Sender<Msg>,
    log: Arc<ServerLog>,
    /// To hear of the end of a fetch.
    orders: Sender<Order>,
    folder: Option<PathBuf>,
    watched: Vec<Watched>,
}

impl ListReader {
    fn run(mut self, inbox: &Receiver<Order>) {
        loop {
            self.look();
            let idle = self.watched.iter().filter(|watched| !watched.is_being_fetched);
            let next = idle.map(|watched| watched.next).min();
            let wait = next.map_or(Duration::MAX, |next| next.saturating_duration_since(Instant::now()));
            match inbox.recv_timeout(wait) {
                Ok(Order::Watch { jail, name, lists, done }) => {
                    self.watch(jail, &name, lists);
                    // A jail that has lost its patience has gone on.
                    let _ = done.send(());
                }
                Ok(Order::Fetched { list, result }) => self.fetched(&list, result),
                Ok(Order::KeepIn(folder)) => self.folder = folder,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn watch(&mut self, jail: JailKey, name: &str, lists: Vec<ListSource>) {
        for watched in &mut self.watched {
            watched.jails.retain(|(key, _)| *key != jail);
        }
        for list in lists {
            let known = self.watched.iter().position(|watched| watched.list == list);
            let index = known.unwrap_or_else(|| {
                self.watched.push(Watched::new(list));
                self.watched.len() - 1
            });
            self.watched[index].jails.push((jail, name.into()));
            if known.is_none() {
                self.meet(index);
            } else if let Some(set) = &self.watched[index].set {
                self.watched[index].tell(jail, set, &self.core);
            }
        }
        self.watched.retain(|watched| !watched.jails.is_empty());
    }

    /// Finds out what can be known at once of a list that is new.
    fn meet(&mut self, index: usize) {
        let watched = &self.watched[index];
        match watched.list.place() {
            ListPlace::File(_) => self.read(index),
            ListPlace::Url { url, .. } => match self.folder.as_deref().map(|folder| read_copy(folder, url)) {
                Some(Ok(set)) => {
                    let message = format!("The {} entries of {} come from its copy", set.len(), watched.list);
                    self.say(index, Level::INFO, &message);
                    self.watched[index].is_kept = true;
                    self.know(index, set);
                }
                missing => {
                    let error = missing.and_then(Result::err);
                    if let Some(error) = error.filter(|error| error.kind() != io::ErrorKind::NotFound) {
                        let message = format!("Unable to use the copy of {}: {error}", watched.list);
                        self.say(index, Level::WARNING, &message);
                    }
                    let list = &self.watched[index].list;
                    let message =
                        format!("Nothing is known of {list} yet: it ignores nobody until it is fetched");
                    self.say(index, Level::INFO, &message);
                }
            },
        }
    }

    /// Looks at the files and fetches the lists whose time has come.
    fn look(&mut self) {
        let now = Instant::now();
        for index in 0..self.watched.len() {
            let watched = &self.watched[index];
            if watched.next > now || watched.is_being_fetched {
                continue;
            }
            match watched.list.place() {
                ListPlace::File(_) => self.read(index),
                ListPlace::Url { .. } => self.begin_fetch(index),
            }
        }
    }

    /// Reads a file, if it has changed.
    fn read(&mut self, index: usize) {
        let watched = &mut self.watched[index];
        let ListPlace::File(path) = watched.list.place() else { return };
        let path = path.clone();
        watched.next = Instant::now() + LOOK_INTERVAL;
        match watched.read_if_changed(&path) {
            Ok(None) => {}
            Ok(Some(text)) => {
                let is_name = |id: &Id| matches!(id, Id::Text(_));
                let (mut names, nets): (Vec<Id>, Vec<Id>) = parse_file(&text).into_iter().partition(is_name);
                if names.len() > MAX_NAMES {
                    let (count, list) = (names.len(), &watched.list);
                    let message = format!("{list} has {count} host names, only {MAX_NAMES} of them count");
                    self.say(index, Level::WARNING, &message);
                    names.truncate(MAX_NAMES);
                }
                self.know(index, nets.into_iter().chain(names).collect());
            }
            Err(error) => {
                self.watched[index].next = Instant::now() + FILE_RETRY;
                let shown = Value::from(path.as_str());
                let message = format!("Retrieving IPs set from {shown} failed: {}", os_error(&error, &path));
                self.log.write(Record::new(Level::WARNING, "ipdns", message));
            }
        }
    }

    fn begin_fetch(&mut self, index: usize) {
        let fetches = self.watched.iter().filter(|watched| watched.is_being_fetched).count();
        let watched = &mut self.watched[index];
        let ListPlace::Url { url, .. } = watched.list.place() else { return };
        if fetches >= MAX_FETCHES {
            watched.next = Instant::now() + LOOK_INTERVAL;
            return;
        }
        let (url, list, orders) = (url.clone(), watched.list.clone(), self.orders.clone());
        let work = move || {
            let result = fetch(&url, &FetchLimits::default());
            let _ = orders.send(Order::Fetched { list, result });
        };
        watched.is_being_fetched = true;
        if let Err(error) = thread::Builder::new().name("f2b/fetch".into()).spawn(work) {
            let list = watched.list.clone();
            self.fetched(&list, Err(FetchError::Transport(error.to_string())));
        }
    }

    fn fetched(&mut self, list: &ListSource, result: Result<String, FetchError>) {
        // Nobody may want it any more.
        let Some(index) = self.watched.iter().position(|watched| watched.list == *list) else { return };
        let ListPlace::Url { url, refresh } = list.place() else { return };
        let parsed = result.map_err(|error| error.to_string()).and_then(|text| {
            let ids = parse_list(&text).map_err(|error| error.to_string())?;
            Ok((text, ids.into_iter().collect::<IdSet>()))
        });
        let watched = &mut self.watched[index];
        watched.is_being_fetched = false;
        match parsed {
            Ok((text, set)) => {
                (watched.failures, watched.next) = (0, Instant::now() + *refresh);
                let is_new = watched.set.as_deref() != Some(&set);
                if is_new || !watched.is_kept {
                    self.keep(index, url, &text);
                }
                if is_new {
                    self.say(index, Level::INFO, &format!("The {} entries of {list} are ignored", set.len()));
                    self.know(index, set);
                } else {
                    self.say(index, Level::DEBUG, &format!("{list} has not changed"));
                }
            }
            Err(reason) => {
                let pause = FETCH_RETRY.saturating_mul(1 << watched.failures.min(16)).min(*refresh);
                watched.failures = watched.failures.saturating_add(1);
                watched.next = Instant::now() + pause;
                let what = match &watched.set {
                    Some(set) => format!("the {} entries that are known stay in force", set.len()),
                    None => "nothing is known of it, it ignores nobody".into(),
                };
                self.say(index, Level::WARNING, &format!("Unable to fetch {list}: {reason}; {what}"));
            }
        }
    }

    /// Writes the copy of a list that has been fetched.
    fn keep(&mut self, index: usize, url: &str, text: &str) {
        let Some(folder) = &self.folder else { return };
        let result = write_copy(folder, url, text);
        self.watched[index].is_kept = result.is_ok();
        if let Err(error) = result {
            let message = format!("Unable to keep a copy of {}: {error}", self.watched[index].list);
            self.say(index, Level::WARNING, &message);
        }
    }

    /// Tells the jails who is in a list now.
    fn know(&mut self, index: usize, set: IdSet) {
        let (set, watched) = (Arc::new(set), &mut self.watched[index]);
        for (jail, _) in &watched.jails {
            watched.tell(*jail, &set, &self.core);
        }
        watched.set = Some(set);
    }

    /// Logs for each jail that wants a list.
    fn say(&self, index: usize, level: Level, message: &str) {
        for (_, jail) in &self.watched[index].jails {
            self.log.write(Record::new(level, "ipdns", format!("[{jail}] {message}")));
        }
    }
}

impl Watched {
    fn new(list: ListSource) -> Self {
        Self {
            list,
            jails: Vec::new(),
            set: None,
            next: Instant::now(),
            stats: None,
            failures: 0,
            is_being_fetched: false,
            is_kept: false,
        }
    }

    fn tell(&self, jail: JailKey, set: &Arc<IdSet>, core: &Sender<Msg>) {
        let _ = core.send(Msg::Listed { jail, list: self.list.clone(), set: Arc::clone(set) });
    }

    fn read_if_changed(&mut self, path: &str) -> io::Result<Option<String>> {
        let meta = fs::metadata(path)?;
        let stats = Some((meta.mtime(), meta.mtime_nsec(), meta.ino(), meta.size()));
        if self.stats == stats {
            return Ok(None);
        }
        let text = read_text(Path::new(path), MAX_FILE)?;
        self.stats = stats;
        Ok(Some(text))
    }
}

/// A regular file as text, whatever is no text in it replaced.
fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {limit} bytes")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The name of the copy of a list.
fn copy_of(folder: &Path, url: &str) -> PathBuf {
    let name: String = Sha1::digest(url).iter().map(|byte| format!("{byte:02x}")).collect();
    folder.join(name)
}

/// The last good copy, which is trusted no more than what comes from the server.
fn read_copy(folder: &Path, url: &str) -> io::Result<IdSet> {
    let text = read_text(&copy_of(folder, url), MAX_FILE)?;
    let ids = parse_list(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(ids.into_iter().collect())
}

/// Replaces the copy at once, so that a crash leaves the old one or the new one.
fn write_copy(folder: &Path, url: &str, text: &str) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let path = copy_of(folder, url);
    let draft = path.with_extension("new");
    fs::write(&draft, format!("# {url}\n{text}"))?;
    fs::rename(&draft, &path)
}

/// An error as Python prints it.
fn os_error(error: &io::Error, path: &str) -> String {
    match error.raw_os_error() {
        Some(number) => {
            let text = nix::errno::Errno::from_raw(number).desc();
            format!("[Errno {number}] {text}: {}", Value::from(path))
        }
        None => error.to_string(),
    }
}
