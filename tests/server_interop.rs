//! Upstream's server beside ours: the same commands in the same order, sent by upstream's client, by ours, and as bare
//! pickles; what comes back has to be the same.
//!
//! Needs fail2ban to be installed for `/usr/bin/python3`; with `PYTHONPATH` another release can be compared.

#![allow(clippy::print_stderr, reason = "a test that fails shows both logs")]

mod support;
#[path = "support/upstream.rs"]
mod upstream;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use support::{Place, Process, binary};
use upstream::{Driver, Printed};

/// Seconds by which the times in two answers may differ: one server is asked after the other.
const TOLERANCE: i64 = 5;

/// What both servers are configured with. The addresses that fail are in the logs.
fn configure(place: &Place, now: Timestamp) {
    let root = place.path().display().to_string();
    place.append("fail2ban.conf", "allowipv6 = auto\n");
    place.write(
        "jail.conf",
        &format!(
            "[DEFAULT]\nbackend = polling\nusedns = no\nignoreself = false\nbantime = 600\nfindtime = 10m\n\
             maxretry = 3\nfilter = f1\naction = note\n\
             [j1]\nenabled = true\nlogpath = {root}/j1.log\n\
             ignoreip = 203.0.113.0/24 192.0.2.200\nlogencoding = utf-8\n\
             [j2]\nenabled = true\nlogpath = {root}/j2.log\nbantime = 1h\n\
             action = note[name=second]\n         other\n\
             datepattern = ^%%Y-%%m-%%d %%H:%%M:%%S\n"
        ),
    );
    place.write(
        "filter.d/f1.conf",
        "[Definition]\nfailregex = ^ ?fail from <HOST>$\n            ^ ?other <F-USER>\\S+</F-USER> <ADDR>\n\
         ignoreregex = ^fine\n",
    );
    place.write(
        "action.d/note.conf",
        &format!(
            "[Definition]\nactionstart = echo start >> {root}/<name>.out\nactionban = echo ban <ip> >> {root}/<name>.out\n\
             actionunban = echo unban <ip> >> {root}/<name>.out\n[Init]\nname = note\n"
        ),
    );
    place.write("action.d/other.conf", "[Definition]\nactionban = :\nactionflush = :\n[Init]\nport = 80\n");
    place.write("empty.log", "");
    place.write("fresh.log", "nothing\n");
    let line = |ago: i64, text: &str| {
        let time = Timestamp::from_second(now.as_second() - ago).expect("a time").to_zoned(TimeZone::UTC);
        format!("{} {text}\n", time.strftime("%Y-%m-%d %H:%M:%S"))
    };
    // Enough for a ban, one that is out of date, one that is not enough.
    let past: String = [(90, 1), (60, 1), (45, 1), (7200, 3), (40, 2)]
        .iter()
        .map(|(ago, n)| line(*ago, &format!("fail from 198.51.100.{n}")))
        .collect();
    place.write("j1.log", &past);
    place.write("j2.log", &line(30, "other root 2001:db8::1"));
}

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
        let theirs = run(&mut self.driver, &self.theirs);
        let ours = run(&mut self.driver, &self.ours);
        self.compare(command, &theirs, &ours);
    }

    /// Compares what upstream's client prints of upstream's server with what our client prints of our server.
    fn all_ours(&mut self, command: &str) {
        let words = words_of(command, &self.theirs.place);
        let theirs = normal(self.driver.client(&self.theirs.place, &words), &self.theirs.place);
        let mut client = Command::new(binary("f2b-client"));
        client.env("TZ", "UTC").stdin(Stdio::null()).arg("-c").arg(self.ours.place.path());
        let output = client.args(words_of(command, &self.ours.place)).output().expect("the client starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let printed = Printed {
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            code: output.status.code().map_or(-1, i64::from),
        };
        let ours = normal(printed, &self.ours.place);
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
        let theirs =
            &Printed { stdout: as_1_1(&theirs.stdout), stderr: as_1_1(&theirs.stderr), code: theirs.code };
        let any_order = command.contains("ignoreip");
        let lines = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(without_time).collect();
            if any_order {
                lines = lines.iter().flat_map(|line| line.split(", ")).map(bare_entry).collect();
                lines.sort();
            }
            lines
        };
        let both = |printed: &Printed| (lines(&printed.stdout), lines(&printed.stderr), printed.code);
        let close = |a: &str, b: &str| {
            let (a, b) = (times(a), times(b));
            a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= TOLERANCE)
        };
        let equal = both(theirs) == both(ours) && close(&theirs.stdout, &ours.stdout);
        if !equal && !is_deliberate(theirs, ours) {
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

/// Whether the answers differ as `docs/differences.md` says: both refuse, but upstream lets Python explain it.
fn is_deliberate(theirs: &Printed, ours: &Printed) -> bool {
    let evaluated = ["is not defined", "invalid decimal literal", "invalid syntax"];
    let duration =
        evaluated.iter().any(|text| theirs.stdout.contains(text)) && ours.stdout.contains("is no duration");
    let pickle = theirs.stdout.starts_with("str 'ERROR: ") && ours.stdout.contains("ERROR: pickle: ");
    theirs.code == ours.code && (duration || pickle)
}

/// The words of a command line: `ROOT` stands for the directory, `~` for a blank, and `''` for an empty word.
fn words_of(command: &str, place: &Place) -> Vec<String> {
    let root = place.path().display().to_string();
    let word = |word: &str| match word {
        "''" => String::new(),
        word => word.replace("ROOT", &root).replace("~", " "),
    };
    command.split(' ').map(word).collect()
}

fn normal(printed: Printed, place: &Place) -> Printed {
    let root = place.path().display().to_string();
    let text = |text: String| text.replace(&root, "ROOT");
    Printed { stdout: text(printed.stdout), stderr: text(printed.stderr), code: printed.code }
}

/// An entry of a list without the branch of the tree or the bracket that it hangs on.
fn bare_entry(text: &str) -> String {
    let text = text.trim_start_matches("list(").trim_start_matches("tuple(").trim_end_matches(')');
    text.trim_start_matches(['|', '`', '-', ' ']).to_owned()
}

/// A line of output or log without its times and the process that wrote it.
fn without_time(line: &str) -> String {
    let line = match (line.find(" fail2ban"), line.find("]: ")) {
        (Some(23), Some(end)) => format!("TIME fail2ban{}", &line[end..]),
        _ => line.into(),
    };
    let mut out = line.clone();
    for start in (0..line.len()).rev() {
        if time_at(&line, start).is_some() {
            out.replace_range(start..start + 19, "TIME");
        }
    }
    out
}

/// The times that a text tells, in seconds.
fn times(text: &str) -> Vec<i64> {
    (0..text.len()).filter_map(|start| time_at(text, start)).collect()
}

/// The time that a text tells at this place, as `2025-01-01 00:00:00`.
fn time_at(text: &str, start: usize) -> Option<i64> {
    let word = text.get(start..start + 19).filter(|word| word.as_bytes()[10] == b' ')?;
    let time: DateTime = word.parse().ok()?;
    time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_second())
}

/// Commands as a client takes them: a blank between words, `~` for a blank inside of one, `''` for an empty one.
const COMMANDS: &str = "\
ping
ping 3
status
status j1
status j2
status j1 short
status j1 basic
status j1 odd
status nojail
status a b c
banned
banned 198.51.100.1
banned 198.51.100.1 198.51.100.99 nobody
get
get nojail banip
get j1
get j1 nonsense
get j1 banip
get j1 banip --with-time
get j1 banip ,
get j1 banip ~
get j1 banned
get j1 banned 198.51.100.1
get j1 banned 198.51.100.1 198.51.100.2
get nojail banned
set j1 banip
set nojail banip 192.0.2.1
set j1 banip 192.0.2.1
set j1 banip 192.0.2.1
set j1 banip 192.0.2.2 192.0.2.3 2001:db8::5
set j1 banip 192.0.2.7/24
set j1 banip 192.0.2.128/25 192.0.2.99/32
set j1 banip some-user some~one
set j1 banip 2001:DB8:0::6
set j1 banip 999.1.1.1
set j2 banip 192.0.2.1 192.0.2.1
banned
banned 192.0.2.1
banned 192.0.2.1 192.0.2.2 some-user
get j1 banip
get j1 banip --with-time
get j2 banip --with-time
get j1 banned 192.0.2.1 2001:db8::6 2001:DB8:0::6 192.0.2.0/24 some-user
status j1
set j1 unbanip
set j1 unbanip 192.0.2.77
set j1 unbanip --report-absent 192.0.2.77
set j1 unbanip --report-absent 192.0.2.77 192.0.2.1
set j1 unbanip --report-absent
set j1 unbanip 192.0.2.2 nobody
set j1 unbanip 192.0.2.0/24
set j1 unbanip 192.0.2.0/25
set j1 unbanip --report-absent 10.0.0.0/8
set j1 unbanip some-user
set j1 unbanip 2001:db8::6
set nojail unbanip 192.0.2.1
status j1
get j1 banip
unban
unban 192.0.2.1
unban 192.0.2.1 198.51.100.4
unban nobody
unban --all x
unban --all
unban --all
status j1
banned
echo a b c
echo
get loglevel
get logtarget
get syslogsocket
get thread
get dbfile
get dbpurgeage
get dbmaxmatches
set loglevel DEBUG
set loglevel info
set loglevel odd
set loglevel
set logtarget
set logtarget ROOT/no/such/dir
set syslogsocket /nonexistent/socket
get syslogsocket
set syslogsocket auto
set dbmaxmatches 5
set dbmaxmatches x
set dbpurgeage 2d
set dbpurgeage x
set dbfile ROOT/other.sqlite3
set dbfile None
get dbpurgeage
set thread 5
get nothing
set nothing 1
set
set j1
set j1 nonsense
set j1 nonsense 1
set nojail maxretry 1
set nojail maxretry
set nojail maxretry x
set nojail bantime x
set nojail nonsense 1
set nojail addlogpath x odd
set nojail idle on
set nojail idle odd
set nojail action a
set nojail action
set nojail addaction
set nojail addignoreip 192.0.2.1
set nojail ignorecache max-count=x
get nojail nonsense
get nojail actions
get nojail action
get nojail action a
get nojail actionproperties
get j1 action nope
set j1 action nope
set j1 action note
get j1 logpath
get j1 logencoding
get j1 journalmatch
get j1 ignoreself
get j1 ignoreip
get j1 ignorecommand
get j1 ignorecache
get j1 prefregex
get j1 failregex
get j1 ignoreregex
get j1 usedns
get j1 findtime
get j1 datepattern
get j2 datepattern
get j1 logtimezone
get j1 maxmatches
get j1 maxretry
get j1 maxlines
get j1 bantime
get j1 bantime.increment
get j1 bantime.factor
get j1 bantime.nonsense
get j1 actions
get j2 actions
get j1 action note actionban
get j2 action note name
get j2 action other port
get j1 action note timeout
get j1 action note nonsense
get j1 action nope timeout
get j1 action note
get j1 action
get j1 actionproperties note
get j2 actionproperties other
get j1 actionproperties nope
get j1 actionmethods note
get j1 actionmethods nope
get j1 idle
set j1 idle on
set j1 idle maybe
set j1 idle
set j1 idle off
set j1 ignoreself true
set j1 ignoreself nonsense
set j1 ignoreself no
set j1 addignoreip 192.0.2.50
set j1 addignoreip 192.0.2.51 192.0.2.52 10.0.0.0/8
set j1 addignoreip 10.1.2.3/8
set j1 addignoreip home.invalid
set j1 addignoreip ''
set j1 addignoreip
set j1 delignoreip 192.0.2.50
set j1 delignoreip 10.0.0.0/8
set j1 delignoreip 192.0.2.50
set j1 delignoreip
get j1 ignoreip
set j1 ignorecommand test~<ip>~=~192.0.2.60
set j1 ignorecommand ''
set j1 ignorecache key=\"<ip>\",max-count=5,max-time=1m
get j1 ignorecache
set j1 ignorecache ''
set j1 addlogpath ROOT/empty.log
set j1 addlogpath ROOT/fresh.log tail
set j1 addlogpath ROOT/fresh.log odd
set j1 addlogpath ROOT/fresh.log tail x
set j1 addlogpath ROOT/fresh.log
set j1 addlogpath /nonexistent/log
set j1 addlogpath
get j1 logpath
set j1 dellogpath ROOT/empty.log
set j1 dellogpath ROOT/empty.log
set j1 dellogpath ROOT/fresh.log
set j1 logencoding latin1
set j1 logencoding klingon
set j1 logencoding ascii
set j1 logencoding UTF-8
set j1 addjournalmatch _SYSTEMD_UNIT=a.service
set j1 deljournalmatch _SYSTEMD_UNIT=a.service
set j1 prefregex ^<F-CONTENT>.+</F-CONTENT>$
get j1 prefregex
set j1 prefregex (
set j1 prefregex ''
set j1 addfailregex ^third~<HOST>$
set j1 addfailregex (
set j1 addfailregex no~host
set j1 addfailregex
set j1 delfailregex 2
set j1 delfailregex 9
set j1 delfailregex x
set j1 delfailregex
get j1 failregex
set j1 addignoreregex ^also~<HOST>
set j1 addignoreregex [
set j1 delignoreregex 0
set j1 delignoreregex 0
set j1 delignoreregex 0
get j1 ignoreregex
set j1 usedns warn
set j1 usedns odd
set j1 usedns raw
set j1 usedns no
set j1 findtime 1h~30m
set j1 findtime 10x
set j1 findtime -1
set j1 findtime 0.5
set j1 findtime
set j1 findtime 600
set j1 datepattern %Y-%m-%d
set j1 datepattern Epoch
set j1 datepattern {^LN-BEG}
set j1 datepattern {NONE}
set j1 datepattern (
set j1 datepattern %Y-%m-%d~%H:%M:%S
get j1 datepattern
set j1 logtimezone UTC+0200
set j1 logtimezone odd
get j1 logtimezone
set j1 maxmatches 4
set j1 maxmatches x
set j1 maxretry 7
set j1 maxretry 7.5
set j1 maxretry -2
set j1 maxretry 1_0
set j1 maxretry ~9~
set j1 maxretry ''
set j1 maxretry
set j1 maxlines 5
set j1 maxlines 0
set j1 maxlines x
set j1 bantime 1d
set j1 bantime 1.5
set j1 bantime -1
set j1 bantime x
set j1 bantime
set j1 banip 192.0.2.111
get j1 banip --with-time
set j1 bantime 900
get j1 banip --with-time
set j1 bantime.increment true
get j1 bantime.increment
set j1 bantime.factor 2
set j1 bantime.maxtime 5w
set j1 bantime.rndtime 10m
set j1 bantime.rndtime ''
set j1 bantime.multipliers 1~2~4
set j1 bantime.multipliers 1~x
set j1 bantime.overalljails true
set j1 bantime.maxtime x
set j1 bantime.maxtime ''
set j1 bantime.increment false
set j1 bantime.increment
set j1 attempt 192.0.2.120
set j1 attempt 192.0.2.121 one two
set j1 attempt
set nojail attempt 192.0.2.1
set j1 addaction third
set j1 addaction third
set j1 addaction
set j1 action third actionban echo~<ip>
set j1 action third actionban
set j1 action third timeout 1m
set j1 action third timeout x
set j1 action third new-property 5
set j1 action third bantime 5
get j1 action third new-property
get j1 actionproperties third
set j1 action nope actionban x
set j1 action
get j1 actions
set j1 delaction third
set j1 delaction third
set j1 delaction
add j3
add j4 odd
add --all
add
start j3
get j3 failregex
get j3 datepattern
get j3 bantime
get j3 findtime
get j3 maxretry
get j3 maxmatches
get j3 usedns
get j3 ignoreself
get j3 ignorecommand
get j3 logencoding
status j3
status
stop j3
stop j3
start nojail
start
stop nojail
flushlogs
sleep 0.01
sleep x
sleep
server-status
config-error odd
nonsense
nonsense a b
multi-set j1 addfailregex x
reload a b
-s /nonexistent/socket status
status j1
status j2";

/// Commands that upstream has had since 1.1.
const SINCE_1_1: &str = "\
stats
statistics
status --all
status --all short
add j1 polling
add j2
status j1 stats
status j2 stats";

/// Commands that end in the middle of a reload, or with the server.
const LAST: &str = "\
set j1 banip 192.0.2.61
reload
status j1
get j1 banip
get j1 maxretry
get j1 failregex
get j1 ignoreip
get j1 actions
reload --restart j2
status j2
reload --unban j1
status j1
reload --if-exists nojail
reload nojail
restart j2
status
stop j2
status
stop
status
ping";

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
['nonsense', 1]
['echo', 1, 2.5, None, True, 'a', ['b'], {'c': 1}, ('d',)]
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
    for command in COMMANDS.lines() {
        pair.client(command);
    }
    if is_1_1(version) {
        SINCE_1_1.lines().for_each(|command| pair.client(command));
    }
    for command in LAST.lines() {
        pair.client(command);
    }
    pair.finish(300);
}

#[test]
fn our_programs_print_what_upstreams_print() {
    let Some(version) = upstream::version() else { return };
    let mut pair = Pair::start();
    for command in COMMANDS.lines() {
        pair.all_ours(command);
    }
    if is_1_1(version) {
        SINCE_1_1.lines().for_each(|command| pair.all_ours(command));
    }
    for command in LAST.lines() {
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
    addjournalmatch deljournalmatch prefregex addfailregex delfailregex addignoreregex delignoreregex usedns findtime \
    datepattern logtimezone maxmatches maxretry maxlines bantime.increment bantime.overalljails banip unbanip attempt \
    addaction delaction action nonsense";

/// What can be asked of one.
const READABLE: &str = "idle logpath logencoding journalmatch ignoreself ignoreip ignorecommand ignorecache prefregex \
    failregex ignoreregex usedns findtime datepattern logtimezone maxmatches maxretry maxlines bantime bantime.increment \
    bantime.factor banned banip actions action actionproperties actionmethods nonsense";

/// Other beginnings of commands.
const BEGINNINGS: &str = "\
'set', 'j2', 'bantime'
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
