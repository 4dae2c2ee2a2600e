//! The log lines about a script that has been run.
//!
//! A command that succeeds is a matter for DEBUG, one that fails is shown with all it wrote at ERROR.
//!
//! Upstream: `utils.Utils.executeCmd`; its texts are kept, also the number in front of each line that ties the lines of
//! one command together (there the address of an object in memory).

use f2b_protocol::Value;
use f2b_types::{Level, Log, Number, Record};
use nix::sys::signal::Signal;

use crate::script::Script;
use crate::shell::{End, Outcome};

const LOGGER: &str = "utils";

/// Between DEBUG and TRACEDEBUG: the commands that are run.
pub(crate) const COMMANDS: Level = Level(9);

/// How many lines of each output are logged.
const MAX_LINES: usize = 1000;

/// Writes what is to be said about `script`.
pub(crate) fn report(script: &Script, timeout: Number, outcome: &Outcome, log: &dyn Log) {
    report_success(script, timeout, outcome, &[0], log);
}

/// Writes what is to be said about a script that may end with any of these codes.
pub(crate) fn report_success(
    script: &Script,
    timeout: Number,
    outcome: &Outcome,
    codes: &[i32],
    log: &dyn Log,
) {
    let success = matches!(outcome.end, End::Exited(code) if codes.contains(&code));
    let id = format!("{:x}", std::ptr::from_ref(script).addr());
    let say = |level: Level, text: &dyn Fn() -> String| {
        if log.enabled(level) {
            log.write(Record::new(level, LOGGER, text()));
        }
    };
    let exec = || format!("{id} -- exec: {script}");
    if outcome.timed_out {
        say(Level::ERROR, &exec);
        say(Level::ERROR, &|| format!("{id} -- timed out after {timeout} seconds."));
    }
    if let End::NotStarted(reason) = &outcome.end {
        say(Level::ERROR, &exec);
        return say(Level::ERROR, &|| format!("{script} -- failed with {reason}"));
    }
    let level = if success { Level::DEBUG } else { Level::ERROR };
    if log.enabled(level) {
        if !outcome.timed_out {
            say(if success { COMMANDS } else { Level::ERROR }, &exec);
        }
        for (name, output) in [("stdout", &outcome.stdout), ("stderr", &outcome.stderr)] {
            let lines = lines(output);
            for line in lines.iter().take(MAX_LINES) {
                say(level, &|| {
                    format!("{id} -- {name}: {}", Value::from(String::from_utf8_lossy(line).as_ref()))
                });
            }
            if lines.len() > MAX_LINES {
                say(level, &|| format!("{id} -- {name}: more than {MAX_LINES} lines, the rest is left out"));
            }
        }
    }
    match outcome.end {
        End::Exited(code) if success => {
            say(Level::DEBUG, &|| format!("{id} -- returned successfully {code}"));
        }
        End::Stuck(pid) => say(Level::ERROR, &|| format!("{id} -- unable to kill PID {pid}")),
        End::Killed(signal) => say(Level::ERROR, &|| killed(&id, signal, -signal)),
        // A shell that runs something else answers for the signal that ended it.
        End::Exited(code @ 129..) => say(Level::ERROR, &|| killed(&id, code - 128, code)),
        End::Exited(code) => {
            say(Level::ERROR, &|| format!("{id} -- returned {code}"));
            if code == 127 {
                say(Level::INFO, &|| hint_not_found(script));
            }
        }
        End::NotStarted(_) => {}
    }
}

fn killed(id: &str, signal: i32, code: i32) -> String {
    let name = match Signal::try_from(signal) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) => format!("signal {signal}"),
    };
    format!("{id} -- killed with {name} (return code: {code})")
}

fn hint_not_found(script: &Script) -> String {
    format!(
        "HINT on 127: \"Command not found\".  Make sure that all commands in {} are in the PATH of fail2ban-server \
         process (grep -a PATH= /proc/`pidof -x fail2ban-server`/environ). You may want to start \"fail2ban-server -f\" \
         separately, initiate it with \"fail2ban-client reload\" in another shell session and observe if additional \
         informative error messages appear in the terminals.",
        script.repr()
    )
}

/// The lines of an output, ended as Python ends them: by a line feed, a carriage return or both.
fn lines(output: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = output;
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        let (line, tail) = rest.split_at(end);
        lines.push(line);
        rest = tail.strip_prefix(b"\r\n").or_else(|| tail.get(1..)).unwrap_or_default();
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use f2b_types::Recorder;

    #[track_caller]
    fn check(outcome: Outcome, expected: &[&str]) {
        let recorder = Recorder::default();
        let script = Script::new("cmd");
        report(&script, Number::Int(60), &outcome, &recorder);
        let id = format!("{:x}", std::ptr::from_ref(&script).addr());
        let lines: Vec<String> = recorder.lines().iter().map(|line| line.replace(&id, "ID")).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn success_is_for_debug() {
        let outcome = Outcome { stdout: b"a\r\nit's\n\nb\xff".to_vec(), ..Outcome::exited(0) };
        let exec = format!("{COMMANDS} ID -- exec: cmd");
        check(
            outcome,
            &[
                exec.as_str(),
                "DEBUG ID -- stdout: 'a'",
                "DEBUG ID -- stdout: \"it's\"",
                "DEBUG ID -- stdout: ''",
                "DEBUG ID -- stdout: 'b\u{fffd}'",
                "DEBUG ID -- returned successfully 0",
            ],
        );
    }

    #[test]
    fn a_flood_is_logged_in_part() {
        let recorder = Recorder::default();
        let outcome = Outcome { stderr: b"x\n".repeat(5000), ..Outcome::exited(1) };
        report(&Script::new("cmd"), Number::Int(60), &outcome, &recorder);
        let lines = recorder.lines();
        assert_eq!(lines.len(), 1 + MAX_LINES + 1 + 1);
        let last = lines[MAX_LINES + 1].as_str();
        assert!(last.ends_with(" -- stderr: more than 1000 lines, the rest is left out"), "{last}");
    }

    #[test]
    fn failure_is_an_error() {
        let outcome = Outcome { stderr: b"no".to_vec(), ..Outcome::exited(1) };
        check(outcome, &["ERROR ID -- exec: cmd", "ERROR ID -- stderr: 'no'", "ERROR ID -- returned 1"]);
    }

    #[test]
    fn a_missing_command_gets_a_hint() {
        let recorder = Recorder::default();
        report(&Script::new("it's"), Number::Int(60), &Outcome::exited(127), &recorder);
        let lines = recorder.lines();
        assert!(lines[2].starts_with(
            "INFO HINT on 127: \"Command not found\".  Make sure that all commands in \"it's\" are"
        ));
    }

    #[test]
    fn signals_are_named() {
        let killed = |end, timed_out| Outcome { end, timed_out, ..Outcome::exited(0) };
        check(
            killed(End::Killed(9), true),
            &[
                "ERROR ID -- exec: cmd",
                "ERROR ID -- timed out after 60 seconds.",
                "ERROR ID -- killed with SIGKILL (return code: -9)",
            ],
        );
        check(
            killed(End::Exited(143), false),
            &["ERROR ID -- exec: cmd", "ERROR ID -- killed with SIGTERM (return code: 143)"],
        );
        check(
            killed(End::Exited(255), false),
            &["ERROR ID -- exec: cmd", "ERROR ID -- killed with signal 127 (return code: 255)"],
        );
        check(
            killed(End::Stuck(7), true),
            &[
                "ERROR ID -- exec: cmd",
                "ERROR ID -- timed out after 60 seconds.",
                "ERROR ID -- unable to kill PID 7",
            ],
        );
    }

    #[test]
    fn what_could_not_start_says_why() {
        let end = End::NotStarted("[Errno 7] Argument list too long: '/bin/sh'".into());
        check(
            Outcome { end, ..Outcome::exited(0) },
            &[
                "ERROR ID -- exec: cmd",
                "ERROR cmd -- failed with [Errno 7] Argument list too long: '/bin/sh'",
            ],
        );
    }
}
