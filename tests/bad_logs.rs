//! Logs and expressions that nobody should have: each ends in an answer, in time, within little memory, and in fail2ban's
//! words and exit code where it has any.

mod support;
#[path = "support/upstream.rs"]
mod upstream;

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use support::{Place, available, binary, both, wait_until};

const LINE: &str = "2005-08-14 11:59:59 fail from 192.0.2.1\n";

/// Backtracks as long as it is allowed to on many `a` with `bc` behind.
const CATASTROPHE: &str = r"^ ?<F-ID>(?:a|aa)+</F-ID>(b|c)\2$";

const UPSTREAM: &str = "
import sys; sys.argv[0] = 'fail2ban-regex'
from fail2ban.client.fail2banregex import exec_command_line; exec_command_line()";

fn ours(args: &[&str]) -> Output {
    Command::new(binary("f2b-regex")).args(args).env("TZ", "UTC").output().expect("f2b-regex runs")
}

/// The most memory that a process has had, in KiB.
fn peak_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// The most memory that `f2b-regex` takes, in KiB, and what it prints.
fn with_peak(args: &[&str]) -> (u64, String) {
    let script = "import resource, subprocess, sys\n\
                  out = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, check=True).stdout\n\
                  peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n\
                  sys.stdout.buffer.write(b'%d\\n' % peak + out)";
    let mut python = Command::new("python3");
    let output =
        python.args(["-c", script]).arg(binary("f2b-regex")).args(args).output().expect("Python runs");
    let text = both(&output);
    let (peak, rest) = text.split_once('\n').expect("two parts");
    (peak.parse().unwrap_or_else(|_| panic!("{text}")), rest.to_owned())
}

/// Adds 100 MB without a line end but the ones around the line behind.
fn write_endless_line(path: &Path, behind: &str) {
    let mut file = fs::File::options().append(true).create(true).open(path).expect("a file");
    let part = "x from 198.51.100.1 ".repeat(50_000);
    for _ in 0..100 {
        file.write_all(part.as_bytes()).expect("a write");
    }
    file.write_all(format!("\n{behind}").as_bytes()).expect("a write");
}

fn jail(place: &Place, failregex: &str) {
    place.write(
        "filter.d/f1.conf",
        &format!("[Definition]\nfailregex = ^x$ <HOST>\n            {failregex}\n"),
    );
    place.write("action.d/note.conf", "[Definition]\nactionban = true\n");
    place.write(
        "jail.conf",
        &format!(
            "[j]\nenabled = true\nbackend = auto\nfilter = f1\naction = note\nusedns = no\nmaxretry = 1\n\
             ignoreself = false\nfindtime = 2d\ndatepattern = {{NONE}}\nlogpath = {}/j.log\n",
            place.path().display()
        ),
    );
}

#[test]
fn a_catastrophic_expression_is_given_up_with_one_warning() {
    let line = "a".repeat(60) + "bc";
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("log");
    fs::write(&log, format!("{line}\n{line}\naabb\n")).expect("a file");
    let log = log.to_str().expect("a name");
    let output = ours(&[log, CATASTROPHE, "-l", "warning", "--usedns=no"]);
    let text = both(&output);
    let warning = "[~jailless~] The failregex 1 takes too long: given up after 1000000 steps in a line of 62 \
                   characters, which counts as not matched: ";
    assert_eq!(text.matches(warning).count(), 1, "{text}");
    assert!(text.contains("Lines: 3 lines, 0 ignored, 1 matched, 2 missed"), "{text}");
    assert_eq!(output.status.code(), Some(0));
    // In a server too, where the jail and the number of the expression are named.
    let place = Place::new();
    jail(&place, CATASTROPHE);
    place.write("j.log", "");
    let server = place.start();
    place.append("j.log", &format!("{line}\n{line}\naabb\n"));
    place.wait_for_log("[j] Found aa");
    assert_eq!(place.log().matches("[j] The failregex 2 takes too long").count(), 1, "{}", place.log());
    drop(server);
}

#[test]
fn a_line_of_a_hundred_megabytes_takes_no_memory() {
    let place = Place::new();
    jail(&place, "from <HOST>$");
    let log = place.file("j.log");
    write_endless_line(&log, LINE);
    let (peak, text) = with_peak(&[log.to_str().expect("a name"), "from <ADDR>$", "-o", "id"]);
    assert_eq!(text, "192.0.2.1\n");
    assert!(peak < 100_000, "{peak} KiB");
    let server = place.start();
    place.wait_for_log("[j] Found 192.0.2.1");
    let peak = peak_of(server.0.id());
    assert!(peak < 60_000, "{peak} KiB");
    assert!(!place.log().contains("198.51.100.1"));
    drop(server);
}

/// So it is with one that comes while the log is followed, in pieces as it is written.
#[test]
fn a_line_of_a_hundred_megabytes_that_comes_takes_no_memory() {
    for backend in ["polling", "pyinotify"] {
        let place = Place::new();
        jail(&place, "from <HOST>$");
        let conf = place.read("jail.conf").replace("backend = auto", &format!("backend = {backend}"));
        place.write("jail.conf", &conf);
        place.write("j.log", LINE);
        let server = place.start();
        place.wait_for_log("[j] Found 192.0.2.1");
        write_endless_line(&place.file("j.log"), &LINE.replace("192.0.2.1", "192.0.2.2"));
        place.wait_for_log("[j] Found 192.0.2.2");
        place.append("j.log", &LINE.replace("192.0.2.1", "192.0.2.3"));
        place.wait_for_log("[j] Found 192.0.2.3");
        let peak = peak_of(server.0.id());
        assert!(peak < 60_000, "{backend}: {peak} KiB");
        assert!(!place.log().contains("198.51.100.1"));
        drop(server);
    }
}

#[test]
fn binary_data_is_read_as_lines() {
    let place = Place::new();
    jail(&place, "from <HOST>$");
    let bytes: Vec<u8> = (0..=255_u8).cycle().take(100_000).chain(LINE.bytes()).collect();
    fs::write(place.file("j.log"), &bytes).expect("a file");
    let server = place.start();
    place.wait_for_log("[j] Found 192.0.2.1");
    assert_eq!(place.log().matches("Error decoding line from").count(), 1, "{}", place.log());
    let output = ours(&[place.file("j.log").to_str().expect("a name"), "from <ADDR>$", "-o", "id"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "192.0.2.1\n");
    drop(server);
}

/// A directory and a FIFO are no logs: their names are lines, and nobody waits for a writer.
#[test]
fn what_is_no_file_is_a_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let fifo = dir.path().join("192.0.2.7");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    for path in [fifo.as_path(), dir.path()] {
        let args = [path.to_str().expect("a name"), "/(?:192|tmp|\\.)"];
        let output = ours(&[args[0], "<ADDR>$"]);
        assert!(both(&output).contains("Use      single line : "), "{}", both(&output));
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn a_log_that_shrinks_while_it_is_read_has_an_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("log");
    fs::write(&log, LINE.repeat(100_000)).expect("a file");
    // Nobody reads what is printed, so that reading stops in the middle until the file is short.
    let mut child = Command::new(binary("f2b-regex"))
        .args([log.to_str().expect("a name"), "from <ADDR>$", "-o", "id"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("f2b-regex starts");
    wait_until("the pipe is full", || {
        let wait = fs::read_to_string(format!("/proc/{}/wchan", child.id())).unwrap_or_default();
        wait.contains("pipe") || child.try_wait().expect("a process").is_some()
    });
    fs::write(&log, LINE).expect("a shorter file");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    let ids = String::from_utf8_lossy(&output.stdout);
    assert!(ids.lines().all(|id| id == "192.0.2.1"));
    assert!((1..100_000).contains(&ids.lines().count()));
}

/// Who may not read a filter is told so, as by fail2ban.
#[test]
fn a_filter_of_somebody_else_is_named() {
    if !available("root", nix::unistd::geteuid().is_root()) {
        return;
    }
    // Below a directory that everybody may enter, unlike the one of a build.
    let dir = tempfile::tempdir_in("/tmp").expect("a directory");
    let open = |path: &Path, mode| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
    };
    open(dir.path(), 0o755);
    let program = dir.path().join("f2b-regex");
    fs::copy(binary("f2b-regex"), &program).expect("a copy");
    open(&program, 0o755);
    fs::create_dir(dir.path().join("filter.d")).expect("a directory");
    let filter = dir.path().join("filter.d/secret.conf");
    fs::write(&filter, "[Definition]\nfailregex = <HOST>\n").expect("a filter");
    open(&filter, 0o600);
    let secret = dir.path().join("log");
    fs::write(&secret, LINE).expect("a log");
    open(&secret, 0o600);
    let config = dir.path().to_str().expect("a name");
    let filter = filter.to_str().expect("a name");
    let secret = secret.to_str().expect("a name");
    let run = |mut command: Command, words: &[&str]| {
        command.args(["-c", config]).args(words).env("TZ", "UTC").uid(65534).gid(65534);
        let output = command.output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (text.lines().last().unwrap_or("").to_owned(), output.status.code())
    };
    for (words, last) in [
        (["x 192.0.2.1", filter], format!("ERROR: failed to load filter {filter}")),
        (["x 192.0.2.1", "filter.d/secret.conf"], "ERROR: failed to load filter filter.d/secret.conf".into()),
        ([secret, "from <ADDR>"], format!("[Errno 13] Permission denied: '{secret}'")),
    ] {
        assert_eq!(run(Command::new(&program), &words), (last.clone(), Some(255)), "{words:?}");
        // Releases before 1.1 take a path below the configuration for an expression.
        let is_known = |version: &str| version.starts_with("1.1") || !words[1].starts_with("filter.d");
        if upstream::version().is_some_and(is_known) {
            assert_eq!(run(upstream::python(UPSTREAM), &words), (last, Some(255)), "{words:?}");
        }
    }
}
