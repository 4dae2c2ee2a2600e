//! Wrong configurations, wrong files, wrong circumstances: each gets a message that says where, every healthy jail runs,
//! nothing is lost, and the exit codes are fail2ban's.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use support::{Place, Process, available, binary, both, has_program, run, wait_until};

/// A jail that bans after two failures by writing to a file of its name.
fn jail(place: &Place, name: &str, more: &str) -> String {
    let dir = place.path().display();
    place.write(&format!("{name}.log"), "");
    format!(
        "[{name}]\nenabled = true\nfilter = login\nlogpath = {dir}/{name}.log\nmaxretry = 2\nignoreself = false\n\
         action = note[file={dir}/{name}.bans]\n{more}\n"
    )
}

/// A directory with a healthy jail and whatever else stands in `jail.conf`.
fn place(others: &str) -> Place {
    let place = Place::new();
    place.write("filter.d/login.conf", "[Definition]\nfailregex = ^.* failed login from <HOST>$\n");
    place.write(
        "action.d/note.conf",
        "[Definition]\nactionban = echo <ip> >> <file>\nactionunban = echo -<ip> >> <file>\n",
    );
    place.write(
        "jail.conf",
        &(jail(&place, "healthy", "") + &others.replace("DIR", &place.path().display().to_string())),
    );
    place
}

/// Two failures of an address, and the ban that they lead to.
#[track_caller]
fn expect_ban(place: &Place, jail: &str, ip: &str) {
    let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
    place.append(&format!("{jail}.log"), &format!("{now} failed login from {ip}\n").repeat(2));
    wait_until(&format!("{ip} is banned in {jail}"), || place.read(&format!("{jail}.bans")).contains(ip));
}

/// Runs a command of our client to its end.
fn client(place: &Place, words: &[&str]) -> Output {
    place.client(binary("f2b-client"), words).output().expect("the client starts")
}

#[track_caller]
fn expect_failure(output: &Output, texts: &[&str]) {
    let said = both(output);
    assert_eq!(output.status.code(), Some(255), "{said}");
    for text in texts {
        assert!(said.contains(text), "{text:?} is not in:\n{said}");
    }
}

/// Starts the server in the foreground; its outputs go to `server.out`.
fn start(place: &Place) -> Process {
    run_server(place, place.server())
}

fn run_server(place: &Place, mut server: Command) -> Process {
    let out = fs::File::create(place.file("server.out")).expect("a file");
    server.stdout(out.try_clone().expect("a file")).stderr(out);
    let server = Process(server.spawn().expect("the server starts"));
    place.wait_until_ready();
    wait_until("the healthy jail runs", || client(place, &["status", "healthy"]).status.success());
    server
}

#[test]
fn a_broken_expression_costs_its_own_jail_only() {
    let place = place(
        "[broken]\nenabled = true\nfilter = broken\nlogpath = DIR/healthy.log\naction = note[file=x]\n",
    );
    place.write(
        "filter.d/broken.conf",
        "[Definition]\n\nfailregex = ^good <HOST>$\n            ^bad (<HOST>$\n",
    );
    let _server = start(&place);
    let said = place.read("server.out");
    for text in ["Unable to compile regular expression '^bad (", "filter.d/broken.conf:4:13", "^bad (<HOST>$"]
    {
        assert!(said.contains(text), "{text:?} is not in:\n{said}");
    }
    assert!(place.ask(&["status"]).contains("Jail list:\thealthy\n"));
    expect_ban(&place, "healthy", "192.0.2.1");
}

#[test]
fn whoever_starts_a_server_in_the_background_learns_that_a_jail_is_broken() {
    let place = place(
        "[broken]\nenabled = true\nfilter = login[x=y]\nfailregex = ^(\nlogpath = DIR/healthy.log\naction = note[file=x]\n",
    );
    expect_failure(&client(&place, &["start"]), &["jail.conf:12:13", "Server ready"]);
    expect_ban(&place, "healthy", "192.0.2.1");
    place.ask(&["stop"]);
    assert!(!place.file("f2b.sock").exists());
}

#[test]
fn a_timeout_that_is_none_costs_its_own_jail_only() {
    let place = place(
        "[broken]\nenabled = true\nfilter = login\nlogpath = DIR/healthy.log\naction = note[file=x, timeout=x]\n",
    );
    let message = "action: 'x' is no duration";
    expect_failure(&client(&place, &["-t"]), &["jail.conf:13:10", message]);
    expect_failure(&client(&place, &["start"]), &["jail.conf:13:10", message, "Server ready"]);
    expect_ban(&place, "healthy", "192.0.2.1");
    place.ask(&["stop"]);
}

/// All options that are durations, with a comment behind each.
#[test]
fn durations_have_comments() {
    let options = "bantime = 1h # c\nfindtime = 10m#c\nbantime.increment = true\nbantime.maxtime = 5w # c\n\
        bantime.rndtime = '60' # c\nbantime.factor = 2 # c\nbantime.formula = ban.Time * 2 # c\n\
        ignorecache = key=\"<ip>\", max-time=\"1_0m # c\"\n\
        action = note[file=DIR/healthy.bans, timeout=\"1h # c\"]\n";
    let place = place("");
    let dir = place.path().display().to_string();
    place.write("jail.local", &("[healthy]\n".to_owned() + &options.replace("DIR", &dir)));
    place.write("fail2ban.local", "[Definition]\ndbpurgeage = 1d # one day\n");
    let mut programs = vec![binary("f2b-client")];
    if available("fail2ban", has_program("fail2ban-client")) {
        programs.push("fail2ban-client".into());
    }
    for program in programs {
        run(&mut place.client(&program, &["start"]));
        for (question, answer) in [
            ("get healthy bantime", "3600"),
            ("get healthy findtime", "600"),
            ("get healthy bantime.maxtime", "3024000"),
            ("get healthy bantime.rndtime", "60"),
            ("get healthy bantime.factor", "2 # c"),
            ("get healthy bantime.formula", "ban.Time * 2 # c"),
            ("get healthy ignorecache", "['<ip>', 100, 600]"),
            ("get healthy action note timeout", "3600"),
            ("get dbpurgeage", "Current database purge age is:\n`- 86400seconds"),
        ] {
            let words: Vec<&str> = question.split(' ').collect();
            let said = run(&mut place.client(&program, &words));
            assert_eq!(said.trim(), answer, "{} {question}", program.display());
        }
        run(&mut place.client(&program, &["stop"]));
        wait_until("the server has gone", || !place.file("f2b.sock").exists());
    }
}

#[test]
fn unknown_filters_and_actions_are_named_and_left_out() {
    let place = place(
        "[nofilter]\nenabled = true\nfilter = nope\nlogpath = DIR/healthy.log\naction = note[file=x]\n\
         [noaction]\nenabled = true\nfilter = login\nlogpath = DIR/healthy.log\naction = nope\n",
    );
    let _server = start(&place);
    let said = place.read("server.out");
    for text in [
        "Unable to read the filter 'nope'",
        "jail.conf:11:10",
        "Unable to read action 'nope'",
        "jail.conf:18:10",
        "Errors in jail 'nofilter'. Skipping...",
    ] {
        assert!(said.contains(text), "{text:?} is not in:\n{said}");
    }
    let log = place.log();
    assert!(log.contains("Jail 'noaction' skipped, because of wrong configuration"), "{log}");
    expect_ban(&place, "healthy", "192.0.2.1");
}

#[test]
fn an_unknown_backend_costs_its_own_jail_only() {
    let place = place(
        "[odd]\nenabled = true\nbackend = nonsense\nfilter = login\nlogpath = DIR/healthy.log\naction = note[file=x]\n",
    );
    let _server = start(&place);
    let said = place.read("server.out");
    for text in
        ["Jail 'odd': Unknown backend nonsense.", "jail.conf:11:11", "Errors in jail 'odd'. Skipping..."]
    {
        assert!(said.contains(text), "{text:?} is not in:\n{said}");
    }
    expect_ban(&place, "healthy", "192.0.2.1");
}

/// What follows files takes no parameters: a test of the configuration and a start say so.
#[test]
fn a_parameter_that_a_backend_does_not_take_is_named() {
    let place = place(
        "[odd]\nenabled = true\nbackend = polling[rotated=1]\nfilter = login\nlogpath = DIR/healthy.log\n\
         action = note[file=x]\n",
    );
    let text = "FilterPoll.__init__() got an unexpected keyword argument 'rotated'";
    expect_failure(&client(&place, &["--test"]), &[text, "jail.conf:11:11"]);
    let _server = start(&place);
    let said = place.read("server.out");
    assert!(said.contains(text) && said.contains("Errors in jail 'odd'. Skipping..."), "{said}");
    expect_ban(&place, "healthy", "192.0.2.1");
}

#[test]
fn a_missing_log_file_costs_its_own_jail_only_and_no_reload() {
    let place =
        place("[gone]\nenabled = true\nfilter = login\nlogpath = /nowhere/gone.log\naction = note[file=x]\n");
    let _server = start(&place);
    let said = place.read("server.out");
    for text in ["Have not found any log file for 'gone' jail.", "jail.conf:12:11", "/nowhere/gone.log"] {
        assert!(said.contains(text), "{text:?} is not in:\n{said}");
    }
    expect_ban(&place, "healthy", "192.0.2.1");
    let more = "[lost]\nenabled = true\nfilter = login\nlogpath = /nowhere/at.log\naction = note[file=x]\n";
    place.write("jail.local", more);
    expect_failure(
        &client(&place, &["reload"]),
        &["Have not found any log file for 'lost' jail.", "jail.local:4:11", "/nowhere/at.log"],
    );
    expect_ban(&place, "healthy", "192.0.2.2");
    assert!(place.ask(&["get", "healthy", "banip"]).contains("192.0.2.1"));
}

#[test]
fn a_log_file_that_cannot_be_read_is_named() {
    let place =
        place("[dir]\nenabled = true\nfilter = login\nlogpath = DIR/filter.d\naction = note[file=x]\n");
    let _server = start(&place);
    let said = place.read("server.out");
    assert!(said.contains("filter.d: it is a directory") && said.contains("jail.conf:12:11"), "{said}");
    let path = place.file("filter.d").display().to_string();
    let output = client(&place, &["set", "healthy", "addlogpath", &path]);
    expect_failure(&output, &["Is a directory", "filter.d"]);
    let output = client(&place, &["set", "healthy", "addlogpath", "/nowhere/at.log"]);
    expect_failure(&output, &["No such file or directory", "/nowhere/at.log"]);
    expect_ban(&place, "healthy", "192.0.2.1");
}

#[test]
fn a_log_file_that_may_not_be_read_costs_its_own_jail_only() {
    let place =
        place("[secret]\nenabled = true\nfilter = login\nlogpath = DIR/secret.log\naction = note[file=x]\n");
    place.write("secret.log", "");
    fs::set_permissions(place.file("secret.log"), fs::Permissions::from_mode(0o000)).expect("permissions");
    const NOBODY: u32 = 65534;
    let _server = run_server(&place, place.server_as(NOBODY));
    let said = place.read("server.out");
    for text in ["secret.log: Permission denied", "jail.conf:12:11"] {
        assert!(said.contains(text), "{text:?} is not in:\n{said}");
    }
    assert!(place.ask(&["status"]).contains("Jail list:\thealthy\n"));
    expect_ban(&place, "healthy", "192.0.2.1");
}

#[test]
fn a_log_file_may_go_away_and_come_back() {
    let place = place("");
    let _server = start(&place);
    expect_ban(&place, "healthy", "192.0.2.1");
    fs::remove_file(place.file("healthy.log")).expect("the log");
    place.append("other.log", "");
    expect_ban(&place, "healthy", "192.0.2.2");
    fs::rename(place.file("healthy.log"), place.file("healthy.log.1")).expect("a rotation");
    expect_ban(&place, "healthy", "192.0.2.3");
    fs::write(place.file("healthy.log"), "").expect("a truncation");
    expect_ban(&place, "healthy", "192.0.2.4");
}

#[test]
fn a_directory_may_be_replaced_and_a_link_may_point_elsewhere() {
    let place = place("");
    let dir = place.path().display().to_string();
    place.write("sub/healthy.log", "");
    place.write("other/healthy.log", "");
    std::os::unix::fs::symlink(place.file("sub"), place.file("link")).expect("a link");
    place.write("jail.local", &format!("[healthy]\nlogpath = {dir}/link/healthy.log\n"));
    let _server = start(&place);
    let ban = |file: &str, ip: &str| {
        let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
        place.append(file, &format!("{now} failed login from {ip}\n").repeat(2));
        wait_until(&format!("{ip} is banned"), || place.read("healthy.bans").contains(ip));
    };
    ban("sub/healthy.log", "192.0.2.1");
    fs::remove_dir_all(place.file("sub")).expect("the directory");
    place.write("sub/healthy.log", "");
    ban("sub/healthy.log", "192.0.2.2");
    std::os::unix::fs::symlink(place.file("other"), place.file("link2")).expect("a link");
    fs::rename(place.file("link2"), place.file("link")).expect("the link");
    ban("other/healthy.log", "192.0.2.3");
}

#[test]
fn a_fifo_in_place_of_a_log_holds_nobody_up() {
    let place = place("");
    place.write("jail.local", &jail(&place, "other", ""));
    let _server = start(&place);
    fs::remove_file(place.file("other.log")).expect("the log");
    nix::unistd::mkfifo(&place.file("other.log"), nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    expect_ban(&place, "healthy", "192.0.2.1");
    let fifo = place.file("other.log").display().to_string();
    run(&mut place.client(binary("f2b-client"), &["set", "healthy", "addlogpath", &fifo]));
    expect_ban(&place, "healthy", "192.0.2.3");
    fs::remove_file(place.file("other.log")).expect("the fifo");
    expect_ban(&place, "other", "192.0.2.2");
}

#[test]
fn a_locked_database_holds_no_ban_up_and_gets_it_later() {
    let place = place("");
    if !available("sqlite3", has_program("sqlite3")) {
        return;
    }
    let _server = start(&place);
    expect_ban(&place, "healthy", "192.0.2.1");
    let mut locker = Command::new("sqlite3");
    locker.arg(place.file("f2b.sqlite3")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut locker = Process(locker.spawn().expect("sqlite3 starts"));
    let mut input = locker.0.stdin.take().expect("its input");
    let mut output = BufReader::new(locker.0.stdout.take().expect("its output"));
    input.write_all(b".timeout 5000\nBEGIN EXCLUSIVE;\nSELECT 'locked';\n").expect("commands");
    let mut line = String::new();
    output.read_line(&mut line).expect("an answer");
    assert_eq!(line, "locked\n");
    for host in 2..=6 {
        expect_ban(&place, "healthy", &format!("192.0.2.{host}"));
    }
    input.write_all(b"COMMIT;\n").expect("a command");
    drop(input);
    let count = || {
        run(Command::new("sqlite3")
            .arg(place.file("f2b.sqlite3"))
            .arg(".timeout 5000")
            .arg("SELECT count(*) FROM bips"))
    };
    wait_until("the database has all bans", || count().trim() == "6");
}

#[test]
fn a_formula_that_is_none_costs_its_own_jail_only() {
    let place = place(
        "[wrong]\nenabled = true\nfilter = login\nlogpath = DIR/healthy.log\naction = note[file=x]\n\
         bantime.formula = ban.Time *\n",
    );
    let _server = start(&place);
    let said = place.read("server.out");
    let message = "bantime.formula: something is missing at character 11 of the formula 'ban.Time *'";
    assert!(said.contains(message) && said.contains("jail.conf:14:19"), "{said}");
    expect_ban(&place, "healthy", "192.0.2.1");
}

#[test]
fn a_syntax_error_in_a_filter_costs_its_jails_only() {
    let place =
        place("[wrong]\nenabled = true\nfilter = wrong\nlogpath = DIR/healthy.log\naction = note[file=x]\n");
    place.write("filter.d/wrong.conf", "[Definition]\nfailregex = ^from <HOST>$\nno option at all\n");
    let _server = start(&place);
    let said = place.read("server.out");
    assert!(said.contains("filter.d/wrong.conf:3:1") && said.contains("Errors in jail 'wrong'"), "{said}");
    expect_ban(&place, "healthy", "192.0.2.1");
}

#[test]
fn a_syntax_error_in_the_jails_stops_a_start_but_no_running_server() {
    let place = place("");
    let _server = start(&place);
    place.write("jail.local", "enabled = true\n");
    expect_failure(&client(&place, &["reload"]), &["File contains no section headers.", "jail.local:1:1"]);
    expect_ban(&place, "healthy", "192.0.2.1");
    place.write("jail.local", "[healthy]\nmaxretry 5\n");
    expect_failure(&client(&place, &["reload"]), &["jail.local:2:1", "maxretry 5"]);
    expect_ban(&place, "healthy", "192.0.2.2");
}

#[test]
fn a_second_server_leaves_the_first_one_alone() {
    let place = place("");
    let server = start(&place);
    let pid = place.read("f2b.pid");
    assert_eq!(pid.trim(), server.0.id().to_string());
    let output =
        place.server().stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("a second server");
    expect_failure(&output, &["Server already running"]);
    expect_failure(&client(&place, &["start"]), &["Server already running"]);
    assert_eq!(place.read("f2b.pid"), pid);
    expect_ban(&place, "healthy", "192.0.2.1");
}

#[test]
fn a_socket_that_nobody_listens_on_needs_force_and_a_stale_pid_file_nothing() {
    let place = place("");
    drop(std::os::unix::net::UnixListener::bind(place.file("f2b.sock")).expect("a socket"));
    place.write("f2b.pid", "999999\n");
    let output = place.server().stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("a server");
    expect_failure(&output, &["not running but the socket exists"]);
    let mut forced = Command::new(binary("f2b-server"));
    forced.arg("-c").arg(place.path()).args(["-xf", "start"]).stderr(Stdio::null());
    let server = place.spawn(&mut forced);
    wait_until("the jail runs", || client(&place, &["status", "healthy"]).status.success());
    assert_eq!(place.read("f2b.pid").trim(), server.0.id().to_string());
    expect_ban(&place, "healthy", "192.0.2.1");
}

#[test]
fn a_pid_file_that_cannot_be_written_is_named_and_stops_nothing() {
    let place = place("");
    fs::create_dir(place.file("f2b.pid")).expect("a directory");
    let _server = start(&place);
    let log = place.log();
    assert!(log.contains("Unable to create PID file:") && log.contains("f2b.pid"), "{log}");
    expect_ban(&place, "healthy", "192.0.2.1");
}

#[test]
fn a_corrupt_database_is_kept_aside_and_begun_anew() {
    let place = place("");
    place.write("f2b.sqlite3", &"this is no database\n".repeat(100));
    let _server = start(&place);
    expect_ban(&place, "healthy", "192.0.2.1");
    let log = place.log();
    assert!(log.contains("f2b.sqlite3") && log.contains("Database backup created"), "{log}");
    let kept = fs::read_dir(place.path()).expect("the directory").flatten().any(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.starts_with("f2b.sqlite3.")
            && fs::read(entry.path()).is_ok_and(|text| text.starts_with(b"this is no"))
    });
    assert!(kept, "the damaged file is kept");
    assert!(fs::read(place.file("f2b.sqlite3")).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3")));
}

#[test]
fn a_database_that_cannot_be_opened_is_named_and_costs_no_ban() {
    let place = place("");
    fs::create_dir(place.file("f2b.sqlite3")).expect("a directory");
    let _server = start(&place);
    expect_ban(&place, "healthy", "192.0.2.1");
    let log = place.log();
    assert!(
        log.contains("Error connecting to fail2ban persistent database") && log.contains("f2b.sqlite3"),
        "{log}"
    );
    assert_eq!(place.ask(&["reload"]), "OK\n");
    place.wait_for_log("f2b.sqlite3' could not be opened; the next start tries again.");
    expect_ban(&place, "healthy", "192.0.2.2");
}

#[test]
fn an_action_that_fails_is_named_and_the_next_one_runs() {
    let place = place("");
    place.write("action.d/fails.conf", "[Definition]\nactionban = nosuchcommand <ip>\n");
    let dir = place.path().display().to_string();
    place
        .write("jail.local", &format!("[healthy]\naction = fails\n         note[file={dir}/healthy.bans]\n"));
    let _server = start(&place);
    expect_ban(&place, "healthy", "192.0.2.1");
    place.wait_for_log("Failed to execute ban jail 'healthy' action 'fails'");
    assert!(place.log().contains("returned 127"), "{}", place.log());
}

/// What stops a start stops fail2ban's in the same way.
#[test]
fn refusals_have_fail2bans_exit_code() {
    if !available("fail2ban", has_program("fail2ban-client")) {
        return;
    }
    type Spoil = fn(&Place);
    let cases: [(&str, Spoil); 3] = [
        ("a missing log", |place| fs::remove_file(place.file("healthy.log")).expect("the log")),
        ("a syntax error", |place| place.write("jail.local", "[healthy\n")),
        ("a socket in the way", |place| place.write("f2b.sock", "")),
    ];
    for (what, spoil) in cases {
        let place = place("");
        spoil(&place);
        let ours = client(&place, &["start"]);
        let theirs = place.client("fail2ban-client", &["start"]).output().expect("fail2ban-client starts");
        assert_eq!(ours.status.code(), theirs.status.code(), "{what}: {}{}", both(&ours), both(&theirs));
        assert_eq!(ours.status.code(), Some(255), "{what}: {}", both(&ours));
    }
    // A wrong jail beside a healthy one stops neither.
    let place = place(
        "[nofilter]\nenabled = true\nfilter = nope\nlogpath = DIR/healthy.log\naction = note[file=x]\n",
    );
    for program in [binary("f2b-client"), "fail2ban-client".into()] {
        run(&mut place.client(&program, &["start"]));
        run(&mut place.client(&program, &["stop"]));
        wait_until("the server has gone", || !place.file("f2b.sock").exists());
    }
}
