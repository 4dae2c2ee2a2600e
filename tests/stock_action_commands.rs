//! What the stock actions run, in which order, and what is logged about it: upstream's server beside ours.
//!
//! Each server has one jail with all of them (`support/played.rs` says what is compared), so that the order is that of the
//! configuration.

#[path = "support/played.rs"]
mod played;
#[path = "support/recorder.rs"]
mod recorder;
mod support;
#[path = "support/upstream.rs"]
mod upstream;

use std::fs;
use std::path::{Path, PathBuf};

use played::{Actor, compare, configure};
use recorder::Recorder;
use support::{Place, available};

/// The stock actions: those of the configuration in `/etc/fail2ban`, or in `F2B_TEST_CONFIG`.
fn stock() -> PathBuf {
    let root = std::env::var_os("F2B_TEST_CONFIG").unwrap_or_else(|| "/etc/fail2ban".into());
    Path::new(&root).join("action.d")
}

/// Parameters of stock actions that would otherwise touch a file of the system, or lack something.
const PARAMETERS: [(&str, &str); 22] = [
    ("abuseipdb", "abuseipdb_apikey=key, abuseipdb_category=\"18,22\""),
    ("blocklist_de", "email=me@example.org, apikey=key, service=ssh, agent=me"),
    ("bsd-ipfw", "startstatefile=ROOT/ipfw"),
    ("cloudflare", "cfuser=me, cftoken=token"),
    ("cloudflare-token", "cfzone=zone, cftoken=token"),
    ("dshield", "tmpfile=ROOT/dshield, myip=203.0.113.1"),
    ("dummy", "target=ROOT/dummy"),
    ("hostsdeny", "file=ROOT/hosts.deny"),
    ("ipthreat", "ipthreat_apikey=key"),
    ("mail-buffered", "tmpfile=ROOT/mail.txt, lines=2"),
    ("mynetwatchman", "tmpfile=ROOT/mynetwatchman, mnwlogin=me, mnwpass=word, myip=203.0.113.1"),
    ("netscaler", "ns_host=netscaler.example.org, ns_auth=auth, ns_dataset=set"),
    ("nginx-block-map", "srv_cfg_path=ROOT/, srv_pid=ROOT/nginx.pid"),
    ("nsupdate", "domain=example.org, nsupdatecmd=nsupdate, keyfile=key"),
    ("osx-ipfw", "rulenum=10000"),
    ("sendmail-buffered", "tmpfile=ROOT/sendmail.txt, lines=2, mailcmd=sendmail"),
    ("sendmail", "mailcmd=\"sendmail -f me you\""),
    ("ufw", "application=ssh, kill-mode=ss"),
    ("xarf-login-attack", "mailcmd=sendmail, debug=0"),
    ("complain", "debug=1"),
    ("firewallcmd-ipset", "actiontype=\"<allports>\""),
    ("shorewall-ipset-proto6", "ipsettime=600"),
];

/// Files of `action.d` that others include, and what is no action of commands.
fn is_action(name: &str) -> bool {
    !name.ends_with("-common") && name != NEVER_WORKS
}

/// Writes below `/proc/net/xt_recent`, which is not there, so that each of its bans fails and begins a repair.
const NEVER_WORKS: &str = "iptables-xt_recent-echo";

/// A jail with all the stock actions, and one behind them that tells when a server has come so far.
fn all_stock_actions(place: &Place) {
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(stock()).expect("the stock actions").flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        if let Some(name) = file.strip_suffix(".conf") {
            let text = fs::read_to_string(entry.path()).expect("a stock action");
            place.write(&format!("action.d/{file}"), &text);
            names.push(name.into());
        }
    }
    names.sort();
    let root = place.path().display().to_string();
    let mut actions = String::new();
    for name in names.iter().filter(|name| is_action(name)) {
        let known = PARAMETERS.iter().find(|(action, _)| action == name);
        let mail =
            if name.starts_with("sendmail-") { ", mailcmd=sendmail -f \"<sender>\" \"<dest>\"" } else { "" };
        let more = known.map_or_else(|| mail.to_owned(), |(_, more)| format!(", {more}"));
        let more = more.replace("ROOT", &root);
        actions += &format!("         {name}[name={name}, port=\"80,443\", protocol=tcp{more}]\n");
    }
    place.write("action.d/last.conf", "[Definition]\nactionstart = mark last\nactionban = mark ban\n");
    place.write("nginx.pid", "");
    configure(place, &format!("{actions}         last\n"));
}
/// Enough failures of this user for a ban, in the log of the jail.
fn fail(place: &Place, ip: &str, user: &str) {
    let now = jiff::Timestamp::now().as_second();
    place.append("log", &format!("{now} login of {user} from {ip}\n").repeat(3));
}

fn is_possible() -> bool {
    upstream::version().is_some()
        && available("fail2ban's stock actions", stock().join("iptables.conf").exists())
}

/// What the firewalls would answer to the checks of the stock actions.
fn a_sane_environment(recorder: &Recorder) {
    let rule = |name: &str| format!("tcp dport 80 ip saddr @{name} reject # handle 5");
    let sets = ["nftables", "nftables-allports", "nftables-multiport"];
    let rules =
        sets.map(|name| [rule(&format!("addr-set-{name}")), rule(&format!("addr6-set-{name}"))].join("\n"));
    recorder.says("nft", &rules.join("\n"));
    recorder.says("firewall-cmd", "f2b-firewallcmd-allports f2b-firewallcmd-multiport f2b-firewallcmd-new");
    recorder.says("pfctl", "block from f2b-pf");
    recorder.says("curl", r#"{"result":[{"id":"rule-1"}]}"#);
}

#[test]
fn a_stock_action_that_never_works_fails_alike() {
    if !is_possible() {
        return;
    }
    let set = |place: &Place| {
        for name in [NEVER_WORKS, "iptables"] {
            let text = fs::read_to_string(stock().join(format!("{name}.conf"))).expect("an action");
            place.write(&format!("action.d/{name}.conf"), &text);
        }
        configure(place, &format!(" {NEVER_WORKS}[name=x]\n         last\n"));
        place.write(
            "action.d/last.conf",
            "[Definition]\nactionstart = mark last\nactionban = mark ban <ip>\n",
        );
    };
    compare(set, |actor: &mut Actor| {
        actor.start(1, "mark last");
        actor.scene("bans", &["set all banip 192.0.2.1", "set all banip 2001:db8::1"]);
        actor.scene("again", &["set all banip 192.0.2.1", "set all banip 2001:db8::1"]);
        actor.scene("unban", &["set all unbanip 192.0.2.1", "unban --all"]);
        actor.stop();
    });
}

#[test]
fn stock_actions_call_the_same_programs_in_the_same_order() {
    if !is_possible() {
        return;
    }
    compare(all_stock_actions, |actor: &mut Actor| {
        a_sane_environment(&actor.recorder);
        actor.start(1, "mark last");
        actor.scene("bans", &["set all banip 192.0.2.1", "set all banip 2001:db8::1"]);
        actor.pause();
        actor.scene("again", &["set all banip 192.0.2.1"]);
        actor.pause();
        actor.scene("again in the other family", &["set all banip 2001:db8::1"]);
        actor.scene("unban", &["set all unbanip 192.0.2.1", "set all unbanip 192.0.2.9"]);
        actor.scene("several", &["set all banip 192.0.2.2 192.0.2.1 2001:db8::2"]);
        // Somebody empties the firewall.
        for program in ["iptables", "ip6tables", "nft", "ipset", "pfctl", "firewall-cmd"] {
            actor.recorder.break_all(program);
        }
        actor.scene("nothing works", &["set all banip 192.0.2.3", "set all unbanip 192.0.2.2"]);
        actor.recorder.mend();
        actor.recorder.fail(60, "iptables -w -C");
        actor.recorder.fail(60, "ip6tables -w -C");
        actor.pause();
        actor.scene("the firewall is repaired", &["set all banip 192.0.2.1"]);
        actor.pause();
        actor.scene("in the other family, too", &["set all banip 2001:db8::1"]);
        actor.recorder.mend();
        actor.scene("not an address", &["set all banip somebody", "set all unbanip somebody"]);
        fail(&actor.place, "192.0.2.7", "it's $(id) \"me\" <ip>");
        actor.wait_for_calls(1, "mark ban");
        actor.end_scene("a ban from the log", Vec::new());
        actor.place.ask(&[
            "set",
            "all",
            "attempt",
            "192.0.2.8",
            "one",
            "two\\three",
            "fo'ur `five` <matches>",
        ]);
        actor.wait_for_calls(1, "mark ban");
        actor.end_scene("a ban of attempts", Vec::new());
        actor.scene("reload", &["reload"]);
        actor.scene("everybody", &["unban --all"]);
        actor.scene("after the flush", &["set all banip 192.0.2.1", "set all banip 2001:db8::1"]);
        // Only one is left, since upstream's log counts what is restored by tens.
        actor.scene("the other one", &["set all unbanip 2001:db8::1"]);
        actor.stop();
        actor.start(1, "mark ban");
        actor.scene("restored", &["set all unbanip 192.0.2.1", "set all banip 192.0.2.2"]);
        actor.stop();
    });
}
