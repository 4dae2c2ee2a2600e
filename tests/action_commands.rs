//! What actions run, in which order, and what is logged about it: upstream's server beside ours.
//!
//! Both get the same configuration and the same commands from a client, and whatever their actions call is a program
//! that only writes down how it was called (`support/recorder.rs`). All calls, all answers and all that the log says about
//! actions have to be the same in every scene, down to the level on which the commands themselves are logged.
//!
//! Needs fail2ban to be installed; with `PYTHONPATH` another release can be compared.

#[path = "support/played.rs"]
mod played;
#[path = "support/recorder.rs"]
mod recorder;
mod support;
#[path = "support/upstream.rs"]
mod upstream;

use std::fs;
use std::path::{Path, PathBuf};

use played::{Actor, compare};
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

/// One jail, called `all`, with these actions.
fn configure(place: &Place, actions: &str) {
    place.write("log", "");
    place.write(
        "filter.d/any.conf",
        "[Definition]\nfailregex = ^ login of <F-USER>.*</F-USER> from <HOST>$\n",
    );
    let root = place.path().display();
    place.write(
        "jail.conf",
        &format!(
            "[all]\nenabled = true\nfilter = any\nbackend = polling\nlogpath = {root}/log\nignoreself = false\n\
             usedns = no\nmaxretry = 3\nbantime = 1h\naction ={actions}"
        ),
    );
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

/// Actions that show what the stock ones don't: one with every command there is, one with its own way for each family,
/// one that is not for restored bans.
const OTHERS: &str = "
[full]
actionstart = mark full start <family>
actionstop = mark full stop
actioncheck = mark full check <family>
actionrepair = mark full repair <family>
actionflush = mark full flush
actionreload = mark full reload <family>
actionban = mark full ban <ip> <restored>
actionreban = mark full reban <ip>
actionprolong = mark full prolong <ip> <bantime> <bancount>
actionunban = mark full unban <ip>
[plain]
actionstart = mark plain start
actionstop = mark plain stop
actionreload = mark plain reload
actionban = mark plain ban <ip>
actionprolong = mark plain prolong <ip>
actionunban = mark plain unban <ip>
norestored = 1
[each]
actionstart = mark each start <family> <tool>
actionstop = mark each stop <family> <tool>
actioncheck = mark each check <tool>
actionban = mark each ban <ip> <tool>
actionunban = mark each unban <ip> <tool>
actionrepair_on_unban = 1
[Init]
tool = four
[Init?family=inet6]
tool = six
[early]
actionstart_on_demand = 0
actionstart = mark early start <family> <tool>
actionstop = mark early stop <tool>
actionflush = mark early flush <tool>
actioncheck = mark early check <tool>
actionban = mark early ban <ip>
actionunban = mark early unban <ip>
[Init]
tool = four
[Init?family=inet6]
tool = six
[last]
actionstart = mark last
actionban = mark last ban <ip>
actionprolong = mark last prolong <ip>
";

/// Writes the actions of a text, each below its name, and a jail that has all of them in this order.
fn own_actions(place: &Place, text: &str) {
    let mut names = Vec::new();
    for part in text.split("\n[").skip(1) {
        let (name, rest) = part.split_once("]\n").expect("a name");
        if name.starts_with("Init") {
            let file = format!("action.d/{}.conf", names.last().expect("an action"));
            place.append(&file, &format!("[{name}]\n{rest}\n"));
        } else {
            place.write(&format!("action.d/{name}.conf"), &format!("[Definition]\n{rest}\n"));
            names.push(name);
        }
    }
    configure(place, &format!(" {}\n", names.join("\n         ")));
}

#[test]
fn actions_of_every_kind_are_repaired_repeated_and_reloaded_alike() {
    if !is_possible() {
        return;
    }
    compare(
        |place| own_actions(place, OTHERS),
        |actor: &mut Actor| {
            actor.start(1, "mark last");
            actor.scene("bans", &["set all banip 192.0.2.1", "set all banip 2001:db8::1"]);
            for (name, failing) in [
                ("a ban fails once", vec!["full ban", "each ban"]),
                (
                    "a ban and a check fail",
                    vec!["full ban", "each ban", "early ban", "full check", "each check", "early check"],
                ),
                (
                    "a repair fails",
                    vec!["full ban", "full check", "full repair", "each ban", "each check", "each start"],
                ),
            ] {
                failing.iter().for_each(|text| actor.recorder.fail(1, &format!("mark {text}")));
                actor.scene(name, &["set all banip 192.0.2.2"]);
                actor.recorder.mend();
                actor.pause();
                actor.scene("seen again", &["set all banip 192.0.2.1"]);
                failing.iter().for_each(|text| {
                    actor.recorder.fail(1, &format!("mark {text}").replace(" ban", " unban"))
                });
                actor.scene("an unban fails", &["set all unbanip 192.0.2.2"]);
                actor.recorder.mend();
            }
            actor.pause();
            actor.recorder.fail(1, "mark each check four");
            actor.recorder.fail(2, "mark full check");
            actor.scene("an old ban is seen", &["set all banip 192.0.2.1"]);
            actor.recorder.mend();
            actor.pause();
            actor.scene("another one", &["set all banip 2001:db8::1"]);
            actor.scene("reload", &["reload"]);
            actor.recorder.fail(1, "mark full flush");
            actor.recorder.fail(1, "mark early flush four");
            actor.scene("a flush fails", &["unban --all"]);
            actor.scene("and again", &["set all banip 192.0.2.1", "set all banip 2001:db8::1"]);
            actor.recorder.fail(1, "mark full flush");
            actor.recorder.fail(1, "mark full check");
            actor.recorder.fail(1, "mark early flush four");
            actor.recorder.fail(1, "mark early check four");
            actor.recorder.fail(1, "mark each stop");
            actor.stop();
            // All of this was really played.
            for text in
                ["Trying to restore", "Unable to restore", "Unban is impossible", "Flush is impossible"]
            {
                assert!(actor.place.log().contains(text), "{text}");
            }
        },
    );
}

/// The second ban of somebody lasts longer, which the actions hear of while it is in force; a jail that starts again gives
/// its bans to those actions only that want them.
#[test]
fn bans_are_prolonged_and_restored_alike() {
    if !is_possible() {
        return;
    }
    let set = |place: &Place| {
        own_actions(place, OTHERS);
        place.append("jail.conf", "bantime.increment = true\nbantime.multipliers = 1 20\n");
    };
    compare(set, |actor: &mut Actor| {
        actor.start(1, "mark last");
        actor.scene("a short ban", &["set all bantime 1", "set all banip 192.0.2.1"]);
        actor.wait_for_calls(1, "mark each unban 192.0.2.1");
        actor.end_scene("its end", Vec::new());
        // Seconds count in the database: the second ban has to be later than the first one.
        actor.pause();
        actor.scene("a longer one", &["set all bantime 100", "set all banip 192.0.2.1"]);
        actor.wait_for_calls(1, "mark last prolong 192.0.2.1");
        actor.end_scene("prolonged", Vec::new());
        actor.stop();
        actor.start(1, "mark last ban");
        actor.scene("restored", &["set all unbanip 192.0.2.1"]);
        actor.stop();
    });
}

#[test]
fn actions_that_are_gone_after_a_reload_give_up_their_bans_alike() {
    if !is_possible() {
        return;
    }
    let set = |place: &Place| {
        own_actions(place, OTHERS);
        let conf = place.read("fail2ban.conf").replace("allowipv6 = yes", "allowipv6 = no");
        place.write("fail2ban.conf", &conf);
    };
    compare(set, |actor: &mut Actor| {
        actor.start(1, "mark last");
        actor.scene("bans", &["set all banip 192.0.2.1 192.0.2.2", "set all banip 2001:db8::1"]);
        configure(&actor.place, " plain\n         each\n         last\n");
        actor.scene("reload", &["reload"]);
        actor.scene("left", &["set all banip 192.0.2.3", "set all unbanip 192.0.2.1"]);
        configure(&actor.place, " each\n         last\n");
        actor.recorder.fail(1, "mark plain unban");
        actor.recorder.fail(1, "mark plain stop");
        actor.scene("reload of one jail", &["reload all"]);
        actor.scene("restart", &["reload --unban all"]);
        actor.stop();
    });
}

#[test]
fn actions_are_changed_while_bans_are_in_force_alike() {
    if !is_possible() {
        return;
    }
    compare(
        |place| own_actions(place, OTHERS),
        |actor: &mut Actor| {
            actor.start(1, "mark last");
            actor.scene("bans", &["set all banip 192.0.2.1", "set all banip 2001:db8::1"]);
            actor.scene(
                "another command",
                &[
                    "set all action full actionban mark<sp>new<sp>ban<sp><ip>",
                    "set all action full timeout 5m",
                    "set all action each tool changed",
                    "set all banip 192.0.2.2",
                    "set all unbanip 2001:db8::1",
                ],
            );
            actor.scene(
                "another action",
                &[
                    "set all addaction extra",
                    "set all action extra actionstart mark<sp>extra<sp>start",
                    "set all action extra actionban mark<sp>extra<sp>ban<sp><ip>",
                    "set all action extra actionunban mark<sp>extra<sp>unban<sp><ip>",
                    "set all banip 192.0.2.3 198.51.100.0/24 2001:db8:1::/48",
                    "get all actions",
                    "set all unbanip 192.0.2.1",
                    "set all unbanip 192.0.2.3",
                ],
            );
            actor.scene(
                "one action less",
                &["set all delaction plain", "set all delaction plain", "get all actions"],
            );
            actor.scene(
                "methods",
                &[
                    "set all action full flush",
                    "set all action each stop",
                    "set all action each start",
                    "set all action full consistencyCheck",
                    "set all action full consistencyCheck",
                    "set all action each invalidateBanEpoch",
                    "set all action full nonsense",
                ],
            );
            actor.scene("the jail stops", &["stop all", "status"]);
            actor.stop();
        },
    );
}

/// Commands that fail in every way there is.
const FAILING: &str = r#"
[missing]
actionban = no-such-program-at-all <ip>
[missing-file]
actionban = :
actionunban = ./no/such/file <ip>
[forbidden]
actionban = /dev/null <ip>
[directory]
actionban = :
actionunban = /etc <ip>
[killed]
actionban = kill -9 $$
[broken]
actionban = :
actionunban = sh -c 'kill -SEGV $$'
[talking]
actionban = printf 'one\n\ntwo\r\nthree "\047\t\351 \303\251'; printf 'no\nend' >&2; exit 3
[whispering]
actionban = echo fine; echo almost >&2
actionunban = exit 255
[wrong]
actionban = if then <ip>
[hanging]
actionban = echo begun; trap '' TERM; /bin/sleep 61
[Init]
timeout = 1
[forking]
actionban = :
actionunban = (/bin/sleep 61; mark late) & wait
[Init]
timeout = 1
[tags]
actionban = mark <matches> <none> <F-USER> <F-*> <ip-host> <family>
actionunban = mark '<raw-ticket>'
[last]
actionstart = mark last
actionban = mark last ban <ip>
"#;

#[test]
fn commands_that_fail_are_explained_alike() {
    if !is_possible() {
        return;
    }
    compare(
        |place| own_actions(place, FAILING),
        |actor: &mut Actor| {
            actor.start(1, "mark last");
            actor.scene("bans", &["set all banip 192.0.2.1"]);
            actor.scene("unbans", &["set all unbanip 192.0.2.1"]);
            actor.stop();
        },
    );
}
