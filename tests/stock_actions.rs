//! The actions that come with f2b, on the tools they are for, in a network namespace.

mod support;

use std::process::Command;

use support::{Place, available, binary, has_program, repository, run, wait_until};

/// A network namespace that goes away with the test.
struct Namespace(String);

impl Namespace {
    fn new() -> Self {
        let name = format!("f2b-{}-actions", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]));
        Self(name)
    }

    /// A program that runs there.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).arg(program);
        command
    }

    /// The rules of both families.
    fn rules(&self) -> [String; 2] {
        ["iptables", "ip6tables"].map(|program| run(self.command(program).arg("-S")))
    }

    #[track_caller]
    fn wait_for_rules(&self, what: &str, is_there: impl Fn(&[String; 2]) -> bool) {
        wait_until(what, || is_there(&self.rules()));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

fn has_firewall() -> bool {
    available("root", nix::unistd::geteuid().is_root())
        && ["ip", "iptables", "ip6tables"].into_iter().all(|name| available(name, has_program(name)))
}

/// Two jails that share a chain of the firewall, with the action of the repository.
fn place() -> Place {
    let place = Place::new();
    let action = std::fs::read_to_string(repository().join("action.d/iptables.conf")).expect("the action");
    place.write("action.d/iptables.conf", &action);
    place.write("log", "");
    place.write("filter.d/any.conf", "[Definition]\nfailregex = ^<HOST>$\n");
    place.write(
        "jail.conf",
        "[DEFAULT]\nenabled = true\nfilter = any\nbackend = polling\nlogpath = %(fail2ban_confpath)s/log\nusedns = no\n\
         [web]\naction = iptables[port=\"http,https\"]\n[all]\naction = iptables[blocktype=DROP]\n",
    );
    place
}

#[test]
fn iptables_bans_and_unbans_in_both_families_and_leaves_nothing_behind() {
    if !has_firewall() {
        return;
    }
    let (namespace, place) = (Namespace::new(), place());
    let before = namespace.rules();
    let mut server = namespace.command(binary("f2b-server"));
    server.arg("-c").arg(place.path()).args(["-f", "start"]);
    let mut server = place.spawn(&mut server);

    place.ask(&["set", "web", "banip", "192.0.2.1", "192.0.2.2", "2001:db8::1"]);
    place.ask(&["set", "all", "banip", "192.0.2.1"]);
    let hook = "-A INPUT -p tcp -m multiport --dports 80,443 -m comment --comment \"f2b: web\" -j f2b-web\n";
    let has_bans = |[four, six]: &[String; 2]| {
        four.contains("-A f2b-web -s 192.0.2.1/32 -j REJECT")
            && four.contains("-A f2b-web -s 192.0.2.2/32 -j REJECT")
            && four.contains("-A f2b-all -s 192.0.2.1/32 -j DROP")
            && six.contains("-A f2b-web -s 2001:db8::1/128 -j REJECT")
    };
    namespace.wait_for_rules("the bans", has_bans);
    let [four, six] = namespace.rules();
    assert!(four.contains(hook) && six.contains(hook), "{four}\n{six}");
    assert!(!six.contains("f2b-all"), "a jail touches a family at its first ban: {six}");

    place.ask(&["set", "web", "unbanip", "192.0.2.1", "2001:db8::1"]);
    namespace.wait_for_rules("the bans of web have ended", |[four, six]| {
        !four.contains("-A f2b-web -s 192.0.2.1/32") && !six.contains("-s 2001:db8::1")
    });
    let [four, _] = namespace.rules();
    assert!(
        four.contains("-A f2b-web -s 192.0.2.2/32") && four.contains("-A f2b-all -s 192.0.2.1/32"),
        "{four}"
    );

    assert!(!place.log().contains("ERROR"), "{}", place.log());

    // Somebody else has emptied the firewall: the next ban finds it out and starts the action again.
    run(namespace.command("iptables").args(["-F", "INPUT"]));
    place.ask(&["set", "web", "banip", "192.0.2.3"]);
    namespace.wait_for_rules("the hook is back", |[four, _]| {
        four.contains(hook) && four.contains("-A f2b-web -s 192.0.2.3/32")
    });

    place.ask(&["stop"]);
    server.0.wait().expect("the server ends");
    assert_eq!(namespace.rules(), before);
}
