//! `ignorecommand`, asked by a thread of the jail that has one: neither matching nor the actions wait for it.
//!
//! Answers are kept as `ignorecache` wants it (upstream: `filter.Filter.ignoreCache`, `utils.Utils.Cache`).

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use f2b_action::{EarlierBans, JailCounts, JailInfo, Shell, SystemNames, ask_ignore_command, ignore_key};
use f2b_types::Ticket;
use indexmap::IndexMap;

use super::{JailKey, Msg};
use crate::logging::ServerLog;

/// Whom to ask about, and how.
pub(super) struct Question {
    pub(super) number: u64,
    pub(super) ticket: Box<Ticket>,
    pub(super) command: String,
    pub(super) cache: Option<CacheOptions>,
    pub(super) ban_time: f64,
    pub(super) counts: JailCounts,
}

/// What `ignorecache` says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CacheOptions {
    /// Answers with the same key, its tags filled in, are the same.
    pub(super) key: String,
    pub(super) max_count: usize,
    pub(super) max_time: Duration,
}

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Ignorer {
    questions: Sender<Question>,
}

impl Ignorer {
    /// Starts the thread of a jail; the answers come as [`Msg::Judged`].
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub(super) fn start(
        key: JailKey,
        name: &str,
        core: &Sender<Msg>,
        log: &Arc<ServerLog>,
        earlier: Option<Box<dyn EarlierBans + Send>>,
    ) -> io::Result<Self> {
        let (questions, inbox) = mpsc::channel();
        let thread = Asker {
            key,
            name: name.into(),
            core: core.clone(),
            log: Arc::clone(log),
            earlier,
            names: SystemNames::default(),
            cache: Cache::default(),
        };
        thread::Builder::new().name(super::thread_name('i', name)).spawn(move || thread.run(&inbox))?;
        Ok(Self { questions })
    }

    pub(super) fn ask(&self, question: Question) {
        // The thread ends when this sender does.
        let _ = self.questions.send(question);
    }
}

struct Asker {
    key: JailKey,
    name: String,
    core: Sender<Msg>,
    log: Arc<ServerLog>,
    earlier: Option<Box<dyn EarlierBans + Send>>,
    names: SystemNames,
    cache: Cache,
}

impl Asker {
    fn run(mut self, inbox: &Receiver<Question>) {
        while let Ok(question) = inbox.recv() {
            let (ignored, known) = self.answer(&question);
            let (jail, question) = (self.key, question.number);
            if self.core.send(Msg::Judged { jail, question, ignored, known }).is_err() {
                return;
            }
        }
    }

    /// Whether to ignore, and whether that was known.
    fn answer(&mut self, question: &Question) -> (bool, bool) {
        let jail = JailInfo {
            name: &self.name,
            ban_time: question.ban_time,
            counts: question.counts,
            earlier: self.earlier.as_ref().map(|earlier| &**earlier as &dyn EarlierBans),
            names: &self.names,
            log: &*self.log,
        };
        self.cache.obey(question.cache.as_ref());
        let key = question.cache.as_ref().map(|cache| ignore_key(&cache.key, &question.ticket, jail));
        let now = Instant::now();
        if let Some(ignored) = key.as_ref().and_then(|key| self.cache.get(key, now)) {
            return (ignored, true);
        }
        let ignored = ask_ignore_command(&question.command, &question.ticket, jail, &Shell);
        if let Some(key) = key {
            self.cache.put(key, ignored, Instant::now());
        }
        (ignored, false)
    }
}

/// Answers in the order in which they came.
#[derive(Debug, Default)]
struct Cache {
    options: Option<CacheOptions>,
    answers: IndexMap<String, (bool, Instant)>,
}

impl Cache {
    fn obey(&mut self, options: Option<&CacheOptions>) {
        if self.options.as_ref() != options {
            *self = Self { options: options.cloned(), answers: IndexMap::new() };
        }
    }

    fn get(&mut self, key: &str, now: Instant) -> Option<bool> {
        let (answer, until) = *self.answers.get(key)?;
        if until <= now {
            self.answers.shift_remove(key);
            return None;
        }
        Some(answer)
    }

    /// Where it is full, the oldest answers go: those that are out of date, and one more.
    fn put(&mut self, key: String, answer: bool, now: Instant) {
        let Some(options) = &self.options else { return };
        if self.answers.len() >= options.max_count {
            let dated = self.answers.values().take_while(|(_, until)| *until <= now).count();
            self.answers.drain(..(dated + 1).min(self.answers.len()));
        }
        self.answers.insert(key, (answer, now + options.max_time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_kept_for_a_while_and_the_oldest_go_first() {
        let mut cache = Cache::default();
        let options = CacheOptions { key: "<ip>".into(), max_count: 2, max_time: Duration::from_secs(10) };
        cache.obey(Some(&options));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        cache.put("a".into(), true, at(0));
        cache.put("b".into(), false, at(1));
        assert_eq!((cache.get("a", at(9)), cache.get("b", at(9))), (Some(true), Some(false)));
        cache.put("c".into(), true, at(9));
        assert_eq!((cache.get("a", at(9)), cache.get("b", at(9))), (None, Some(false)));
        assert_eq!((cache.get("b", at(11)), cache.get("c", at(11))), (None, Some(true)));
        cache.obey(None);
        assert_eq!(cache.get("c", at(11)), None);
    }
}
