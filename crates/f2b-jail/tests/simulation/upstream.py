"""Lives the lives that come in, one JSON object a line, with upstream's classes under a made-up clock."""

import json, logging, math, random, sys
from fail2ban.server.action import ActionBase
from fail2ban.server.database import Fail2BanDb
from fail2ban.server.filter import Filter
from fail2ban.server.ipdns import IPAddr
from fail2ban.server.jail import Jail
from fail2ban.server.mytime import MyTime
from fail2ban.server.observer import Observers, ObserverThread
from fail2ban.server.ticket import FailTicket

BEGIN = float(sys.argv[1])
# Releases before 1.1.1 forget about the observer.
OBSERVES_ATTEMPTS = "Observers" in Filter.addAttempt.__code__.co_names
acts, lines = [], []


class Lines(logging.Handler):
    def emit(self, record):
        text = record.getMessage()
        # What the actions' side says is not the jail's decision.
        if not any(word in text for word in ("] Unban ", "] Repeal Ban ", "] Flush ticket(s)")):
            lines.append("%s %s" % (record.levelname, text))


class Recording(ActionBase):
    """Notes what it is told. It lacks `flush`, so that each ban is taken back by itself."""
    jail = None
    _prolongable = True

    def note(self, what, info):
        ticket = info._ActionInfo__ticket
        matches = "[%s]" % ", ".join(map(json.dumps, ticket.getMatches()))
        acts.append("%s %s from %.3f until %.3f, ban %d, %d failures %s%s" % (
            what, ticket.getID(), ticket.getTime(), ticket.getEndOfBanTime(self._jail.actions.getBanTime()),
            ticket.getBanCount(), ticket.getAttempt(), matches, ", restored" if ticket.restored else ""))

    def ban(self, info): self.note("ban", info)
    def reban(self, info): self.note("reban", info)
    def unban(self, info): self.note("unban", info)
    def prolong(self, info): self.note("prolong", info)


class Observing(ActionBase):
    """Lets the observer see a ban once it is logged, and before other actions are told of it."""
    def ban(self, info):
        Observers.Main.catch_up()


class Observer(ObserverThread):
    """Observes failures at once and bans when it is told to, and keeps its timers for the made-up clock."""
    def __init__(self):
        ObserverThread.__init__(self)
        self.bans, self.timers = [], []

    def add(self, what, *args):
        if what == "banFound":
            self.bans.append(args)
        else:
            getattr(self, what)(*args)

    def catch_up(self):
        while self.bans:
            self.banFound(*self.bans.pop(0))

    def add_timer(self, seconds, what, *args):
        self.timers.append((MyTime.time() + seconds, what, args))

    def meet_timers(self):
        due = [timer for timer in self.timers if timer[0] <= MyTime.time()]
        self.timers = [timer for timer in self.timers if timer not in due]
        for _, what, (ticket, jail) in due:
            # One that was unbanned and is banned again would be prolonged by the old ban (`prolong-of-old-ban`).
            if any(ticket is known for known in jail.actions.banManager):
                what(ticket, jail)


class Life:
    def __init__(self, options):
        self.options, self.now = options, BEGIN
        Observers.Main = self.observer = Observer()
        self.set_clock()
        self.start()

    def set_clock(self):
        MyTime.setTime(self.now)

    def start(self):
        options = self.options
        draws = iter(options["random"])
        random.random = lambda: next(draws)
        self.observer.timers = []
        self.jail = jail = Jail("simulated", backend="polling", db=db)
        jail.isAlive = lambda: True
        jail.actions._actions["observing"] = Observing(jail, "observing")
        jail.actions._actions["recording"] = Recording(jail, "recording")
        jail.actions.setBanTime(int(options["bantime"]))
        jail.filter.ignoreSelf = False
        jail.filter.setFindTime(int(options["findtime"]))
        jail.filter.setMaxRetry(options["maxretry"])
        jail.filter.failManager.maxMatches = options["maxmatches"]
        # When exactly failures are forgotten is up to each server; here it is whenever time has passed.
        jail.filter.performSvc = lambda force=False: None
        jail.filter.processLine = lambda line, date: [line]
        for option, value in options["extra"]:
            jail.setBanTimeExtra(option, value)
        lines.clear()

    def ban(self):
        while self.jail.hasFailTickets:
            self.jail.actions._Actions__checkBan()

    def live(self):
        for seconds, what in self.options["moments"]:
            self.now += seconds
            self.set_clock()
            self.jail.actions._Actions__checkUnBan(1000)
            self.observer.meet_timers()
            self.jail.filter.failManager.cleanup(self.now)
            getattr(self, what[0])(*what[1:])
            self.ban()
            yield acts + sorted(lines)
            acts.clear()
            lines.clear()

    def found(self, ip, later):
        fail = {"matches": ["a line"]}
        self.jail.filter.processLineAndAdd((None, IPAddr(ip), self.now + later, fail))

    def attempt(self, ip, matches):
        manager = self.jail.filter.failManager
        add, tickets = manager.addFailure, []
        manager.addFailure = lambda ticket, *args: tickets.append(ticket) or add(ticket, *args)
        acts.append("answer %d" % self.jail.filter.addAttempt(ip, *matches))
        manager.addFailure = add
        if not OBSERVES_ATTEMPTS:
            self.observer.add("failureFound", self.jail, *tickets)

    def ban_ip(self, ips):
        acts.append("answer %d" % self.jail.actions.addBannedIP(ips))

    def unban(self, ips):
        acts.append("answer %d" % self.jail.actions.removeBannedIP(ips, ifexists=True))

    def restart(self, seconds):
        self.jail.actions._Actions__flushBan(stop=True)
        before = lines[:]
        self.now += seconds
        self.set_clock()
        self.start()
        lines.extend(before)
        self.jail.restoreCurrentBans()

    def quiet(self):
        pass


def prepare(elsewhere):
    """Empties the database, but for the bans of another jail."""
    for table in "bans", "bips":
        db._db.execute("DELETE FROM %s" % table)
    for ip, ago, count in elsewhere:
        ticket = FailTicket(ip, BEGIN - ago)
        ticket.setBanCount(count)
        db.addBan(other, ticket)


# Nobody asks where a line comes from.
logging._srcfile = None
logging.getLogger("fail2ban").addHandler(Lines())
logging.getLogger("fail2ban").propagate = False
logging.getLogger("fail2ban").setLevel(logging.WARNING)
db = Fail2BanDb(":memory:")
other = Jail("other", backend="polling", db=db)
for name in "simulated", "other":
    db.addJail(type("Named", (), {"name": name}))
logging.getLogger("fail2ban").setLevel(logging.INFO)
for line in sys.stdin:
    options = json.loads(line)
    prepare(options["elsewhere"])
    acts.clear()
    print(json.dumps(list(Life(options).live())), flush=True)
