//! Upstream's programs, run by `/usr/bin/python3` from wherever it finds the package `fail2ban` (`PYTHONPATH` may name
//! another release than the installed one), and a Python process that speaks with servers on behalf of a test.
#![allow(dead_code, unreachable_pub, reason = "each test includes this file and uses its own part of it")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value as Json, json};

use crate::support::{Place, Process, available};

const PYTHON: &str = "/usr/bin/python3";

pub const SERVER: &str = "
import sys; sys.argv[0] = 'fail2ban-server'
from fail2ban.client.fail2banserver import exec_command_line; exec_command_line(sys.argv)";

/// The client as a program of its own.
pub const CLIENT: &str = "
import sys; sys.argv[0] = 'fail2ban-client'
from fail2ban.client.fail2banclient import exec_command_line; exec_command_line(sys.argv)";

/// Takes a request in each line: `['client', directory, [word, ...]]` runs upstream's client in a fork of its own,
/// `['raw', socket, python]` sends a value as it is. Tells what was printed, or the reply with all its types.
const DRIVER: &str = r#"
import json, os, pickle, socket, sys, tempfile
from fail2ban.client.fail2banclient import exec_command_line

def client(directory, words):
    files = [tempfile.TemporaryFile() for _ in range(2)]
    pid = os.fork()
    if pid == 0:
        code = 70
        for number, file in enumerate(files): os.dup2(file.fileno(), number + 1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        # With all of them given, the client needs not read the configuration.
        options = ['-s', directory + '/f2b.sock', '-p', directory + '/f2b.pid', '--loglevel', 'INFO',
            '--logtarget', directory + '/f2b.log', '--syslogsocket', 'auto']
        try: exec_command_line(['fail2ban-client', '-c', directory] + options + words)
        except SystemExit as end: code = end.code or 0
        sys.stdout.flush()
        os._exit(code & 255)
    status = os.waitpid(pid, 0)[1]
    for file in files: file.seek(0)
    return [file.read().decode('utf-8', 'replace') for file in files] + [os.waitstatus_to_exitcode(status)]

def describe(value):
    if isinstance(value, BaseException):
        return '%s.%s(%s)' % (type(value).__module__, type(value).__name__, describe(value.args))
    if isinstance(value, (list, tuple, set)):
        return '%s(%s)' % (type(value).__name__, ', '.join(map(describe, value)))
    if isinstance(value, dict):
        return 'dict(%s)' % ', '.join('%s: %s' % (describe(k), describe(v)) for k, v in value.items())
    return '%s %r' % (type(value).__name__, value)

def raw(path, text):
    end = b'<F2B_END_COMMAND>'
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(path)
    message = eval(text)
    connection.sendall((message if isinstance(message, bytes) else pickle.dumps(message, 2)) + end)
    reply = b''
    while not reply.endswith(end):
        part = connection.recv(65536)
        if not part: return 'closed after %r' % reply
        reply += part
    connection.sendall(b'<F2B_CLOSE_COMMAND>' + end)
    connection.close()
    return describe(pickle.loads(reply[:-len(end)]))

for line in sys.stdin:
    kind, where, what = json.loads(line)
    print(json.dumps(client(where, what) if kind == 'client' else raw(where, what)), flush=True)
"#;

/// A command that runs a script of ours with upstream's package.
pub fn python(script: &str) -> Command {
    let mut command = Command::new(PYTHON);
    command.args(["-c", script]).env("PYTHONIOENCODING", "utf-8").env_remove("LC_ALL").env("LANG", "C.UTF-8");
    command.env("TZ", "UTC");
    command
}

/// Upstream's version, if it can be run; says why a test is skipped otherwise.
pub fn version() -> Option<&'static str> {
    static VERSION: OnceLock<Option<String>> = OnceLock::new();
    let version = VERSION.get_or_init(|| {
        let script =
            "import fail2ban.client.fail2banclient; from fail2ban.version import version; print(version)";
        let output = Path::new(PYTHON).exists().then(|| python(script).output().ok()).flatten()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    });
    available("fail2ban", version.is_some());
    version.as_deref()
}

/// Upstream's server in the foreground, once it answers.
#[track_caller]
pub fn start(place: &Place) -> Process {
    place.spawn(&mut server(place))
}

/// The command that starts upstream's server in the foreground.
pub fn server(place: &Place) -> Command {
    server_with(place, &[])
}

/// The same with more options.
pub fn server_with(place: &Place, options: &[&str]) -> Command {
    let mut command = python(SERVER);
    command.arg("-c").arg(place.path()).args(options).args(["-f", "start"]);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// What a client printed.
#[derive(Debug, Clone, PartialEq)]
pub struct Printed {
    pub stdout: String,
    pub stderr: String,
    pub code: i64,
}

/// The Python process that speaks with servers.
pub struct Driver {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Driver {
    pub fn start() -> Self {
        let mut process =
            python(DRIVER).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python runs");
        let requests = process.stdin.take().expect("a pipe");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        Self { process, requests, answers }
    }

    /// What upstream's client prints.
    #[track_caller]
    pub fn client(&mut self, place: &Place, words: &[String]) -> Printed {
        let answer = self.ask(&json!(["client", place.path(), words]));
        let text = |index: usize| answer[index].as_str().expect("a text").to_owned();
        Printed { stdout: text(0), stderr: text(1), code: answer[2].as_i64().expect("a code") }
    }

    /// The reply to a message, given as a Python expression.
    #[track_caller]
    pub fn raw(&mut self, place: &Place, message: &str) -> String {
        let answer = self.ask(&json!(["raw", place.file("f2b.sock"), message]));
        answer.as_str().expect("a text").to_owned()
    }

    #[track_caller]
    fn ask(&mut self, request: &Json) -> Json {
        writeln!(self.requests, "{request}").expect("the driver listens");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the driver answers");
        serde_json::from_str(&answer).expect("JSON")
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
