//! `ignorecommand`: a command that decides who is not counted.
//!
//! Upstream: the end of `filter._inIgnoreIPList`.

use f2b_types::{Level, Number, Record, Ticket};

use crate::info::{BanInfo, JailInfo};
use crate::report::{COMMANDS, report_success};
use crate::script::fill;
use crate::shell::{End, Runner};

/// How long the command may take.
const TIMEOUT: Number = Number::Int(60);

/// What `text`, the key of `ignorecache`, stands for with the tags of `ticket`.
pub fn ignore_key(text: &str, ticket: &Ticket, jail: JailInfo<'_>) -> String {
    fill(text, &BanInfo::new(ticket, jail), jail.names).repr()
}

/// Whether the command wants the id of `ticket` to be ignored: it ends with 0, where 1 is an answer too and everything else
/// an error.
pub fn ask_ignore_command(command: &str, ticket: &Ticket, jail: JailInfo<'_>, shell: &dyn Runner) -> bool {
    let say = |level: Level, message: String| {
        if jail.log.enabled(level) {
            jail.log.write(Record::new(level, if level == COMMANDS { "action" } else { "filter" }, message));
        }
    };
    let script = fill(command, &BanInfo::new(ticket, jail), jail.names);
    say(Level::DEBUG, format!("ignore command: {script}"));
    if script.text.contains('\0') || script.args.iter().any(|arg| arg.contains('\0')) {
        say(
            Level::ERROR,
            format!("[{}] ignorecommand can't be asked about {:?}", jail.name, ticket.id.to_string()),
        );
        return false;
    }
    say(COMMANDS, script.to_string());
    let outcome = shell.run(&script, TIMEOUT);
    report_success(&script, TIMEOUT, &outcome, &[0, 1], jail.log);
    outcome.end == End::Exited(0)
}

#[cfg(test)]
mod tests {
    use f2b_types::{Id, Recorder, Time};

    use super::*;
    use crate::info::JailCounts;
    use crate::names::FixedNames;
    use crate::shell::Shell;

    #[test]
    fn a_command_answers_by_its_exit_code() {
        let (names, log) = (FixedNames::default(), Recorder::default());
        let counts = JailCounts::default();
        let jail = JailInfo { name: "j", ban_time: 600.0, counts, earlier: None, names: &names, log: &log };
        let ask = |command: &str, ip: &str| {
            ask_ignore_command(command, &Ticket::new(Id::parse(ip), Time(0.0)), jail, &Shell)
        };
        assert!(ask("test <ip> = 192.0.2.1", "192.0.2.1"));
        assert!(!ask("test <ip> = 192.0.2.1", "192.0.2.2"));
        assert!(!log.lines().iter().any(|line| line.starts_with("ERROR")), "{:?}", log.lines());
        assert!(!ask("exit 7", "192.0.2.1"));
        assert!(log.lines().iter().any(|line| line.ends_with("-- returned 7")), "{:?}", log.lines());
        let ticket = Ticket::new(Id::parse("192.0.2.1"), Time(0.0));
        assert_eq!(ignore_key("x <ip>", &ticket, jail), "'x 192.0.2.1'");
    }
}
