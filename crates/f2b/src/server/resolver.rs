//! Host names, looked up beside each other, so that matching waits for no name server and a slow name for no other one.
//!
//! Failures of a jail count in the order of their lines: what is known already waits for names that came before it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use f2b_jail::Names;
use f2b_types::{Failure, Id, Level, Log, Record};

use super::ipv6::Ipv6;
use super::{Backlog, JailKey, Msg, Uncounted};
use crate::logging::ServerLog;

/// How long an answer is good.
const KEEP: Duration = Duration::from_secs(300);

/// How long it is good that there is no answer.
const KEEP_FAILURE: Duration = Duration::from_secs(20);

/// How many answers are kept.
const MAX_KEPT: usize = 1000;

/// How many names are asked for at a time.
const MAX_THREADS: usize = 16;

/// How long an answer is waited for. The system may take longer, but then nobody listens.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a name is looked up.
type LookUp = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// What is to be done with the addresses of names.
type Then = Box<dyn FnOnce(Names) + Send>;

/// What the thread hears.
enum Note {
    /// A name that a jail ignores.
    Ignored { jail: JailKey, name: String },
    /// A name that failed in a jail; each of its addresses has failed then.
    Failed(Failed),
    /// Somebody waits until the failures of a jail up to here have been reported.
    Settle(JailKey),
    /// Somebody waits for the addresses of names.
    Find { names: BTreeSet<Box<str>>, then: Then },
    /// A lookup has ended.
    Answer { name: String, addresses: io::Result<Vec<IpAddr>> },
}

/// A failure of a name.
pub(super) struct Failed {
    pub(super) jail: JailKey,
    pub(super) name: String,
    /// The log is to say who that is (`usedns = warn`).
    pub(super) warn: bool,
    pub(super) failure: Failure,
    pub(super) backlog: Backlog,
    pub(super) uncounted: Uncounted,
}

/// The way to the thread.
#[derive(Clone)]
pub(super) struct Resolver {
    notes: Sender<Note>,
}

impl Resolver {
    pub(super) fn start(core: &Sender<Msg>, log: &Arc<ServerLog>, ipv6: &Ipv6) -> io::Result<Self> {
        let log: Arc<dyn Log> = Arc::<ServerLog>::clone(log);
        let system = |name: &str| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect());
        Self::with(Arc::new(system), PATIENCE, core, log, ipv6)
    }

    fn with(
        look_up: LookUp,
        patience: Duration,
        core: &Sender<Msg>,
        log: Arc<dyn Log>,
        ipv6: &Ipv6,
    ) -> io::Result<Self> {
        let (notes, inbox) = mpsc::channel();
        let desk = Desk {
            core: core.clone(),
            log,
            ipv6: ipv6.clone(),
            look_up,
            patience,
            notes: notes.clone(),
            known: Known::default(),
            asked: HashMap::new(),
            waiting: VecDeque::new(),
            threads: 0,
            ignored: Vec::new(),
            failed: HashMap::new(),
            settling: Vec::new(),
            searches: Vec::new(),
        };
        thread::Builder::new().name("f2b/resolver".into()).spawn(move || desk.run(&inbox))?;
        Ok(Self { notes })
    }

    /// Looks up the names that a jail ignores; the answers come as [`Msg::Resolved`].
    pub(super) fn look_up<'a>(&self, jail: JailKey, names: impl Iterator<Item = &'a str>) {
        for name in names {
            let _ = self.notes.send(Note::Ignored { jail, name: name.into() });
        }
    }

    /// Looks up who failed; the answers come as [`Msg::Found`].
    pub(super) fn failed(&self, failed: Failed) {
        failed.backlog.enter();
        let _ = self.notes.send(Note::Failed(failed));
    }

    /// Looks up names, and does something when all of them are known or have been given up.
    pub(super) fn find(&self, names: BTreeSet<Box<str>>, then: impl FnOnce(Names) + Send + 'static) {
        let _ = self.notes.send(Note::Find { names, then: Box::new(then) });
    }

    /// Answers with [`Msg::Settled`] behind the failures of a jail, which are reported once their names are known or have been
    /// given up.
    pub(super) fn settle(&self, jail: JailKey) {
        let _ = self.notes.send(Note::Settle(jail));
    }
}

/// The addresses of this machine's interfaces, for `ignoreself`.
pub(super) fn own_addresses() -> Vec<Id> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            if let Some(v4) = address.as_sockaddr_in() {
                return Some(Id::from(std::net::IpAddr::V4(v4.ip())));
            }
            address.as_sockaddr_in6().map(|v6| Id::from(std::net::IpAddr::V6(v6.ip())))
        })
        .collect()
}

/// The thread's state.
struct Desk {
    core: Sender<Msg>,
    log: Arc<dyn Log>,
    ipv6: Ipv6,
    look_up: LookUp,
    patience: Duration,
    /// For the threads that look up.
    notes: Sender<Note>,
    known: Known,
    /// Names that have been asked for, and since when.
    asked: HashMap<String, Instant>,
    /// Those of them for which there was no thread left.
    waiting: VecDeque<String>,
    threads: usize,
    /// Which jails wait for which name.
    ignored: Vec<(String, JailKey)>,
    /// What has failed in each jail, in this order.
    failed: HashMap<JailKey, VecDeque<Pending>>,
    /// Jails of which somebody waits for the last failure.
    settling: Vec<JailKey>,
    searches: Vec<Search>,
}

/// Names that somebody waits for.
struct Search {
    /// Those whose addresses are not known yet.
    open: BTreeSet<Box<str>>,
    found: Names,
    then: Then,
}

/// A failure with its addresses, once they are known.
struct Pending {
    failed: Failed,
    addresses: Option<Vec<Id>>,
}

impl Desk {
    fn run(mut self, inbox: &Receiver<Note>) {
        loop {
            match inbox.recv_timeout(self.time_left()) {
                Ok(Note::Ignored { jail, name }) => {
                    let known = self.known.get(&name);
                    self.ignored.push((name.clone(), jail));
                    match known {
                        Some(addresses) => self.settle(&name, &addresses),
                        None => self.ask(name),
                    }
                }
                Ok(Note::Failed(failed)) => {
                    let (jail, name) = (failed.jail, failed.name.clone());
                    let known = self.known.get(&name);
                    let is_known = known.is_some();
                    self.failed.entry(jail).or_default().push_back(Pending { failed, addresses: known });
                    if is_known {
                        self.report(jail);
                    } else {
                        self.ask(name);
                    }
                }
                Ok(Note::Settle(jail)) => {
                    self.settling.push(jail);
                    self.say_settled();
                }
                Ok(Note::Find { names, then }) => self.search(names, then),
                Ok(Note::Answer { name, addresses }) => {
                    self.threads = self.threads.saturating_sub(1);
                    if self.asked.remove(&name).is_some() {
                        self.answered(&name, addresses);
                    }
                    while let Some(next) = self.waiting.pop_front() {
                        if self.asked.contains_key(&next) {
                            self.begin(next);
                            break;
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                // The desk holds a way to itself, so that it lives as long as the process.
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.give_up();
        }
    }

    fn search(&mut self, names: BTreeSet<Box<str>>, then: Then) {
        let mut search = Search { open: names, found: Names::new(), then };
        for name in std::mem::take(&mut search.open) {
            match self.known.get(&name) {
                Some(addresses) => drop(search.found.insert(name, addresses)),
                None => drop(search.open.insert(name)),
            }
        }
        let open: Vec<String> = search.open.iter().map(|name| name.to_string()).collect();
        self.searches.push(search);
        open.into_iter().for_each(|name| self.ask(name));
        self.end_searches();
    }

    /// Hands over what has been found altogether.
    fn end_searches(&mut self) {
        for Search { found, then, .. } in self.searches.extract_if(.., |search| search.open.is_empty()) {
            then(found);
        }
    }

    /// Until somebody has waited long enough.
    fn time_left(&self) -> Duration {
        let first = self.asked.values().min();
        first
            .map_or(Duration::MAX, |since| (*since + self.patience).saturating_duration_since(Instant::now()))
    }

    /// Goes on without the answers that take too long.
    fn give_up(&mut self) {
        let late = |since: &Instant| since.elapsed() >= self.patience;
        let late: Vec<String> =
            self.asked.iter().filter(|(_, since)| late(since)).map(|(name, _)| name.clone()).collect();
        for name in late {
            self.asked.remove(&name);
            let reason = format!("no answer after {} seconds", self.patience.as_secs_f64());
            self.answered(&name, Err(io::Error::new(io::ErrorKind::TimedOut, reason)));
        }
    }

    /// Has a name looked up, unless that is under way; as soon as there is a thread for it.
    fn ask(&mut self, name: String) {
        if self.asked.contains_key(&name) {
            return;
        }
        self.asked.insert(name.clone(), Instant::now());
        if self.threads >= MAX_THREADS {
            self.waiting.push_back(name);
        } else {
            self.begin(name);
        }
    }

    /// Looks a name up in a thread of its own.
    fn begin(&mut self, name: String) {
        let (look_up, notes, asked) = (Arc::clone(&self.look_up), self.notes.clone(), name.clone());
        let work = move || {
            let addresses = look_up(&asked);
            let _ = notes.send(Note::Answer { name: asked, addresses });
        };
        match thread::Builder::new().name("f2b/lookup".into()).spawn(work) {
            Ok(_) => self.threads += 1,
            Err(error) => {
                self.asked.remove(&name);
                self.answered(&name, Err(error));
            }
        }
    }

    fn answered(&mut self, name: &str, result: io::Result<Vec<IpAddr>>) {
        let mut addresses: Vec<Id> = Vec::new();
        match result {
            Ok(found) => {
                let ipv6 = self.ipv6.is_allowed();
                for id in found.into_iter().filter(|ip| ipv6 || ip.is_ipv4()).map(Id::from) {
                    if !addresses.contains(&id) {
                        addresses.push(id);
                    }
                }
            }
            Err(error) => {
                let reason = in_pythons_words(&error);
                let message = format!("Unable to find a corresponding IP address for {name}: {reason}");
                self.log.write(Record::new(Level::WARNING, "ipdns", message));
            }
        }
        self.known.keep(name, &addresses);
        self.settle(name, &addresses);
    }

    /// Lets everybody know who has waited for a name.
    fn settle(&mut self, name: &str, addresses: &[Id]) {
        for (name, jail) in self.ignored.extract_if(.., |(known, _)| known == name) {
            // A name that can't be looked up now stands for what it stood for before.
            if !addresses.is_empty() {
                let _ = self.core.send(Msg::Resolved { jail, name, addresses: addresses.to_vec() });
            }
        }
        for search in &mut self.searches {
            if let Some(name) = search.open.take(name) {
                search.found.insert(name, addresses.to_vec());
            }
        }
        self.end_searches();
        let mut jails = Vec::new();
        for (jail, queue) in &mut self.failed {
            for pending in queue.iter_mut().filter(|pending| pending.failed.name == name) {
                pending.addresses.get_or_insert_with(|| addresses.to_vec());
                jails.push(*jail);
            }
        }
        jails.dedup();
        jails.into_iter().for_each(|jail| self.report(jail));
    }

    /// Reports the failures of a jail up to the first one whose addresses are not known.
    fn report(&mut self, jail: JailKey) {
        let Some(queue) = self.failed.get_mut(&jail) else { return };
        while let Some(Pending { failed, addresses: Some(addresses) }) =
            queue.pop_front_if(|pending| pending.addresses.is_some())
        {
            let Failed { name, warn, failure, backlog, uncounted, .. } = failed;
            if warn && !addresses.is_empty() {
                let list: Vec<String> = addresses.iter().map(|id| format!("'{id}'")).collect();
                let message = format!("Determined IP using DNS Lookup: {name} = {{{}}}", list.join(", "));
                self.log.write(Record::new(Level::WARNING, "ipdns", message));
            }
            for id in addresses {
                backlog.enter();
                let failure = Failure { id, ..failure.clone() };
                let uncounted = uncounted.clone();
                let _ = self.core.send(Msg::Found { jail, failure, uncounted });
            }
            backlog.leave();
        }
        if queue.is_empty() {
            self.failed.remove(&jail);
            self.say_settled();
        }
    }

    fn say_settled(&mut self) {
        for jail in self.settling.extract_if(.., |jail| !self.failed.contains_key(jail)) {
            let _ = self.core.send(Msg::Settled { jail });
        }
    }
}

/// Why a name has no address, as Python's `socket.gaierror` says it: with the number of the C library.
fn in_pythons_words(error: &io::Error) -> String {
    let text = error.to_string();
    let Some(reason) = text.strip_prefix("failed to lookup address information: ") else { return text };
    let number = match reason {
        "Name or service not known" => -2,
        "Temporary failure in name resolution" => -3,
        "Non-recoverable failure in name resolution" => -4,
        "No address associated with hostname" => -5,
        _ => return reason.to_owned(),
    };
    format!("[Errno {number}] {reason}")
}

/// Answers that are still good (`Utils.Cache`).
#[derive(Default)]
struct Known {
    answers: HashMap<String, (Vec<Id>, Instant)>,
    /// The names in the order in which they came.
    order: VecDeque<String>,
}

impl Known {
    fn get(&self, name: &str) -> Option<Vec<Id>> {
        let (addresses, until) = self.answers.get(name)?;
        (*until > Instant::now()).then(|| addresses.clone())
    }

    fn keep(&mut self, name: &str, addresses: &[Id]) {
        let keep = if addresses.is_empty() { KEEP_FAILURE } else { KEEP };
        let answer = (addresses.to_vec(), Instant::now() + keep);
        if self.answers.insert(name.into(), answer).is_none() {
            self.order.push_back(name.into());
        }
        if self.order.len() > MAX_KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use f2b_types::{FailData, Recorder, Time};

    use super::*;
    use crate::server::Outcome;

    const JAILS: [JailKey; 2] = [JailKey(1), JailKey(2)];

    /// A resolver whose answers the test gives: a sender for each name that is being asked for.
    struct World {
        resolver: Resolver,
        heard: Receiver<Msg>,
        log: Arc<Recorder>,
        asked: Receiver<(String, Sender<io::Result<Vec<IpAddr>>>)>,
        backlog: Backlog,
    }

    impl World {
        fn new(patience: Duration) -> Self {
            let ((core, heard), (sender, asked)) = (mpsc::channel(), mpsc::channel());
            let sender = Mutex::new(sender);
            let look_up = move |name: &str| {
                let (answer, answers) = mpsc::channel();
                sender.lock().expect("a lock").send((name.to_owned(), answer)).expect("a test");
                // Nobody answers a question that the test has dropped.
                answers.recv().unwrap_or_else(|_| Err(io::Error::other("nobody answers")))
            };
            let log = Arc::new(Recorder::default());
            let shared: Arc<dyn Log> = Arc::<Recorder>::clone(&log);
            let resolver = Resolver::with(Arc::new(look_up), patience, &core, shared, &Ipv6::default());
            let resolver = resolver.expect("a thread");
            Self { resolver, heard, log, asked, backlog: Backlog::default() }
        }

        fn fail(&self, jail: usize, name: &str) -> Outcome {
            let (time, data) = (Time(0.0), FailData::default());
            let failure = Failure { id: Id::raw(name), time, whole_time: false, data };
            let (uncounted, backlog) = (Uncounted::default(), self.backlog.clone());
            let outcome = uncounted.outcome();
            let (jail, name) = (JAILS[jail], name.into());
            self.resolver.failed(Failed { jail, name, warn: true, failure, backlog, uncounted });
            outcome
        }

        /// The next name that is asked for, to be answered.
        fn question(&self) -> (String, Sender<io::Result<Vec<IpAddr>>>) {
            self.asked.recv_timeout(Duration::from_secs(10)).expect("a question")
        }

        fn expect(&self, jail: usize, ip: &str) {
            match self.heard.recv_timeout(Duration::from_secs(10)) {
                Ok(Msg::Found { jail: found, failure, .. }) => {
                    assert_eq!((found, failure.id.to_string().as_str()), (JAILS[jail], ip));
                    self.backlog.leave();
                }
                _ => panic!("no failure of {ip}"),
            }
        }

        fn expect_settled(&self, jail: usize) {
            let heard = self.heard.recv_timeout(Duration::from_secs(10));
            assert!(matches!(heard, Ok(Msg::Settled { jail: settled }) if settled == JAILS[jail]));
        }
    }

    fn address(ip: &str) -> io::Result<Vec<IpAddr>> {
        Ok(vec![ip.parse().expect("an address")])
    }

    #[test]
    fn whoever_looks_names_up_gets_them_all_at_once() {
        let world = World::new(PATIENCE);
        let (sender, found) = mpsc::channel();
        for _ in 0..2 {
            let names = ["a.example", "b.example"].map(Box::from).into();
            let sender = sender.clone();
            world.resolver.find(names, move |names| sender.send(names).expect("a test"));
        }
        let mut questions = [world.question(), world.question()];
        questions.sort_by(|(a, _), (b, _)| a.cmp(b));
        let [(a, answer_a), (b, answer_b)] = questions;
        assert_eq!((a.as_str(), b.as_str()), ("a.example", "b.example"));
        answer_b.send(Err(io::Error::other("no such host"))).expect("somebody waits");
        assert!(found.try_recv().is_err());
        answer_a.send(address("192.0.2.1")).expect("somebody waits");
        for _ in 0..2 {
            let names = found.recv_timeout(Duration::from_secs(10)).expect("all names");
            assert_eq!(names["a.example"], [Id::parse("192.0.2.1")]);
            assert_eq!(names["b.example"], []);
        }
        // What is known already is there at once.
        world.resolver.find(["a.example".into()].into(), move |names| sender.send(names).expect("a test"));
        assert_eq!(found.recv_timeout(Duration::from_secs(10)).expect("the name").len(), 1);
    }

    #[test]
    fn a_slow_name_holds_up_what_comes_behind_it_in_its_own_jail_only() {
        let world = World::new(PATIENCE);
        world.fail(0, "slow.example");
        let (slow, answer_slow) = world.question();
        world.fail(0, "quick.example");
        world.fail(1, "quick.example");
        let (quick, answer_quick) = world.question();
        assert_eq!((slow.as_str(), quick.as_str()), ("slow.example", "quick.example"));
        answer_quick.send(address("192.0.2.2")).expect("a thread");
        world.expect(1, "192.0.2.2");
        // It is known by now, and asked for once.
        world.fail(1, "quick.example");
        world.expect(1, "192.0.2.2");
        assert!(world.heard.try_recv().is_err());
        answer_slow.send(address("192.0.2.1")).expect("a thread");
        world.expect(0, "192.0.2.1");
        world.expect(0, "192.0.2.2");
        assert!(world.asked.try_recv().is_err());
    }

    #[test]
    fn a_jail_has_settled_when_its_last_failure_is_reported() {
        let world = World::new(PATIENCE);
        world.resolver.settle(JAILS[0]);
        world.expect_settled(0);
        let outcome = world.fail(0, "slow.example");
        let (_, answer) = world.question();
        world.resolver.settle(JAILS[0]);
        world.resolver.settle(JAILS[1]);
        world.expect_settled(1);
        assert!(world.heard.try_recv().is_err());
        // Until then its line is to be read again after a crash.
        assert!(!outcome.is_known());
        answer.send(address("192.0.2.1")).expect("a thread");
        world.expect(0, "192.0.2.1");
        world.expect_settled(0);
        assert!(outcome.is_known());
    }

    #[test]
    fn names_wait_for_a_thread_and_those_without_an_address_keep_nobody() {
        let world = World::new(PATIENCE);
        for number in 0..=MAX_THREADS {
            world.fail(0, &format!("h{number}.example"));
        }
        let answers: Vec<_> = (0..MAX_THREADS).map(|_| world.question()).collect();
        for (name, answer) in answers {
            let number: usize =
                name.trim_start_matches('h').trim_end_matches(".example").parse().expect("one");
            let failed = io::Error::new(io::ErrorKind::NotFound, "no such host");
            let found = if number == 0 { Err(failed) } else { address(&format!("192.0.2.{number}")) };
            answer.send(found).expect("a thread");
        }
        let (_, last) = world.question();
        last.send(address("192.0.2.99")).expect("a thread");
        for number in 1..MAX_THREADS {
            world.expect(0, &format!("192.0.2.{number}"));
        }
        world.expect(0, "192.0.2.99");
        let warning = "WARNING Unable to find a corresponding IP address for h0.example: no such host";
        assert!(world.log.lines().iter().any(|line| line == warning), "{:?}", world.log.lines());
        let warning = "WARNING Determined IP using DNS Lookup: h1.example = {'192.0.2.1'}";
        assert!(world.log.lines().iter().any(|line| line == warning), "{:?}", world.log.lines());
    }

    #[test]
    fn failures_are_told_in_pythons_words() {
        // Longer than any name, so that no server is asked.
        let error =
            (format!("{}.example", "x".repeat(300)).as_str(), 0).to_socket_addrs().expect_err("no name");
        assert_eq!(in_pythons_words(&error), "[Errno -2] Name or service not known");
    }

    #[test]
    fn an_answer_that_takes_too_long_is_not_waited_for() {
        let world = World::new(Duration::from_millis(50));
        world.fail(0, "never.example");
        let _never = world.question();
        world.fail(0, "quick.example");
        let (_, answer) = world.question();
        answer.send(address("192.0.2.2")).expect("a thread");
        world.expect(0, "192.0.2.2");
        let warning = "WARNING Unable to find a corresponding IP address for never.example: no answer after 0.05 seconds";
        assert!(world.log.lines().iter().any(|line| line == warning), "{:?}", world.log.lines());
    }

    #[test]
    fn what_is_known_longest_makes_room() {
        let mut known = Known::default();
        for number in 0..=MAX_KEPT {
            known.keep(&number.to_string(), &[Id::raw("x")]);
        }
        assert_eq!(
            (known.get("0"), known.get("1"), known.answers.len()),
            (None, Some(vec![Id::raw("x")]), MAX_KEPT)
        );
    }
}
