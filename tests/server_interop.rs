//! Upstream's server beside ours: the same commands in the same order, sent by upstream's client, by ours, and as bare
//! pickles; what comes back has to be the same.
//!
//! Needs fail2ban to be installed for `/usr/bin/python3`; with `PYTHONPATH` another release can be compared.

#![allow(clippy::print_stderr, reason = "a test that fails shows both logs")]

#[path = "support/commands.rs"]
mod commands;
mod support;
#[path = "support/upstream.rs"]
mod upstream;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use commands::{Pinned, ask_ours, comparable, configure, normal, pinned, times, words_of};
use support::{Place, Process};
use upstream::{Driver, Printed};

/// Seconds by which the times in two answers may differ: one server is asked after the other.
const TOLERANCE: i64 = 5;

/// A server in its own directory.
struct Server {
    place: Place,
    _process: Process,
}

/// Upstream's server and ours with the same configuration, and the way to ask them.
struct Pair {
    driver: Driver,
    theirs: Server,
    ours: Server,
    differences: Vec<String>,
    count: usize,
}

impl Pair {
    fn start() -> Self {
        let now = Timestamp::now();
        let (theirs, ours) = (Place::new(), Place::new());
        configure(&theirs, now);
        configure(&ours, now);
        let process = ours.spawn(ours.server().env("TZ", "UTC"));
        let theirs = Server { _process: upstream::start(&theirs), place: theirs };
        let ours = Server { _process: process, place: ours };
        let mut pair = Self { driver: Driver::start(), theirs, ours, differences: Vec::new(), count: 0 };
        pair.settle("j1", "'Total banned', int 1");
        pair.settle("j2", "'Total failed', int 1");
        // And failures that come in while the servers run.
        let time = now.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S");
        for server in [&pair.theirs, &pair.ours] {
            server.place.append("j1.log", &format!("{time} other joe 198.51.100.4\n").repeat(3));
        }
        pair.settle("j1", "'Total banned', int 2");
        pair
    }

    /// Waits until the status of a jail contains a text at both servers.
    #[track_caller]
    fn settle(&mut self, jail: &str, text: &str) {
        let until = Instant::now() + Duration::from_secs(20);
        for server in [&self.theirs, &self.ours] {
            loop {
                let status = self.driver.raw(&server.place, &format!("['status', '{jail}']"));
                if status.replace("str ", "").contains(text) {
                    break;
                }
                assert!(Instant::now() < until, "{text} not in {status}\n{}", server.place.log());
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Compares what upstream's client prints of both servers.
    fn client(&mut self, command: &str) {
        let run = |driver: &mut Driver, server: &Server| {
            let words = words_of(command, &server.place);
            normal(driver.client(&server.place, &words), &server.place)
        };
        let mut theirs = run(&mut self.driver, &self.theirs);
        let mut ours = run(&mut self.driver, &self.ours);
        // Upstream's threads take a moment to do what has been answered already.
        for _ in 0..PATIENCE {
            if !is_question(command) || agree(command, &theirs, &ours) {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
            theirs = run(&mut self.driver, &self.theirs);
            ours = run(&mut self.driver, &self.ours);
        }
        self.compare(command, &theirs, &ours);
    }

    /// Compares what upstream's client prints of upstream's server with what our client prints of our server.
    fn all_ours(&mut self, command: &str) {
        let words = words_of(command, &self.theirs.place);
        let mut theirs = normal(self.driver.client(&self.theirs.place, &words), &self.theirs.place);
        let mut ours = ask_ours(&self.ours.place, command);
        for _ in 0..PATIENCE {
            if !is_question(command) || agree(command, &theirs, &ours) {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
            theirs = normal(self.driver.client(&self.theirs.place, &words), &self.theirs.place);
            ours = ask_ours(&self.ours.place, command);
        }
        self.compare(command, &theirs, &ours);
    }

    /// Compares the replies of both servers to a bare message.
    fn raw(&mut self, message: &str) {
        let ask = |driver: &mut Driver, server: &Server| {
            let root = server.place.path().display().to_string();
            let reply = driver.raw(&server.place, &message.replace("ROOT", &root));
            Printed { stdout: reply.replace(&root, "ROOT"), stderr: String::new(), code: 0 }
        };
        let theirs = ask(&mut self.driver, &self.theirs);
        let ours = ask(&mut self.driver, &self.ours);
        self.compare(message, &theirs, &ours);
    }

    fn compare(&mut self, command: &str, theirs: &Printed, ours: &Printed) {
        self.count += 1;
        if !agree(command, theirs, ours) {
            self.differences.push(format!("{command}\n  upstream: {theirs:?}\n  ours:     {ours:?}"));
        }
    }

    /// Says what has differed, if anything has.
    #[track_caller]
    fn finish(self, at_least: usize) {
        assert!(self.count >= at_least, "only {} commands", self.count);
        let Self { differences, count, theirs, ours, .. } = self;
        if std::env::var_os("F2B_SHOW_LOGS").is_some() {
            eprintln!("{}\n\n{}", theirs.place.log(), ours.place.log());
        }
        assert!(
            differences.is_empty(),
            "{} of {count} differ:\n{}",
            differences.len(),
            differences.join("\n")
        );
    }
}

/// How often a question is asked again whose answers differ.
const PATIENCE: usize = 10;

/// Whether a command asks and changes nothing.
fn is_question(command: &str) -> bool {
    ["get ", "status", "stat", "banned"].iter().any(|word| command.starts_with(word))
}

/// Whether two answers are the same, but for what differs from run to run or on purpose.
fn agree(command: &str, theirs: &Printed, ours: &Printed) -> bool {
    let theirs =
        &Printed { stdout: as_1_1(&theirs.stdout), stderr: as_1_1(&theirs.stderr), code: theirs.code };
    let both = |printed: &Printed| (comparable(command, printed), printed.code);
    let close = |a: &str, b: &str| {
        let (a, b) = (times(a), times(b));
        a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= TOLERANCE)
    };
    both(theirs) == both(ours) && close(&theirs.stdout, &ours.stdout) || is_deliberate(theirs, ours)
}

/// Whether the answers differ as `docs/differences.md` says: both refuse, but upstream lets Python explain it.
fn is_deliberate(theirs: &Printed, ours: &Printed) -> bool {
    let evaluated = ["is not defined", "invalid decimal literal", "invalid syntax"];
    let duration =
        evaluated.iter().any(|text| theirs.stdout.contains(text)) && ours.stdout.contains("is no duration");
    let pickle = theirs.stdout.starts_with("str 'ERROR: ") && ours.stdout.contains("ERROR: pickle: ");
    theirs.code == ours.code && (duration || pickle)
}

/// Bare messages, as Python writes them.
const MESSAGES: &str = r#"
['ping']
('ping',)
['ping', 5, None]
['status']
['status', 'j1']
['status', 'j2', 'short']
['status', None]
['status', 5]
['status', ['j1']]
['status', 'nojail']
['status', 'j1', 'basic', 'x']
['version', 'x'][1:]
[]
['']
[None]
[5]
[['ping']]
{'ping': 1}
'ping'
None
5
b'ping'
b''
b'\x80\x02.'
b'\x80\x02K\x01'
b'\x80\x02(U\x06statusU\x02j1l.'
b'\x80\x02]q\x00(X\x06\x00\x00\x00statusq\x01X\x02\x00\x00\x00j1q\x02e.'
b'\x80\x02]q\x01(U\x06statusq\x02U\x02j1q\x03e.'
b'(lp0\nVstatus\np1\naVj1\np2\na.'
b"(lp0\nS'ping'\np1\na."
pickle.dumps(['status', 'j1', 'short'], 0)
pickle.dumps(['status', 'j1', 'short'], 1)
pickle.dumps(['status', 'j1', 'short'], 2)
pickle.dumps(['status', 'j1', 'short'], 3)
pickle.dumps(['status', 'j1', 'short'], 4)
pickle.dumps(['status', 'j1', 'short'], 5)
['nonsense', 1]
['echo', 1, 2.5, None, True, 'a', ['b'], {'c': 1}, ('d',)]
['echo', 'x' * 300000, ['y'] * 5000]
['echo'] + ['\u00e9\u20ac\U0001f600', 2**40, -2**63, 1e300, (), {}, [], '']
['banned']
['banned', '198.51.100.1']
['banned', '198.51.100.1', '198.51.100.2']
['banned', 5]
['get', 'j1', 'banip']
['get', 'j1', 'banip', '--with-time']
['get', 'j1', 'banip', ',']
['get', 'j1', 'banned']
['get', 'j1', 'banned', '198.51.100.1']
['get', 'j1', 'banned', '198.51.100.1', 'x']
['get', 'nojail', 'banip']
['get', 'j1']
['get']
['get', 'j1', None]
['get', 'j1', 5]
['get', 5, 'banip']
['get', None, 'banip']
['set', 'j1', 'banip', '192.0.2.9']
['set', 'j1', 'banip', '192.0.2.9']
['set', 'j1', 'banip']
['set', 'j1', 'banip', 'x', '192.0.2.1/24', '2001:db8::9']
['get', 'j1', 'banip']
['set', 'j1', 'unbanip', '192.0.2.9']
['set', 'j1', 'unbanip', '192.0.2.9']
['set', 'j1', 'unbanip', '--report-absent', '192.0.2.9']
['set', 'j1', 'unbanip', '--report-absent', '192.0.2.9', 'y']
['set', 'j1', 'unbanip', '--report-absent', '10.0.0.0/8']
['set', 'j1', 'addignoreip', '198.18.0.1/33', '::2/129', '198.18.1.1/ffff:ff00::', '300.1.1.1/8']
['set', 'j1', 'addignoreip', '10.0.0.0/255.0.255.0']
['set', 'j1', 'addignoreip', '[2001:DB8::/FFFF:0:FFFF::]']
['set', 'j1', 'delignoreip', '198.18.0.1/33']
['set', 'j1', 'delignoreip', '::2/129']
['set', 'j1', 'delignoreip', '198.18.0.0/16']
['set', 'j1', 'delignoreip', '300.1.1.1']
['set', 'j1', 'banip', '10.0.0.0/255.0.255.0']
['set', 'j1', 'attempt', '10.0.0.0/255.0.255.0']
['set', 'j1', 'unbanip', '--report-absent', '10.0.0.0/255.0.255.0']
['set', 'j1', 'banip', '127.0.0.1']
['set', 'j1', 'unbanip', 'localhost']
['set', 'j1', 'unbanip', 'localhost']
['set', 'j1', 'unbanip', '--report-absent', 'localhost']
['set', 'j1', 'banip', '127.0.0.1', '192.0.2.10']
['set', 'j1', 'unbanip', '--report-absent', 'localhost', '192.0.2.10', 'a:b']
['set', 'j1', 'banip', '127.0.0.1']
['set', 'j2', 'banip', '127.0.0.1', '::1']
['unban', 'localhost']
['unban', 'localhost', '127.0.0.1']
['set', 'j1', 'unbanip']
['set', 'j1', 'unbanip', '--report-absent']
['unban', '198.51.100.4']
['unban', '198.51.100.4', 'x']
['unban']
['unban', '--all']
['status', 'j1']
['set', 'j1', 'maxretry', 5]
['set', 'j1', 'maxretry', '5']
['set', 'j1', 'maxretry', 5.7]
['set', 'j1', 'maxretry', None]
['set', 'j1', 'maxretry', [5]]
['set', 'j1', 'maxretry', {}]
['set', 'j1', 'maxretry', True]
['set', 'j1', 'maxretry', 'five']
['set', 'j1', 'maxretry']
['set', 'j1', 'maxmatches', 3]
['set', 'j1', 'maxlines', 2]
['set', 'j1', 'maxlines', -2]
['set', 'j1', 'maxlines', 1]
['set', 'j1', 'bantime', 100]
['set', 'j1', 'bantime', 100.5]
['set', 'j1', 'bantime', '2h']
['set', 'j1', 'bantime', None]
['set', 'j1', 'bantime', [1]]
['set', 'j1', 'bantime', 'x']
['set', 'j1', 'bantime', '1h # one hour']
['set', 'j1', 'bantime', '1h#5m']
['set', 'j1', 'bantime', '# none']
['set', 'j1', 'bantime', '"600"']
['set', 'j1', 'bantime', '1_000']
['set', 'j1', 'bantime', '2h']
['set', 'j1', 'findtime', '10m # c']
['set', 'j1', 'findtime', 100]
['set', 'j1', 'findtime', 100.5]
['set', 'j1', 'findtime', '2h']
['set', 'j1', 'findtime', '1year']
['set', 'j1', 'findtime', '1mo']
['set', 'j1', 'findtime', None]
['set', 'j1', 'findtime', 'x']
['set', 'j1', 'ignoreself', True]
['set', 'j1', 'ignoreself', 0]
['set', 'j1', 'ignoreself', None]
['set', 'j1', 'ignoreself', 'no']
['set', 'j1', 'usedns', True]
['set', 'j1', 'usedns', False]
['set', 'j1', 'usedns', None]
['set', 'j1', 'usedns', 5]
['set', 'j1', 'usedns', 'NO']
['set', 'j1', 'idle', True]
['set', 'j1', 'idle', 'on']
['get', 'j1', 'idle']
['set', 'j1', 'idle', 'off']
['set', 'j1', 'addignoreip', '192.0.2.80', '10.0.0.0/8']
['set', 'j1', 'delignoreip', '192.0.2.80']
['set', 'j1', 'delignoreip', '192.0.2.80']
['get', 'j1', 'ignoreip']
['get', 'j2', 'ignoreip']
['set', 'j1', 'ignorecommand', 'x']
['set', 'j1', 'ignorecommand', None]
['set', 'j1', 'ignorecommand', '']
['get', 'j1', 'ignorecommand']
['get', 'j2', 'ignorecommand']
['set', 'j1', 'ignorecache', 'key="<ip>"']
['set', 'j1', 'ignorecache', 'key="<ip>",max-count=5,max-time=1m']
['set', 'j1', 'ignorecache', 'max-count=5']
['set', 'j1', 'ignorecache', '']
['get', 'j1', 'ignorecache']
['get', 'j1', 'logpath']
['get', 'j1', 'logencoding']
['get', 'j1', 'journalmatch']
['get', 'j1', 'prefregex']
['get', 'j1', 'failregex']
['get', 'j1', 'ignoreregex']
['get', 'j1', 'datepattern']
['get', 'j2', 'datepattern']
['get', 'j1', 'logtimezone']
['get', 'j1', 'bantime']
['get', 'j1', 'bantime.increment']
['get', 'j1', 'bantime.maxtime']
['get', 'j1', 'bantime.']
['set', 'j1', 'bantime.increment', True]
['get', 'j1', 'bantime.increment']
['set', 'j1', 'bantime.increment', 'no']
['set', 'j1', 'bantime.maxtime', 100]
['set', 'j1', 'bantime.maxtime', '1d']
['set', 'j1', 'bantime.maxtime', '']
['set', 'j1', 'bantime.factor', '2']
['set', 'j1', 'bantime.factor', '']
['set', 'j1', 'bantime.multipliers', '1 2 3']
['set', 'j1', 'bantime.multipliers', '']
['set', 'j1', 'bantime.overalljails', 'true']
['set', 'j1', 'bantime.overalljails', '']
['set', 'j1', 'bantime.nonsense', 'x']
['get', 'j1', 'bantime.nonsense']
['set', 'j1', 'logtimezone', 'UTC+0100']
['set', 'j1', 'logtimezone', 'odd']
['set', 'j1', 'logtimezone', None]
['set', 'j1', 'datepattern', 'EPOCH']
['set', 'j1', 'datepattern', ['%Y', '%m']]
['set', 'j1', 'datepattern', '']
['set', 'j1', 'logencoding', 'auto']
['set', 'j1', 'logencoding', 'nope']
['set', 'j1', 'addfailregex', 'a <HOST>']
['set', 'j1', 'addfailregex', '(<HOST>']
['set', 'j1', 'addfailregex', 'none']
['set', 'j1', 'delfailregex', '-1']
['set', 'j1', 'delfailregex', 99]
['multi-set', 'j1', 'addfailregex', ['b <HOST>', 'c <HOST>']]
['multi-set', 'j1', 'addfailregex', ['d <HOST>', '(']]
['get', 'j1', 'failregex']
['multi-set', 'j1', 'addignoreregex', ['e', 'f']]
['get', 'j1', 'ignoreregex']
['multi-set', 'j1', 'maxretry', 3]
['set', 'j1', 'addlogpath', '/nonexistent/log']
['set', 'j1', 'addlogpath', 'ROOT/empty.log', 'tail']
['set', 'j1', 'addlogpath', 'ROOT/empty.log', 'odd']
['set', 'j1', 'addlogpath', 'ROOT/empty.log', 'tail', 'x']
['set', 'j1', 'dellogpath', 'ROOT/empty.log']
['set', 'j1', 'addaction', 'a1']
['set', 'j1', 'addaction', 'a1']
['multi-set', 'j1', 'action', 'a1', [['actionban', 'echo <ip>'], ['port', 5], ['timeout', '1m']]]
['multi-set', 'j1', 'action', 'a1', [['actionban']]]
['multi-set', 'j1', 'action', 'nope', [['actionban', 'x']]]
['get', 'j1', 'action', 'a1', 'actionban']
['get', 'j1', 'action', 'a1', 'port']
['get', 'j1', 'action', 'a1', 'timeout']
['set', 'j1', 'action', 'a1', 'norestored', True]
['get', 'j1', 'action', 'a1', 'norestored']
['set', 'j1', 'action', 'a1', 'timeout', 'x']
['get', 'j1', 'action', 'a1', 'nope']
['get', 'j1', 'action', 'nope', 'timeout']
['get', 'j1', 'actions']
['get', 'j1', 'actionproperties', 'a1']
['get', 'j1', 'actionmethods', 'a1']
['set', 'j1', 'delaction', 'a1']
['set', 'j1', 'delaction', 'a1']
['set', 'loglevel', 'INFO']
['set', 'loglevel', 'odd']
['set', 'loglevel', 5]
['get', 'loglevel']
['get', 'logtarget']
['get', 'syslogsocket']
['get', 'thread']
['set', 'thread', {'stacksize': 0}]
['set', 'thread', {'odd': 0}]
['set', 'thread', 5]
['get', 'dbfile']
['get', 'dbmaxmatches']
['get', 'dbpurgeage']
['set', 'dbmaxmatches', 7]
['set', 'dbmaxmatches', '8']
['set', 'dbmaxmatches', 'x']
['set', 'dbpurgeage', 100]
['set', 'dbpurgeage', '1d']
['set', 'dbpurgeage', 'x']
['set', 'dbfile', ':memory:']
['set', 'dbfile', 'None']
['set', 'allowipv6', 'auto']
['set', 'allowipv6', 'true']
['set', 'allowipv6', 'auto']
['set', 'nothing', 5]
['set', 'nothing']
['set']
['add', 'j3', 'polling']
['add', 'j4', 'odd']
['add', 'j4', 'polling[x=1, y=2]']
['add', '--all']
['add']
['start', 'j3']
['start', 'nojail']
['stop', 'j3']
['stop', 'nojail']
['server-status']
['server-stream', [['set', 'j1', 'maxretry', 4], ['get', 'j1', 'maxretry']]]
['server-stream', [['set', 'j1', 'maxretry', 'x']]]
['server-stream', []]
['server-stream', [[]]]
['server-stream']
['get', 'j1', 'maxretry']
['config-error', 'odd']
['sleep', 0]
['sleep', 'x']
['flushlogs']
['reload', 'j1', [], [['add', 'j1', 'polling'], ['set', 'j1', 'maxretry', 6], ['start', 'j1']]]
['get', 'j1', 'maxretry']
['reload', 'nojail', [], []]
['reload', 'nojail', ['--if-exists'], []]
['reload']
['reload', '--all']
"#;

/// Bare messages that upstream answers in this way since 1.1.
const MESSAGES_SINCE_1_1: &str = "\
['stats']
['status', '--all']
['status', 'j1', 'stats']
['set', 'j1', 'addignoreip', 5]
['add', 'j2']";

fn is_1_1(version: &str) -> bool {
    !version.starts_with("1.0")
}

/// What 1.1 says where 1.0 says something else: it knows one backend less, and a better expression for addresses.
fn as_1_1(text: &str) -> String {
    text.replace("'gamin', ", "").replace("[0-9a-fA-F]{1,4}::?|::){1,7}", "[0-9a-fA-F]{1,4}::?|:){1,7}")
}

#[test]
fn upstreams_client_prints_the_same_of_both_servers() {
    let Some(version) = upstream::version() else { return };
    let mut pair = Pair::start();
    for Pinned { command, .. } in pinned().iter().filter(|pinned| is_1_1(version) || !pinned.since_1_1) {
        pair.client(command);
    }
    pair.finish(300);
}

#[test]
fn our_programs_print_what_upstreams_print() {
    let Some(version) = upstream::version() else { return };
    let mut pair = Pair::start();
    for Pinned { command, .. } in pinned().iter().filter(|pinned| is_1_1(version) || !pinned.since_1_1) {
        pair.all_ours(command);
    }
    pair.finish(300);
}

#[test]
fn both_servers_reply_with_the_same_values() {
    let Some(version) = upstream::version() else { return };
    let mut pair = Pair::start();
    if is_1_1(version) {
        MESSAGES_SINCE_1_1.lines().for_each(|message| pair.raw(message));
    }
    for message in MESSAGES.trim().lines() {
        pair.raw(message);
    }
    pair.finish(200);
}

/// What can be set of a jail.
const SETTABLE: &str = "idle ignoreself addignoreip delignoreip ignorecommand ignorecache addlogpath dellogpath logencoding \
    addjournalmatch deljournalmatch prefregex addfailregex delfailregex addignoreregex delignoreregex usedns \
    datepattern logtimezone maxmatches maxretry maxlines bantime.increment bantime.overalljails banip unbanip attempt \
    addaction delaction action nonsense";

/// What can be asked of one.
const READABLE: &str = "idle logpath logencoding journalmatch ignoreself ignoreip ignorecommand ignorecache prefregex \
    failregex ignoreregex usedns findtime datepattern logtimezone maxmatches maxretry maxlines bantime bantime.increment \
    bantime.factor banned banip actions action actionproperties actionmethods nonsense";

/// Other beginnings of commands.
const BEGINNINGS: &str = "\
'set', 'j2', 'bantime'
'set', 'j2', 'findtime'
'set', 'j1', 'action', 'note'
'set', 'j1', 'action', 'note', 'actionban'
'set', 'j1', 'action', 'note', 'timeout'
'get', 'j1', 'action', 'note'
'multi-set', 'j1', 'nonsense'
'set', 'loglevel'
'set', 'allowipv6'
'set', 'dbmaxmatches'
'set', 'dbpurgeage'
'get', 'loglevel'
'get', 'logtarget'
'get', 'syslogsocket'
'get', 'allowipv6'
'get', 'dbfile'
'get', 'nonsense'
'set', 'nonsense'
'get'
'set'
'ping'
'status'
'status', 'j1'
'banned'
'unban'
'unban', '--all'
'echo'
'start'
'add'
'server-status'
'config-error'
'reload'
'restart'
'help'
'nonsense'";

/// What may follow all of them, and what may follow where numbers are expected. (Where only texts make sense, numbers end
/// where Python happens to stumble: `wrong-types`.)
const WORDS: &[&str] = &["", "''", "'x'", "'5'", "' 7 '", "'-1'", "'x', 'y'"];
const NUMBERS: &[&str] = &["5", "2.5", "None", "[]", "5, 6"];

const TAKE_NUMBERS: &[&str] = &[
    "maxmatches",
    "maxretry",
    "maxlines",
    "findtime",
    "bantime",
    "delfailregex",
    "delignoreregex",
    "dbpurgeage",
];

#[test]
fn the_same_words_are_taken_and_refused_everywhere() {
    let Some(version) = upstream::version() else { return };
    let mut pair = Pair::start();
    let set = SETTABLE.split_whitespace().map(|option| format!("'set', 'j1', '{option}'"));
    let get = READABLE.split_whitespace().map(|option| format!("'get', 'j1', '{option}'"));
    let others = BEGINNINGS.lines().map(str::to_owned);
    for beginning in set.chain(get).chain(others) {
        let takes_numbers = TAKE_NUMBERS.iter().any(|word| beginning.ends_with(&format!("'{word}'")));
        for ending in WORDS.iter().chain(NUMBERS.iter().filter(|_| takes_numbers)) {
            let separator = if ending.is_empty() { "" } else { ", " };
            let message = format!("[{beginning}{separator}{ending}]");
            if is_1_1(version) || !CHANGED_IN_1_1.iter().any(|changed| message.starts_with(changed)) {
                pair.raw(&message);
            }
        }
    }
    pair.finish(400);
}

/// Beginnings of what 1.0 answers in another way: it stumbles over a jail that is there already.
const CHANGED_IN_1_1: &[&str] = &["['add', 'x', 'y'"];
