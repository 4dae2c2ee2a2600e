//! A reload: the jails that are there take new options, keep their bans, their failures and their place in the logs.
//!
//! Upstream: `server.reloadJails`.

use std::sync::{Arc, mpsc};

use f2b_jail::Names;
use f2b_protocol::{Command, Value};
use f2b_types::Level;

use super::Unbanning;
use super::core::Core;
use super::errors::value_error;
use super::refusal::backend_named;
use super::transmitter::Result;
use super::worker::LastAnswer;

/// The last word of a reload in the log.
const FINISHED: &str = "Reload finished.";

impl Core {
    /// Marks the jails that a reload concerns; what it does not touch goes away at its end.
    pub(super) fn begin_reload(&mut self, name: &str, options: &[String]) -> Result<()> {
        let has = |option: &str| options.iter().any(|o| o == option);
        let all = name == "--all";
        if self.reloading.is_some() {
            return Err(value_error("Reload already in progress"));
        }
        self.log_reload(name);
        if !all
            && !has("--if-exists")
            && let Err(unknown) = self.jail(name).map(drop)
        {
            self.log(Level::INFO, "server", FINISHED);
            return Err(unknown);
        }
        let concerned: Vec<String> = self.names().into_iter().filter(|n| all || n == name).collect();
        for name in &concerned {
            if has("--unban") {
                let (sender, receiver) = mpsc::sync_channel(1);
                let (jail, names) = (Some(name.clone()), Names::new());
                let everybody = Unbanning { jail, ids: None, names, report_absent: false };
                self.unban(everybody, Some(&sender))?;
                drop(sender);
                self.wait_for(&receiver)?;
            }
            if has("--restart") {
                self.stop_jail(name)?;
            }
        }
        let untouched: Vec<String> = concerned.into_iter().filter(|name| self.jail(name).is_ok()).collect();
        for name in &untouched {
            self.set_idle(name, true)?;
            self.jail(name)?.begin_reload();
            self.clear_journal_matches(name)?;
        }
        self.reloading = Some(untouched);
        Ok(())
    }

    /// Refuses a reload with a jail whose backend can't be had: none of the running jails comes to harm.
    pub(super) fn check_backends(&mut self, name: &str, stream: &Value) -> Result<()> {
        for command in stream.as_items().unwrap_or_default() {
            let command = Command(command.as_items().unwrap_or_default().to_vec());
            let (Some("add"), Some(jail)) = (command.word(0), command.word(1)) else { continue };
            let backend = command.word(2).unwrap_or("auto");
            if backend_named(backend).is_ok() {
                continue;
            }
            self.log_reload(name);
            if let Ok(old) = self.jail(jail).map(|running| running.backend.clone()) {
                self.log_restart(jail, &old, backend);
            }
            let refused = self.choose_backend(jail, backend).map(drop);
            self.log(Level::ERROR, "server", "Everything stays as it is.");
            self.log(Level::INFO, "server", FINISHED);
            return refused;
        }
        Ok(())
    }

    fn log_reload(&self, name: &str) {
        let what = if name == "--all" { "all jails".into() } else { format!("jail {name}") };
        self.log(Level::INFO, "server", format!("Reload {what}"));
    }

    /// Drops the jails that the reload did not touch and what the others no longer have.
    /// The answer goes out when the actions of all jails have taken it in.
    pub(super) fn end_reload(&mut self, answer: Option<Arc<LastAnswer>>) {
        let untouched = self.reloading.take().unwrap_or_default();
        for name in self.names() {
            if untouched.contains(&name) {
                // The jail was there a moment ago, and only this thread takes jails away.
                let _ = self.stop_jail(&name);
            } else if let Ok(running) = self.jail(&name) {
                for path in running.end_reload(answer.clone()) {
                    self.log_removed(&path);
                }
            }
        }
        self.ship_changes();
        self.log(Level::INFO, "server", FINISHED);
    }
}
