//! A log file, and all jails that watch it: as far as they are at the same place, it is read and decoded once for all.
//!
//! Jails at the same place, which read the file by the same encoding and format, are a group with one reader. A jail that is
//! added begins by itself, where the database says; so does one that can't take lines for a while, since it pauses or has too
//! much on its way: it leaves its group, which goes on, and its lines stay in the file. A group that is behind another one
//! reads up to the place of that and then joins it. So everybody gets every line once, and nobody waits for anybody.
//!
//! What is in a FIFO can be read only once: there all jails are one group, which waits while one of them has too much on its way.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::generations::Logs;
use super::group::Group;
use super::jails::WatchedFile;
use super::log_file::Progress;
use super::notify::Notify;
use super::reader::{BACKLOG_INTERVAL, RETRY_INTERVAL, UNSETTLED_INTERVAL, next_round};
use super::reading::{Jail, State};
use super::ways::{Warned, Ways};
use super::{JailKey, Msg};
use crate::logging::ServerLog;

/// How soon it is looked again whether the database can be told of a new file.
const UNCOUNTED_INTERVAL: Duration = Duration::from_millis(20);

/// A log file, and all jails that watch it.
pub(super) struct Source {
    pub(super) path: PathBuf,
    logs: Logs,
    pub(super) groups: Vec<Group>,
    /// inotify is to report its changes.
    pub(super) wants_notify: bool,
    /// It does.
    notified: bool,
    /// It may also report changes of files that have lost the name.
    watches_old: bool,
    warned: Warned,
}

impl Source {
    /// One of `logs`.
    pub(super) fn new(path: PathBuf, logs: &Logs) -> Self {
        logs.insert(&path);
        Self {
            path,
            logs: logs.clone(),
            groups: Vec::new(),
            wants_notify: false,
            notified: false,
            watches_old: false,
            warned: Warned::default(),
        }
    }

    /// A jail begins to watch the file.
    pub(super) fn add(&mut self, file: &WatchedFile, jail: &Jail) {
        self.groups.push(Group::new(file, jail, &self.logs));
    }

    /// A jail does not watch the file any more, whether it is stopped or `goes_on`.
    pub(super) fn remove(&mut self, jail: &Jail, goes_on: bool, core: &Sender<Msg>) {
        self.groups.iter_mut().for_each(|group| group.leave(jail, goes_on, core));
        self.groups.retain(|group| !group.members.is_empty());
    }

    /// No jail watches the file any more.
    pub(super) fn let_go(&self, notify: &mut Notify) {
        notify.remove(&self.path);
        self.logs.remove(&self.path);
    }

    pub(super) fn is_watched_by(&self, jail: JailKey) -> bool {
        self.groups.iter().any(|group| group.has(jail))
    }

    /// A jail has other settings: if it reads the file in another way now, it leaves its group.
    pub(super) fn update(&mut self, jail: &Jail) {
        let Some(group) = self.groups.iter_mut().find(|group| group.has(jail.key)) else { return };
        group.is_new = true;
        if group.is_read_as_by(jail) {
            return;
        }
        let mut own = match group.members.len() {
            1 => None,
            // They have to agree before they read on.
            _ if group.log.is_fifo() => return,
            _ => group.split(&[jail.key]),
        };
        own.as_mut().unwrap_or(group).read_as(jail);
        self.groups.extend(own);
    }

    /// A jail has begun, pauses or goes on, or has other settings.
    pub(super) fn look(&mut self, jail: JailKey) {
        for group in self.groups.iter_mut().filter(|group| group.has(jail)) {
            group.due = Some(Instant::now());
        }
    }

    /// The file has changed.
    pub(super) fn mark(&mut self, notify: &mut Notify, log: &ServerLog) {
        self.notified = self.notified && notify.add(&self.path, log);
        for group in &mut self.groups {
            group.due = Some(Instant::now());
        }
    }

    /// Watches the file under its name.
    pub(super) fn watch(&mut self, notify: &mut Notify, log: &ServerLog) {
        self.notified = self.wants_notify && notify.add(&self.path, log);
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.groups.iter().any(|group| group.is_due(now))
    }

    /// How many files it keeps open.
    pub(super) fn open_files(&self) -> usize {
        self.groups.iter().map(|group| group.log.open_files()).sum()
    }

    /// What tells which log is closed first where too many are open; `None` for one that can't be closed now. Files that have
    /// lost their name are kept for as long as there are others.
    pub(super) fn rank(&self) -> Option<(bool, Instant)> {
        let ranks = self.groups.iter().map(|group| group.log.rank());
        // All of them, or what is closed here would be opened there.
        ranks.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Closes the file until there is something new in it, and answers how many that were.
    pub(super) fn close(&mut self) -> usize {
        let open = self.open_files();
        self.groups.iter_mut().for_each(|group| group.log.close());
        open
    }

    /// Looks again later, since no more files can be open now.
    pub(super) fn postpone(&mut self, now: Instant, begun: Instant, jails: &[Jail], log: &ServerLog) {
        for group in self.groups.iter_mut().filter(|group| group.is_due(now)) {
            let error = io::Error::from_raw_os_error(nix::errno::Errno::EMFILE as i32);
            group.report(&self.path, &Err(error), jails, log);
            group.due = Some(next_round(begun, RETRY_INTERVAL));
        }
    }

    /// Reads what there is to read, a bounded part for each group in turn.
    pub(super) fn read(
        &mut self,
        (now, begun): (Instant, Instant),
        jails: &mut [Jail],
        notify: &mut Notify,
        ways: &Ways,
    ) {
        if !self.is_due(now) {
            return;
        }
        self.part(jails);
        let mut index = 0;
        while index < self.groups.len() {
            self.join(index, jails);
            let group = &self.groups[index];
            if group.is_due(now) && self.read_group(index, begun, jails, ways) {
                // Its place has been taken by another one.
                continue;
            }
            index += 1;
        }
        if self.groups.iter_mut().any(Group::has_opened) {
            self.watch(notify, &ways.log);
            self.watches_old = true;
        }
        if self.watches_old && self.groups.iter().all(|group| group.log.has_one_file()) {
            notify.let_old_go(&self.path);
            self.watches_old = false;
        }
    }

    /// Who can't take lines now leaves those who can.
    fn part(&mut self, jails: &[Jail]) {
        let parted: Vec<Group> = self.groups.iter_mut().flat_map(|group| group.part(jails)).collect();
        self.groups.extend(parted);
    }

    /// Takes all groups into the one at `index` that are at its place.
    fn join(&mut self, index: usize, jails: &[Jail]) {
        let mut other = index + 1;
        while other < self.groups.len() {
            let can_join = self.distance(other, index, jails) == Some(0);
            if !can_join && self.distance(index, other, jails) == Some(0) {
                self.groups.swap(index, other);
            }
            if can_join || self.distance(other, index, jails) == Some(0) {
                let joined = self.groups.swap_remove(other);
                self.groups[index].take_in(joined);
            } else {
                other += 1;
            }
        }
    }

    /// How far the group at `index` is behind another one that it can join.
    fn distance(&self, index: usize, other: usize, jails: &[Jail]) -> Option<u64> {
        self.groups[index].distance_to(&self.groups[other], jails)
    }

    /// Reads a part of the file for a group; true if it has come to the place of another one and joined it.
    fn read_group(&mut self, index: usize, begun: Instant, jails: &mut [Jail], ways: &Ways) -> bool {
        let others = (0..self.groups.len()).filter(|other| *other != index);
        let distances = others.filter_map(|other| Some((self.distance(index, other, jails)?, other)));
        let next = distances.filter(|(distance, _)| *distance > 0).min();
        let Self { path, groups, warned, notified, .. } = self;
        let group = &mut groups[index];
        let again = match group.state(jails) {
            State::Full => Some(BACKLOG_INTERVAL),
            State::Idle => None,
            State::Ready if !group.log.has_news() => {
                let is_saved = group.save_if_another(jails, &ways.core);
                Some(if is_saved { group.pause(*notified, jails) } else { UNCOUNTED_INTERVAL })
            }
            State::Ready => {
                let progress = group.read(path, next.map(|(distance, _)| distance), (jails, warned), ways);
                let again = match progress {
                    Ok(Progress::More | Progress::Met) => Duration::ZERO,
                    Ok(Progress::Unsettled) => UNSETTLED_INTERVAL,
                    Ok(Progress::End) => group.pause(*notified, jails),
                    Ok(Progress::Missing) | Err(_) => RETRY_INTERVAL,
                };
                let has_met = matches!(progress, Ok(Progress::Met));
                group.report(path, &progress, jails, &ways.log);
                let is_saved = group.save_if_another(jails, &ways.core);
                let again = if is_saved { again } else { again.min(UNCOUNTED_INTERVAL) };
                if let (true, Some((_, other))) = (has_met, next)
                    && self.distance(index, other, jails) == Some(0)
                {
                    let joined = self.groups.remove(index);
                    let other = if other > index { other - 1 } else { other };
                    self.groups[other].take_in(joined);
                    return true;
                }
                Some(again)
            }
        };
        self.groups[index].due = again.map(|again| next_round(begun, again));
        false
    }

    /// Has the database told how far reading has come, for one jail or for all.
    pub(super) fn save(&mut self, only: Option<JailKey>, jails: &[Jail], core: &Sender<Msg>) {
        let find = |key| jails.iter().find(|jail| jail.key == key && only.is_none_or(|only| only == key));
        for group in &mut self.groups {
            group.save(None, find, core);
        }
    }
}
