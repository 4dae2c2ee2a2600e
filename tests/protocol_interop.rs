//! Upstream's server driven by our client, beside upstream's own client; and upstream's beautifier beside ours.
//!
//! Both need fail2ban to be installed for `/usr/bin/python3`, and are skipped where it is not (unless `F2B_CI` is set).

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use f2b::client::{Charset, beautify};
use f2b_protocol::pickle::{Limits, decode, encode};
use f2b_protocol::{Exception, Value, reply_into_value};
use support::available;

const PYTHON: &str = "/usr/bin/python3";
const OURS: &str = env!("CARGO_BIN_EXE_f2b-client");

const UPSTREAM_CLIENT: &str = "
import sys; sys.argv[0] = 'fail2ban-client'
from fail2ban.client.fail2banclient import exec_command_line; exec_command_line(sys.argv)";

const UPSTREAM_SERVER: &str = "
import sys; sys.argv[0] = 'fail2ban-server'
from fail2ban.client.fail2banserver import exec_command_line; exec_command_line(sys.argv)";

fn upstream(script: &str) -> Command {
    let mut command = Command::new(PYTHON);
    command.args(["-c", script]).env("PYTHONIOENCODING", "utf-8").env_remove("LC_ALL").env("LANG", "C.UTF-8");
    command
}

fn is_installed() -> bool {
    let found = Path::new(PYTHON).exists()
        && upstream("import fail2ban.client.fail2banclient").status().is_ok_and(|status| status.success());
    available("fail2ban", found)
}

/// Every command that the beautifier knows, with values of every shape.
const BEAUTIFY: &str = r#"
import itertools, pickle, logging
from fail2ban.client.beautifier import Beautifier
from fail2ban.version import version
logging.disable(logging.CRITICAL)
entry = lambda name, *values: (name, list(values))
jail = [
    ('Filter', [('Currently failed', 0), ('Total failed', 12), ('File list', ['/var/log/a', '/var/log/b'])]),
    ('Actions', [('Currently banned', 1), ('Total banned', 3), ('Banned IP list', ['192.0.2.1', '2001:db8::1'])]),
]
server = [('Number of jail', 2), ('Jail list', 'a, b')]
stats = {'sshd': ['systemd', (0, 5), (1, 23456)], 'a-rather-long-name': ['polling', (100, 2000), (3, 4)]}
responses = [
    None, True, 0, 5, 25, 12, 86400, 1.5, '', 'pong', 'a b', "it's", 'ä€', b'bytes', [], (), {}, ['a'], ['a', 'b', 'c'],
    [1, 2], ('%Y', 'Year'), (None, 'Default'), ['x', 'y'], [['a', 'b'], ['c']], [['a', 'b'], 5], server, jail,
    [jail[0]], ['polling', (0, 0), (0, 0)], [('only',)], [('name', ('tu', 'ple'))], server + [{'a': jail, 'b': jail}],
    server + [{}], server + [None], server + [{'a': None}], [{'a': ['192.0.2.1']}, {'b': []}],
]
commands = [line.split(' ') for line in '''ping
ping 5
version
start
start j
stop
stop j
add j polling
flushlogs
echo a b
status
status j
status j cymru
banned
unban --all
get loglevel
set loglevel INFO
get logtarget
get syslogsocket
get dbfile
get dbpurgeage
get dbmaxmatches
get j logpath
set j addlogpath /x
set j dellogpath /x
get j logencoding
get j journalmatch
set j addjournalmatch x
get j datepattern
get j ignoreip
set j delignoreip x
get j failregex
set j addignoreregex x
get j actions
get j actionproperties x
get j actionproperties
get j actionmethods x
get j banip
get j banip ,
get j banip --with-time
set j banip x
get j maxretry
get j action x timeout
nonsense'''.split('\n')]
def has(command, response):
    try: return Beautifier(command).beautify(response)
    except Exception: return None
if has(['stats'], {}) == 'No jails found.':
    commands += [['stats'], ['statistics'], ['status', '--all'], ['status', '--all', 'basic']]
    responses += [stats, {'j': ['auto', (0, 0), (0, 0)]}]
texts = lambda response: isinstance(response, (list, str)) and all(isinstance(item, str) for item in response)
for command, response in itertools.product(commands, responses):
    # Releases before 1.1 took addresses for texts.
    if version.startswith('1.0') and command[2:3] in (['ignoreip'], ['delignoreip']) and not texts(response): continue
    text = str(Beautifier(command).beautify(response))
    print(pickle.dumps((command, response)).hex(), text.encode('utf-8').hex(), sep=' ')
"#;

#[test]
fn every_reply_is_beautified_as_upstream_does_it() {
    if !is_installed() {
        return;
    }
    let output = upstream(BEAUTIFY).stderr(Stdio::inherit()).output().expect("Python runs");
    let lines = String::from_utf8(output.stdout).expect("hexadecimal digits");
    let mut differences = Vec::new();
    let mut count = 0;
    for line in lines.lines() {
        let (pickle, text) = line.split_once(' ').expect("two fields");
        let pair = decode(&from_hex(pickle), &Limits::default()).expect("a pickle of data");
        let Some([Value::List(command), response]) = pair.as_items() else { panic!("{pair} is no pair") };
        let expected = String::from_utf8(from_hex(text)).expect("UTF-8");
        let found = beautify(command, response, Charset::Utf8).unwrap_or_else(|unfit| unfit.text);
        // When `status --all` does not fit, upstream repeats the reply without its last element, and we the whole.
        let is_broken_tree = expected.starts_with("['Status'") && command.len() > 1;
        if found != expected && !is_broken_tree {
            differences.push(format!("{pair}\n  upstream: {expected:?}\n  ours:     {found:?}"));
        }
        count += 1;
    }
    assert!(count > 1000, "only {count} replies");
    assert!(differences.is_empty(), "{} of {count}:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn upstream_reads_exceptions_as_instances_of_its_classes() {
    if !is_installed() {
        return;
    }
    let classes = [
        ("fail2ban.exceptions", "UnknownJailException"),
        ("fail2ban.exceptions", "DuplicateJailException"),
        ("fail2ban.server.failregex", "RegexException"),
        ("builtins", "ValueError"),
        ("builtins", "Exception"),
        ("sqlite3", "OperationalError"),
    ];
    let replies = classes.map(|(module, class)| {
        let reply = reply_into_value(Err(Exception::new(module, class, "sshd")));
        encode(&reply).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    });
    let script = "
import sys, pickle
for argument in sys.argv[1:]:
    code, exception = pickle.loads(bytes.fromhex(argument))
    raised = isinstance(exception, Exception)
    print(code, raised, type(exception).__module__, type(exception).__name__, exception.args)";
    let output = upstream(script).args(&replies).stderr(Stdio::inherit()).output().expect("Python runs");
    let expected: String =
        classes.iter().map(|(module, class)| format!("1 True {module} {class} ('sshd',)\n")).collect();
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A configuration with one jail, and upstream's server that runs it.
struct Upstream {
    root: tempfile::TempDir,
    process: Child,
}

impl Upstream {
    fn start() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let path = root.path().display().to_string();
        let write = |name: &str, text: &str| {
            let file = root.path().join(name);
            fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
            fs::write(file, text.replace("ROOT", &path)).expect("a file");
        };
        write(
            "fail2ban.conf",
            "[Definition]\nloglevel = INFO\nlogtarget = ROOT/f2b.log\nsyslogsocket = auto\nsocket = ROOT/f2b.sock\n\
             pidfile = ROOT/f2b.pid\ndbfile = None\ndbpurgeage = 1d\n\
             allowipv6 = auto\n",
        );
        write(
            "jail.conf",
            "[DEFAULT]\nbackend = polling\nusedns = no\nignoreself = false\nbantime = 600\n\
             [j1]\nenabled = true\nfilter = f1\nlogpath = ROOT/j1.log\naction = quiet\n",
        );
        write("filter.d/f1.conf", "[Definition]\nfailregex = ^fail from <HOST>$\nignoreregex = ^fine\n");
        write("action.d/quiet.conf", "[Definition]\nactionban = :\nactionunban = :\n");
        write("j1.log", "");
        let process = upstream(UPSTREAM_SERVER)
            .args(["-c", &path, "-f", "start"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Python runs");
        let server = Self { root, process };
        server.wait();
        server
    }

    /// Waits until the jail is there.
    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !run(self.ours(), &["status", "j1"], "").status.success() {
            assert!(Instant::now() < deadline, "the server does not start");
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn ours(&self) -> Command {
        self.client(Command::new(OURS))
    }

    fn theirs(&self) -> Command {
        self.client(upstream(UPSTREAM_CLIENT))
    }

    fn client(&self, mut command: Command) -> Command {
        command.arg("-c").arg(self.root.path());
        command
    }

    /// What a program printed, without what differs from run to run.
    fn normal(&self, output: &Output) -> Printed {
        let text = |bytes: &[u8]| {
            let text =
                String::from_utf8_lossy(bytes).replace(&self.root.path().display().to_string(), "ROOT");
            text.split_inclusive('\n').map(without_time).collect()
        };
        Printed { stdout: text(&output.stdout), stderr: text(&output.stderr), code: output.status.code() }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // The process may be gone already: a test stops it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[derive(Debug, PartialEq)]
struct Printed {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

/// A line of the log without its time and process.
fn without_time(line: &str) -> String {
    match (line.find(" fail2ban"), line.find("]: ")) {
        (Some(23), Some(end)) => {
            let name = line[23..end].split('[').next().unwrap_or_default();
            format!("TIME{name}[PID{}", &line[end..])
        }
        _ => line.into(),
    }
}

fn run(mut command: Command, args: &[&str], input: &str) -> Output {
    let mut child = command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a program runs");
    // A client that needs no input may be gone.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    child.wait_with_output().expect("a program ends")
}

const COMMANDS: &str = "\
status
status j1
status j1 short
status nojail
status a b c
ping
ping 5
ping x
banned
banned 192.0.2.1
echo a b c
get loglevel
get logtarget
get syslogsocket
get dbfile
get dbpurgeage
get j1 logpath
get j1 logencoding
get j1 journalmatch
get j1 ignoreip
get j1 failregex
get j1 ignoreregex
get j1 datepattern
get j1 maxretry
get j1 bantime
get j1 actions
get j1 action quiet actionban
get j1 action nope timeout
get j1 actionproperties quiet
get j1 nonsense
get j1
get
nonsense
set loglevel DEBUG
set loglevel INFO
set j1 idle on
set j1 idle maybe
set j1 idle off
set j1 banip 192.0.2.1
set j1 banip 192.0.2.2 192.0.2.3
get j1 banip
get j1 banip ,
banned
set j1 unbanip 192.0.2.1
set j1 unbanip --report-absent 192.0.2.77
unban --all
set j1 addignoreip 192.0.2.50
set j1 delignoreip 192.0.2.50
set j1 addlogpath /nonexistent/log
set j1 addfailregex (
set j1 addfailregex ^ok <HOST>$
set j1 delfailregex 1
set j1 delfailregex x
set j1 maxretry 7
set j1 findtime 10x
set j1 datepattern %Y-%m-%d
set j1 logencoding klingon
set j1 addaction other
set j1 action other actionban echo
set j1 delaction other
add j1 polling
add j2 polling
start j2
stop j2
stop j2
flushlogs
sleep x
reload a b
start
-s /nonexistent/socket status
-s /nonexistent/socket ping
-s /nonexistent/socket reload
-q -q -s /nonexistent/socket status
-s ROOT/jail.conf status
-s ROOT/jail.conf ping
--loglevel bogus status
-t";

const SESSIONS: &[&str] = &[
    "ping\nexit\n",
    "status\n\nstatus nojail\nget j1 \"maxretry\"\nquit\n",
    "get \"j1\nexit\n",
    "ping",
    "nonsense\nreload a b\nexit\n",
];

/// The options, commands and headings of a text of `-h`, with dots for an explanation that begins in the proper column.
fn outline(help: &str) -> Vec<String> {
    let (options, commands) = help.split_once("\nCommand:\n").expect("options and commands");
    let of = |text: &str, column: usize| {
        let entry = |line: &str| match line.split_at_checked(column) {
            Some((_, text)) if text.chars().all(|c| c.is_uppercase() || c == ' ') => Some(line.to_owned()),
            Some((name, text)) if name.ends_with(' ') && !text.starts_with(' ') => {
                (!name.trim().is_empty()).then(|| format!("{name}..."))
            }
            _ => Some(line.to_owned()),
        };
        text.lines().filter(|line| line.starts_with("    ")).filter_map(entry).collect::<Vec<_>>()
    };
    [of(options, 28), of(commands, 45)].concat()
}

#[test]
fn the_help_lists_upstreams_options_and_commands_in_its_layout() {
    if !is_installed() {
        return;
    }
    let text = |mut command: Command| {
        let output = command.arg("-h").output().expect("the client runs");
        String::from_utf8(output.stdout).expect("text")
    };
    let ours = outline(&text(Command::new(OURS)));
    let mut theirs = outline(&text(upstream(UPSTREAM_CLIENT)));
    // 1.1 has no command `help` any more, and more of others.
    theirs.retain(|entry| !entry.starts_with("    help "));
    let mut rest = ours.iter();
    for entry in &theirs {
        assert!(rest.any(|our_entry| our_entry == entry), "{entry:?} is missing, or elsewhere, in {ours:#?}");
    }
    assert!(theirs.len() > 100, "{theirs:?}");
}

#[test]
fn upstreams_server_answers_both_clients_alike() {
    if !is_installed() {
        return;
    }
    // The same commands in the same order, to a server each: commands change what later ones see.
    let (first, second) = (Upstream::start(), Upstream::start());
    let mut differences = Vec::new();
    let mut compare = |args: &[&str], input: &str| {
        let run_at = |server: &Upstream, client: Command| {
            let root = server.root.path().display().to_string();
            let args: Vec<String> = args.iter().map(|arg| arg.replace("ROOT", &root)).collect();
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            server.normal(&run(client, &args, input))
        };
        let mut theirs = run_at(&first, first.theirs());
        let mut ours = run_at(&second, second.ours());
        for printed in [&mut theirs, &mut ours] {
            // The version and what the program is for, in words of its own.
            if let (true, Some((_, rest))) =
                (printed.stdout.starts_with("Fail2Ban v"), printed.stdout.split_once("\n\n"))
            {
                printed.stdout = rest.into();
            }
        }
        if theirs != ours {
            differences.push(format!("{args:?} {input:?}\n  upstream: {theirs:?}\n  ours:     {ours:?}"));
        }
    };
    for command in COMMANDS.lines() {
        compare(&command.split(' ').collect::<Vec<_>>(), "");
    }
    for session in SESSIONS {
        compare(&["-i"], session);
    }
    compare(&["reload"], "");
    compare(&["reload", "--restart", "j1"], "");
    compare(&["status", "j1"], "");
    compare(&["stop"], "");
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}
