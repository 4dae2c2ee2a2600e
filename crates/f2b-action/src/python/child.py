# The life of one action in a child process: takes a request in each line, as JSON, does it, and answers with a line.
# In between, lines tell what the action logs and ask what is known of a ban. Runs behind `package.py`, which begins with
# the version and the file from which the requests come.

import importlib.machinery
import io
import json
import math
import traceback

# Only this process speaks with the server: what the action or its commands print goes elsewhere.
_replies = os.fdopen(os.dup(1), "wb", 0)
_null = os.open(os.devnull, os.O_RDWR)
os.dup2(_null, 0)
os.dup2(_null, 1)
_write_lock = threading.Lock()


def say(message):
    line = json.dumps(message, allow_nan=False).encode() + b"\n"
    with _write_lock:
        while line:
            line = line[_replies.write(line):]


class ToServer(logging.Handler):
    """Hands records to the log of the server."""

    def emit(self, record):
        text = self.format(record)
        say({"log": {"logger": pack(record.name), "level": record.levelno, "text": pack(text)}})


class Printed(io.TextIOBase):
    """What an action prints is for whoever looks for a fault, line by line."""
    encoding = "utf-8"
    errors = "replace"

    def __init__(self):
        self._rest = ""
        self.buffer = open(os.devnull, "wb")

    def write(self, text):
        *lines, self._rest = (self._rest + text).split("\n")
        self._rest = self._rest[-65536:]
        for line in lines:
            logging.getLogger("fail2ban.action").debug("-- stdout: %r", line)
        return len(text)

    def fileno(self):
        return 1

    def writable(self):
        return True


logging.getLogger("fail2ban").addHandler(ToServer())
logging.getLogger("fail2ban").propagate = False
logging.raiseExceptions = False
sys.stdout = Printed()


def pack(value, depth=20):
    """A value as JSON, with the types that JSON lacks as objects of one entry; anything else as its text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, int):
        return int(value) if -2**63 <= value < 2**63 else str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if depth > 0:
        inner = lambda items: [pack(item, depth - 1) for item in items]
        if isinstance(value, list):
            return inner(value)
        if isinstance(value, tuple):
            return {"tuple": inner(value)}
        if isinstance(value, (set, frozenset)):
            return {"set": inner(value)}
        if isinstance(value, (bytes, bytearray)):
            return {"bytes": list(value)}
        if isinstance(value, dict):
            return {"dict": [inner(pair) for pair in value.items()]}
        if isinstance(value, BaseException):
            return {"raised": pack_exception(value, depth - 1)}
    return pack(text_of(value))


def text_of(value):
    try:
        return str(value)
    except Exception as error:
        return "<%s: %s>" % (type(value).__name__, type(error).__name__)


PLAIN = str, bool, int, float, bytes, list, tuple, dict, set, frozenset, BaseException


def pack_exception(error, depth=20):
    """The class, or the nearest one that every Python knows, and the arguments with which it is raised again."""
    known = next(kind for kind in type(error).__mro__ if is_public(kind))
    try:
        args = error.__reduce__()[1] if known is type(error) else (text_of(error),)
        if not all(arg is None or isinstance(arg, PLAIN) for arg in args):
            raise ValueError("texts of other objects are not what it was made from")
        known(*args)
    except Exception:
        # Whoever receives it could not make it again.
        known, args = Exception, (text_of(error),)
    return {"module": known.__module__, "class": known.__name__, "args": [pack(arg, depth) for arg in args]}


def is_public(kind):
    package = kind.__module__.split(".")[0]
    known = package in ("builtins", "fail2ban") or package in getattr(sys, "stdlib_module_names", ())
    return known and getattr(sys.modules.get(kind.__module__), kind.__name__, None) is kind


def unpack(value):
    if isinstance(value, list):
        return [unpack(item) for item in value]
    if not isinstance(value, dict):
        return value
    (kind, inner), = value.items()
    return {
        "float": lambda: float(inner),
        "tuple": lambda: tuple(unpack(inner)),
        "set": lambda: set(unpack(inner)),
        "bytes": lambda: bytes(inner),
        "dict": lambda: {unpack(key): unpack(item) for key, item in inner},
        "raised": lambda: None,
    }[kind]()


class Counter:
    def __init__(self, size, total):
        self._size, self._total = size, total

    def size(self):
        return jail.counts[self._size]

    def _count(self):
        return jail.counts[self._total]

    getBanTotal = getFailTotal = _count


class Actions:
    """What is left of the actions of a jail, seen from one of them."""

    def __init__(self):
        self.banManager = Counter("jail.banned", "jail.banned_total")

    def getBanTime(self):
        return jail.bantime

    def addBannedIP(self, ip):
        return self._order("ban", ip)

    def removeBannedIP(self, ip=None, db=True, ifexists=False):
        if ip is None:
            raise ValueError("an action can't unban everybody")
        return self._order("unban", ip)

    def _order(self, what, ip):
        """The server does it when it comes to it: it may be waiting for this very action."""
        ids = [str(one) for one in (ip if isinstance(ip, (list, tuple)) else [ip])]
        say({"order": {"do": what, "ids": [pack(one) for one in ids]}})
        return len(ids)


class Filter:
    def __init__(self):
        self.failManager = Counter("jail.found", "jail.found_total")


class Merged:
    """All bans of an address together."""

    def __init__(self, ip, data):
        self._ip, self._data = IPAddr(ip), data

    def getID(self):
        return self._ip

    getIP = getID

    def getAttempt(self):
        return self._data.get("failures", 0)

    def getMatches(self):
        return [line if isinstance(line, str) else "".join(line) for line in self._data.get("matches", ())]

    def getData(self, key=None, default=None):
        return self._data if key is None else self._data.get(key, default)


class Database:
    """What an action can ask of the database, while something is done about a ban."""

    def getBansMerged(self, ip=None, jail=None, bantime=None):
        if ip is None or bantime is not None:
            raise ValueError("an action can ask for all bans of one address only")
        data = exchange({"merged": {"ip": pack(text_of(ip)), "here": jail is not None}})
        return None if data is None else Merged(text_of(ip), data)


class Jail:
    """What is left of a jail, seen from one of its actions."""
    name, bantime, counts, database = "", 600, {}, None

    def __init__(self):
        self.actions, self.filter = Actions(), Filter()

    def __repr__(self):
        return "Jail(%r)" % self.name


jail = Jail()
_asking = threading.Lock()
_open_call = None


def ask(info, tag, otherwise):
    """What the server knows of a ban, while it waits for what is done about it."""
    return exchange({"ask": tag}, lambda: _open_call is info, otherwise)


def exchange(question, is_open=lambda: _open_call is not None, otherwise=lambda: None):
    """The server's answer to a question, as long as it listens."""
    with _asking:
        if not is_open():
            return otherwise()
        say(question)
        return unpack(json.loads(_requests.readline())["answer"])


def lines_of(info):
    return "\n".join(line if isinstance(line, str) else "".join(line) for line in info._ban["F-*"]["matches"])


class ActionInfo(CallingMap):
    """What is known of a ban."""

    CM_REPR_ITEMS = ("fid", "raw-ticket")

    AI_DICT = {
        "ip": lambda self: IPAddr(self._ban["ip"]),
        "family": lambda self: self["ip"].familyStr,
        "ip-rev": lambda self: self["ip"].getPTR(""),
        "ip-host": lambda self: ask(self, "ip-host", self["ip"].getHost),
        "fid": lambda self: IPAddr(self._ban["fid"]),
        "failures": lambda self: self._ban["failures"],
        "time": lambda self: self._ban["time"],
        "bantime": lambda self: self._ban["bantime"],
        "bancount": lambda self: self._ban["bancount"],
        "matches": lines_of,
        "restored": lambda self: self._ban["restored"],
        "F-*": lambda self: self._ban["F-*"],
        "ipmatches": lambda self: ask(self, "ipmatches", lambda: lines_of(self)),
        "ipjailmatches": lambda self: ask(self, "ipjailmatches", lambda: lines_of(self)),
        "ipfailures": lambda self: ask(self, "ipfailures", lambda: self._ban["failures"]),
        "ipjailfailures": lambda self: ask(self, "ipjailfailures", lambda: self._ban["failures"]),
        "raw-ticket": lambda self: ask(self, "raw-ticket", lambda: "BanTicket: ip=%s" % self._ban["fid"]),
        "jail.name": lambda self: self._ban["jail.name"],
        "jail.banned": lambda self: self._ban["jail.banned"],
        "jail.banned_total": lambda self: self._ban["jail.banned_total"],
        "jail.found": lambda self: self._ban["jail.found"],
        "jail.found_total": lambda self: self._ban["jail.found_total"],
    }

    def __init__(self, ban):
        self._ban, self.data = ban, ActionInfo.AI_DICT
        self.storage, self.immutable, self._original = {}, True, None

    def copy(self):
        other = ActionInfo(self._ban)
        other.data, other.immutable = self.data.copy(), self.immutable
        return other


sys.modules["fail2ban.server.actions"].Actions = types.SimpleNamespace(ActionInfo=ActionInfo)
_action = None
_file = None


def new(request):
    """Loads the file and makes the action in it."""
    global _action, _file
    _file, options = request["file"], json.loads(request["options"])
    loader = importlib.machinery.SourceFileLoader(os.path.splitext(os.path.basename(_file))[0], _file)
    module = types.ModuleType(loader.name)
    module.__file__ = _file
    loader.exec_module(module)
    if not hasattr(module, "Action"):
        raise RuntimeError("%s module does not have 'Action' class" % _file)
    if not issubclass(module.Action, ActionBase):
        raise RuntimeError("%s module %s does not implement required methods" % (_file, module.Action.__name__))
    _action = module.Action(jail, request["name"], **options)
    for name, value in request["set"]:
        if not callable(getattr(_action, name, None)):
            setattr(_action, name, unpack(value))


def call(request):
    """Does what becomes due in the life of a jail."""
    global _open_call
    method = getattr(_action, request["method"])
    if "ban" in request:
        _open_call = ActionInfo({tag: unpack(value) for tag, value in request["ban"].items()})
        return method(_open_call)
    return method(**json.loads(request.get("options", "{}")))


def tell(request):
    """Calls a method or sets a property, whichever bears this name."""
    name, given = request["name"], [unpack(value) for value in request["value"]]
    if callable(getattr(_action, name, None)):
        return getattr(_action, name)(**(json.loads(given[0]) if given else {}))
    if not given:
        raise IndexError("list index out of range")
    setattr(_action, name, given[0])
    return getattr(_action, name)


def get(request):
    return getattr(_action, request["name"])


def names(request):
    """The public names of the methods, or of everything else."""
    return [name for name in dir(_action)
            if not name.startswith("_") and callable(getattr(_action, name)) == request["callable"]]


def traits():
    """What the server wants to know without asking."""
    def of(name):
        try:
            return getattr(_action, name, None)
        except Exception:
            return None
    try:
        timeout = float(MyTime.str2seconds(of("timeout") or 0))
    except Exception:
        timeout = 0
    return {
        "norestored": bool(of("norestored")),
        "prolongable": bool(of("_prolongable")),
        "timeout": timeout if math.isfinite(timeout) else 0,
        "has": [name for name in ("flush", "reload", "clearAllParams", "consistencyCheck") if of(name) is not None],
    }


def serve(request):
    """The reply to a request."""
    global _open_call
    logging.getLogger("fail2ban").setLevel(request["level"])
    jail.name, jail.bantime, jail.counts = request["jail"], request["bantime"], request["counts"]
    jail.database = Database() if request["database"] else None
    try:
        value = {"new": new, "call": call, "tell": tell, "get": get, "names": names}[request["do"]](request)
        reply = {"value": pack(value)} if request["do"] != "call" else {"value": bool(value)}
    except Exception as error:
        place = error.__traceback__
        while place is not None and place.tb_frame.f_code.co_filename == "<f2b>":
            place = place.tb_next
        trace = "".join(traceback.format_exception(type(error), error, place)).rstrip()
        reply = {"raised": pack_exception(error), "text": pack(text_of(error)), "trace": pack(trace)}
    with _asking:
        info, _open_call = _open_call, None
    reply.update(id=request["id"], traits=traits(), asked=[] if info is None else
                 [tag for tag in ActionInfo.AI_DICT if tag in info.storage])
    return reply


def end(number, frame):
    """The time of a call is over: the commands that it runs end as well."""
    for group in list(Utils.groups):
        try:
            os.killpg(group, signal.SIGKILL)
        except OSError:
            pass
    os._exit(128 + number)


signal.signal(signal.SIGTERM, end)
try:
    for _line in iter(_requests.readline, b""):
        say(serve(json.loads(_line)))
except BrokenPipeError:
    # The server has gone, or does not listen any longer.
    os._exit(1)
