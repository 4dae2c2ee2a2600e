# What an action written in Python inherits, and the package `fail2ban` in which it finds everything. Runs behind `ipdns.py`
# and ahead of `child.py`.


# fail2ban.server.action and fail2ban.server.actions


class CallingMap(collections.abc.MutableMapping):
    """A dictionary whose functions are called when their value is asked for, once."""
    CM_REPR_ITEMS = ()

    def __init__(self, *args, **kwargs):
        self.storage, self.immutable, self._original = {}, True, None
        self.data = dict(*args, **kwargs)

    def __repr__(self):
        return "%s(%r)" % (type(self).__name__, self._asdict())

    def _asdict(self, calculated=False, checker=None):
        known = {**self.data, **self.storage}
        if not calculated:
            return {key: value for key, value in known.items() if not callable(value) or key in self.CM_REPR_ITEMS}
        for key in known:
            try:
                value = self[key]
                if checker:
                    checker(value)
                known[key] = value
            except Exception:
                pass
        return known

    def reset(self, immutable=True):
        self.storage = {}
        if self._original is not None:
            self.data, self._original = self._original, None
        self.immutable = immutable

    def getRawItem(self, key):
        return self.storage[key] if key in self.storage else self.data[key]

    def __getitem__(self, key):
        value = self.getRawItem(key)
        if callable(value):
            code = getattr(value, "__code__", None)
            value = value(self) if code is not None and code.co_argcount else value()
            self.storage[key] = value
        return value

    def _own(self):
        if self.immutable:
            self._original, self.immutable = self.data, False
            self.storage, self.data = self.storage.copy(), self.data.copy()

    def __setitem__(self, key, value):
        self._own()
        self.storage[key] = value

    def __delitem__(self, key):
        self._own()
        self.storage.pop(key, None)
        del self.data[key]

    def __iter__(self):
        return iter(self.data)

    def __len__(self):
        return len(self.data)

    def copy(self):
        return type(self)({**self.data, **self.storage})


class ActionBase(metaclass=abc.ABCMeta):
    """What an action inherits; a class that has all the methods counts as one, too."""

    @classmethod
    def __subclasshook__(cls, other):
        return all(callable(getattr(other, name, None)) for name in ("start", "stop", "ban", "reban", "unban"))

    def __init__(self, jail, name):
        self._jail = jail
        self._name = name
        self._logSys = getLogger("fail2ban.%s" % type(self).__name__)

    def start(self):
        pass

    def stop(self):
        pass

    def ban(self, aInfo):
        pass

    def reban(self, aInfo):
        return self.ban(aInfo)

    def unban(self, aInfo):
        pass

    @property
    def _prolongable(self):
        return False


class UnknownJailException(KeyError):
    pass


class DuplicateJailException(Exception):
    pass


UnknownJailException.__module__ = DuplicateJailException.__module__ = "fail2ban.exceptions"


def not_provided(name):
    if name == "CommandAction":
        raise ImportError("CommandAction runs in the server; an action written in Python can't inherit from it")
    raise AttributeError(name)


provide("fail2ban", __version__=VERSION)
provide("fail2ban.version", version=VERSION, normVersion=lambda: VERSION)
provide("fail2ban.exceptions", UnknownJailException=UnknownJailException,
        DuplicateJailException=DuplicateJailException)
provide("fail2ban.helpers", getLogger=getLogger, str2LogLevel=str2LogLevel, formatExceptionInfo=formatExceptionInfo,
        uni_decode=uni_decode, uni_string=uni_string, uni_bytes=uni_bytes, splitwords=splitwords,
        removeComments=removeComments, extractOptions=extractOptions)
provide("fail2ban.server")
provide("fail2ban.server.mytime", MyTime=MyTime)
provide("fail2ban.server.utils", Utils=Utils)
provide("fail2ban.server.ipdns", IPAddr=IPAddr, DNSUtils=DNSUtils)
provide("fail2ban.server.action", ActionBase=ActionBase, CallingMap=CallingMap, Utils=Utils, MyTime=MyTime,
        getLogger=getLogger, __getattr__=not_provided)
provide("fail2ban.server.actions", ActionBase=ActionBase, CallingMap=CallingMap, Utils=Utils, MyTime=MyTime,
        IPAddr=IPAddr, getLogger=getLogger, __getattr__=not_provided)
