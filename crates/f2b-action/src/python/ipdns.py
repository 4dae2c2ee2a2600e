# What an action written in Python imports from `fail2ban.server.ipdns`: addresses and names. Runs between `helpers.py` and
# `package.py`.


class DNSUtils:
    @staticmethod
    def dnsToIp(dns):
        try:
            return {IPAddr(str(found[4][0])) for found in socket.getaddrinfo(dns, None, 0, 0, socket.IPPROTO_TCP)}
        except OSError as error:
            getLogger("fail2ban.ipdns").warning("Unable to find a corresponding IP address for %s: %s", dns, error)
            return set()

    @staticmethod
    def ipToName(ip):
        try:
            return socket.gethostbyaddr(ip)[0]
        except OSError as error:
            getLogger("fail2ban.ipdns").debug("Unable to find a name for the IP %s: %s", ip, error)
            return None

    @staticmethod
    def getHostname(fqdn=True):
        return socket.getfqdn() if fqdn else socket.gethostname()


class IPAddr:
    """An address, a network, or any other text that is banned."""
    __slots__ = ("_net", "_raw", "_family")
    CIDR_RAW = -2
    CIDR_UNSPEC = -1

    def __init__(self, ipstr, cidr=CIDR_UNSPEC):
        self._net, self._raw, self._family = None, ipstr, socket.AF_UNSPEC
        if cidr == IPAddr.CIDR_RAW or not isinstance(ipstr, str):
            self._family = IPAddr.CIDR_RAW
            return
        if len(ipstr) > 2 and ipstr[0] + ipstr[-1] == "[]":
            self._raw = ipstr = ipstr[1:-1]
        try:
            net = ipaddress.ip_network(ipstr if cidr is None or cidr < 0 else "%s/%d" % (ipstr, cidr), strict=False)
        except ValueError:
            return
        self._raw = ipstr.split("/")[0]
        mapped = net.version == 6 and net.prefixlen == 128 and net.network_address.ipv4_mapped
        self._net = ipaddress.ip_network(mapped) if mapped else net
        self._family = socket.AF_INET if self._net.version == 4 else socket.AF_INET6

    def __repr__(self):
        return repr(self.ntoa)

    def __str__(self):
        return str(self.ntoa)

    def __reduce__(self):
        return str, (self.ntoa,)

    def __hash__(self):
        return hash(self.ntoa)

    def __eq__(self, other):
        if not isinstance(other, IPAddr):
            if not isinstance(other, str):
                return self._net is None and self._raw == other
            other = IPAddr(other)
        return self.ntoa == other.ntoa

    def __lt__(self, other):
        other = other if isinstance(other, IPAddr) else IPAddr(other)
        return self.family < other.family or self.addr < other.addr

    def __add__(self, other):
        return "%s%s" % (self, other)

    def __radd__(self, other):
        return "%s%s" % (other, self)

    def __contains__(self, ip):
        return self.contains(ip)

    @property
    def ntoa(self):
        if self._net is None:
            return self._raw
        return str(self._net.network_address if self.isSingle else self._net)

    @property
    def addr(self):
        return 0 if self._net is None else int(self._net.network_address)

    @property
    def family(self):
        return self._family

    @property
    def familyStr(self):
        return {socket.AF_INET: "inet4", socket.AF_INET6: "inet6"}.get(self._family)

    @property
    def instanceType(self):
        return "ip" if self.isValid else "dns"

    @property
    def plen(self):
        return 0 if self._net is None else self._net.prefixlen

    @property
    def raw(self):
        return self._raw

    @property
    def isValid(self):
        return self._family != socket.AF_UNSPEC

    @property
    def isSingle(self):
        return self._net is not None and self._net.prefixlen == self._net.max_prefixlen

    @property
    def isIPv4(self):
        return self.family == socket.AF_INET

    @property
    def isIPv6(self):
        return self.family == socket.AF_INET6

    @property
    def hexdump(self):
        return "" if self._net is None else "%0*x" % (self._net.max_prefixlen // 4, self.addr)

    def getPTR(self, suffix=None):
        if self._net is None:
            return ""
        parts = self.ntoa.split(".") if self.isIPv4 else self.hexdump
        if suffix is None:
            suffix = "in-addr.arpa." if self.isIPv4 else "ip6.arpa."
        return "%s.%s" % (".".join(reversed(parts)), suffix)

    def getHost(self):
        return DNSUtils.ipToName(self.ntoa)

    def isInNet(self, net):
        if not net.isValid and net.raw:
            return self in DNSUtils.dnsToIp(net.raw)
        return self.family == net.family and self._net is not None and self._net.network_address in net._net

    def contains(self, ip):
        return isinstance(ip, IPAddr) and (ip == self or ip.isInNet(self))

    @staticmethod
    def searchIP(text):
        found = re.fullmatch(r"((?:\d{1,3}\.){3}\d{1,3})|\[?([0-9a-fA-F:]*:[0-9a-fA-F:]*)\]?", text)
        return found and (found.group(1) or found.group(2))
