//! fail2ban's stock actions, unchanged, on real firewalls: who is banned gets no connection, everybody else does.
//!
//! Each test has two network namespaces of its own, a host with a firewall and a client with two addresses in each
//! family. The files come from the installed fail2ban (`/etc/fail2ban/action.d`). Somebody else empties the firewall
//! twice, as a reload of the administrator's own rules does; a rule of theirs has to survive everything.

mod support;

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use support::{Place, Process, available, binary, has_program, run, wait_until};

/// The stock actions: those of the configuration in `/etc/fail2ban`, or in `F2B_TEST_CONFIG`.
fn stock() -> PathBuf {
    let root = std::env::var_os("F2B_TEST_CONFIG").unwrap_or_else(|| "/etc/fail2ban".into());
    Path::new(&root).join("action.d")
}

/// Where the host listens, and the two addresses of the client, by family.
const HOST: [&str; 2] = ["10.78.0.1", "fd00:78::1"];
const BAD: [&str; 2] = ["10.78.0.2", "fd00:78::2"];
const GOOD: [&str; 2] = ["10.78.0.3", "fd00:78::3"];

/// An address that never sends anything, to be banned while the firewall is empty.
const OTHER: [&str; 2] = ["10.78.0.9", "fd00:78::9"];

/// What an action is about, and what the administrator does with the firewall; commands are separated by lines.
struct Case {
    action: &'static str,
    /// Whether it closes more than the port that it is given.
    all_ports: bool,
    /// The administrator's own rules.
    own: &'static str,
    /// Takes the way to our rules out of the firewall.
    unhook: &'static str,
    /// Takes everything out.
    empty: &'static str,
}

const OWN_IPTABLES: &str = "\
iptables -A INPUT -s 203.0.113.9 -j DROP
ip6tables -A INPUT -s 2001:db8::9 -j DROP";

const UNHOOK_IPTABLES: &str = "\
iptables -F INPUT
ip6tables -F INPUT";

const EMPTY_IPTABLES: &str = "\
iptables -F
iptables -X
ip6tables -F
ip6tables -X";

const OWN_NFTABLES: &str = "\
nft add table inet own
nft add chain inet own in { type filter hook input priority 0 ; }
nft add rule inet own in ip saddr 203.0.113.9 drop";

/// A host and a client on one wire, which go away with the test.
struct Net {
    host: String,
    client: String,
}

impl Net {
    fn new(tag: &str) -> Self {
        let id = std::process::id();
        let [host, client] = ["host", "client"].map(|role| format!("f2b-{id}-{tag}-{role}"));
        let net = Self { host, client };
        for name in [&net.host, &net.client] {
            ip(&["netns", "add", name]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
        }
        let wire = format!("-n {} link add wire type veth peer name wire netns {}", net.host, net.client);
        ip(&wire.split(' ').collect::<Vec<_>>());
        for (name, addresses) in [(&net.host, vec![HOST]), (&net.client, vec![BAD, GOOD])] {
            for [four, six] in addresses {
                ip(&["-n", name, "address", "add", &format!("{four}/24"), "dev", "wire"]);
                ip(&["-n", name, "address", "add", &format!("{six}/64"), "dev", "wire", "nodad"]);
            }
            ip(&["-n", name, "link", "set", "wire", "up"]);
        }
        for port in [80, 81] {
            net.listen(port);
        }
        net
    }

    /// Answers everybody who gets through to a port of the host. A thread that has entered a namespace makes its
    /// sockets there.
    fn listen(&self, port: u16) {
        let (sender, ready) = std::sync::mpsc::channel();
        let path = format!("/run/netns/{}", self.host);
        thread::spawn(move || {
            let namespace = fs::File::open(path).expect("the namespace");
            nix::sched::setns(namespace.as_fd(), nix::sched::CloneFlags::CLONE_NEWNET).expect("setns");
            // Both families by one socket.
            let listener = TcpListener::bind(("::", port)).expect("a port");
            sender.send(()).expect("the test waits");
            for mut stream in listener.incoming().flatten() {
                let _ =
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
            }
        });
        ready.recv().expect("a listener");
    }

    /// Whether a client with this address gets a connection to the host.
    fn gets_through(&self, from: &str, port: u16) -> bool {
        let host = if from.contains(':') { format!("[{}]", HOST[1]) } else { HOST[0].to_owned() };
        let mut curl = Command::new("ip");
        curl.args(["netns", "exec", &self.client, "curl", "-s", "-o", "/dev/null", "--max-time", "2"]);
        curl.args(["--interface", from]).arg(format!("http://{host}:{port}/"));
        let output = curl.output().expect("curl starts");
        // Refused or without an answer; anything else would be a fault of the test.
        assert!(matches!(output.status.code(), Some(0 | 7 | 28)), "{output:?}");
        output.status.success()
    }

    fn on_host(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.host]).arg(program);
        command
    }

    /// Runs commands of an administrator, one in each line.
    #[track_caller]
    fn administer(&self, commands: &str) {
        for command in commands.lines() {
            run(self.on_host("sh").arg("-c").arg(command.replace('{', "'{").replace('}', "}'")));
        }
    }

    /// All that the tools know of.
    fn rules(&self) -> String {
        let ask = |command: &str| {
            let Output { stdout, .. } =
                self.on_host("sh").arg("-c").arg(command).output().expect("the command starts");
            format!("{command}:\n{}\n", String::from_utf8_lossy(&stdout))
        };
        ["iptables -S", "ip6tables -S", "nft list ruleset", "ipset list"].map(ask).concat()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in [&self.host, &self.client] {
            let _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}

#[track_caller]
fn ip(args: &[&str]) {
    run(Command::new("ip").args(args));
}

fn is_possible() -> bool {
    available("root, for network namespaces", nix::unistd::geteuid().is_root())
        && available("fail2ban's stock actions", stock().join("iptables-ipset.conf").exists())
        && ["ip", "curl", "iptables", "ip6tables", "nft", "ipset"]
            .into_iter()
            .all(|name| available(name, has_program(name)))
}

/// One jail with a stock action, with all the files that might belong to it.
fn place(action: &str) -> Place {
    let place = Place::new();
    for entry in fs::read_dir(stock()).expect("the stock actions").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("iptables") || name.starts_with("nftables") {
            let text = fs::read_to_string(entry.path()).expect("a stock action");
            place.write(&format!("action.d/{name}"), &text);
        }
    }
    place.write("log", "");
    place.write("filter.d/any.conf", "[Definition]\nfailregex = ^<HOST>$\n");
    place.write(
        "jail.conf",
        &format!(
            "[web]\nenabled = true\nfilter = any\nbackend = polling\nlogpath = %(fail2ban_confpath)s/log\n\
             ignoreself = false\nusedns = no\nbantime = 1h\naction = {action}[name=web, port=80, protocol=tcp]\n"
        ),
    );
    place
}

#[track_caller]
fn check(case: &Case) {
    if !is_possible() {
        return;
    }
    let (net, place) = (Net::new(case.action), place(case.action));
    net.administer(case.own);
    let before = net.rules();
    let mut server = net.on_host(binary("f2b-server"));
    server.arg("-c").arg(place.path()).args(["-f", "start"]);
    let server = place.spawn(&mut server);
    assert_eq!(net.rules(), before, "the firewall is touched by the first ban of a family");

    let scene = Scene { case, net: &net, place: &place };
    scene.bans_block_who_is_banned_and_nobody_else();
    scene.a_lost_hook_is_noticed_when_somebody_banned_comes_back();
    scene.an_empty_firewall_is_noticed_by_the_next_ban();
    scene.the_end_of_a_ban_lets_through();
    scene.a_stop_leaves_nothing_behind(server, &before);
}

/// A test under way.
struct Scene<'a> {
    case: &'a Case,
    net: &'a Net,
    place: &'a Place,
}

impl Scene<'_> {
    fn ban(&self, ids: &[&str]) {
        self.place.ask(&[&["set", "web", "banip"], ids].concat());
    }

    #[track_caller]
    fn expect_blocked(&self, when: &str) {
        for (bad, good) in std::iter::zip(BAD, GOOD) {
            let state = || format!("{when}\n{}\n{}", self.net.rules(), self.place.log());
            assert!(!self.net.gets_through(bad, 80), "{bad} is not blocked {}", state());
            assert_eq!(self.net.gets_through(bad, 81), !self.case.all_ports, "{bad} at port 81 {}", state());
            assert!(self.net.gets_through(good, 80), "{good} is blocked {}", state());
        }
    }

    #[track_caller]
    fn expect_open(&self, when: &str) {
        for address in BAD.into_iter().chain(GOOD) {
            let open = self.net.gets_through(address, 80) && self.net.gets_through(address, 81);
            assert!(open, "{address} is blocked {when}\n{}\n{}", self.net.rules(), self.place.log());
        }
    }

    fn has_logged(&self, text: &str) -> bool {
        self.place.log().contains(text)
    }

    fn bans_block_who_is_banned_and_nobody_else(&self) {
        self.expect_open("at first");
        self.ban(&BAD);
        self.expect_blocked("by its ban");
        assert!(!self.has_logged("ERROR"), "{}", self.place.log());
    }

    /// The commands for a ban still work without the hook; only the check can tell.
    fn a_lost_hook_is_noticed_when_somebody_banned_comes_back(&self) {
        self.net.administer(self.case.unhook);
        self.net.administer(self.case.own);
        self.expect_open("without the hook");
        let [four, six] = BAD.map(|address| format!("[web] Reban {address}, action '{}'", self.case.action));
        // A ban has to be some seconds old before anybody wonders.
        wait_until("the bans are repeated", || {
            self.ban(&BAD);
            self.has_logged(&four) && self.has_logged(&six)
        });
        assert!(self.has_logged("Invariant check failed. Trying to restore a sane environment"));
        self.expect_blocked("again");
    }

    /// A ban finds nothing to put its rule into: the action starts again, and who is banned is banned once more as soon
    /// as he is seen.
    fn an_empty_firewall_is_noticed_by_the_next_ban(&self) {
        self.net.administer(self.case.empty);
        self.net.administer(self.case.own);
        self.expect_open("without any rule");
        let rebans = |log: &str| log.matches("] Reban ").count();
        let earlier = rebans(&self.place.log());
        self.ban(&OTHER);
        let log = self.place.log();
        assert!(!log.contains("Failed to execute ban"), "{log}");
        assert!(OTHER.iter().all(|address| self.net.rules().contains(address)), "{}", self.net.rules());
        assert_eq!(rebans(&log), earlier, "{log}");
        self.ban(&BAD);
        assert_eq!(rebans(&self.place.log()), earlier + 2, "{}", self.place.log());
        // The repair for IPv6 came after the ban for IPv4, which may have got lost in it.
        self.ban(&OTHER);
        assert_eq!(rebans(&self.place.log()), earlier + 3, "{}", self.place.log());
        self.expect_blocked("once more");
    }

    fn the_end_of_a_ban_lets_through(&self) {
        self.place.ask(&[&["set", "web", "unbanip"], &BAD[..]].concat());
        self.expect_open("after the end of the ban");
    }

    fn a_stop_leaves_nothing_behind(&self, mut server: Process, before: &str) {
        self.ban(&BAD);
        self.expect_blocked("for the last time");
        self.place.ask(&["stop"]);
        server.0.wait().expect("the server ends");
        assert_eq!(self.net.rules(), before, "{}", self.place.log());
        self.expect_open("after the end");
    }
}

#[test]
fn iptables_multiport() {
    check(&Case {
        action: "iptables-multiport",
        all_ports: false,
        own: OWN_IPTABLES,
        unhook: UNHOOK_IPTABLES,
        empty: EMPTY_IPTABLES,
    });
}

#[test]
fn iptables_allports() {
    check(&Case {
        action: "iptables-allports",
        all_ports: true,
        own: OWN_IPTABLES,
        unhook: UNHOOK_IPTABLES,
        empty: EMPTY_IPTABLES,
    });
}

#[test]
fn iptables_ipset() {
    check(&Case {
        action: "iptables-ipset",
        all_ports: false,
        own: OWN_IPTABLES,
        unhook: UNHOOK_IPTABLES,
        empty: "iptables -F\nip6tables -F\nsleep 1\nipset destroy",
    });
}

#[test]
fn nftables_multiport() {
    check(&Case {
        action: "nftables-multiport",
        all_ports: false,
        own: OWN_NFTABLES,
        unhook: "nft flush chain inet f2b-table f2b-chain\nnft delete table inet own",
        empty: "nft flush ruleset",
    });
}

#[test]
fn nftables_allports() {
    check(&Case {
        action: "nftables-allports",
        all_ports: true,
        own: OWN_NFTABLES,
        unhook: "nft flush chain inet f2b-table f2b-chain\nnft delete table inet own",
        empty: "nft flush ruleset",
    });
}
