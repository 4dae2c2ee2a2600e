//! `-d` prints what the original's `-d` prints, and exits alike, on whole configuration directories.
//!
//! The original is the installed `fail2ban-client`, or what `FAIL2BAN_CLIENT` names. What 1.1 reads otherwise than 1.0
//! is left out of a comparison with 1.0: see [`as_before_1_1`].

mod support;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::{available, binary, copy, repository};
use tempfile::TempDir;

fn original() -> PathBuf {
    env::var_os("FAIL2BAN_CLIENT").unwrap_or("/usr/bin/fail2ban-client".into()).into()
}

/// The stock configuration of the installed fail2ban, or what `FAIL2BAN_STOCK` names.
fn stock() -> PathBuf {
    env::var_os("FAIL2BAN_STOCK").unwrap_or("/etc/fail2ban".into()).into()
}

fn has_original() -> bool {
    available("fail2ban", original().is_file() && stock().join("jail.conf").is_file())
}

/// Standard output and whether it went well.
fn dump(client: &Path, root: &Path, args: &[&str]) -> (Vec<String>, bool) {
    let output = Command::new(client).arg("-c").arg(root).args(args).output().expect("the client runs");
    let text = String::from_utf8_lossy(&output.stdout);
    (text.lines().map(str::to_owned).collect(), output.status.success())
}

/// Compares lines and exit of both, those of 1.0 without what 1.1 reads otherwise.
#[track_caller]
fn compare(what: &str, root: &Path, args: &[&str]) -> Vec<String> {
    let (version, _) = dump(&original(), root, &["-V"]);
    let is_old = version.concat().starts_with("1.0");
    compare_through(if is_old { as_before_1_1 } else { |lines| lines }, what, root, args)
}

#[track_caller]
fn compare_through(
    view: fn(Vec<String>) -> Vec<String>,
    what: &str,
    root: &Path,
    args: &[&str],
) -> Vec<String> {
    let (ours, our_exit) = dump(&binary("f2b-client"), root, args);
    let (theirs, their_exit) = dump(&original(), root, args);
    let (ours, theirs) = (view(ours), view(theirs));
    for (number, (our_line, their_line)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(our_line, their_line, "{what}: line {number}, ours first");
    }
    assert_eq!((ours.len(), our_exit), (theirs.len(), their_exit), "{what}: lines and exit, ours first");
    ours
}

/// 1.0 does not apply an option that a jail gives to an action's conditional variants of it: these are cut out. It also
/// says nothing at the end of a failed test.
fn as_before_1_1(lines: Vec<String>) -> Vec<String> {
    let is_conditional = |part: &&str| !part.contains("?family=inet6'");
    let cut = |line: String| line.split(", [").filter(is_conditional).collect::<Vec<_>>().join(", [");
    lines.into_iter().filter(|line| line != "ERROR: test configuration failed").map(cut).collect()
}

fn copy_of(from: impl AsRef<Path>) -> TempDir {
    let root = tempfile::tempdir().expect("a directory");
    copy(from.as_ref(), root.path());
    root
}

/// The jails of the stock configuration, all of which are off but for one.
fn stock_jails() -> Vec<String> {
    let text = fs::read_to_string(stock().join("jail.conf")).expect("the stock jails");
    let names = text.lines().filter_map(|line| line.strip_prefix('[')?.strip_suffix(']'));
    names.filter(|name| !matches!(*name, "DEFAULT" | "INCLUDES")).map(str::to_owned).collect()
}

#[test]
fn the_stock_configuration_reads_alike() {
    if has_original() {
        compare("as installed", &stock(), &["-d"]);
        compare("as installed, tested", &stock(), &["-d", "-t"]);
    }
}

#[test]
fn all_stock_jails_together_read_alike() {
    if !has_original() {
        return;
    }
    let root = copy_of(stock());
    let jails = stock_jails();
    let on: String = jails.iter().map(|name| format!("[{name}]\nenabled = true\n")).collect();
    fs::write(root.path().join("jail.local"), on).expect("a file");
    let lines = compare("all jails", root.path(), &["-d"]);
    let started = lines.iter().filter(|line| line.starts_with("['start', ")).count();
    assert_eq!(started, jails.len());
}

#[test]
fn each_stock_jail_by_itself_reads_alike() {
    if !has_original() {
        return;
    }
    let root = copy_of(stock());
    for jail in stock_jails() {
        let text = format!("[DEFAULT]\nenabled = false\n[{jail}]\nenabled = true\n");
        fs::write(root.path().join("jail.local"), text).expect("a file");
        let lines = compare(&jail, root.path(), &["-d"]);
        assert!(lines.contains(&format!("['start', '{jail}']")), "{jail}");
    }
}

#[test]
fn the_jail_for_nginx_proxy_manager_reads_alike_with_and_without_logs() {
    if !has_original() {
        return;
    }
    let root = copy_of(repository().join("examples/npm"));
    compare("without logs", root.path(), &["-d"]);
    let logs = root.path().join("logs");
    fs::create_dir(&logs).expect("a directory");
    for name in ["proxy-host-2_access.log", "proxy-host-10_access.log", "proxy-host-1_error.log"] {
        fs::write(logs.join(name), "").expect("a file");
    }
    let text =
        format!("[npm-general-forceful-browsing]\nlogpath = {}/proxy-host-*_access.log\n", logs.display());
    fs::write(root.path().join("jail.d/zzz.local"), text).expect("a file");
    let lines = compare("with logs", root.path(), &["-d"]);
    assert_eq!(lines.iter().filter(|line| line.contains("'addlogpath'")).count(), 2);
}

/// The user's own configuration, without what makes the example runnable, beside the given `fail2ban.conf`.
fn users_own(fail2ban_conf: &Path) -> TempDir {
    let root = copy_of(repository().join("examples/npm"));
    fs::remove_file(root.path().join("jail.d/zz-example.local")).expect("the part of the example");
    fs::copy(fail2ban_conf, root.path().join("fail2ban.conf")).expect("a copy");
    root
}

/// His logs, and the script that his actions call, need not exist. Nothing of it is read otherwise by 1.0: all lines
/// are compared as they are.
#[test]
fn the_users_own_configuration_reads_alike() {
    if !has_original() {
        return;
    }
    let root = users_own(&stock().join("fail2ban.conf"));
    let lines = compare_through(|lines| lines, "the user's own", root.path(), &["-d"]);
    assert_eq!(lines[7..], USERS_OWN.lines().collect::<Vec<_>>()[7..]);
}

#[test]
fn the_users_own_configuration_comes_to_these_commands() {
    let root = users_own(&repository().join("fail2ban.conf"));
    let (lines, exit) = dump(&binary("f2b-client"), root.path(), &["-d"]);
    assert_eq!(lines.join("\n") + "\n", USERS_OWN);
    assert!(exit);
}

/// What the user's own configuration comes to; an action's addresses of IPv6 are told apart as 1.1 tells them.
const USERS_OWN: &str = r##"['set', 'syslogsocket', 'auto']
['set', 'loglevel', 'INFO']
['set', 'logtarget', '/var/log/fail2ban.log']
['set', 'allowipv6', 'auto']
['set', 'dbfile', '/var/lib/fail2ban/fail2ban.sqlite3']
['set', 'dbmaxmatches', 10]
['set', 'dbpurgeage', '1d']
['add', 'npm-general-forceful-browsing', 'auto']
['set', 'npm-general-forceful-browsing', 'addignoreregex', '^.* (404|\\-) (404) - .*".*(\\.png|\\.txt|\\.jpg|\\.ico|\\.js|\\.css|\\.ttf|\\.woff|\\.woff2)(/)*?" \\[Client <HOST>\\] \\[Length .*\\] ".*" .*$']
['set', 'npm-general-forceful-browsing', 'addfailregex', '^.* (405|404|403|401|\\-) (405|404|403|401) - .* \\[Client <HOST>\\] \\[Length .*\\] .* \\[Sent-to <F-CONTAINER>.*</F-CONTAINER>\\] <F-USERAGENT>".*"</F-USERAGENT> .*$']
['set', 'npm-general-forceful-browsing', 'maxretry', 15]
['set', 'npm-general-forceful-browsing', 'findtime', '60']
['set', 'npm-general-forceful-browsing', 'bantime', '600']
['set', 'npm-general-forceful-browsing', 'bantime.increment', True]
['set', 'npm-general-forceful-browsing', 'bantime.multipliers', '1 5 30 60 300 720 1440 2880']
['set', 'npm-general-forceful-browsing', 'bantime.rndtime', '2048']
['set', 'npm-general-forceful-browsing', 'addignoreip', '127.0.0.1/8', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '173.245.48.0/20', '103.21.244.0/22', '2400:cb00::/32', '2606:4700::/32', '2803:f800::/32', '2405:b500::/32', '2405:8100::/32', '2a06:98c0::/29', '2c0f:f248::/32']
['set', 'npm-general-forceful-browsing', 'addaction', 'action-ban-docker-forceful-browsing']
['multi-set', 'npm-general-forceful-browsing', 'action', 'action-ban-docker-forceful-browsing', [['actionstart', 'bash /data/action.d/telegram_notif.sh -a start'], ['actionstop', 'bash /data/action.d/telegram_notif.sh -a stop'], ['actionban', 'iptables -I DOCKER-USER -m string --algo bm --string \'X-Forwarded-For: <ip>\' -j DROP\nbash /data/action.d/telegram_notif.sh -b <ip> -r "forceful browsing on <F-CONTAINER> (npm-general-forceful-browsing)"'], ['actionunban', "iptables -D DOCKER-USER -m string --algo bm --string 'X-Forwarded-For: <ip>' -j DROP\nbash /data/action.d/telegram_notif.sh -u <ip>"], ['name', 'npm-general-forceful-browsing'], ['actname', 'action-ban-docker-forceful-browsing']]]
['set', 'npm-general-forceful-browsing', 'addaction', 'action-ban-cloudflare']
['multi-set', 'npm-general-forceful-browsing', 'action', 'action-ban-cloudflare', [['actioncheck', ''], ['actionban', 'curl -s -o /dev/null -X POST -H \'X-Auth-Email: admin@example.org\' -H \'X-Auth-Key: 0123456789abcdef\' -H \'Content-Type: application/json\' \\\n-d \'{"mode":"block","configuration":{"target":"<cftarget>","value":"<ip>"},"notes":"Fail2Ban npm-general-forceful-browsing"}\' https://api.cloudflare.com/client/v4/user/firewall/access_rules/rules'], ['actionunban', 'id=$(curl -s -X GET -H \'X-Auth-Email: admin@example.org\' -H \'X-Auth-Key: 0123456789abcdef\' -H \'Content-Type: application/json\' \\\n"https://api.cloudflare.com/client/v4/user/firewall/access_rules/rules?mode=block&configuration_target=<cftarget>&configuration_value=<ip>&page=1&per_page=1&notes=Fail2Ban%20npm-general-forceful-browsing" \\\n| { jq -r \'.result[0].id\' 2>/dev/null || tr -d \'\\n\' | sed -nE \'s/^.*"result"\\s*:\\s*\\[\\s*\\{\\s*"id"\\s*:\\s*"([^"]+)".*$/\\1/p\'; })\nif [ -z "$id" ]; then echo "npm-general-forceful-browsing: id for <ip> cannot be found"; exit 0; fi;\ncurl -s -o /dev/null -X DELETE -H \'X-Auth-Email: admin@example.org\' -H \'X-Auth-Key: 0123456789abcdef\' -H \'Content-Type: application/json\' "https://api.cloudflare.com/client/v4/user/firewall/access_rules/rules/$id"'], ['name', 'npm-general-forceful-browsing'], ['actname', 'action-ban-cloudflare'], ['cftoken', '0123456789abcdef'], ['cfuser', 'admin@example.org'], ['cftarget', 'ip'], ['cftarget?family=inet6', 'ip6']]]
['start', 'npm-general-forceful-browsing']
"##;

#[test]
fn wrong_jails_are_left_out_alike() {
    if !has_original() {
        return;
    }
    let root = copy_of(stock());
    let text = "[sshd]\nenabled = true\nbackend = polling\n[a]\nenabled = true\nfilter = no-such-filter\n\
                [b]\nenabled = true\nfilter = sshd[\n[c]\nenabled = true\nfilter = sshd\naction = no-such-action\n";
    let jails = root.path().join("jail.local");
    fs::write(&jails, text).expect("a file");
    let lines = compare("wrong jails", root.path(), &["-d"]);
    assert_eq!(lines.iter().filter(|line| line.starts_with("['config-error'")).count(), 3);
    compare("wrong jails, tested", root.path(), &["-d", "-t"]);
    fs::write(&jails, "[sshd]\nenabled = false\n[a]\nenabled = true\nfilter = no-such-filter\n")
        .expect("a file");
    compare("wrong jails alone", root.path(), &["-d"]);
    fs::write(&jails, "[sshd]\nenabled = true\nfindtime = %(nothing)s\n").expect("a file");
    compare("a reference to nothing", root.path(), &["-d"]);
    fs::write(&jails, "[sshd]\nenabled = true\nenabled = true\n").expect("a file");
    compare("an option twice", root.path(), &["-d"]);
}

/// Command lines for a directory with one jail, for one that is not there, for one with a syntax error and for one with a
/// wrong level: options, values, the order of both, and what can't be.
const COMMAND_LINES: &str = "\
-c ROOT/good -d
-c ROOT/good --dp
-c ROOT/good --dump-pretty
-c ROOT/good -t
-c ROOT/good --test
-c ROOT/good -d -t
-c ROOT/none -d
-c ROOT/none -t
-c ROOT/none ping
-c ROOT/syntax -d
-c ROOT/syntax -t
-c ROOT/syntax ping
-c ROOT/level -d
-c ROOT/level -t
-c ROOT/good --loglevel DEBUG -d
-c ROOT/good --loglevel 12 -d
-c ROOT/good --loglevel bogus -d
-c ROOT/good --loglevel= -d
-c ROOT/good --logtarget STDOUT -d
-c ROOT/good --logtarget= --syslogsocket /x -d
-c ROOT/good -s /x -p /y -d
-c ROOT/good --timeout 1m -d
-c ROOT/good -q -d
-c ROOT/good -x -b -f --async --pname z -d
-c ROOT/good -i -d
-cROOT/good -vvd
-d -c ROOT/good
--conf=ROOT/good -d --
-c ROOT/good -s ROOT/none status
-c ROOT/good -s ROOT/none ping
-c ROOT/good -s ROOT/none stop
-c ROOT/good -s ROOT/none reload
-c ROOT/good -s ROOT/none restart j
--str2sec 1d12h
--str2sec=1mo
--str2sec 1y6mo30s
--str2sec=1h#c
--str2sec=1h#5m
--str2sec='5'
--str2sec='5'#c
--str2sec=1_000
--str2sec=1_000h
--str2sec=1_0.5_0h";

#[test]
fn options_are_taken_alike() {
    if !has_original() {
        return;
    }
    let root = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    };
    for (name, text) in [
        ("good", "[Definition]\n"),
        ("syntax", "[Definition\n"),
        ("level", "[Definition]\nloglevel = loud\n"),
    ] {
        write(&format!("{name}/fail2ban.conf"), text);
        write(&format!("{name}/jail.conf"), "[j]\nenabled = true\nfilter = f\naction = a\n");
        write(&format!("{name}/filter.d/f.conf"), "[Definition]\nfailregex = ^<HOST>$\n");
        write(&format!("{name}/action.d/a.conf"), "[Definition]\nactionban = ban <ip>\n");
    }
    let path = root.path().to_string_lossy();
    let server = original().with_file_name("fail2ban-server");
    let programs = [(original(), binary("f2b-client")), (server, binary("f2b-server"))];
    for (theirs, ours) in programs.into_iter().filter(|(theirs, _)| theirs.is_file()) {
        for line in COMMAND_LINES.lines() {
            let is_for_clients = line.ends_with(|c: char| c.is_alphabetic()) && line.contains("none ");
            if is_for_clients && ours.ends_with("f2b-server") {
                continue;
            }
            let args: Vec<String> = line.split(' ').map(|word| word.replace("ROOT", &path)).collect();
            let run = |program: &Path| {
                let output =
                    Command::new(program).args(&args).stdin(Stdio::null()).output().expect("it runs");
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                (as_before_1_1(text.lines().map(str::to_owned).collect()), output.status.code())
            };
            assert_eq!(run(&ours), run(&theirs), "{line}, ours first");
        }
    }
}
