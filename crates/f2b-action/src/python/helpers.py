# What an action written in Python imports from `fail2ban.helpers`, `fail2ban.server.mytime` and `fail2ban.server.utils`: the
# names, signatures and behaviour on which published actions rely. The first part of what runs in the child process.

import abc
import collections.abc
import datetime
import ipaddress
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import types


def provide(name, **members):
    """Makes a module of these members, in front of any other of its name."""
    module = types.ModuleType(name)
    module.__dict__.update(members)
    # A package without directories: whatever is not provided here is not found, even where fail2ban is installed.
    module.__path__ = []
    sys.modules[name] = module
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, module)


# fail2ban.helpers

for _level, _name, _short in [(5, "HEAVYDEBUG", "HEAVY"), (7, "TRACEDEBUG", "TRACE"), (18, "MSG", "MSG"),
                              (25, "NOTICE", "NOTICE")]:
    logging.addLevelName(_level, _short)
    setattr(logging, _name, _level)
    if _name != "MSG":
        def _log(self, message, *args, _level=_level, **options):
            if self.isEnabledFor(_level):
                self._log(_level, message, args, **options)
        setattr(logging.Logger, _name.lower(), _log)


def getLogger(name):
    """The logger `fail2ban.last` for `any.thing.last`."""
    return logging.getLogger("fail2ban." + name.rsplit(".", 1)[1] if "." in name else name)


def str2LogLevel(value):
    if isinstance(value, int):
        return value
    if value.isdigit():
        return int(value)
    level = getattr(logging, value.upper(), None)
    if level is None:
        raise ValueError("Invalid log level %r" % value)
    return level


def formatExceptionInfo():
    """The class and the text of the exception that is being handled."""
    kind, error, _ = sys.exc_info()
    return kind.__name__, uni_string(error)


def uni_decode(text, enc="UTF-8", errors="strict"):
    if not isinstance(text, bytes):
        return text
    try:
        return text.decode(enc, errors)
    except UnicodeDecodeError:
        return text.decode(enc, "replace")


def uni_string(text):
    return text.decode("UTF-8", "replace") if isinstance(text, bytes) else str(text)


def uni_bytes(text):
    return text.encode("UTF-8")


def removeComments(text):
    return "".join(re.split(r"(?m)(?:^|\s)[#;].*", text))


def splitwords(text, ignoreComments=False):
    """The words between blanks and commas."""
    if text and ignoreComments:
        text = removeComments(text)
    return [word for word in re.split(r"[\s,]+", text or "") if word]


def extractOptions(text):
    """`name[a=1, b="2"][c='3']` as a name and a dictionary."""
    parts = re.fullmatch(r"([^\[]+)(?:\[(.*)\])?\s*", text, re.DOTALL)
    if parts is None:
        raise ValueError("unexpected option syntax")
    options, rest = {}, parts.group(2) or ""
    option = re.compile(
        r"\s*([\w.-]+(?:\?[\w.-]+=[\w.-]+)?)=(?:\"([^\"]*)\"|'([^']*)'|([^,\]]*))(?:,|\]\s*\[|$)", re.DOTALL)
    at = 0
    while rest[at:].strip(", \t\r\n"):
        match = option.match(rest, at)
        if match is None:
            raise ValueError("expected option, wrong syntax at %d: %s" % (at, rest[at:at + 25]))
        options[match.group(1)] = next(v for v in match.group(2, 3, 4) if v is not None).strip()
        at = match.end()
    return parts.group(1), options


# fail2ban.server.mytime


class MyTime:
    _UNITS = [("year|yea|y", 31557600.0), ("month|mon|mo", 2629800.0), ("week|wee|w", 604800), ("day|da|d", 86400),
              ("hour|hou|h", 3600), ("minute|min|m", 60), ("second|sec|s", 1)]

    @staticmethod
    def time():
        return time.time()

    @staticmethod
    def gmtime():
        return time.gmtime()

    @staticmethod
    def localtime(x=None):
        return time.localtime(x)

    @staticmethod
    def now():
        return datetime.datetime.now()

    @staticmethod
    def time2str(unixTime, format="%Y-%m-%d %H:%M:%S"):
        last = datetime.datetime(9999, 12, 31, 23, 59, 59)
        return (datetime.datetime.fromtimestamp(int(unixTime)) if unixTime < 253402214400 else last).strftime(format)

    @staticmethod
    def str2seconds(val):
        """`1d 12h` in seconds."""
        if not isinstance(val, str):
            return val
        total, rest = 0, val.strip().lower()
        while rest:
            part = re.match(r"([+-]?)\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", rest)
            unit = part and next((n for names, n in MyTime._UNITS
                                  if re.fullmatch("(?:%s)s?|%s" % (names, names[-1] * 2), part.group(3))), None)
            if part is None or part.group(3) and unit is None:
                raise ValueError("%r is no duration" % val)
            number = float(part.group(2)) if "." in part.group(2) else int(part.group(2))
            total += (-1 if part.group(1) == "-" else 1) * number * (unit or 1)
            rest = rest[part.end():]
        return total


# fail2ban.server.utils


class Utils:
    DEFAULT_SLEEP_TIME = 2
    DEFAULT_SLEEP_INTERVAL = 0.2
    DEFAULT_SHORT_INTERVAL = 0.001
    DEFAULT_SHORTEST_INTERVAL = 0.00001
    # Process groups of commands that run: they end with this process.
    groups = set()

    @staticmethod
    def buildShellCmd(realCmd, varsDict):
        """A script and its arguments: one variable of the shell for each value."""
        command = list(realCmd) if isinstance(realCmd, list) else [realCmd]
        first = len(command) - 1
        head = " ".join("%s=${%d}" % (name, first + number) for number, name in enumerate(varsDict))
        return [head + " \n" + command[0]] + command[1:] + list(varsDict.values())

    @staticmethod
    def executeCmd(realCmd, timeout=60, shell=True, output=False, tout_kill_tree=True, success_codes=(0,),
                   varsDict=None):
        log = getLogger("fail2ban.utils")
        environment = None
        if varsDict and shell:
            realCmd = Utils.buildShellCmd(realCmd, varsDict)
        elif varsDict:
            environment = dict(os.environ, **varsDict)
        number = "%x" % id(realCmd)
        try:
            process = subprocess.Popen(realCmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, shell=shell,
                                       env=environment, start_new_session=True)
        except OSError as error:
            log.error("%s -- exec: %s", number, realCmd)
            log.error("%s -- failed with %s", realCmd, error)
            return (False, None, "%s -- failed with %s" % (realCmd, error), None) if output else False
        Utils.groups.add(process.pid)
        timed_out = False
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            timed_out = True
            log.error("%s -- exec: %s", number, realCmd)
            log.error("%s -- timed out after %s seconds.", number, timeout)
            out, err = Utils._end(process, tout_kill_tree)
        finally:
            Utils.groups.discard(process.pid)
        status = process.poll()
        success = status in success_codes
        level = logging.DEBUG if success else logging.ERROR
        if not timed_out:
            log.log(level - 1 if success else level, "%s -- exec: %s", number, realCmd)
        for name, text in (("stdout", out), ("stderr", err)):
            for line in (text or b"").splitlines():
                log.log(level, "%s -- %s: %r", number, name, uni_decode(line))
        if success:
            log.debug("%s -- returned successfully %i", number, status)
        elif status is None:
            log.error("%s -- unable to kill PID %i", number, process.pid)
        elif status < 0 or status > 128:
            name = -status if status < 0 else status - 128
            try:
                name = signal.Signals(name).name
            except ValueError:
                name = "signal %i" % name
            log.error("%s -- killed with %s (return code: %s)", number, name, status)
        else:
            log.error("%s -- returned %i", number, status)
        if output:
            return success, out, err, status
        return success if len(success_codes) == 1 else (success, status)

    @staticmethod
    def _end(process, whole_group):
        """Ends the group of a process whose time is over; what it has written so far."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
            except OSError:
                pass
            try:
                written = process.communicate(timeout=Utils.DEFAULT_SLEEP_INTERVAL)
                if not whole_group:
                    return written
            except (subprocess.TimeoutExpired, ValueError):
                written = None, None
        return written

    @staticmethod
    def wait_for(cond, timeout, interval=None):
        """What `cond()` says once it is true, or when the time is over."""
        until = None if callable(timeout) else time.time() + timeout
        pause = 0
        while True:
            answer = cond()
            if answer or (timeout() if until is None else time.time() > until):
                return answer
            pause = min(pause + (interval or Utils.DEFAULT_SLEEP_INTERVAL), Utils.DEFAULT_SLEEP_TIME)
            time.sleep(pause)

    @staticmethod
    def pid_exists(pid):
        try:
            os.kill(pid, 0)
        except OSError as error:
            return isinstance(error, PermissionError)
        return pid >= 0
