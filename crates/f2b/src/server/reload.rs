//! A reload: the jails that are there take new options, keep their bans, their failures and their place in the logs.
//!
//! Upstream: `server.reloadJails`.

use std::sync::{Arc, mpsc};

use f2b_types::Level;

use super::core::Core;
use super::errors::value_error;
use super::transmitter::Result;
use super::worker::LastAnswer;

impl Core {
    /// Marks the jails that a reload concerns; what it does not touch goes away at its end.
    pub(super) fn begin_reload(&mut self, name: &str, options: &[String]) -> Result<()> {
        let has = |option: &str| options.iter().any(|o| o == option);
        let all = name == "--all";
        if self.reloading.is_some() {
            return Err(value_error("Reload already in progress"));
        }
        let what = if all { "all jails".into() } else { format!("jail {name}") };
        self.log(Level::INFO, "server", format!("Reload {what}"));
        if !all && !has("--if-exists") {
            self.jail(name)?;
        }
        let concerned: Vec<String> = self.names().into_iter().filter(|n| all || n == name).collect();
        for name in &concerned {
            if has("--unban") {
                let (sender, receiver) = mpsc::sync_channel(1);
                self.unban(Some(name), None, false, Some(&sender))?;
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

    /// Drops the jails that the reload did not touch and what the others no longer have.
    /// The answer goes out when the actions of all jails have taken it in.
    pub(super) fn end_reload(&mut self, answer: Option<Arc<LastAnswer>>) {
        let untouched = self.reloading.take().unwrap_or_default();
        for name in self.names() {
            if untouched.contains(&name) {
                // The jail was there a moment ago, and only this thread takes jails away.
                let _ = self.stop_jail(&name);
            } else if let Ok(running) = self.jail(&name) {
                running.end_reload(answer.clone());
            }
        }
        self.ship_changes();
        self.log(Level::INFO, "server", "Reload finished.");
    }
}
