//! What an action written in Python may import: the same expressions with the package of ours and with the installed
//! fail2ban.
//!
//! Skipped where fail2ban is not installed, unless `F2B_CI` is set; with `PYTHONPATH` another release can be compared.

use std::io::{Write, stderr};
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

const PYTHON: &str = "/usr/bin/python3";

/// Makes our package; `child.py`, which speaks with a server, is left out.
const OURS: &str = concat!(
    "VERSION = '1.1.1'\n",
    include_str!("../src/python/helpers.py"),
    "\n",
    include_str!("../src/python/ipdns.py"),
    "\n",
    include_str!("../src/python/package.py"),
    "\n"
);

const IMPORTS: &str = "
import sys, logging, socket
from fail2ban.helpers import getLogger, extractOptions, splitwords, str2LogLevel, formatExceptionInfo, uni_decode, uni_string
from fail2ban.server.action import ActionBase, CallingMap
from fail2ban.server.ipdns import IPAddr, DNSUtils
from fail2ban.server.mytime import MyTime
from fail2ban.server.utils import Utils
from fail2ban.exceptions import UnknownJailException
import fail2ban.server.actions, fail2ban.version
logging.getLogger('fail2ban').addHandler(logging.NullHandler())
logging.getLogger('fail2ban').propagate = False

def attempt(work):
    try: return work()
    except Exception: return formatExceptionInfo()

class Duck:
    def start(self): pass
    stop = ban = reban = unban = start

class Lame(Duck):
    ban = None

class Plain(ActionBase):
    pass

calls = []
def told(value):
    calls.append(value)
    return value

def steps(of):
    of['a'] = 5
    out = [dict(of), of.immutable, repr(of)]
    del of['b']
    out += [dict(of), 'b' in of, of.data.keys()]
    of.reset()
    return out + [dict(of), len(of), of.immutable, calls]

def fresh():
    calls.clear()
    return CallingMap(a=lambda: told(1), b=lambda self: told(self['a'] + 1), c='text')
";

/// What there is since 1.1.
const NEW: &[&str] = &[
    "splitwords('a b # c\\n d ; e', True)",
    "fail2ban.helpers.removeComments('a # b\\nc')",
    "fail2ban.helpers.uni_bytes('\\xe9')",
    "extractOptions('n[a?family=inet6=5]')",
    "IPAddr('10.1.2.3') in IPAddr('10.0.0.0/8'), IPAddr('::1') in IPAddr('10.0.0.0/8')",
    "[IPAddr.searchIP(t) for t in ('[2001:db8::1]', '2001:db8::1', '::1', '[2001:db8::1]:80')]",
    "[IPAddr(t).instanceType for t in ('192.0.2.1', 'someone', '::1')]",
    "IPAddr('192.0.2.1/x').raw",
];

/// Addresses, networks, and what is neither.
const TEXTS: &[&str] = &[
    "192.0.2.1",
    "192.0.2.77/24",
    "192.0.2.77/255.255.255.0",
    "2001:DB8::0:1",
    "2001:db8::5/64",
    "[2001:db8::1]",
    "::ffff:192.0.2.1",
    "::1",
    "0.0.0.0",
    "someone",
    "",
    "192.0.2.300",
    "1.2.3",
];

const EXPRESSIONS: &[&str] = &[
    "[l.name for l in map(getLogger, ['x', 'a.b', 'fail2ban.server.action', 'fail2ban'])]",
    "[logging.getLevelName(n) for n in (5, 7, 10, 20, 25, 30)]",
    "[hasattr(getLogger('fail2ban.x'), n) for n in ('notice', 'info', 'debug')]",
    "[attempt(lambda: str2LogLevel(v)) for v in (5, '7', 'notice', 'INFO', 'debug', 'loud')]",
    "[splitwords(v) for v in (None, '', ' a,b  c\\n d,,', 'one # two')]",
    "[uni_decode(b'\\xc3\\xa9'), uni_decode('x'), uni_string(b'\\xc3\\xa9'), uni_string(5)]",
    "[extractOptions(v) for v in ('n', 'n[]', 'n[a=1]', 'n[a=1, b=\"2, 3\", c=\\'x]y\\']', 'n[a=1][b=2]')]",
    "[attempt(lambda: extractOptions(v))[0] for v in ('n[a]', 'n[a=1 b=2, =]')]",
    "[MyTime.str2seconds(v) for v in (5, 2.5, '7', '1d', '1d 12h', '1h30m', '2w', '1mo', '1y', '1year-6mo', '1hour+30min', '90sec', '6 months')]",
    "[type(MyTime.str2seconds(v)).__name__ for v in ('1d', '1mo', '7')]",
    "[MyTime.time2str(v) for v in (0, 1124012400.9, 9e15)]",
    "MyTime.time2str(86400, '%d.%m.%Y')",
    "Utils.executeCmd('exit 0'), Utils.executeCmd('exit 3'), Utils.executeCmd('exit 3', success_codes=(0, 3))",
    "Utils.executeCmd('echo out; echo err >&2; exit 5', output=True)",
    "Utils.executeCmd(['printf', '%s', 'a b'], shell=False, output=True)",
    "Utils.executeCmd(['/no/such/program'], shell=False)",
    "Utils.executeCmd('printf \"%s|%s\" \"$a\" \"$b\"', output=True, varsDict={'a': '$(id)', 'b': '\\'\"\\n'})",
    "Utils.executeCmd('kill -9 $$', output=True)",
    "Utils.executeCmd('echo x; exec sleep 30', timeout=0.3)",
    "Utils.wait_for(lambda: 5, 1), Utils.wait_for(lambda: 0, 0.01, 0.005), Utils.pid_exists(1), Utils.pid_exists(-1)",
    "[issubclass(c, ActionBase) for c in (Duck, Lame, Plain, int)]",
    "Plain('j', 'n')._name, Plain('j', 'n')._jail, Plain('j', 'n')._logSys.name, Plain('j', 'n')._prolongable",
    "[getattr(Plain('j', 'n'), m)() for m in ('start', 'stop')] + [getattr(Plain('j', 'n'), m)({}) for m in ('ban', 'reban', 'unban')]",
    "[k for k in dir(Plain('j', 'n')) if not k.startswith('_')]",
    "steps(fresh())",
    "dict(fresh()), calls",
    "[fresh()[k] for k in 'abc'], calls",
    "repr(fresh()), '%(b)d %(c)s' % fresh(), fresh().get('x', 1), callable(fresh().getRawItem('a')), list(fresh())",
    "fresh()._asdict(True), calls",
    "dict(fresh().copy()), fresh() == fresh()",
    "attempt(lambda: fresh()['x'])",
    "{IPAddr('192.0.2.1'): 1}['192.0.2.1'], '192.0.2.1' == IPAddr('192.0.2.1'), IPAddr('192.0.2.1') in ['192.0.2.1']",
    "IPAddr('192.0.2.1') == IPAddr('192.0.2.1/32'), IPAddr('192.0.2.1') != IPAddr('192.0.2.2'), IPAddr('x') == 'x', IPAddr('x') == None",
    "'ip ' + IPAddr('192.0.2.1') + '/32', '%s' % IPAddr('::1'), 'a{}'.format(IPAddr('::1'))",
    "IPAddr('192.0.2.1', 24), IPAddr('2001:db8::1', 32), IPAddr('192.0.2.1', IPAddr.CIDR_RAW).isValid, IPAddr(('a', 1))",
    "IPAddr('10.1.2.3').isInNet(IPAddr('10.0.0.0/8'))",
    "IPAddr('2001:db8::1').isInNet(IPAddr('2001:db8::/32')), IPAddr('10.0.0.0/8').contains(IPAddr('10.0.0.0/8'))",
    "sorted(map(str, sorted([IPAddr('192.0.2.2'), IPAddr('192.0.2.1'), IPAddr('::1')])))",
    "[IPAddr.searchIP(t) for t in ('192.0.2.1', '192.0.2.1:80', '[2001:db8::1]:80', 'x 192.0.2.1', 'none', '1.2.3.400', '192.0.2.1 ', '')]",
    "sorted(map(str, DNSUtils.dnsToIp('127.0.0.1'))), DNSUtils.dnsToIp('no.such.name.invalid'), DNSUtils.ipToName('127.0.0.1')",
    "DNSUtils.getHostname(False) == socket.gethostname(), bool(DNSUtils.getHostname())",
    "issubclass(UnknownJailException, KeyError), UnknownJailException.__module__",
    "fail2ban.server.actions.ActionBase is ActionBase, fail2ban.server.actions.CallingMap is CallingMap",
];

fn python(script: &str) -> Output {
    let mut command = Command::new(PYTHON);
    command.args(["-c", script]).env("TZ", "UTC").env("LANG", "C.UTF-8").output().expect("Python runs")
}

#[track_caller]
fn run(head: &str, expressions: &[String]) -> Vec<String> {
    let mut script = format!("{head}{IMPORTS}");
    for expression in expressions {
        script += &format!("print(ascii(attempt(lambda: ({expression}))))\n");
    }
    let output = python(&script);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn the_package_does_what_fail2bans_does() {
    let mut expressions: Vec<String> = EXPRESSIONS.iter().map(|text| (*text).to_owned()).collect();
    for text in TEXTS {
        let parts = "x, str(x), repr(x), x.isValid, x.isSingle, x.isIPv4, x.isIPv6, x.familyStr, int(x.family), x.plen, \
                     x.addr, x.raw, x.ntoa, x.hexdump, x.getPTR(), x.getPTR(''), hash(x) == hash(str(x))";
        expressions.push(format!("[({parts}) for x in [IPAddr({text:?})]]"));
    }
    let version =
        Path::new(PYTHON).exists().then(|| python("import fail2ban.version as v; print(v.version)"));
    let Some(version) = version.filter(|output| output.status.success()) else {
        assert!(std::env::var_os("F2B_CI").is_none(), "CI lacks fail2ban");
        let name = thread::current().name().unwrap_or("a test").to_owned();
        let _ = writeln!(stderr(), "skipped: {name} needs fail2ban");
        return;
    };
    if !version.stdout.starts_with(b"1.0") {
        expressions.extend(NEW.iter().map(|text| (*text).to_owned()));
    }
    let (theirs, ours) = (run("", &expressions), run(OURS, &expressions));
    assert_eq!((theirs.len(), ours.len()), (expressions.len(), expressions.len()));
    let mut differences = String::new();
    for ((expression, theirs), ours) in expressions.iter().zip(&theirs).zip(&ours) {
        if theirs != ours {
            differences += &format!("\n{expression}\n  upstream: {theirs}\n  ours:     {ours}");
        }
    }
    assert!(differences.is_empty(), "{differences}");
}
