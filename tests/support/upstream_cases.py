"""Upstream's own test cases, taken from the package that is there and run against our programs.

Usage: upstream_cases.py DIRECTORY OUT CASE...

DIRECTORY has our programs under upstream's names. What a case would do to a server or a client in its own process is done
to ours: commands go over the socket, command lines to the program, and what the program prints and the server logs is
what the case finds logged. When a case sets the time, `libfaketime` sets it for the server. OUT becomes a list of
`[case, outcome, text]` in JSON, with the outcomes `ok`, `failed` and `skipped`.
"""
import glob, json, os, shutil, subprocess, sys, tempfile, unittest

BIN, OUT, CASES = sys.argv[1], sys.argv[2], sys.argv[3:]
sys.argv[1:] = []

from fail2ban.tests import utils
options = utils.DefaultTestOptions()
options.no_network, options.verbosity = True, 0
# One of the known cases waits in vain, as long as this.
utils.F2B.MID_WAITTIME = 15
utils.initProcess(options)
utils.initTests(options)

from fail2ban.client.csocket import CSocket
from fail2ban.helpers import getLogger
from fail2ban.server.mytime import MyTime
from fail2ban.server.utils import Utils
from fail2ban.tests import fail2banclienttestcase, servertestcase

MyTime.setAlternateNow(None)
os.environ["PATH"] = BIN + ":" + os.environ["PATH"]

LOG = getLogger("fail2ban")


def say(text):
    for line in text.splitlines():
        LOG.critical("%s", line)


class Clock:
    """The time of the case, for processes that have the library loaded."""

    library = (glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1") + [None])[0]
    file = tempfile.NamedTemporaryFile("w", prefix="f2b-clock")
    last = None
    sockets = []

    @classmethod
    def environment(cls):
        if not cls.library:
            return None
        return dict(os.environ, LD_PRELOAD=cls.library, FAKETIME_TIMESTAMP_FILE=cls.file.name, FAKETIME_NO_CACHE="1",
            FAKETIME_FMT="%s", FAKETIME_DONT_FAKE_MONOTONIC="1")

    @classmethod
    def follow(cls):
        if MyTime.myTime == cls.last:
            return
        if not cls.library:
            raise unittest.SkipTest("there is no libfaketime")
        cls.last = MyTime.myTime
        cls.file.seek(0)
        cls.file.truncate()
        cls.file.write("+0" if cls.last is None else str(int(cls.last)))
        cls.file.flush()
        # A server that waits for a moment to come learns that it has by a question.
        for socket in cls.sockets:
            if os.path.exists(socket):
                Transmitter(socket).proceed(["ping"])


Clock.file.write("+0")
Clock.file.flush()


class Tail:
    """A file to which a server logs; what is new in it is logged here."""

    files = []

    def __init__(self, path):
        self.path, self.place, self.rest = path, 0, ""
        Tail.files.append(self)

    def pump(self):
        try:
            with open(self.path, "rb") as file:
                file.seek(self.place)
                new = file.read()
        except OSError:
            return
        self.place += len(new)
        *lines, self.rest = (self.rest + new.decode("utf-8", "replace")).split("\n")
        for line in lines:
            LOG.critical("%s", line)

    @classmethod
    def pump_all(cls):
        Clock.follow()
        for file in list(cls.files):
            file.pump()


handler = utils.LogCaptureTestCase._MemHandler
getvalue, truncate = handler.getvalue, handler.truncate


def pumped_value(self):
    Tail.pump_all()
    return getvalue(self)


def pumped_truncate(self, size=None):
    Tail.pump_all()
    return truncate(self, size)


handler.getvalue, handler.truncate = pumped_value, pumped_truncate


class Transmitter:
    """What takes commands, at the other end of a socket."""

    def __init__(self, socket):
        self.socket = socket

    def proceed(self, command):
        Clock.follow()
        connection = CSocket(self.socket, timeout=30)
        try:
            return tuple(connection.send([list(word) if isinstance(word, tuple) else word for word in command]))
        finally:
            connection.close()

    def _Transmitter__commandHandler(self, command):
        code, value = self.proceed(command)
        if code:
            raise value
        return value


class Server:
    """A server of ours that nobody has configured, with what the cases use of upstream's class."""

    LEVEL = "9"
    running = []

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="f2b-case")
        path = lambda name: os.path.join(self.directory, name)
        with open(path("fail2ban.conf"), "w") as file:
            file.write("[Definition]\nloglevel = %s\nlogtarget = %s\nsyslogsocket = auto\nsocket = %s\npidfile = %s\n"
                "dbfile = None\n" % (self.LEVEL, path("log"), path("socket"), path("pid")))
        open(path("jail.conf"), "w").close()
        self.log = Tail(path("log"))
        self.process = subprocess.Popen(
            [os.path.join(BIN, "fail2ban-server"), "-c", self.directory, "-f", "--async", "start"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=Clock.environment())
        self._Server__transm = Transmitter(path("socket"))
        Clock.sockets = [path("socket")]
        Server.running.append(self)
        if not Utils.wait_for(lambda: os.path.exists(path("socket")) and self._answers(), 20):
            raise RuntimeError("the server does not start")

    def _answers(self):
        try:
            return self._do("ping") == "pong"
        except OSError:
            return False

    def _do(self, *command):
        code, value = self._Server__transm.proceed(command)
        if code:
            raise value
        return value

    @property
    def _Server__jails(self):
        return [name for name in self._do("status")[1][1].split(", ") if name]

    def addJail(self, name, backend):
        self._do("add", name, backend)

    def startJail(self, name):
        self._do("start", name)

    def delJail(self, name):
        self._do("stop", name)

    def isAlive(self, jails=None):
        return jails is None or len(self._Server__jails) == jails

    def setLogTarget(self, value):
        self._do("set", "logtarget", value)

    def setLogLevel(self, value):
        self._do("set", "loglevel", value)

    def setSyslogSocket(self, value):
        self._do("set", "syslogsocket", value)

    def getSyslogSocket(self):
        return self._do("get", "syslogsocket")

    def quit(self):
        Server.running.remove(self)
        try:
            self._do("stop")
        except (OSError, ValueError):
            # It has gone, or is about to and says no more than that.
            pass
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()
            Tail.pump_all()
            Tail.files.remove(self.log)
            shutil.rmtree(self.directory)


class Names:
    """`DNSUtils` of a server, as far as its log tells."""

    @staticmethod
    def IPv6IsAllowed():
        Tail.pump_all()
        return "IPv6 is on" in getvalue(LOG.handlers[0])


servertestcase.DNSUtils = Names
servertestcase.TransmitterBase.TEST_SRV_CLASS = Server
servertestcase.TransmitterLogging.TEST_SRV_CLASS = Server

# The stock configuration is sent to a server; what its actions do there is another matter.
servertestcase.TestServer = Server
servertestcase.ServerConfigReaderTests._testExecActions = lambda self, server: None
servertestcase.ServerConfigReaderTests.doCleanups = lambda self: [server.quit() for server in list(Server.running)]

client = fail2banclienttestcase


def run(arguments):
    """A command line, in a process of its own."""
    name, words = arguments[0], list(arguments[1:])
    entered = ""
    if "-i" in words:
        entered = "".join(line + "\n" for line in client.INTERACT)
        del client.INTERACT[:]
    # The log of the process that runs the cases is a file in the directory of theirs.
    if "INHERITED" in words:
        target = os.path.join(os.path.dirname(words[words.index("-s") + 1]), "inherited.log")
        words[words.index("INHERITED")] = target
        follow(target)
    if "start" in words or "-b" in words:
        for word in words:
            if word.startswith("/") and ".log" in word:
                follow(word.split("[")[0])
    Clock.follow()
    if "-s" in words[:-1]:
        Clock.sockets = [words[words.index("-s") + 1]]
    # Upstream's process logs whatever a case looks for, the client's own messages among it.
    if "--loglevel" in words:
        words[words.index("--loglevel") + 1] = Server.LEVEL
    words.insert(0, "-vv")
    process = subprocess.Popen([os.path.join(BIN, name)] + words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", env=Clock.environment())
    process.stdin.write(entered)
    process.stdin.close()
    for line in process.stdout:
        say(line.rstrip("\n"))
    code = process.wait()
    say("Exit with code %s" % code)
    raise (client.SUCCESS if code == 0 else client.FAILED)()


def follow(path):
    if not any(file.path == path for file in Tail.files):
        Tail(path)


client.Fail2banClientTest.exec_command_line = (run, "fail2ban-client")
client.Fail2banServerTest.exec_command_line = (run, "fail2ban-server")
client.BIN = BIN


def executed(command, **options):
    """`Utils.executeCmd` of a program of ours, which is none for Python."""
    command = list(command)
    if command[0] == sys.executable:
        del command[0]
    for word in command:
        if word.startswith("/") and ".log" in word:
            follow(word.split("[")[0])
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        encoding="utf-8", errors="replace")
    say(done.stdout)
    return done.returncode == 0, done.stdout, "", done.returncode


def pid_exists(pid):
    """Nobody may be there to wait for a server that has ended."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class CaseUtils(Utils):
    executeCmd, pid_exists = staticmethod(executed), staticmethod(pid_exists)


client.Utils = CaseUtils


class Result(unittest.TestResult):
    outcomes = []

    def note(self, test, outcome, text=""):
        self.outcomes.append([test.id().replace("fail2ban.tests.", "", 1), outcome, text])

    def addSuccess(self, test):
        self.note(test, "ok")

    def addSkip(self, test, reason):
        self.note(test, "skipped", reason)

    def addFailure(self, test, error):
        self.note(test, "failed", self._exc_info_to_string(error, test))

    addError = addFailure


def suite():
    loader = unittest.TestLoader()
    for name in CASES:
        yield from loader.loadTestsFromName("fail2ban.tests." + name)


result = Result()
for test in suite():
    test.run(result)
    Tail.files.clear()
with open(OUT, "w") as file:
    json.dump(result.outcomes, file, indent=1)
