//! One call of an operation: who calls, with what, and how a command is executed.
//!
//! Upstream: `CommandAction.executeCmd`. There, a lock lets one command run at a time in the whole server; here each
//! jail waits for its own commands only.

use f2b_types::{Level, Number, Record};

use crate::context::Context;
use crate::error::ActionError;
use crate::report::{COMMANDS, report};
use crate::script::Script;

/// What an operation works with: the surroundings, and the epoch of the jail's bans.
pub(crate) struct Run<'a> {
    pub(crate) jail: &'a str,
    pub(crate) context: &'a Context<'a>,
    pub(crate) epoch: &'a mut u64,
}

impl Run<'_> {
    pub(crate) fn log(&self, level: Level, logger: &'static str, text: impl FnOnce() -> String) {
        if self.context.log.enabled(level) {
            self.context.log.write(Record::new(level, logger, text()));
        }
    }

    /// Runs a script and reports on it; whether it succeeded.
    pub(crate) fn execute(&self, script: &Script, timeout: Number) -> Result<bool, ActionError> {
        self.log(COMMANDS, "action", || script.to_string());
        if script.text.is_empty() {
            self.log(Level::DEBUG, "action", || "Nothing to do".into());
            return Ok(true);
        }
        if script.text.contains('\0') || script.args.iter().any(|arg| arg.contains('\0')) {
            return Err(ActionError::Nul);
        }
        let outcome = self.context.shell.run(script, timeout);
        report(script, timeout, &outcome, self.context.log);
        Ok(outcome.success())
    }

    /// An error as the log shows it: with the way to its place, where somebody looks for a fault.
    pub(crate) fn reason(&self, error: &ActionError) -> String {
        match error.trace().filter(|_| self.context.log.enabled(Level::DEBUG)) {
            Some(trace) => format!("{error}\n{trace}"),
            None => error.to_string(),
        }
    }

    pub(crate) fn error(&self, text: impl FnOnce() -> String) {
        self.log(Level::ERROR, "actions", text);
    }

    pub(crate) fn notice(&self, text: impl FnOnce() -> String) {
        self.log(Level::NOTICE, "actions", text);
    }

    pub(crate) fn info(&self, text: impl FnOnce() -> String) {
        self.log(Level::INFO, "actions", text);
    }

    pub(crate) fn debug(&self, text: impl FnOnce() -> String) {
        self.log(Level::DEBUG, "actions", text);
    }
}
