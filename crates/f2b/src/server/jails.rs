//! A jail as the server runs it: the state machine, the filter, the files and the way to the worker.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use f2b_action::JailCounts;
use f2b_filter::Filter;
use f2b_jail::{Act, Counts, Jail};
use f2b_protocol::Value;
use f2b_types::Ticket;

use super::ignorer::{CacheOptions, Ignorer, Question};
use super::journal::WatchedJournal;
use super::reader::{Reader, Watch, Watched};
use super::refusal::Backend;
use super::tail::Place;
use super::worker::{Deed, LastAnswer, Work, Worker};
use super::{Backlog, JailKey, Uncounted};

/// One jail and everything that belongs to it. What is large is boxed: a list that grows has room for more jails than
/// there are.
pub(super) struct Running {
    pub(super) key: JailKey,
    pub(super) jail: Box<Jail>,
    /// As it was asked for, and as it was chosen.
    pub(super) backend: String,
    pub(super) real_backend: &'static str,
    /// The filter as it is configured; the reader has a copy that it runs.
    pub(super) filter: Box<Filter>,
    /// The files in the order in which they were added.
    pub(super) files: Vec<WatchedFile>,
    /// The journal, in place of files.
    pub(super) journal: Option<WatchedJournal>,
    pub(super) ignore_command: Value,
    /// The key, the number of entries, the seconds that they last.
    pub(super) ignore_cache: Value,
    /// `bantime.*`, as they are told.
    pub(super) ban_time_extra: Vec<(String, Value)>,
    pub(super) backlog: Backlog,
    pub(super) worker: Option<Worker>,
    /// Asks the `ignorecommand`, from the first question on.
    pub(super) ignorer: Option<Ignorer>,
    /// Failures that wait for its answer, with the numbers of their questions.
    asked: VecDeque<(u64, Uncounted)>,
    pub(super) started: bool,
    pub(super) idle: bool,
    /// The reader has been asked whether it has heard everything, and has not answered yet.
    pub(super) awaits_reader: bool,
    /// The filter or the files have changed since the reader got them.
    pub(super) changed: bool,
    /// Files that the reload under way has not named yet.
    stale_files: Vec<String>,
}

/// A file of a jail and where reading begins.
#[derive(Debug, Clone)]
pub(super) struct WatchedFile {
    pub(super) path: String,
    pub(super) place: Place,
    /// When reading had come there: what was written later has not been read.
    pub(super) read: Option<SystemTime>,
    /// The places in files that had the name before and were read on.
    pub(super) old: Vec<Place>,
    pub(super) tail: bool,
}

impl Running {
    pub(super) fn new(
        key: JailKey,
        jail: Jail,
        filter: Filter,
        backend: (&str, Backend),
        worker: Worker,
    ) -> Self {
        let (backend, chosen) = backend;
        let journal =
            chosen.journal.map(|source| WatchedJournal { source, matches: Vec::new(), position: None });
        Self {
            key,
            jail: jail.into(),
            backend: backend.into(),
            real_backend: chosen.name,
            filter: filter.into(),
            files: Vec::new(),
            journal,
            ignore_command: Value::Bool(false),
            ignore_cache: Value::None,
            ban_time_extra: Vec::new(),
            backlog: Backlog::default(),
            worker: Some(worker),
            ignorer: None,
            asked: VecDeque::new(),
            started: false,
            idle: false,
            awaits_reader: false,
            changed: true,
            stale_files: Vec::new(),
        }
    }

    /// Hands work to the worker; a jail that has stopped does none.
    pub(super) fn send(&self, work: Work) {
        if let Some(worker) = &self.worker {
            worker.send(work);
        }
    }

    /// A question for the `ignorecommand`, as it is set at this moment.
    pub(super) fn ignore_question(&self, number: u64, ticket: Box<Ticket>) -> Question {
        Question {
            number,
            ticket,
            command: self.ignore_command.to_text(),
            cache: cache_options(&self.ignore_cache),
            ban_time: self.jail.bans.ban_time,
            counts: self.counts(),
        }
    }

    /// Keeps a failure for as long as it waits for the answer to the question with this number, if that was asked.
    pub(super) fn keep_if_asked(&mut self, question: u64, uncounted: Uncounted) {
        if self.jail.questions().end > question {
            self.asked.push_back((question, uncounted));
        }
    }

    /// Lets go of those that count by now, or never will.
    pub(super) fn let_answered_go(&mut self) {
        let first = self.jail.questions().start;
        while self.asked.pop_front_if(|(question, _)| *question < first).is_some() {}
    }

    pub(super) fn counts(&self) -> JailCounts {
        counts_of(self.jail.counts())
    }

    /// Lets the actions do something, with its own numbers or those of this moment.
    pub(super) fn act(&self, act: Act) {
        self.backlog.enter();
        let counts = match &act {
            Act::Ban { counts, .. } => counts_of(*counts),
            _ => self.counts(),
        };
        let backlog = self.backlog.clone();
        self.send(Work::Act(Deed { act, ban_time: self.jail.bans.ban_time, counts, backlog }));
    }

    /// Sends the reader what has changed.
    pub(super) fn ship(&mut self, reader: &Reader) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let mut filter = Filter::new(self.jail.name(), 0);
        filter.adopt(&self.filter);
        reader.tell(Watch::Jail(Box::new(Watched {
            key: self.key,
            name: self.jail.name().into(),
            filter,
            polling: self.real_backend == "polling",
            files: self.files.clone(),
            journal: self.journal.clone(),
            backlog: self.backlog.clone(),
        })));
    }

    /// Forgets what the stream of a reload is going to set again.
    pub(super) fn begin_reload(&mut self) {
        self.filter.clear();
        // Other options that are not in the configuration any more keep their values, as upstream's do; this one is ours.
        self.filter.set_log_format(None);
        self.jail.ignore.clear();
        self.stale_files = self.files.iter().map(|file| file.path.clone()).collect();
        self.changed = true;
        self.send(Work::BeginReload);
    }

    /// Whether the reload under way names this file for the first time, so that it goes on being read.
    pub(super) fn keeps_file(&mut self, path: &str) -> bool {
        let before = self.stale_files.len();
        self.stale_files.retain(|stale| stale != path);
        self.stale_files.len() < before
    }

    /// Drops the files and actions that the reload did not name, and tells which files.
    pub(super) fn end_reload(&mut self, answer: Option<Arc<LastAnswer>>) -> Vec<String> {
        let stale = std::mem::take(&mut self.stale_files);
        self.files.retain(|file| !stale.contains(&file.path));
        self.changed = true;
        let tickets = self.jail.bans.iter().filter(|ticket| ticket.banned).cloned().collect();
        self.send(Work::EndReload { tickets, answer });
        stale
    }
}

fn counts_of(counts: Counts) -> JailCounts {
    JailCounts {
        banned: counts.banned as i64,
        banned_total: counts.banned_total as i64,
        found: counts.found as i64,
        found_total: counts.found_total as i64,
    }
}

/// What `[key, number of entries, seconds]` says.
fn cache_options(value: &Value) -> Option<CacheOptions> {
    let [key, count, time] = value.as_items()? else { return None };
    let number = |value: &Value| match value {
        Value::Int(n) => *n as f64,
        Value::Float(x) => *x,
        _ => 0.0,
    };
    Some(CacheOptions {
        key: key.to_text(),
        max_count: number(count).max(0.0) as usize,
        max_time: Duration::try_from_secs_f64(number(time).clamp(0.0, 1e9)).unwrap_or_default(),
    })
}
