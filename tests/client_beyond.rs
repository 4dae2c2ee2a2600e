//! What the client has beyond fail2ban's: answers as JSON, and what shells complete its command lines to.

mod support;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value as Json, json};

use support::{Place, Process, available, binary, both, has_program, run};

/// A running server with the jails `j` and `other`, of which the first has banned.
fn place() -> (Place, Process) {
    let place = Place::new();
    let jail = |name: &str, on: bool| {
        format!(
            "[{name}]\nenabled = {on}\nbackend = polling\nfilter = login\naction = none\nlogpath = {}/{name}.log\n",
            place.path().display()
        )
    };
    place.write("jail.conf", &(jail("j", true) + &jail("other", true) + &jail("off", false)));
    place.write("filter.d/login.conf", "[Definition]\nfailregex = ^ ?fail from <HOST>$\n");
    place.write("action.d/none.conf", "[Definition]\nactionban =\n");
    ["j.log", "other.log"].iter().for_each(|log| place.write(log, ""));
    let server = place.start();
    place.ask(&["set", "j", "banip", "192.0.2.1", "2001:db8::1"]);
    (place, server)
}

fn ask_json(place: &Place, words: &[&str]) -> (Json, Output) {
    let output =
        place.client(binary("f2b-client"), &[&["--json"], words].concat()).output().expect("it runs");
    (
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{}", both(&output))),
        output,
    )
}

#[test]
fn every_answer_can_be_had_as_json() {
    let (place, _server) = place();
    let check = |words: &[&str], expected: Json| assert_eq!(ask_json(&place, words).0, expected, "{words:?}");
    check(&["ping"], json!("pong"));
    check(&["status"], json!({ "Number of jail": 2, "Jail list": ["j", "other"] }));
    let (status, _) = ask_json(&place, &["status", "j"]);
    assert_eq!(status["Actions"]["Banned IP list"], json!(["192.0.2.1", "2001:db8::1"]));
    assert_eq!(status["Filter"]["Total failed"], json!(0));
    check(&["banned"], json!([{ "j": ["192.0.2.1", "2001:db8::1"] }, { "other": [] }]));
    check(&["get", "j", "maxretry"], json!(3));
    check(&["get", "j", "actions"], json!(["none"]));
    check(&["get", "j", "ignoreself"], json!(true));
    check(&["get", "j", "logpath"], json!([place.file("j.log")]));
    check(&["set", "j", "unbanip", "192.0.2.1"], json!(1));
    check(&["reload"], json!("OK"));
    let (refusal, output) = ask_json(&place, &["status", "nope"]);
    assert_eq!(
        refusal,
        json!({ "error": "Sorry but the jail 'nope' does not exist", "class": "UnknownJailException" })
    );
    assert_eq!(output.status.code(), Some(255));
}

/// What the words can be completed to; the last one is what is typed of it.
fn completed(place: &Place, words: &[&str]) -> Vec<String> {
    let mut command = Command::new(binary("f2b-client"));
    command.args(["--shell-words", "--", "f2b-client", "-c"]).arg(place.path()).args(words);
    run(&mut command).lines().map(String::from).collect()
}

#[test]
fn commands_jails_and_banned_addresses_are_completed() {
    let (place, _server) = place();
    let check =
        |words: &[&str], expected: &[&str]| assert_eq!(completed(&place, words), expected, "{words:?}");
    check(&["re"], &["reload", "restart"]);
    check(&["sta"], &["start", "statistics", "stats", "status"]);
    check(&["status", ""], &["--all", "j", "other"]);
    check(&["status", "j", "s"], &["short", "stats"]);
    check(&["set", "j", "unb"], &["unbanip"]);
    check(&["set", "j", "unbanip", ""], &["--report-absent", "192.0.2.1", "2001:db8::1"]);
    check(&["set", "j", "unbanip", "192.0.2.1", "2"], &["2001:db8::1"]);
    check(&["unban", "192"], &["192.0.2.1"]);
    check(&["set", "other", "unbanip", "1"], &[]);
    check(&["get", "j", "action", ""], &["none"]);
    check(&["get", "j", "action", "none", "actionb"], &["actionban"]);
    check(&["set", "loglevel", "D"], &["DEBUG"]);
    check(&["set", "j", "dellogpath", ""], &[place.file("j.log").to_str().expect("a text")]);
    // A jail that is off can be reloaded into the server.
    check(&["reload", "o"], &["off", "other"]);
    check(&["--dum"], &["--dump-pretty"]);
    check(&["--loglevel", "HE"], &["HEAVYDEBUG"]);
    check(&["--explain", "of"], &["off"]);
    check(&["set", "nope", "unbanip", ""], &["--report-absent"]);
}

#[test]
fn without_a_server_commands_are_completed_all_the_same() {
    let place = Place::new();
    place.write("jail.conf", "[j]\nenabled = true\n");
    place.write("filter.d/login.conf", "");
    assert_eq!(completed(&place, &["set", "j", "maxr"]), ["maxretry"]);
    assert_eq!(completed(&place, &["reload", "j"]), ["j"]);
    let mut regex = Command::new(binary("f2b-client"));
    regex
        .args(["--shell-words", "--", "f2b-regex", "-c"])
        .arg(place.path())
        .args(["/var/log/auth.log", "lo"]);
    assert_eq!(run(&mut regex), "login\n");
}

/// Runs a script in a shell that finds our client first.
#[track_caller]
fn in_shell(shell: &str, arguments: &[&str], script: &str) -> String {
    let mut command = Command::new(shell);
    let programs = binary("f2b-client").parent().expect("a directory").display().to_string();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap_or_default());
    command
        .args(arguments)
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the shell starts");
    child.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("the shell reads");
    let output = child.wait_with_output().expect("the shell ends");
    assert!(output.status.success(), "{}", both(&output));
    String::from_utf8(output.stdout).expect("a text")
}

#[test]
fn bash_completes_addresses_though_a_colon_parts_its_words() {
    if !available("bash", has_program("bash")) {
        return;
    }
    let (place, _server) = place();
    let line = format!("f2b-client -c {} set j unbanip 2001:d", place.path().display());
    let script = format!(
        "source <(f2b-client --shell-completion bash)\nCOMP_LINE='{line}' COMP_POINT={}\n_f2b\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"\ncomplete -p f2b-regex\n",
        line.len()
    );
    // The shell has the part up to the last colon already.
    assert_eq!(in_shell("bash", &["--norc"], &script), "db8::1\ncomplete -o default -F _f2b f2b-regex\n");
}

#[test]
fn fish_completes_jails() {
    if !available("fish", has_program("fish")) {
        return;
    }
    let (place, _server) = place();
    let script = format!(
        "f2b-client --shell-completion fish | source\ncomplete -C 'f2b-client -c {} status o'\n",
        place.path().display()
    );
    assert_eq!(in_shell("fish", &["--no-config"], &script), "other\n");
}

#[test]
fn zsh_completes_jails() {
    if !available("zsh", has_program("zsh")) {
        return;
    }
    let (place, _server) = place();
    // Without a terminal there is no completion system; what would be added to it is printed.
    let script = format!(
        "compdef() {{ }}\ncompadd() {{ shift; print -l ${{(P)2}} ${{(P)1}} }}\n_files() {{ print files }}\n\
         source <(f2b-client --shell-completion zsh)\nwords=(f2b-client -c {} status o) CURRENT=5\n_f2b\n",
        place.path().display()
    );
    assert_eq!(in_shell("zsh", &["-f"], &script), "other\n");
}

#[test]
fn colours_are_for_terminals() {
    if !available("script", has_program("script")) {
        return;
    }
    let (place, _server) = place();
    let words = ["status", "nope"];
    let without = place.client(binary("f2b-client"), &words).output().expect("the client runs");
    assert!(both(&without).contains("ERROR") && !both(&without).contains('\u{1b}'), "{}", both(&without));
    let on_terminal = |setting: &str| {
        let line = format!(
            "{setting} '{}' -c '{1}' -s '{1}/f2b.sock' status nope",
            binary("f2b-client").display(),
            place.path().display()
        );
        let mut script = Command::new("script");
        script.args(["--quiet", "--command", &line, "/dev/null"]).env("TERM", "xterm").env_remove("NO_COLOR");
        both(&script.stdin(Stdio::null()).output().expect("it runs"))
    };
    let told = on_terminal("");
    assert!(
        told.contains("\u{1b}[31m") && told.contains("Sorry but the jail 'nope' does not exist"),
        "{told}"
    );
    let told = on_terminal("NO_COLOR=1");
    assert!(told.contains("ERROR") && !told.contains('\u{1b}'), "{told}");
}

#[test]
fn another_shell_is_an_error() {
    let output =
        Command::new(binary("f2b-client")).args(["--shell-completion", "tcsh"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(255));
    assert!(both(&output).contains("there is no completion for tcsh"), "{}", both(&output));
}
