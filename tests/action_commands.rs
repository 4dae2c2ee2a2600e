//! What actions run, in which order, and what is logged about it: upstream's server beside ours, with actions that show
//! what the stock ones don't (`tests/stock_action_commands.rs`).
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

use played::{Actor, compare, configure};
use support::Place;

fn is_possible() -> bool {
    upstream::version().is_some()
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
            actor.scene(
                "methods about a ban",
                &[
                    r#"set all action full ban {"aInfo":{"ip":"192.0.2.9","family":"inet4","restored":0}}"#,
                    r#"set all action each ban {"aInfo":{"ip":"2001:db8::9","family":"inet6"}}"#,
                    r#"set all action plain reban {"aInfo":{"ip":"$(id)","F-*":{"user":"a'b"}}}"#,
                    r#"set all action full reban {"aInfo":{"ip":"192.0.2.9","family":null}}"#,
                    r#"set all action full prolong {"aInfo":{"ip":"192.0.2.9","bantime":1.5,"bancount":null}}"#,
                    r#"set all action full unban {"aInfo":{"ip":"192.0.2.9","family":"inet4"}}"#,
                    r#"set all action last unban {"aInfo":{}}"#,
                    r#"set all action last ban {"aInfo":{"ip":"192.0.2.9"}}"#,
                    "set all action full ban",
                    "set all action full ban {}",
                    "set all action full ban []",
                    "set all action full ban ip",
                    r#"set all action full ban {"aInfo":"192.0.2.9"}"#,
                    r#"set all action full start {"x":1}"#,
                    r#"set all action full escapeTag {"value":"a'b<c>"}"#,
                    r#"set all action full executeCmd {"realCmd":"mark<sp>x"}"#,
                    r#"set all action full executeCmd {"realCmd":"exit","timeout":5}"#,
                    r#"set all action full replaceTag {"query":"<a><b>","aInfo":{"a":"<b>","b":"c"}}"#,
                    r#"set all action full replaceTag {"query":"<a>"}"#,
                    r#"set all action full replaceDynamicTags {"realCmd":"<a><F-USER>","aInfo":{"a":"b","F-*":{"user":"'"}}}"#,
                    r#"set all action full replaceDynamicTags {"realCmd":"<a>","aInfo":{"a":"b"}}"#,
                    r#"set all action full reload {"any":1}"#,
                ],
            );
            actor.scene("the jail stops", &["stop all", "status"]);
            actor.stop();
        },
    );
}

/// What is known of a ban. The pause is for upstream's database, which is told of a ban beside its actions.
const TAGS: &str = r#"
[pause]
actionban = /bin/sleep 0.5
[tags]
actionflush = :
actionban = mark ban <ip> <family> <ip-rev> <fid> <failures> <bantime> <bancount> <restored> <name> JAIL
            mark time "$(echo <time> | sed -E 's/^[0-9]+//; /^([.]0|[.]25)?$/!s/.*/of now/')"
            mark here "<br>" "<sp>" <fq-hostname> <sh-hostname> '<unknown>'
            mark lines "<matches>" "<ipmatches>" "<ipjailmatches>" <ipfailures> <ipjailfailures>
            mark groups "<F-USER>" "<F-ID>" "<F-NONE>" "<F-*>"
            mark ticket "<raw-ticket>"
actionunban = mark unban <ip> <ip-host> <failures>
[counts]
norestored = 1
actionban = mark counts <jail.banned> <jail.banned_total> <jail.found> <jail.found_total>
"#;

/// Failures with dates of every kind, and one that is banned a second time; then that one comes back from the database.
#[test]
fn every_tag_says_the_same() {
    let Some(version) = upstream::version() else { return };
    // Before release 1.1 there was no such tag.
    let jail = if version.starts_with("1.0") { "" } else { "<jail.name>" };
    let set = |place: &Place| {
        own_actions(place, &TAGS.replace("JAIL", jail));
        let conf = place.read("jail.conf").replace("maxretry = 3", "maxretry = 1");
        place.write("jail.conf", &conf);
    };
    let now = jiff::Timestamp::now();
    let zoned = now.to_zoned(jiff::tz::TimeZone::UTC);
    let dates = [
        zoned.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        zoned.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string(),
        zoned.strftime("%Y-%m-%d %H:%M:%S.250").to_string(),
        now.as_second().to_string(),
        format!("{}.250", now.as_second()),
        // (Upstream reads the label as seconds since 1970.)
        format!("@{:024x}", (0x4000_0000_0000_0000_u128 + now.as_second() as u128) << 32),
    ];
    compare(set, |actor: &mut Actor| {
        actor.start(0, "mark");
        let fail = |actor: &mut Actor, number: usize, line: &str| {
            actor.place.append("log", &format!("{line}\n"));
            actor.wait_for_calls(number, "mark ticket");
        };
        for (number, date) in dates.iter().enumerate() {
            let ip = if number == 0 { "127.0.0.1".into() } else { format!("2001:db8::{number}") };
            fail(actor, number + 1, &format!("{date} login of it's \"$USER\" `id` from {ip}"));
        }
        actor.end_scene("bans", Vec::new());
        actor.scene("an unban", &["set all unbanip 127.0.0.1"]);
        fail(actor, 1, &format!("{} login of <ip> from 127.0.0.1", dates[1]));
        actor.scene("more bans", &["set all banip 192.0.2.1 192.0.2.2 192.0.2.3"]);
        actor.scene("one is left", &["set all unbanip 2001:db8::/32 192.0.2.0/24"]);
        actor.stop();
        actor.start(1, "mark ticket");
        actor.stop();
    });
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
