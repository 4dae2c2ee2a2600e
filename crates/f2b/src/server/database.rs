//! The thread that owns the database.
//!
//! Bans that come in while a transaction is under way are written together in the next one, so that a burst of bans
//! costs one transaction. A database that fails stops no ban: the failure is logged and the ban goes on. While somebody
//! else has locked the file, bans wait here and are written as soon as it is free.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::anyhow;
use f2b_jail::{Asked, History};
use f2b_store::{CurrentBans, NewBan, OldLog, Store};
use f2b_types::{FailData, Id, Level, Log, Number, Record, Ticket};

use super::tail::Place;
use super::{JailKey, Msg, listener};
use crate::clock;
use crate::logging::ServerLog;

/// What the database is asked.
pub(crate) enum Ask {
    /// A jail is there.
    AddJail(String),
    /// A jail is gone.
    DeleteJail(String),
    /// Where did reading of this file end, and is it still the same file? Of a journal, the time of the last entry is asked.
    AddLog {
        jail: String,
        path: String,
        position: Number,
        hash: Option<String>,
        answer: Sender<Option<LastRead>>,
    },
    /// Reading has come this far.
    UpdateLog { jail: String, path: String, position: Number, hash: String },
    /// In a file that had the name of this log reading has come this far.
    UpdateOldLog { jail: String, path: String, place: Place },
    /// Such a file, known by the hash of its first line, is not read on any more.
    ForgetOldLog { jail: String, path: String, hash: String },
    /// What is known of this id?
    History { key: JailKey, jail: String, asked: Asked, id: Id, overall: bool },
    /// Keep this ban.
    Remember { key: JailKey, jail: String, ban: u64, ticket: Box<Ticket> },
    /// Delete bans; all of the jail where there is no list.
    Forget { jail: String, ids: Option<Vec<Id>> },
    /// Which bans are in force?
    Current { jail: String, wanted: Wanted, answer: Sender<Vec<Ticket>> },
    /// What do all bans of this address say together?
    Merged { ip: Id, jail: Option<String>, answer: Sender<Result<Option<FailData>, String>> },
    /// Lines kept with a ban.
    SetMaxMatches(i64),
    /// Seconds that history is kept.
    SetPurgeAge(Number),
    /// Forget what is too old.
    Purge,
    /// Write what is left and close.
    Close(Sender<()>),
}

/// How far a log was read the last time.
#[derive(Debug, Clone)]
pub(crate) struct LastRead {
    /// Where that ended. Of the journal, when.
    pub(super) position: Number,
    /// The hash of the first line of the file that this is a place in.
    pub(super) md5: Option<String>,
    /// When that was, if it is known: what was written later has not been read.
    pub(super) at: Option<SystemTime>,
    /// The same in files that had the name before and were read on.
    pub(super) old: Vec<Place>,
}

/// Which bans a jail wants back at its start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// Seconds; without `bantime.increment` older bans than this are of no interest.
    pub(super) for_ban_time: Option<f64>,
    /// Seconds; longer bans are cut to this.
    pub(super) max_ban_time: Option<Number>,
    /// The ban time of the jail.
    pub(super) ban_time: f64,
    /// Lines to bring with each ban.
    pub(super) max_matches: i64,
}

/// The way to the database.
#[derive(Debug, Clone)]
pub(super) struct Database {
    /// The file, as it was named.
    pub(super) filename: String,
    asks: Sender<Ask>,
}

impl Database {
    /// Opens the file and starts the thread.
    ///
    /// # Errors
    ///
    /// The file can't be opened, or comes from a later version.
    pub(super) fn open(filename: &str, core: &Sender<Msg>, log: &Arc<ServerLog>) -> anyhow::Result<Self> {
        if filename != ":memory:" {
            listener::make_parent(Path::new(filename));
        }
        // Before it is opened, or this would be the time of now.
        let written = fs::metadata(filename).and_then(|meta| meta.modified()).ok();
        let mut store = Store::open(filename, clock::now(), &**log).map_err(|error| anyhow!("{error}"))?;
        store.del_all_jails().map_err(|error| anyhow!("{error}"))?;
        let (asks, inbox) = mpsc::channel();
        let thread = Keeper {
            store,
            core: core.clone(),
            log: Arc::clone(log),
            unwritten: Vec::new(),
            written,
            read: HashMap::new(),
        };
        thread::Builder::new().name("f2b/database".into()).spawn(move || thread.run(&inbox))?;
        Ok(Self { filename: filename.into(), asks })
    }

    /// Sends what needs no answer, or whose answer comes as a message; gives it back where nobody listens any more.
    pub(super) fn tell(&self, ask: Ask) -> Result<(), Ask> {
        self.asks.send(ask).map_err(|unheard| unheard.0)
    }

    /// Sends a question and waits for the answer.
    pub(super) fn ask<T>(&self, question: impl FnOnce(Sender<T>) -> Ask) -> Option<T> {
        let (answer, receiver) = mpsc::channel();
        self.tell(question(answer)).ok()?;
        receiver.recv().ok()
    }

    /// Waits until everything has been written, and closes.
    pub(super) fn close(&self) {
        let _ = self.ask(Ask::Close);
    }
}

/// A ban to be written.
struct Unwritten {
    key: JailKey,
    jail: String,
    ban: u64,
    ticket: Box<Ticket>,
}

/// How often bans are tried anew that could not be written.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How often at the end.
const LAST_RETRIES: usize = 5;

struct Keeper {
    store: Store,
    core: Sender<Msg>,
    log: Arc<ServerLog>,
    /// In the order in which they came.
    unwritten: Vec<Unwritten>,
    /// When the file was written to last before it was opened: no log was read later.
    written: Option<SystemTime>,
    /// When the place in the log of a jail was told last since then.
    read: HashMap<(String, String), SystemTime>,
}

impl Keeper {
    fn run(mut self, inbox: &Receiver<Ask>) {
        let mut queue = VecDeque::new();
        loop {
            let patience = if self.unwritten.is_empty() { Duration::MAX } else { RETRY_INTERVAL };
            match inbox.recv_timeout(patience) {
                Ok(ask) => queue.push_back(ask),
                Err(RecvTimeoutError::Timeout) => self.write(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            queue.extend(inbox.try_iter());
            while let Some(ask) = queue.pop_front() {
                match ask {
                    Ask::Remember { key, jail, ban, ticket } => {
                        self.unwritten.push(Unwritten { key, jail, ban, ticket });
                        if !matches!(queue.front(), Some(Ask::Remember { .. })) {
                            self.write();
                        }
                    }
                    Ask::Close(done) => {
                        for _ in 0..LAST_RETRIES {
                            self.write();
                        }
                        self.store.close(&*self.log);
                        let _ = done.send(());
                        return;
                    }
                    ask => self.answer(ask),
                }
            }
        }
    }

    /// Writes bans in one transaction and lets the jails go on with them, unless somebody else has locked the file.
    fn write(&mut self) {
        if self.unwritten.is_empty() {
            return;
        }
        let rows: Vec<NewBan<'_>> = self.unwritten.iter().map(Unwritten::row).collect();
        match self.store.add_bans(&rows) {
            Ok(()) => {}
            Err(error) if error.is_busy() => return,
            Err(_) => {
                // One that can't be written must not take the others with it.
                for row in rows {
                    let result = self.store.add_ban(row);
                    self.check("add ban", result);
                }
            }
        }
        for Unwritten { key, ban, .. } in self.unwritten.drain(..) {
            let _ = self.core.send(Msg::Remembered { jail: key, ban });
        }
    }

    fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::AddJail(jail) => {
                let result = self.store.add_jail(&jail);
                self.check("add jail", result);
            }
            Ask::DeleteJail(jail) => {
                let result = self.store.del_jail(&jail);
                self.check("delete jail", result);
            }
            Ask::AddLog { jail, path, position, hash, answer } => {
                let result = self.store.add_log(&jail, &path, position, hash.as_deref());
                let known = self.check("add log", result).flatten();
                let log = (jail, path);
                let at = self.read.get(&log).copied().or(self.written);
                let (jail, path) = &log;
                let old = self.store.old_logs(jail, path);
                let old = self.check("get old logs", old).unwrap_or_default();
                let old = old.into_iter().filter_map(place_of).collect();
                let known = known.map(|known| LastRead { position: known.position, md5: known.md5, at, old });
                if known.is_none() {
                    self.read.insert(log, SystemTime::now());
                }
                let _ = answer.send(known);
            }
            Ask::UpdateLog { jail, path, position, hash } => {
                let result = self.store.update_log(&jail, &path, position, Some(&hash));
                self.check("update log", result);
                self.read.insert((jail, path), SystemTime::now());
            }
            Ask::UpdateOldLog { jail, path, place: Place { position, hash } } => {
                let position = Number::Int(i64::try_from(position).unwrap_or(i64::MAX));
                let result = self.store.update_old_log(&jail, &path, &OldLog { md5: hash, position });
                self.check("update old log", result);
            }
            Ask::ForgetOldLog { jail, path, hash } => {
                let result = self.store.del_old_log(&jail, &path, &hash);
                self.check("forget old log", result);
            }
            Ask::History { key, jail, asked, id, overall } => {
                let result = self.store.history(&id, Some(&jail), overall);
                let history = self.check("get ban", result).flatten();
                let history = history.map(|h| History { ban_count: h.ban_count, time_of_ban: h.time_of_ban });
                let _ = self.core.send(Msg::Told { jail: key, asked, history });
            }
            Ask::Forget { jail, ids } => {
                self.unwritten.retain(|ban| !ban.is_among(&jail, ids.as_deref()));
                let result = self.store.del_ban(&jail, ids.as_deref());
                self.check("delete ban", result);
            }
            Ask::Current { jail, wanted, answer } => {
                let _ = answer.send(self.current(&jail, wanted));
            }
            Ask::Merged { ip, jail, answer } => {
                let result = self.store.bans_merged(&ip, jail.as_deref()).map_err(|error| error.to_string());
                let _ = answer.send(result);
            }
            Ask::SetMaxMatches(lines) => self.store.set_max_matches(lines),
            Ask::SetPurgeAge(age) => self.store.set_purge_age(age),
            Ask::Purge => {
                let result = self.store.purge(clock::now());
                self.check("purge", result);
            }
            Ask::Remember { .. } | Ask::Close(_) => {}
        }
    }

    fn current(&mut self, jail: &str, wanted: Wanted) -> Vec<Ticket> {
        let Wanted { for_ban_time, max_ban_time, ban_time, max_matches } = wanted;
        let now = clock::now();
        let asked = CurrentBans {
            jail,
            now,
            for_ban_time,
            max_ban_time,
            jail_ban_time: ban_time,
            max_matches: Some(max_matches),
        };
        let result = self.store.current_bans(&asked, &*self.log);
        self.check("get current bans", result).unwrap_or_default()
    }

    /// Logs a failure and goes on without the result.
    fn check<T, E: std::fmt::Display>(&self, what: &str, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let message = format!("Database {what} failed: {error}");
                self.log.write(Record::new(Level::ERROR, "database", message));
                None
            }
        }
    }
}

fn place_of(old: OldLog) -> Option<Place> {
    let position = u64::try_from(old.position.as_i64()).ok()?;
    Some(Place { position, hash: old.md5 })
}

impl Unwritten {
    fn row(&self) -> NewBan<'_> {
        NewBan { jail: &self.jail, ticket: &self.ticket, default_ban_time: 0.0 }
    }

    /// Whether it is among the bans that are to be forgotten.
    fn is_among(&self, jail: &str, ids: Option<&[Id]>) -> bool {
        self.jail == jail && ids.is_none_or(|ids| ids.contains(&self.ticket.id))
    }
}
