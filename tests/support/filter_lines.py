"""Writes lines from the expressions of filters, and says what fail2ban finds in them.

Reads one JSON object a line: the directory of the configuration, the name of a filter, its options, a seed, how to run
the filter ("regex" as fail2ban-regex, "server" as a jail with new lines), what to do with host names (`usedns`, and the
addresses of those that have some), and lines to try besides. Answers with one
object for each: the commands of the filter, the lines, and what each of them gave.
"""
import json
import logging
import os
import random
import sys
import time
import warnings

if os.path.isdir("/usr/lib/python3/dist-packages/fail2ban"):
    sys.path.append("/usr/lib/python3/dist-packages")
logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")

try:
    from re import _constants as ops, _parser as parser
except ImportError:
    import sre_constants as ops
    import sre_parse as parser

from fail2ban.server.ipdns import DNSUtils, IPAddr
from fail2ban.version import version

IS_OLD = version.startswith("1.0")
if IS_OLD:
    # Since 1.1 an address may hold a single colon in more places. Other modules read this as they are loaded.
    IPAddr.IP_6_RE = IPAddr.IP_6_RE.replace("::?|::)", "::?|:)")

from fail2ban.client.filterreader import FilterReader
from fail2ban.server import failregex
from fail2ban.server.filter import Filter
from fail2ban.server.mytime import MyTime

NOW = 1124013600
os.environ["TZ"] = "Europe/Zurich"
time.tzset()

if IS_OLD:
    # Before 1.1 a group that took no part hid the one of the prefix.
    all_groups = failregex.Regex.getGroups
    failregex.Regex.getGroups = lambda self: {k: v for k, v in all_groups(self).items() if v is not None}

HOSTS = {
    "ip4": ["192.0.2.1", "198.51.100.23", "203.0.113.255", "999.1.1.1", "10.0.0.1"],
    "ip6": ["2001:db8::1", "::ffff:192.0.2.7", "::1", "2001:db8:0:1:2:3:4:5", "fe80::1"],
    "dns": ["host.example.com", "a-b.example", "x", "192-0-2-1.example.net"],
    "cidr": ["24", "64", "0", "33", "128"],
}
DATES = [
    "%b %d %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.123456+02:00", "%d/%b/%Y:%H:%M:%S +0200",
    "%a %b %d %H:%M:%S %Y", "%d-%b-%Y %H:%M:%S", "%Y/%m/%d %H:%M:%S", "%s", "%m/%d/%Y:%H:%M:%S", "%y%m%d %H:%M:%S",
    "%a, %d %b %Y %H:%M:%S", "%H:%M:%S", "%d.%m.%Y %H:%M:%S", "%b %d, %Y %I:%M:%S %p", "%Y-%m-%dT%H:%M:%SZ", "",
]
HOSTILE = [
    " from 203.0.113.99 ", "'; touch x; '", "\0", "\x7f", "a" * 300, "\u2028", "\t", "é", "[", "]: ", "\\", "%(x)s", "$(x)",
    "\x1b[31m", '"', "  ", "<HOST>", "İ", "\r", "\x85", "\u200b", "٣", ": ", "::ffff:",
]
TEXT = "abcXYZ019 -_.:/@"


class Writer:
    """Makes up a text that an expression may match."""

    def __init__(self, rng, inner=None):
        self.rng = rng
        self.inner = inner

    def write(self, regex):
        self.groups = {}
        tree = parser.parse(regex, 0)
        self.names = {v: k for k, v in tree.state.groupdict.items()}
        return self.row(tree)

    def row(self, tree):
        return "".join(self.node(op, av) for op, av in tree)

    def node(self, op, av):
        rng = self.rng
        if op is ops.LITERAL:
            return chr(av)
        if op is ops.NOT_LITERAL:
            return rng.choice([c for c in TEXT if c != chr(av)])
        if op is ops.ANY:
            return rng.choice(TEXT)
        if op is ops.IN:
            return self.member(av)
        if op is ops.BRANCH:
            return self.row(rng.choice(av[1]))
        if op is ops.SUBPATTERN:
            number, tree = av[0], av[-1]
            name = self.names.get(number)
            if name == "content" and self.inner:
                text = self.inner()
            elif name in HOSTS and rng.random() < 0.9:
                text = rng.choice(HOSTS[name])
            else:
                text = self.row(tree)
            if number is not None:
                self.groups[number] = text
            return text
        if op in (ops.MAX_REPEAT, ops.MIN_REPEAT, getattr(ops, "POSSESSIVE_REPEAT", None)):
            least, most, tree = av
            count = min(int(most), int(least) + rng.choice([0, 0, 1, 1, 2, 4]))
            return "".join(self.row(tree) for _ in range(count))
        if op is ops.ASSERT and av[0] == 1 and rng.random() < 0.5:
            return ""
        if op is ops.GROUPREF:
            return self.groups.get(av, "")
        if op is ops.GROUPREF_EXISTS:
            group, yes, no = av
            return self.row(yes) if group in self.groups else self.row(no) if no else ""
        if op is getattr(ops, "ATOMIC_GROUP", None):
            return self.row(av)
        return ""

    def member(self, items):
        rng = self.rng
        if items[0][0] is ops.NEGATE:
            for _ in range(20):
                c = rng.choice(TEXT)
                if not any(self.holds(item, c) for item in items[1:]):
                    return c
            return "~"
        op, av = rng.choice(items)
        if op is ops.LITERAL:
            return chr(av)
        if op is ops.RANGE:
            return chr(rng.randint(*av))
        return {
            ops.CATEGORY_DIGIT: rng.choice("12"),
            ops.CATEGORY_SPACE: " ",
            ops.CATEGORY_WORD: rng.choice("abc1_"),
            ops.CATEGORY_NOT_SPACE: rng.choice("ab1.-"),
            ops.CATEGORY_NOT_DIGIT: "x",
            ops.CATEGORY_NOT_WORD: rng.choice(" -."),
        }.get(av, "")

    def holds(self, item, c):
        op, av = item
        if op is ops.LITERAL:
            return ord(c) == av
        if op is ops.RANGE:
            return av[0] <= ord(c) <= av[1]
        return {
            ops.CATEGORY_DIGIT: c.isdigit(),
            ops.CATEGORY_SPACE: c.isspace(),
            ops.CATEGORY_WORD: c.isalnum() or c == "_",
            ops.CATEGORY_NOT_SPACE: not c.isspace(),
            ops.CATEGORY_NOT_DIGIT: not c.isdigit(),
            ops.CATEGORY_NOT_WORD: not (c.isalnum() or c == "_"),
        }.get(av, False)


def commands_of(config, name, options):
    options.setdefault("logtype", "file")
    reader = FilterReader(name, "jail", options, basedir=config)
    if not reader.read():
        raise ValueError("no filter")
    reader.getOptions(None)
    return reader.convert()


def make_filter(commands, request):
    mode, usedns = request["mode"], request["usedns"]
    filter = Filter(None)
    filter.returnRawHost = usedns == "raw"
    # No network: a name has the addresses that the test says.
    DNSUtils.dnsToIp = staticmethod(lambda name: {IPAddr(ip) for ip in request["hosts"].get(name, [])})
    filter.checkAllRegex = mode == "regex"
    filter.checkFindTime = filter.inOperation = mode == "server"
    filter.setUseDns(usedns)
    for command in commands:
        key = command[2]
        for value in command[3] if command[0] == "multi-set" else command[3:]:
            if key == "prefregex":
                filter.prefRegex = value
            elif key == "addfailregex":
                filter.addFailRegex(value)
            elif key == "addignoreregex":
                filter.addIgnoreRegex(value)
            elif key == "maxlines":
                filter.setMaxLines(value)
            elif key == "datepattern":
                filter.setDatePattern(value)
    return filter


def plain(value):
    if isinstance(value, (set, frozenset)):
        return sorted((plain(v) for v in value), key=json.dumps)
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    return str(value)


def process(filter, line):
    try:
        found = filter.processLine(line)
    except Exception as e:
        return repr(e)
    answer = []
    for regex, who, when, fields in found:
        fields = {k: plain(v) for k, v in fields.items() if v is not None}
        answer.append([regex, plain(who), plain(when), fields])
    # The addresses of a name have no order.
    return answer if filter.returnRawHost else sorted(answer, key=lambda found: (found[0], str(found[1])))


def dated(rng, form, message):
    date = time.strftime(form, time.localtime(NOW - rng.randint(0, 30)))
    if "[]" in message and rng.random() < 0.8:
        return message.replace("[]", "[%s]" % date, 1)
    return rng.choice(["%s %s", "%s %s", "%s%s", "[%s] %s", "%s: %s", "<1>%s %s"]) % (date, message)


def spoilt(rng, line):
    for _ in range(rng.randint(1, 2)):
        at = rng.randint(0, len(line))
        kind = rng.randint(0, 5)
        if kind == 0:
            line = line[:at] + rng.choice(HOSTILE) + line[at:]
        elif kind == 1:
            line = line[:at] + line[at + rng.randint(1, 3):]
        elif kind == 2:
            line = line[:at]
        elif kind == 3:
            line = line[:at] + line[at:].swapcase()
        elif kind == 4:
            line = line + rng.choice(HOSTILE)
        else:
            line = line[:at] + line[at // 2:]
    return line


def lines_for(rng, commands, request, wanted):
    trial = make_filter(commands, request)
    fails = [r.getRegex() for r in trial._Filter__failRegex]
    ignores = [r.getRegex() for r in trial._Filter__ignoreRegex]
    prefix = trial.prefRegex
    form = rng.choice(DATES)
    lines = []
    for number in range(wanted):
        regex = fails[number % len(fails)]
        if ignores and rng.random() < 0.1:
            regex = rng.choice(ignores)
        best = None
        for _ in range(4):
            message = Writer(rng).write(regex)
            if prefix:
                message = Writer(rng, lambda: message).write(prefix.getRegex())
            parts = [dated(rng, form, part) for part in message.split("\n") if part or "\n" not in message]
            parts = [part.replace("\n", " ") for part in parts]
            best = best or parts
            if any(isinstance(found, list) and found for found in [process(trial, part) for part in parts]):
                best = parts
                break
            form = rng.choice(DATES)
        lines += best
        if rng.random() < 0.5:
            lines += [spoilt(rng, part) for part in best]
    return lines


for request in sys.stdin:
    request = json.loads(request)
    rng = random.Random("%s %s" % (request["seed"], request["name"]))
    MyTime.setTime(float(NOW))
    try:
        commands = commands_of(request["config"], request["name"], dict(request["options"]))
        lines = request["lines"] + (lines_for(rng, commands, request, request["wanted"]) if request["wanted"] else [])
        filter = make_filter(commands, request)
        if IS_OLD and request["name"] == "tuples" and request["usedns"] != "raw":
            lines = []  # Before 1.1 an id ends at a slash.
    except Exception as e:
        print(json.dumps({"error": repr(e)}))
        continue
    print(json.dumps({"lines": lines, "found": [process(filter, line) for line in lines]}))
