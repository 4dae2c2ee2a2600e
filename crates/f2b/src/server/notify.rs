//! inotify: which of the files that are followed have changed.
//!
//! What it cannot report is polled: files beyond the limit of watches, and those of a network, which others change.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use f2b_types::{Level, Log, Record};
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::sys::statfs::{FsType, statfs};

use super::generations;

/// The inotify instance: reports changes of the files that are followed, and what appears beside them under their names.
pub(super) struct Notify {
    inotify: Option<Inotify>,
    watches: HashMap<WatchDescriptor, Watch>,
    /// The watches that each log needs.
    logs: HashMap<PathBuf, LogWatches>,
    links: Links,
    /// The log has been told that there are no watches left.
    warned: bool,
}

/// One inode has one watch, whatever its names.
#[derive(Default)]
struct Watch {
    /// What it stands for: the files that it reports directly, or the directory in which names appear.
    names: Vec<PathBuf>,
    /// Who needs it.
    logs: HashSet<PathBuf>,
}

/// The watches of a log.
#[derive(Default)]
struct LogWatches {
    /// Of the file that has the name, and of directories.
    current: Vec<WatchDescriptor>,
    /// Of files that had the name before.
    old: Vec<WatchDescriptor>,
}

impl Notify {
    /// An instance, or a stand-in that watches nothing where the system has none to give: then everything is polled.
    pub(super) fn new(log: &dyn Log) -> Self {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC);
        if let Err(error) = &inotify {
            let message = format!("inotify is not available ({error}), all log files are polled");
            log.write(Record::new(Level::WARNING, "filter", message));
        }
        let (watches, logs) = (HashMap::new(), HashMap::new());
        Self { inotify: inotify.ok(), watches, logs, links: Links::default(), warned: false }
    }

    /// What becomes readable when something has changed.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(Inotify::as_fd)
    }

    /// Watches a file and its directory; false if that isn't possible. What had the name before is watched on.
    pub(super) fn add(&mut self, path: &Path, log: &dyn Log) -> bool {
        let mut current = Vec::new();
        let result = self.watch(path, &mut current);
        let watches = self.logs.entry(path.into()).or_default();
        watches.old.extend(std::mem::take(&mut watches.current));
        watches.old.retain(|old| !current.contains(old));
        watches.current = current;
        match result {
            Ok(is_watched) => is_watched,
            Err(Errno::ENOSPC | Errno::ENOMEM) if !std::mem::replace(&mut self.warned, true) => {
                let message = format!(
                    "inotify has no watches left for {} (sysctl fs.inotify.max_user_watches), this and further log files \
                     are polled",
                    path.display()
                );
                log.write(Record::new(Level::WARNING, "filter", message));
                false
            }
            Err(_) => false,
        }
    }

    /// What had the name of a log before is of no interest any more.
    pub(super) fn let_old_go(&mut self, log: &Path) {
        let old = self.logs.get_mut(log).map(|watches| std::mem::take(&mut watches.old));
        old.into_iter().flatten().for_each(|watch| self.unwatch(watch, log));
    }

    /// Nobody follows the log any more.
    pub(super) fn remove(&mut self, log: &Path) {
        let LogWatches { current, old } = self.logs.remove(log).unwrap_or_default();
        current.into_iter().chain(old).for_each(|watch| self.unwatch(watch, log));
        self.links.remove(log);
    }

    fn unwatch(&mut self, watch: WatchDescriptor, log: &Path) {
        let Entry::Occupied(mut entry) = self.watches.entry(watch) else { return };
        entry.get_mut().names.retain(|name| name != log);
        entry.get_mut().logs.remove(log);
        if let (true, Some(inotify)) = (entry.get().logs.is_empty(), &self.inotify) {
            entry.remove();
            // It may have ended with its file.
            let _ = inotify.rm_watch(watch);
        }
    }

    /// Adds the watches of a log, and takes note of them.
    fn watch(&mut self, log: &Path, current: &mut Vec<WatchDescriptor>) -> nix::Result<bool> {
        let Some(inotify) = &self.inotify else { return Ok(false) };
        let mut note = |watch, name: &Path| {
            let known: &mut Watch = self.watches.entry(watch).or_default();
            if !known.names.iter().any(|known| known == name) {
                known.names.push(name.into());
            }
            if !known.logs.contains(log) {
                known.logs.insert(log.into());
            }
            current.push(watch);
        };
        let directory = log.parent().unwrap_or(Path::new("."));
        let appears = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ONLYDIR;
        if is_remote(log) || is_remote(directory) {
            return Ok(false);
        }
        note(inotify.add_watch(directory, appears)?, directory);
        if let Some(target) = generations::target(log) {
            let directory = target.parent().unwrap_or(Path::new("/"));
            note(inotify.add_watch(directory, appears)?, directory);
            self.links.add(log, target);
        }
        match inotify.add_watch(log, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVE_SELF) {
            Ok(watch) => note(watch, log),
            // The directory will tell when it is there.
            Err(Errno::ENOENT) => return Ok(fs::symlink_metadata(log).is_err()),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// The paths that something has happened to, or to what they lead to.
    pub(super) fn changed(&mut self) -> HashSet<PathBuf> {
        let mut changed = self.reported();
        let links = changed.iter().filter_map(|path| self.links.names.get(path)).flatten();
        let links: Vec<PathBuf> = links.cloned().collect();
        changed.extend(links);
        changed
    }

    fn reported(&mut self) -> HashSet<PathBuf> {
        let mut changed = HashSet::new();
        let Some(inotify) = &self.inotify else { return changed };
        while let Ok(events) = inotify.read_events() {
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    // Whatever was lost, it was about one of these.
                    return self.logs.keys().cloned().collect();
                }
                let Some(watch) = self.watches.get(&event.wd) else { continue };
                let path =
                    |name: &PathBuf| event.name.as_ref().map_or_else(|| name.clone(), |of| name.join(of));
                changed.extend(watch.names.iter().map(path));
                if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    self.watches.remove(&event.wd);
                }
            }
        }
        changed
    }
}

/// Names that are links.
#[derive(Default)]
struct Links {
    /// What they lead to.
    targets: HashMap<PathBuf, PathBuf>,
    /// Those that lead there.
    names: HashMap<PathBuf, Vec<PathBuf>>,
}

impl Links {
    /// Takes note of where a name leads to.
    fn add(&mut self, name: &Path, target: PathBuf) {
        if self.targets.get(name) == Some(&target) {
            return;
        }
        self.remove(name);
        self.targets.insert(name.into(), target.clone());
        self.names.entry(target).or_default().push(name.into());
    }

    /// Forgets where a name led to.
    fn remove(&mut self, name: &Path) {
        let Some(target) = self.targets.remove(name) else { return };
        if let Entry::Occupied(mut names) = self.names.entry(target) {
            names.get_mut().retain(|other| other != name);
            if names.get().is_empty() {
                names.remove();
            }
        }
    }
}

/// Whether others than this machine may change what is there: inotify reports nothing of them.
fn is_remote(path: &Path) -> bool {
    statfs(path).is_ok_and(|stat| is_network(stat.filesystem_type()))
}

/// The kinds of file systems whose files are elsewhere, by their numbers in the kernel. FUSE may be anything; `sshfs` and
/// its like are.
fn is_network(kind: FsType) -> bool {
    const NFS: u32 = 0x6969;
    const SMB: u32 = 0x517b;
    const CIFS: u32 = 0xff53_4d42;
    const SMB2: u32 = 0xfe53_4d42;
    const FUSE: u32 = 0x6573_5546;
    const PLAN_9: u32 = 0x0102_1997;
    const AFS: u32 = 0x5346_414f;
    const CEPH: u32 = 0x00c3_6400;
    const CODA: u32 = 0x7375_7245;
    const LUSTRE: u32 = 0x0bd0_0bd0;
    const OCFS2: u32 = 0x7461_636f;
    const GFS2: u32 = 0x0116_1970;
    const VIRTUALBOX: u32 = 0x786f_4256;
    const VMWARE: u32 = 0xbacb_acbc;
    let elsewhere =
        [NFS, SMB, CIFS, SMB2, FUSE, PLAN_9, AFS, CEPH, CODA, LUSTRE, OCFS2, GFS2, VIRTUALBOX, VMWARE];
    // The number has 32 bits, whatever the width of the machine's own.
    elsewhere.contains(&(kind.0 as u32))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_a_link_leads_to_counts_for_the_link() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let dir = fs::canonicalize(dir.path()).expect("a directory");
        let [link, data, target, other] =
            ["link", "data", "data/log", "data/other"].map(|name| dir.join(name));
        fs::create_dir(data).expect("a directory");
        for file in [&target, &other] {
            fs::write(file, "").expect("a file");
        }
        symlink(&target, &link).expect("a link");
        let log = f2b_types::Recorder::default();
        let mut notify = Notify::new(&log);
        assert!(notify.add(&link, &log));
        let replace = |file: &Path| {
            fs::rename(file, file.with_extension("1")).expect("a rotation");
            fs::write(file, "").expect("a file");
        };
        replace(&target);
        assert!(notify.changed().contains(&link));
        // It leads elsewhere from now on.
        fs::remove_file(&link).expect("a link");
        symlink(&other, &link).expect("a link");
        assert!(notify.add(&link, &log));
        notify.changed();
        fs::remove_file(&target).expect("a file");
        fs::write(&target, "").expect("a file");
        assert!(!notify.changed().contains(&link));
        replace(&other);
        assert!(notify.changed().contains(&link));
    }

    /// How many watches the system has for us.
    fn watches(notify: &Notify) -> usize {
        let fd = notify.fd().expect("an instance");
        let info = format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
        fs::read_to_string(info).expect("a descriptor").matches("inotify wd:").count()
    }

    #[test]
    fn watches_end_with_what_they_are_for() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let dir = fs::canonicalize(dir.path()).expect("a directory");
        let log = f2b_types::Recorder::default();
        let mut notify = Notify::new(&log);
        let [first, second, link, old] = ["a", "b", "link", "a.1"].map(|name| dir.join(name));
        fs::create_dir(dir.join("data")).expect("a directory");
        for file in [&first, &second, &dir.join("data/log")] {
            fs::write(file, "").expect("a file");
        }
        symlink(dir.join("data/log"), &link).expect("a link");
        for path in [&first, &second, &link] {
            assert!(notify.add(path, &log));
        }
        // Two directories and three files.
        assert_eq!(watches(&notify), 5);
        // A file that has lost the name is watched until nobody reads it.
        fs::rename(&first, &old).expect("a rotation");
        fs::write(&first, "").expect("a file");
        assert!(notify.add(&first, &log) && notify.add(&first, &log));
        assert_eq!(watches(&notify), 6);
        notify.changed();
        fs::write(&old, "late").expect("a write");
        assert!(notify.changed().contains(&first));
        notify.let_old_go(&first);
        assert_eq!(watches(&notify), 5);
        fs::write(&old, "later").expect("a write");
        assert!(notify.changed().is_empty());
        fs::write(&first, "new").expect("a write");
        assert!(notify.changed().contains(&first));
        // The directory of two is watched for the other one.
        notify.remove(&first);
        notify.remove(&link);
        assert_eq!(watches(&notify), 2);
        notify.changed();
        fs::remove_file(&second).expect("a file");
        fs::write(&second, "").expect("a file");
        assert!(notify.changed().contains(&second));
        notify.remove(&second);
        assert_eq!(watches(&notify), 0);
        assert!(notify.watches.is_empty() && notify.logs.is_empty() && notify.links.names.is_empty());
    }

    /// What the kernel could not note any more may have been about any log.
    #[test]
    fn after_an_overflow_every_log_is_looked_at() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = f2b_types::Recorder::default();
        let mut notify = Notify::new(&log);
        let logs = ["a", "b", "c"].map(|name| dir.path().join(name));
        let mut files = logs.each_ref().map(|path| fs::File::create(path).expect("a file"));
        logs.iter().for_each(|path| assert!(notify.add(path, &log)));
        let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("a limit");
        let limit: usize = limit.trim().parse().expect("a number");
        // The same again and again would be one event.
        for number in 0..=limit {
            files[number % 2].write_all(b"x").expect("a write");
        }
        files[2].write_all(b"x").expect("a write that nobody hears of");
        assert_eq!(notify.changed(), HashSet::from(logs.clone()));
        assert!(notify.changed().is_empty());
        files[2].write_all(b"x").expect("a write");
        assert_eq!(notify.changed(), HashSet::from([logs[2].clone()]));
    }

    #[test]
    fn files_of_a_network_are_told_by_their_file_system() {
        for magic in
            [0x6969_u32, 0xff53_4d42, 0xfe53_4d42, 0x6573_5546, 0x0102_1997, 0x00c3_6400, 0x786f_4256]
        {
            assert!(is_network(FsType(magic as _)), "{magic:x}");
        }
        // ext4, xfs, btrfs, tmpfs, overlayfs, zfs
        for magic in [0xef53_u32, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630, 0x2fc1_2fc1] {
            assert!(!is_network(FsType(magic as _)), "{magic:x}");
        }
        assert!(!is_remote(Path::new("/proc")));
    }
}
