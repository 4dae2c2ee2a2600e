//! Clients and surroundings that mean no good, or do no good: whatever they send, and whatever happens to its files, the
//! server goes on and bans.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use f2b_protocol::{Command as Words, Value, frame};

use support::{Place, Process, available, binary, both, has_program, wait_until};

const END: &[u8] = b"<F2B_END_COMMAND>";

/// A directory with the jail `j`, which bans at the first failure and takes note of it in a file.
fn place() -> Place {
    let place = Place::new();
    let dir = place.path().display();
    place.write(
        "jail.conf",
        &format!(
            "[j]\nenabled = true\nbackend = polling\nusedns = no\nmaxretry = 1\nfilter = f\naction = note\n\
             logpath = {dir}/j.log\n"
        ),
    );
    place.write("filter.d/f.conf", "[Definition]\nfailregex = ^ ?fail from <HOST>$\n");
    place.write("action.d/note.conf", &format!("[Definition]\nactionban = echo <ip> >> {dir}/bans\n"));
    place.write("j.log", "");
    place
}

#[track_caller]
fn expect_ban(place: &Place, ip: &str) {
    place.ask(&["set", "j", "banip", ip]);
    wait_until(&format!("the ban of {ip}"), || place.read("bans").lines().any(|line| line == ip));
}

/// Sends bytes and reads until the server answers or hangs up.
fn exchange(place: &Place, bytes: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(place.file("f2b.sock")).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    // A server that has had enough hangs up in the middle.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while !answer.ends_with(END) {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(count) => answer.extend(&chunk[..count]),
        }
    }
    answer
}

/// A figure of `/proc/PID/status` in KiB.
fn memory(server: &Process, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.0.id())).expect("a process");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a figure");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn frames_that_are_cut_or_endless_cost_their_own_client_only() {
    let place = place();
    let server = place.start();
    for half in [&b""[..], b"\x80", b"\x80\x02]q\x00", b"<F2B_END_COMM", &[0; 10_000]] {
        let mut stream = UnixStream::connect(place.file("f2b.sock")).expect("a connection");
        stream.write_all(half).expect("a write");
    }
    let before = memory(&server, "VmHWM");
    let answer = exchange(&place, &vec![b'x'; 100 << 20]);
    assert!(String::from_utf8_lossy(&answer).contains("ERROR: "), "{} bytes", answer.len());
    let grown = memory(&server, "VmHWM") - before;
    assert!(grown < 64 << 10, "{grown} KiB");
    expect_ban(&place, "192.0.2.1");
}

#[test]
fn pickles_that_call_something_are_data_and_nothing_else() {
    let place = place();
    let _server = place.start();
    let touched = place.file("touched");
    let shell = format!("touch {}", touched.display());
    let calls = [
        format!("cos\nsystem\n(S'{shell}'\ntR."),
        format!("cposix\nsystem\np0\n(V{shell}\ntRp1\n."),
        format!("(S'{shell}'\nios\nsystem\n."),
        format!("c__builtin__\neval\n(S'__import__(\"os\").system(\"{shell}\")'\ntR."),
        format!("csubprocess\nPopen\n((S'sh'\nS'-c'\nS'{shell}'\nltR."),
        "(lp0\ng0\na.".into(),
        "\u{80}".into(),
    ];
    for call in calls {
        let answer = exchange(&place, &[call.as_bytes(), END].concat());
        assert!(answer.ends_with(END), "{call:?} is answered");
    }
    // Nested lists without end, and numbers that announce more than comes.
    exchange(&place, &[vec![b']'; 1 << 20], END.to_vec()].concat());
    exchange(&place, &[&b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f"[..], END].concat());
    expect_ban(&place, "192.0.2.1");
    assert!(!touched.exists());
}

/// Everything that can be the second or the third word.
const WORDS: &[&str] = &[
    "j",
    "nope",
    "--all",
    "loglevel",
    "logtarget",
    "syslogsocket",
    "dbfile",
    "dbmaxmatches",
    "dbpurgeage",
    "thread",
    "allowipv6",
    "idle",
    "ignoreself",
    "addignoreip",
    "delignoreip",
    "ignorecommand",
    "ignorecache",
    "addlogpath",
    "dellogpath",
    "logencoding",
    "addjournalmatch",
    "deljournalmatch",
    "addfailregex",
    "delfailregex",
    "addignoreregex",
    "delignoreregex",
    "findtime",
    "bantime",
    "datepattern",
    "usedns",
    "attempt",
    "banip",
    "unbanip",
    "maxretry",
    "maxmatches",
    "maxlines",
    "addaction",
    "delaction",
    "action",
    "actionproperties",
    "actionmethods",
    "actions",
    "banned",
    "failregex",
    "logpath",
    "bantime.increment",
    "prefregex",
    "logtimezone",
];

#[test]
fn commands_of_any_shape_are_answered() {
    let place = place();
    let _server = place.start();
    const FIRST: &[&str] = &[
        "ping",
        "echo",
        "version",
        "status",
        "stats",
        "banned",
        "unban",
        "get",
        "set",
        "multi-set",
        "add",
        "start",
        "sleep",
        "flushlogs",
        "server-stream",
        "server-status",
        "config-error",
        "reload",
        "nonsense",
        "",
    ];
    let odd = [
        Value::None,
        Value::Int(-1),
        Value::Int(i64::MAX),
        Value::Float(f64::NAN),
        Value::Bytes(vec![0, 255]),
        Value::List(vec![Value::None]),
        Value::Dict(vec![(Value::Int(1), Value::List(Vec::new()))]),
        Value::Str("\0<ip>'\"\n".into()),
    ];
    let mut rng = fastrand::Rng::with_seed(6);
    let mut answered = 0;
    let mut stream = UnixStream::connect(place.file("f2b.sock")).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    for _ in 0..4000 {
        let mut words: Vec<Value> = vec![FIRST[rng.usize(..FIRST.len())].into()];
        for place in 1..rng.usize(1..7) {
            words.push(match rng.u8(..4) {
                0 => odd[rng.usize(..odd.len())].clone(),
                _ if place == 1 && rng.bool() => "j".into(),
                _ => WORDS[rng.usize(..WORDS.len())].into(),
            });
        }
        // What makes the server wait, or lose its files, is somebody else's test.
        let text = Words(words.clone()).to_string();
        if ["sleep", "logtarget", "dbfile", "syslogsocket"].iter().any(|word| text.contains(word)) {
            continue;
        }
        stream.write_all(&frame::pack(&Value::List(words))).expect("a write");
        let mut answer = Vec::new();
        let mut chunk = [0; 65536];
        while !answer.ends_with(END) {
            let count = stream.read(&mut chunk).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(count > 0, "{text} ends the connection");
            answer.extend(&chunk[..count]);
        }
        answered += 1;
    }
    assert!(answered > 2000, "{answered}");
    assert!(!place.read("server.out").contains("panicked"));
    place.ask(&["reload", "--restart"]);
    expect_ban(&place, "192.0.2.77");
}

#[test]
fn five_hundred_clients_at_once_are_served() {
    let place = place();
    let _server = place.start();
    let socket = place.file("f2b.sock");
    let ping = frame::pack(&Value::strings(["ping"]));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..500)
            .map(|_| {
                thread::Builder::new().stack_size(128 << 10).spawn_scoped(scope, || {
                    // The kernel's queue is shorter than that.
                    let mut stream = (0..200)
                        .find_map(|_| {
                            UnixStream::connect(&socket)
                                .map_err(|_| thread::sleep(Duration::from_millis(20)))
                                .ok()
                        })
                        .expect("a connection");
                    let mut answer = [0; 256];
                    (0..3).all(|_| {
                        stream.write_all(&ping).is_ok()
                            && stream.read(&mut answer).is_ok_and(|count| answer[..count].ends_with(END))
                    })
                })
            })
            .collect();
        let served = clients.into_iter().filter_map(Result::ok).filter_map(|client| client.join().ok());
        assert_eq!(served.filter(|all| *all).count(), 500);
    });
    expect_ban(&place, "192.0.2.1");
}

/// A server in a mount namespace of its own, once the script has prepared it; the script's first argument is the place.
fn in_namespace(place: &Place, script: &str) -> Command {
    let server = place.server();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", &format!("{script} && shift && exec \"$@\""), "sh"])
        .arg(place.path());
    command.arg(server.get_program()).args(server.get_args());
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}

fn may_mount() -> bool {
    let may = has_program("unshare") && nix::unistd::geteuid().is_root();
    available("mount namespaces", may)
}

#[test]
fn a_full_disk_costs_no_ban() {
    if !may_mount() {
        return;
    }
    let place = place();
    fs::create_dir(place.file("small")).expect("a directory");
    let conf = place.read("fail2ban.conf").replace("/f2b.sqlite3", "/small/f2b.sqlite3");
    place.write("fail2ban.conf", &conf);
    let server = place.spawn(&mut in_namespace(&place, "mount -t tmpfs -o size=256k tmpfs \"$1/small\""));
    expect_ban(&place, "192.0.2.1");
    let inside = format!("/proc/{}/root{}", server.0.id(), place.file("small/filler").display());
    let mut filler = fs::File::create(&inside).expect("a file");
    while filler.write_all(&[0; 4096]).is_ok() {}
    // More than the pages that the database has left.
    let many: Vec<String> = (0..200).map(|n| format!("198.51.100.{n}")).collect();
    place.ask(
        &[&["set", "j", "banip"], many.iter().map(String::as_str).collect::<Vec<_>>().as_slice()].concat(),
    );
    wait_until("all bans", || place.read("bans").lines().count() == 201);
    fs::remove_file(inside).expect("room");
    expect_ban(&place, "203.0.113.1");
}

#[test]
fn a_database_that_may_not_be_written_costs_no_ban() {
    if !may_mount() {
        return;
    }
    let place = place();
    let mut server = place.start();
    expect_ban(&place, "192.0.2.1");
    place.ask(&["stop"]);
    server.0.wait().expect("an end");
    fs::create_dir(place.file("dir")).expect("a directory");
    fs::rename(place.file("f2b.sqlite3"), place.file("dir/f2b.sqlite3")).expect("a database");
    let conf = place.read("fail2ban.conf").replace("/f2b.sqlite3", "/dir/f2b.sqlite3");
    place.write("fail2ban.conf", &conf);
    let read_only = "mount --bind \"$1/dir\" \"$1/dir\" && mount -o remount,bind,ro \"$1/dir\"";
    let _server = place.spawn(&mut in_namespace(&place, read_only));
    expect_ban(&place, "192.0.2.2");
    assert!(place.log().contains("f2b.sqlite3"), "{}", place.log());
    assert!(place.log().to_lowercase().contains("read"), "{}", place.log());
}

/// Sends a command over a connection that is there already, and gives what is answered.
fn ask_over(stream: &mut UnixStream, words: &[&str]) -> String {
    stream.write_all(&frame::pack(&Value::strings(words.iter().copied()))).expect("a write");
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while !answer.ends_with(END) {
        let count = stream.read(&mut chunk).expect("an answer");
        assert!(count > 0, "{words:?} ends the connection");
        answer.extend(&chunk[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// A signal that meets the thread of a client ends nothing.
#[test]
fn a_signal_to_its_thread_costs_no_client_its_connection() {
    const SIGNAL: &str = "import ctypes, sys\nctypes.CDLL(None).tgkill(*map(int, sys.argv[1:]), 10)";
    if !available("python3", has_program("python3")) {
        return;
    }
    let place = place();
    let server = place.start();
    let mut stream = UnixStream::connect(place.file("f2b.sock")).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    assert!(ask_over(&mut stream, &["ping"]).contains("pong"));
    let pid = server.0.id().to_string();
    for task in fs::read_dir(format!("/proc/{pid}/task")).expect("a process") {
        let task = task.expect("a thread");
        if fs::read_to_string(task.path().join("comm")).expect("a name").trim() == "f2b/socket" {
            support::run(Command::new("python3").args(["-c", SIGNAL, &pid]).arg(task.file_name()));
        }
    }
    assert!(ask_over(&mut stream, &["ping"]).contains("pong"));
    expect_ban(&place, "192.0.2.1");
}

#[test]
fn where_no_thread_can_be_had_the_others_go_on() {
    // Limits of processes are no limits for root.
    let may = has_program("prlimit") && nix::unistd::geteuid().is_root();
    if !available("prlimit, as root", may) {
        return;
    }
    const NOBODY_ELSE: u32 = 54_321;
    let place = place();
    let server = place.spawn(&mut place.server_as(NOBODY_ELSE));
    place.ask(&["set", "j", "banip", "192.0.2.1"]);
    let mut stream = UnixStream::connect(place.file("f2b.sock")).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    assert!(ask_over(&mut stream, &["ping"]).contains("pong"));
    let limit = |number: &str| {
        let mut command = Command::new("prlimit");
        command.arg("--pid").arg(server.0.id().to_string()).arg(format!("--nproc={number}:"));
        command.uid(NOBODY_ELSE).gid(NOBODY_ELSE);
        support::run(&mut command);
    };
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.0.id())).expect("a process");
    let before = limits.lines().find(|line| line.starts_with("Max processes")).expect("a limit");
    let before = before.split_whitespace().nth(2).expect("a number");
    limit("1");
    // A question needs a thread of its own.
    let answer = ask_over(&mut stream, &["status", "j", "cymru"]);
    assert!(answer.contains("Unable to ask for the networks"), "{answer}");
    assert!(ask_over(&mut stream, &["ping"]).contains("pong"));
    // Clients that say nothing take what threads there are, and make room for one that has something to say.
    let silent = [(); 3].map(|()| UnixStream::connect(place.file("f2b.sock")).expect("a connection"));
    let served = place.client(binary("f2b-client"), &["ping"]).output().expect("the client runs");
    assert_eq!(served.status.code(), Some(0), "{}", both(&served));
    place.wait_for_log("Accept socket error");
    drop(silent);
    // Those that always have something to say are as many as there are threads; one of them makes the next when it can.
    let connect = || UnixStream::connect(place.file("f2b.sock")).expect("a connection");
    let talk = |clients: &mut [UnixStream]| {
        for client in clients {
            client.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
            assert!(ask_over(client, &["ping"]).contains("pong"));
        }
    };
    let mut talking = [connect(), connect()];
    talk(&mut talking);
    limit(before);
    talk(&mut talking);
    expect_ban(&place, "192.0.2.2");
    place.ask(&["status", "j"]);
}

/// Clients that take nothing hold nobody else up, and cost no more than the reply that they do not take.
#[test]
fn clients_that_do_not_listen_are_left_behind() {
    let place = place();
    let server = place.start();
    let before = memory(&server, "VmRSS");
    let long = "x".repeat(1 << 20);
    let deaf: Vec<UnixStream> = (0..20)
        .map(|_| {
            let mut stream = UnixStream::connect(place.file("f2b.sock")).expect("a connection");
            stream.write_all(&frame::pack(&Value::strings(["echo", &long]))).expect("a write");
            stream
        })
        .collect();
    expect_ban(&place, "192.0.2.1");
    let grown = memory(&server, "VmRSS").saturating_sub(before);
    assert!(grown < 128 << 10, "{grown} KiB");
    // And those that go away in the middle of it.
    drop(deaf);
    expect_ban(&place, "192.0.2.2");
    place.ask(&["stop"]);
}

#[test]
fn a_pid_file_of_somebody_else_hurts_nobody() {
    let place = place();
    let mut other = Process(Command::new("sleep").arg("60").spawn().expect("a process"));
    place.write("f2b.pid", &format!("{}\n", other.0.id()));
    let refused = place.client(binary("f2b-client"), &["stop"]).output().expect("the client runs");
    assert_eq!(refused.status.code(), Some(255), "{}", both(&refused));
    let mut server = place.start();
    assert_eq!(place.read("f2b.pid").trim(), server.0.id().to_string());
    expect_ban(&place, "192.0.2.1");
    place.ask(&["stop"]);
    server.0.wait().expect("an end");
    assert!(other.0.try_wait().expect("a state").is_none(), "the other process lives");
}
