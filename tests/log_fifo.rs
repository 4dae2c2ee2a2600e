//! A FIFO as a log, which fail2ban has not: nobody waits for a writer, writers come and go, nothing is read twice.

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use support::{Place, Process, binary, both};

const BACKENDS: [&str; 2] = ["polling", "pyinotify"];

fn configure(backend: &str) -> Place {
    let place = Place::new();
    place.write("filter.d/f1.conf", "[Definition]\nfailregex = ^ ?fail <ADDR>$\n");
    place.write("action.d/note.conf", "[Definition]\nactionban = true\n");
    place.write(
        "jail.conf",
        &format!(
            "[DEFAULT]\nbackend = {backend}\nfilter = f1\naction = note\nusedns = no\nmaxretry = 1000\n\
             ignoreself = false\n[j]\nenabled = true\nlogpath = {0}/fifo\n[other]\nenabled = true\nlogpath = {0}/log\n",
            place.path().display()
        ),
    );
    mkfifo(&place.file("fifo"), Mode::S_IRWXU).expect("a fifo");
    place.write("log", "");
    place
}

fn writer(place: &Place) -> File {
    File::options().write(true).open(place.file("fifo")).expect("a reader is there")
}

fn found(place: &Place) -> usize {
    place.log().matches("[j] Found 1").count()
}

/// How often the thread that reads logs has gone to sleep.
fn sleeps(server: &Process) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.0.id())).expect("its threads");
    let name = |task: &Path| fs::read_to_string(task.join("comm")).unwrap_or_default();
    let reader: PathBuf = tasks
        .flatten()
        .map(|task| task.path())
        .find(|task| name(task).trim() == "f2b/reader")
        .expect("the reader");
    let status = fs::read_to_string(reader.join("status")).expect("its figures");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.expect("a line").trim().parse().expect("a number")
}

#[test]
fn writers_come_and_go() {
    for backend in BACKENDS {
        let place = configure(backend);
        let server = place.start();
        // What comes first in a file counts only with a date.
        let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S");
        place.append("log", &format!("{now} fail 192.0.2.1\n"));
        place.wait_for_log("[other] Found 192.0.2.1");
        let mut first = writer(&place);
        first.write_all(b"fail 192.0.2.2\nfail 192.").expect("a write");
        place.wait_for_log("[j] Found 192.0.2.2");
        drop(first);
        // Without a writer there is no end that would be reported again and again.
        let before = sleeps(&server);
        thread::sleep(Duration::from_secs(1));
        assert!(sleeps(&server) - before < 50, "{backend}: {}", sleeps(&server) - before);
        writer(&place).write_all(b"0.2.3\n\r\n\0\xff\nfail 192.0.2.4\r\n").expect("a write");
        place.wait_for_log("[j] Found 192.0.2.4");
        assert!(place.log().contains("[j] Found 192.0.2.3"), "{backend}: {}", place.log());
        // More than it holds, from several writers.
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut writer = writer(&place);
                    (0..2000).for_each(|_| writer.write_all(b"fail 198.51.100.1\n").expect("a write"));
                });
            }
        });
        support::wait_until("all lines are found", || found(&place) >= 8003);
        thread::sleep(Duration::from_millis(300));
        assert_eq!(found(&place), 8003, "{backend}");
    }
}

#[test]
fn it_has_no_place_to_go_on_at() {
    let place = configure("polling");
    for round in 1..=2 {
        let mut server = place.start();
        writer(&place).write_all(format!("fail 192.0.2.{round}\n").repeat(3).as_bytes()).expect("a write");
        place.wait_for_log(&format!("[j] Found 192.0.2.{round}"));
        support::run(&mut place.client(binary("f2b-client"), &["stop"]));
        server.0.wait().expect("the server ends");
    }
    assert_eq!(found(&place), 6);
    let added = format!("Added logfile: '{}' (pos = 0, hash = )", place.file("fifo").display());
    assert_eq!(place.log().matches(&added).count(), 2, "{}", place.log());
}

#[test]
fn a_file_may_take_its_place_and_it_that_of_a_file() {
    for backend in BACKENDS {
        let place = configure(backend);
        let _server = place.start();
        writer(&place).write_all(b"fail 192.0.2.1\n").expect("a write");
        place.wait_for_log("[j] Found 192.0.2.1");
        fs::remove_file(place.file("fifo")).expect("the fifo");
        place.append("fifo", "fail 192.0.2.2\n");
        place.wait_for_log("[j] Found 192.0.2.2");
        fs::remove_file(place.file("fifo")).expect("the file");
        mkfifo(&place.file("fifo"), Mode::S_IRWXU).expect("a fifo");
        writer(&place).write_all(b"fail 192.0.2.3\n").expect("a write");
        place.wait_for_log("[j] Found 192.0.2.3");
        assert_eq!(found(&place), 3, "{backend}: {}", place.log());
    }
}

/// What is in a FIFO is read once, so in one way: a jail that wants another one gets the lines as the others do.
#[test]
fn all_jails_read_it_in_the_same_way() {
    let place = configure("polling");
    let path = place.file("fifo").display().to_string();
    let conf = place.read("jail.conf").replace(&format!("{}/log", place.path().display()), &path);
    let with = |j: &str, other: &str| {
        let conf = conf.replace("[j]\n", &format!("[j]\n{j}")) + other;
        place.write("jail.conf", &conf);
    };
    let found = |name: &str, ip: &str| place.wait_for_log(&format!("[{name}] Found {ip}"));
    let write = |text: &str| writer(&place).write_all(text.as_bytes()).expect("a write");
    let reload = || support::run(&mut place.client(binary("f2b-client"), &["reload"]));
    let warning = |name: &str, as_name: &str| {
        format!("[{name}] '{path}' is a FIFO and read once, so its lines are read as [{as_name}] says")
    };
    // A jail that has not begun yet gets no lines.
    let have_begun = |times: usize| {
        support::wait_until("both begin", || place.log().matches("Jail 'other' started").count() == times);
        place.ask(&["ping"]);
    };
    with("", "");
    let mut server = place.start();
    have_begun(1);
    write("fail 192.0.2.1\n");
    found("j", "192.0.2.1");
    found("other", "192.0.2.1");
    with("", "logformat = docker-json\n");
    reload();
    place.wait_for_log(&warning("other", "j"));
    write("fail 192.0.2.2\n");
    found("j", "192.0.2.2");
    found("other", "192.0.2.2");
    // Once both want it, they get it.
    with("logformat = docker-json\n", "logformat = docker-json\n");
    reload();
    // The reader may be at a line while it is told.
    support::wait_until("both read entries", || {
        write("{\"log\":\"fail 192.0.2.3\\n\"}\n");
        thread::sleep(Duration::from_millis(20));
        ["j", "other"].iter().all(|name| place.log().contains(&format!("[{name}] Found 192.0.2.3")))
    });
    support::run(&mut place.client(binary("f2b-client"), &["stop"]));
    server.0.wait().expect("the server ends");
    // From the start on.
    with("", "logformat = docker-json\n");
    let _server = place.start();
    have_begun(2);
    support::wait_until("a warning", || place.log().matches(&warning("other", "j")).count() > 1);
    write("fail 192.0.2.4\n");
    found("j", "192.0.2.4");
    found("other", "192.0.2.4");
}

#[test]
fn a_test_of_the_configuration_waits_for_nobody() {
    let place = configure("polling");
    let output = place.client(binary("f2b-client"), &["--test"]).output().expect("the client runs");
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
}
