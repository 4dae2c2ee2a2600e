//! Jails come and go: added, started, stopped, and all of them at the end.
//!
//! Upstream: `server.addJail`, `startJail`, `stopJail`, `stopAllJail`, `quit`, and `jail.Jail`.

use f2b_filter::Filter;
use f2b_jail::{Act, Event, Jail};
use f2b_protocol::Value;
use f2b_types::{Level, Number, local_time};

use super::JailKey;
use super::core::Core;
use super::database::{Ask, Wanted};
use super::errors::{duplicate_jail, runtime_error, unknown_jail, value_error};
use super::jails::Running;
use super::journal::{self, Position};
use super::reader::Watch;
use super::refusal::{Backend, BackendError, backend_named};
use super::resolver::own_addresses;
use super::transmitter::Result;
use super::worker::{Work, Worker};
use crate::clock;

impl Core {
    /// Creates a jail, or takes up the one that is being reloaded.
    pub(super) fn add_jail(&mut self, name: &str, backend: &str) -> Result<()> {
        let reloading = self.reloading.as_ref().is_some_and(|names| names.iter().any(|n| n == name));
        if reloading && let Ok(old) = self.jail(name) {
            let old_backend = old.backend.clone();
            if old_backend == backend {
                self.log(Level::INFO, "server", format!("Reload jail '{name}'"));
                self.tell_database(Ask::AddJail(name.into()));
                return Ok(());
            }
            self.log_restart(name, &old_backend, backend);
            self.stop_jail(name)?;
        }
        if self.jail(name).is_ok() {
            return Err(duplicate_jail(name));
        }
        if name.chars().count() >= 26 {
            let message = format!(
                "Jail name '{name}' might be too long and some commands might not function correctly. Please shorten"
            );
            self.log(Level::WARNING, "jail", message);
        }
        self.log(Level::INFO, "jail", format!("Creating new jail '{name}'"));
        let chosen = self.choose_backend(name, backend)?;
        let mut jail = Jail::new(name, self.zone.clone(), fastrand::u64(..));
        jail.has_database = self.database.is_some();
        jail.log_level = self.logger.level();
        jail.ignore.set_own(own_addresses());
        let key = self.new_key();
        let worker = Worker::start(key, name, &self.sender, &self.logger, self.database.as_ref())
            .map_err(|error| runtime_error(error.to_string()))?;
        worker.send(Work::Ipv6(self.ipv6.clone()));
        let year = local_time(clock::now(), &self.zone).map_or(1970, |local| local.year());
        let mut filter = Filter::new(name, year);
        if chosen.journal.is_some() {
            filter.disable_date_detector();
        }
        self.jails.push(Running::new(key, jail, filter, (backend, chosen), worker));
        self.tell_database(Ask::AddJail(name.into()));
        Ok(())
    }

    pub(super) fn log_restart(&self, name: &str, old: &str, new: &str) {
        self.log(Level::INFO, "server", format!("Restart jail '{name}' (reason: '{old}' != '{new}')"));
    }

    /// The backend that follows the logs of a jail, upstream's words for it in the log.
    pub(super) fn choose_backend(&self, name: &str, backend: &str) -> Result<Backend> {
        let chosen = match backend_named(backend) {
            Ok(chosen) => chosen,
            Err(BackendError::Missing(missing, reason)) => {
                let message = format!("Backend '{missing}' failed to initialize due to {reason}");
                self.log(Level::ERROR, "jail", message);
                let message = format!("Failed to initialize any backend for Jail '{name}'");
                self.log(Level::ERROR, "jail", message.clone());
                return Err(runtime_error(message));
            }
            Err(BackendError::Unknown(message)) => {
                self.log(Level::ERROR, "jail", message.clone());
                return Err(value_error(message));
            }
            Err(BackendError::Unusable(exception)) => return Err(exception),
        };
        let Backend { name: real, options, .. } = &chosen;
        let uses = if *real == "polling" { "poller" } else { real };
        let options = options.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into()));
        let options = Value::Dict(options.collect());
        self.log(Level::INFO, "jail", format!("Jail '{name}' uses {uses} {options}"));
        self.log(Level::INFO, "jail", format!("Initiated '{real}' backend"));
        Ok(chosen)
    }

    /// Starts a jail, or ends its reload.
    pub(super) fn start_jail(&mut self, name: &str) -> Result<()> {
        let index = self.jails.iter().position(|jail| jail.jail.name() == name);
        let index = index.ok_or_else(|| unknown_jail(name))?;
        // Whatever becomes of it, the reload has touched it. (A jail that got another backend starts anew.)
        if let Some(names) = &mut self.reloading {
            names.retain(|untouched| untouched != name);
        }
        if !self.jails[index].started {
            self.log(Level::DEBUG, "jail", format!("Starting jail '{name}'"));
            let running = &mut self.jails[index];
            running.started = true;
            running.send(Work::Start);
            self.look_up_ignored(name);
            self.find_place_in_journal(index);
            self.ship_changes();
            self.restore_bans(index);
            self.reader.tell(Watch::Start(self.jails[index].key));
            self.log(Level::INFO, "jail", format!("Jail '{name}' started"));
        } else if self.reloading.is_some() {
            self.look_up_ignored(name);
            self.log(Level::INFO, "server", format!("Jail '{name}' reloaded"));
        }
        self.set_idle(name, false)
    }

    fn find_place_in_journal(&mut self, index: usize) {
        let Some(database) = self.database.clone() else { return };
        let running = &mut self.jails[index];
        if running.journal.is_none() {
            return;
        }
        let (jail, path) = (running.jail.name().to_owned(), journal::PATH.to_owned());
        let (position, hash) = (Number::Int(0), None);
        let known = database.ask(|answer| Ask::AddLog { jail, path, position, hash, answer }).flatten();
        if let Some(known) = known {
            running.go_on_in_journal(Position::new(known.position.as_f64(), known.md5.as_deref()));
        }
    }

    fn restore_bans(&mut self, index: usize) {
        let Some(database) = self.database.clone() else { return };
        let jail = &self.jails[index].jail;
        let wanted = Wanted {
            for_ban_time: (!jail.increment.enabled).then_some(jail.bans.ban_time),
            max_ban_time: jail.max_ban_time(),
            ban_time: jail.bans.ban_time,
            max_matches: jail.fails.max_matches,
        };
        let name = jail.name().to_owned();
        let tickets = database.ask(|answer| Ask::Current { jail: name, wanted, answer });
        let key = self.jails[index].key;
        self.step(key, Event::Restore(tickets.unwrap_or_default()));
    }

    pub(super) fn set_idle(&mut self, name: &str, idle: bool) -> Result<()> {
        let running = self.jail(name)?;
        running.idle = idle;
        let key = running.key;
        self.reader.tell(Watch::Idle(key, idle));
        Ok(())
    }

    /// Stops a jail and waits until its bans are taken back.
    pub(super) fn stop_jail(&mut self, name: &str) -> Result<()> {
        let key = self.jail(name)?.key;
        self.begin_stop(key);
        self.pump_until(|core| !core.jails.iter().any(|jail| jail.key == key && jail.worker.is_some()));
        self.end_stop(key);
        Ok(())
    }

    /// Whether a jail runs, and no reload is about to change it.
    pub(super) fn is_set_up(&mut self, name: &str) -> bool {
        let reloading = self.reloading.as_ref().is_some_and(|names| names.iter().any(|n| n == name));
        !reloading && self.jail(name).is_ok_and(|jail| jail.started)
    }

    /// Drops a jail that can't be set up. One that was running before a reload goes with its bans taken back.
    pub(super) fn abandon(&mut self, name: &str) {
        if self.jail(name).is_ok() {
            // Only this thread takes jails away, and it has just seen this one.
            let _ = self.stop_jail(name);
        }
    }

    /// Stops all jails beside each other.
    pub(super) fn stop_all_jails(&mut self) {
        self.log(Level::INFO, "server", "Stopping all jails");
        let keys: Vec<JailKey> = self.jails.iter().map(|jail| jail.key).collect();
        for key in &keys {
            self.begin_stop(*key);
        }
        self.pump_until(|core| core.jails.iter().all(|jail| jail.worker.is_none()));
        for key in keys {
            self.end_stop(key);
        }
    }

    fn begin_stop(&mut self, key: JailKey) {
        self.tell_and_wait(key, Watch::Stop(key));
        // Only now it is known which failures count, and so where reading goes on at the next start.
        self.tell_and_wait(key, Watch::Forget(key));
        let Some(running) = self.by_key(key) else { return };
        let (name, started) = (running.jail.name().to_owned(), running.started);
        let files: Vec<String> = running.files.iter().map(|file| file.path.clone()).collect();
        self.log(Level::DEBUG, "jail", format!("Stopping jail '{name}'"));
        if started {
            for path in files {
                self.log_removed(&path);
            }
            self.step(key, Event::Stop);
        } else if let Some(running) = self.by_key(key) {
            running.act(Act::Stop(Vec::new()));
        }
    }

    fn end_stop(&mut self, key: JailKey) {
        let Some(index) = self.jails.iter().position(|jail| jail.key == key) else { return };
        let running = self.jails.remove(index);
        let name = running.jail.name().to_owned();
        self.lists.watch(running.key, &name, std::iter::empty());
        self.log(Level::INFO, "jail", format!("Jail '{name}' stopped"));
        self.tell_database(Ask::DeleteJail(name));
    }

    /// Stops everything; the loop ends when the command that asked for it is answered.
    pub(super) fn quit(&mut self) {
        if self.quitting {
            return;
        }
        self.quitting = true;
        self.log(Level::INFO, "server", "Shutdown in progress...");
        self.stop_all_jails();
        if let Some(database) = self.database.take() {
            database.close();
        }
        self.log(Level::INFO, "server", "Exiting Fail2ban");
    }
}
