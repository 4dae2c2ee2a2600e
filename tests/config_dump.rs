//! `-d` prints what the original's `-d` prints, and exits alike, on whole configuration directories.
//!
//! The original is the installed `fail2ban-client`, or what `FAIL2BAN_CLIENT` names. What 1.1 reads otherwise than 1.0
//! is left out of a comparison with 1.0: see [`as_before_1_1`].

mod support;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{available, binary, repository};
use tempfile::TempDir;

/// The stock configuration of the installed fail2ban.
const STOCK: &str = "/etc/fail2ban";

fn original() -> PathBuf {
    env::var_os("FAIL2BAN_CLIENT").unwrap_or("/usr/bin/fail2ban-client".into()).into()
}

fn has_original() -> bool {
    available("fail2ban", original().is_file() && Path::new(STOCK).join("jail.conf").is_file())
}

/// Standard output and whether it went well.
fn dump(client: &Path, root: &Path, args: &[&str]) -> (Vec<String>, bool) {
    let output = Command::new(client).arg("-c").arg(root).args(args).output().expect("the client runs");
    let text = String::from_utf8_lossy(&output.stdout);
    (text.lines().map(str::to_owned).collect(), output.status.success())
}

#[track_caller]
fn compare(what: &str, root: &Path, args: &[&str]) -> Vec<String> {
    let (mut ours, our_exit) = dump(&binary("f2b-client"), root, args);
    let (mut theirs, their_exit) = dump(&original(), root, args);
    let (version, _) = dump(&original(), root, &["-V"]);
    if version.concat().starts_with("1.0") {
        ours = as_before_1_1(ours);
        theirs = as_before_1_1(theirs);
    }
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

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

fn copy_of(from: impl AsRef<Path>) -> TempDir {
    let root = tempfile::tempdir().expect("a directory");
    copy(from.as_ref(), root.path());
    root
}

/// The jails of the stock configuration, all of which are off but for one.
fn stock_jails() -> Vec<String> {
    let text = fs::read_to_string(Path::new(STOCK).join("jail.conf")).expect("the stock jails");
    let names = text.lines().filter_map(|line| line.strip_prefix('[')?.strip_suffix(']'));
    names.filter(|name| !matches!(*name, "DEFAULT" | "INCLUDES")).map(str::to_owned).collect()
}

#[test]
fn the_stock_configuration_reads_alike() {
    if has_original() {
        compare("as installed", Path::new(STOCK), &["-d"]);
        compare("as installed, tested", Path::new(STOCK), &["-d", "-t"]);
    }
}

#[test]
fn all_stock_jails_together_read_alike() {
    if !has_original() {
        return;
    }
    let root = copy_of(STOCK);
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
    let root = copy_of(STOCK);
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

#[test]
fn wrong_jails_are_left_out_alike() {
    if !has_original() {
        return;
    }
    let root = copy_of(STOCK);
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
