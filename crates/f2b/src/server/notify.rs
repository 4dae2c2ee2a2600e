//! inotify: which of the files that are followed have changed.

use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use f2b_types::{Level, Log, Record};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

/// The inotify instance: reports changes of the files that are followed, and what appears beside them under their names.
pub(super) struct Notify {
    inotify: Option<Inotify>,
    /// What a watch stands for: the files that it reports directly, or the directory in which names appear.
    names: HashMap<WatchDescriptor, Vec<PathBuf>>,
}

impl Notify {
    /// An instance, or a stand-in that watches nothing where the system has none to give: then everything is polled.
    pub(super) fn new(log: &dyn Log) -> Self {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC);
        if let Err(error) = &inotify {
            let message = format!("inotify is not available ({error}), all log files are polled");
            log.write(Record::new(Level::WARNING, "filter", message));
        }
        Self { inotify: inotify.ok(), names: HashMap::new() }
    }

    /// What becomes readable when something has changed.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(Inotify::as_fd)
    }

    /// Watches a file and its directory; false if that isn't possible.
    pub(super) fn add(&mut self, path: &Path) -> bool {
        let Some(inotify) = &self.inotify else { return false };
        let directory = path.parent().unwrap_or(Path::new("."));
        let appears = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ONLYDIR;
        let Ok(watch) = inotify.add_watch(directory, appears) else { return false };
        note(&mut self.names, watch, directory);
        match inotify.add_watch(path, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVE_SELF) {
            Ok(watch) => note(&mut self.names, watch, path),
            // The directory will tell when it is there.
            Err(_) => return fs::symlink_metadata(path).is_err(),
        }
        true
    }

    /// The paths that something has happened to.
    pub(super) fn changed(&mut self) -> Vec<PathBuf> {
        let mut changed: Vec<PathBuf> = Vec::new();
        let Some(inotify) = &self.inotify else { return changed };
        while let Ok(events) = inotify.read_events() {
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    // Whatever was lost, it was about one of these.
                    return self.names.values().flatten().cloned().collect();
                }
                let Some(paths) = self.names.get(&event.wd) else { continue };
                for path in paths {
                    let path = event.name.as_ref().map_or_else(|| path.clone(), |name| path.join(name));
                    if !changed.contains(&path) {
                        changed.push(path);
                    }
                }
                if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    self.names.remove(&event.wd);
                }
            }
        }
        changed
    }
}

/// One inode has one watch, whatever its names.
fn note(names: &mut HashMap<WatchDescriptor, Vec<PathBuf>>, watch: WatchDescriptor, path: &Path) {
    let paths = names.entry(watch).or_default();
    if !paths.iter().any(|known| known == path) {
        paths.push(path.into());
    }
}
