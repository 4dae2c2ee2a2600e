//! Upstream's own test cases of client and server, taken from the installed package and run against our programs.
//!
//! What they do to a server in their own process is done to ours from outside (`support/upstream_cases.py`). Cases that
//! can't be passed so stand below with the reason, and one that is passed all the same fails the test.

mod support;
#[path = "support/upstream.rs"]
mod upstream;

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value as Json;

use support::{Place, available, binary, both, has_program, repository};

const SUITES: &[&str] = &[
    "servertestcase.Transmitter",
    "servertestcase.TransmitterLogging",
    "servertestcase.ServerConfigReaderTests.testCheckStockJailActions",
    "servertestcase.ServerConfigReaderTests.testCheckStockAllActions",
    "fail2banclienttestcase.Fail2banClientTest",
    "fail2banclienttestcase.Fail2banServerTest",
];

/// Cases that are not passed, and why.
const FAILED: &[(&str, &str)] = &[
    ("Transmitter.testServerIsNotStarted", "there is no server without one that is started"),
    ("Transmitter.testVersion", "differs on purpose: `version`"),
    ("TransmitterLogging.testFlushLogs", "writes to the log of its own process"),
    (
        "Fail2banServerTest.testServerObserver",
        "holds up the observer, a thread of its own process, before a ban",
    ),
];

/// Besides, those of 1.0 that 1.1 changed.
const FAILED_IN_1_0: &[(&str, &str)] = &[
    ("Fail2banClientTest.testClientUsage", "`-V` has to be 1.0"),
    ("Fail2banServerTest.testServerReloadTest", "1.1 says `Repeal Ban` where bans come back"),
    ("Transmitter.testJailRegex", "1.1 has a better expression for addresses"),
    ("Transmitter.testJailIgnoreRegex", "as before"),
];

#[test]
fn upstreams_cases_are_passed() {
    let Some(version) = upstream::version() else { return };
    let tests = "import fail2ban.tests.utils";
    let has_tests =
        upstream::python(tests).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !available("fail2ban's tests", has_tests) {
        return;
    }
    let is_1_0 = version.starts_with("1.0");
    let known: BTreeMap<&str, &str> =
        FAILED.iter().chain(FAILED_IN_1_0.iter().filter(|_| is_1_0)).copied().collect();
    let outcomes = run();
    let mut wrong = Vec::new();
    let (mut passed, mut skipped) = (0, 0);
    for [case, outcome, text] in &outcomes {
        let name = case.split_once('.').map_or(case.as_str(), |(_, name)| name);
        match (outcome.as_str(), known.get(name)) {
            ("ok", None) => passed += 1,
            ("skipped", _) => skipped += 1,
            ("failed", Some(_)) => {}
            ("ok", Some(reason)) => wrong.push(format!("{name} is passed although: {reason}")),
            _ => wrong.push(format!("{name}: {outcome}\n{text}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), outcomes.len(), wrong.join("\n"));
    assert!(passed > 55 && skipped < 8, "{passed} passed, {skipped} skipped: {outcomes:?}");
}

/// Runs all suites. As root they have a network of their own, since they ban what may be an address of this machine.
fn run() -> Vec<[String; 3]> {
    let place = Place::new();
    std::fs::create_dir(place.file("bin")).expect("a directory");
    for name in ["client", "server", "regex"] {
        let link = place.file(&format!("bin/fail2ban-{name}"));
        symlink(binary(&format!("f2b-{name}")), link).expect("a link");
    }
    let script = repository().join("tests/support/upstream_cases.py");
    let mut command = in_network("/usr/bin/python3");
    command.arg(script).arg(place.file("bin")).arg(place.file("out.json")).args(SUITES);
    command.env("PYTHONIOENCODING", "utf-8").env_remove("LC_ALL").env("LANG", "C.UTF-8").stdin(Stdio::null());
    let output = command.output().expect("Python runs");
    let outcomes = place.read("out.json");
    serde_json::from_str::<Json>(&outcomes)
        .and_then(serde_json::from_value)
        .unwrap_or_else(|error| panic!("{error}: {outcomes:?}\n{}", both(&output)))
}

fn in_network(program: impl AsRef<Path>) -> Command {
    let program = program.as_ref();
    if !(nix::unistd::geteuid().is_root() && has_program("unshare") && has_program("ip")) {
        return Command::new(program);
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]).arg(program);
    command
}
