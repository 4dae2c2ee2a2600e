//! The generations of a log: what a rotation has renamed stands beside the new one, under its name with a number or a date.
//!
//! Which of them comes behind which is told by when they were made and when they were written to: names say it in too
//! many ways. A compressed one is of no use, since another rotation has made it of one that could be read.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::tail::{Emptied, first_line_hash_of, open_regular};

/// As long after the last change of a name in its directory a rotation is over.
const SETTLED: Duration = Duration::from_millis(20);

/// Which file it is, whatever its names.
pub(super) type Inode = (u64, u64);

/// Which file that is.
pub(super) fn inode(meta: &Metadata) -> Inode {
    (meta.dev(), meta.ino())
}

/// When a file was made, and when it was written to last.
type Times = (SystemTime, SystemTime);

fn times(meta: &Metadata) -> io::Result<Times> {
    Ok((meta.created()?, meta.modified()?))
}

/// The names of all logs that are followed. However it is called, none of them is an old file of another one
/// (`app.log`, `app-2026-11-25.log`).
#[derive(Debug, Clone, Default)]
pub(super) struct Logs(Rc<RefCell<HashSet<PathBuf>>>);

impl Logs {
    pub(super) fn insert(&self, path: &Path) {
        self.0.borrow_mut().insert(path.into());
    }

    pub(super) fn remove(&self, path: &Path) {
        self.0.borrow_mut().remove(path);
    }

    fn have(&self, path: &Path) -> bool {
        self.0.borrow().contains(path)
    }
}

/// Where the generations of a log are: beside its name, and beside what that leads to if it is a link.
#[derive(Debug, Clone)]
pub(super) struct Names {
    own: PathBuf,
    target: Option<PathBuf>,
    logs: Logs,
}

impl Names {
    pub(super) fn new(own: PathBuf, logs: Logs) -> Self {
        Self { own, target: None, logs }
    }

    /// The name of the log itself.
    pub(super) fn own(&self) -> &Path {
        &self.own
    }

    /// Takes note of where the name leads to now.
    pub(super) fn follow(&mut self) {
        self.target = target(&self.own).or_else(|| self.target.take());
    }

    fn all(&self) -> impl Iterator<Item = &Path> {
        [Some(&self.own), self.target.as_ref()].into_iter().flatten().map(PathBuf::as_path)
    }
}

/// The file that a name leads to, if that is another name.
pub(super) fn target(path: &Path) -> Option<PathBuf> {
    fs::canonicalize(path).ok().filter(|target| target != path)
}

/// Whether nobody is in the middle of a rotation: names that change while a directory is read may be missed.
pub(super) fn is_settled(names: &Names) -> bool {
    let since = changed(names).and_then(|time| SystemTime::now().duration_since(time).ok());
    since.is_none_or(|since| since >= SETTLED)
}

/// What a look into the directory has brought.
pub(super) struct Looked {
    pub(super) found: Option<File>,
    /// No name has changed meanwhile.
    pub(super) is_sure: bool,
}

impl Looked {
    /// Where there is nothing to look for.
    pub(super) fn nothing() -> Self {
        Self { found: None, is_sure: true }
    }

    fn at(names: &Names, look: impl FnOnce() -> Option<File>) -> Self {
        let before = changed(names);
        let found = look();
        Self { found, is_sure: before == changed(names) }
    }
}

/// The generation that was begun next after `old` and is not under the log's own name any more, nor was there already at the
/// time when `old` had that name. Where the file system does not tell when a file was made, there is none.
pub(super) fn next(
    names: &Names,
    old: &File,
    had_name: Option<SystemTime>,
    is_known: impl Fn(&File) -> bool,
) -> Looked {
    let old = old.metadata().and_then(|meta| Ok((inode(&meta), times(&meta)?)));
    let Ok((own, (created, modified))) = old else {
        return Looked::nothing();
    };
    Looked::at(names, || {
        let all: Vec<Generation> = names.all().flat_map(rotated).collect();
        let old = all.iter().find(|generation| inode(&generation.meta) == own);
        let may_be = |generation: &Generation, times: &Times| {
            let is_new = had_name.is_none_or(|at| times.0 >= at);
            // Who rotates it has one place for a mark.
            let is_last = old.is_none_or(|old| old.mark.is_last);
            let is_named_alike = generation.mark.is_last == is_last;
            is_new && is_named_alike && !names.logs.have(&generation.path)
        };
        // A copy of the old one is younger, but has not been written to since. Where the old one is a copy itself, the file that
        // was emptied then is older; where somebody goes on writing in the old one, all others seem to be: then names tell.
        let is_later = |generation: &Generation, times: &Times| match old
            .and_then(|old| compare_marks(&generation.mark, &old.mark))
        {
            Some(Ordering::Greater) => times.0 >= created || times.1 >= modified,
            Some(_) => times.0 >= created && times.1 >= modified,
            None => times.1 > modified || (times.0 >= created && times.1 >= modified),
        };
        let timed = all.iter().filter_map(|generation| Some((times(&generation.meta).ok()?, generation)));
        let later =
            timed.filter(|(times, generation)| may_be(generation, times) && is_later(generation, times));
        let opened = later.filter_map(|(times, generation)| {
            let file = open_regular(&generation.path).ok().filter(|file| !is_known(file))?;
            Some((times, generation, file))
        });
        let first = opened.min_by(|(times, one, _), (other_times, other, _)| {
            let by_name = compare_marks(&one.mark, &other.mark).unwrap_or(Ordering::Equal);
            by_name.then_with(|| times.1.cmp(&other_times.1)).then_with(|| times.0.cmp(&other_times.0))
        });
        first.map(|(_, _, file)| file)
    })
}

/// The generation before a file: what was written to last of those that nobody has written to since.
pub(super) fn previous(names: &Names, file: &File) -> Option<File> {
    let meta = file.metadata().ok()?;
    let (own, last) = (inode(&meta), meta.modified().ok()?);
    let others = names.all().flat_map(rotated).filter(|generation| inode(&generation.meta) != own);
    let timed = others.filter_map(|generation| Some((generation.meta.modified().ok()?, generation)));
    let older = timed.filter(|(modified, _)| *modified <= last);
    let order = |(time, one): &(SystemTime, Generation), (other_time, other): &(SystemTime, Generation)| {
        let by_name = || compare_marks(&one.mark, &other.mark).unwrap_or(Ordering::Equal);
        time.cmp(other_time).then_with(by_name)
    };
    older.max_by(order).and_then(|(_, generation)| open_regular(&generation.path).ok())
}

/// Which file came later, by the marks that a rotation gives: numbers grow with the age of a file, dates with the time that it
/// is from. `None` where the one has a number and the other a date.
fn compare_marks(mark: &Mark, other: &Mark) -> Option<Ordering> {
    const LONGEST_NUMBER: usize = 5;
    let number = |mark: &[u8]| {
        let digits = std::str::from_utf8(mark.get(1..)?).ok()?;
        if digits.len() <= LONGEST_NUMBER { digits.parse::<u32>().ok() } else { None }
    };
    match (number(&mark.text), number(&other.text)) {
        (Some(number), Some(other)) => Some(other.cmp(&number)),
        (None, None) => Some(mark.text.cmp(&other.text)),
        _ => None,
    }
}

/// The generation with that first line, if at least so long.
pub(super) fn with_hash(names: &Names, hash: &str, length: u64) -> Looked {
    with(names, length, |file| first_line_hash_of(file).is_ok_and(|own| own == hash))
}

/// The generation that is a copy of what was in a log before it was emptied, if there is more in it than was read.
pub(super) fn copy_of(names: &Names, emptied: &Emptied) -> Looked {
    with(names, emptied.end + 1, |file| emptied.is_in(file))
}

/// The last generation of at least that length that is the wanted one.
fn with(names: &Names, length: u64, is_wanted: impl Fn(&File) -> bool) -> Looked {
    Looked::at(names, || {
        let files = names.all().flat_map(rotated).filter(|generation| generation.meta.len() >= length);
        let files = files.filter_map(|generation| {
            let file = open_regular(&generation.path).ok()?;
            is_wanted(&file).then_some((generation.meta.modified().ok()?, file))
        });
        files.max_by_key(|(modified, _)| *modified).map(|(_, file)| file)
    })
}

/// The first generation that somebody has written to since, of those that are not known. It was made since as well, unless it
/// `may_be_older`, and has its mark behind the whole name: others may be logs of their own.
pub(super) fn written_since(
    names: &Names,
    since: SystemTime,
    may_be_older: impl Fn(Inode) -> bool,
    is_known: impl Fn(&File) -> bool,
) -> Looked {
    Looked::at(names, || {
        let files = names.all().flat_map(rotated).filter(|generation| generation.meta.len() > 0);
        let files = files.filter(|generation| generation.mark.is_last && !names.logs.have(&generation.path));
        let files = files.filter_map(|generation| {
            let modified = generation.meta.modified().ok().filter(|modified| *modified > since)?;
            let file = open_regular(&generation.path).ok()?;
            let times = times(&generation.meta).unwrap_or((modified, modified));
            let may_be = times.0 >= since || may_be_older(inode(&generation.meta));
            (may_be && !is_known(&file)).then_some((times, file))
        });
        files.min_by_key(|(times, _)| *times).map(|(_, file)| file)
    })
}

/// Whether a name in a directory of a log has changed since.
pub(super) fn has_changed_since(names: &Names, since: SystemTime) -> bool {
    changed(names).is_none_or(|changed| changed >= since)
}

/// When a name in a directory of a log has changed last.
fn changed(names: &Names) -> Option<SystemTime> {
    let changed = |name: &Path| fs::metadata(name.parent()?).ok()?.modified().ok();
    names.all().filter_map(changed).max()
}

/// A file that has had the name of a log.
struct Generation {
    path: PathBuf,
    mark: Mark,
    meta: Metadata,
}

/// What the name of a file says more than that of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    text: Vec<u8>,
    /// It stands behind the whole name.
    is_last: bool,
}

/// The files beside a log that have its name and what a rotation adds to one.
fn rotated(path: &Path) -> impl Iterator<Item = Generation> + use<> {
    let log = path.file_name().unwrap_or_default().to_owned();
    let entries = path.parent().and_then(|directory| fs::read_dir(directory).ok()).into_iter().flatten();
    entries.flatten().filter_map(move |entry| {
        let name = entry.file_name();
        let mark = mark(&log, &name)?;
        let meta = fs::metadata(entry.path()).ok()?;
        meta.is_file().then(|| Generation { path: entry.path(), mark, meta })
    })
}

/// What a rotation has added to the name of a log: behind it, or before what tells the kind of file (`f-20261125.log`).
fn mark(log: &OsStr, name: &OsStr) -> Option<Mark> {
    let bytes = name.as_encoded_bytes();
    if let Some(mark) = bytes.strip_prefix(log.as_encoded_bytes()) {
        return is_of_a_rotation(mark).then(|| Mark { text: mark.into(), is_last: true });
    }
    let log = Path::new(log);
    let (stem, extension) = (log.file_stem()?, log.extension()?);
    let mark = bytes.strip_prefix(stem.as_encoded_bytes())?.strip_suffix(extension.as_encoded_bytes())?;
    let mark = mark.strip_suffix(b".")?;
    let is_mark = is_of_a_rotation(mark) && is_of_no_other_log(mark);
    is_mark.then(|| Mark { text: mark.into(), is_last: false })
}

/// `.1`, `-20261125`, `.2026-11-25_12:00`, `.old`: no other log, and nothing compressed.
fn is_of_a_rotation(mark: &[u8]) -> bool {
    let is_number = |byte: u8| byte.is_ascii_digit() || b".-_:T".contains(&byte);
    match mark {
        b".old" | b".bak" | b".prev" => true,
        [b'.' | b'-' | b'_', rest @ ..] => {
            rest.iter().any(u8::is_ascii_digit) && rest.iter().all(|byte| is_number(*byte))
        }
        _ => false,
    }
}

/// `app-2.log` is as likely to be written by a second one beside `app.log`; behind a dot there is the number of a rotation.
fn is_of_no_other_log(mark: &[u8]) -> bool {
    const DIGITS_OF_A_DATE: usize = 6;
    mark.starts_with(b".") || mark.iter().filter(|byte| byte.is_ascii_digit()).count() >= DIGITS_OF_A_DATE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotations_give_numbers_and_dates() {
        let mark = |name: &str| mark("f.log".as_ref(), name.as_ref()).map(|mark| mark.text);
        for suffix in [".1", ".12", "-20261125", ".2026-11-25_12:00", "-20261125T120000", "_1", ".0"] {
            let name = format!("f.log{suffix}");
            assert_eq!(mark(&name).as_deref(), Some(suffix.as_bytes()));
        }
        for name in ["f.log.old", "f.log.bak", "f.log.prev", "f.old.log"] {
            assert!(mark(name).is_some(), "{name}");
        }
        for infix in ["-20261125", ".1", ".2026-11-25", "_2026-11-25"] {
            let name = format!("f{infix}.log");
            assert_eq!(mark(&name).as_deref(), Some(infix.as_bytes()));
        }
        for suffix in
            [".", ".gz", ".1.gz", ".2.xz", "-error", "1", ".err", "-20261125.zst", ".swp", "~", ".1.bak"]
        {
            let name = format!("f.log{suffix}");
            assert_eq!(mark(&name), None, "{name}");
        }
        for name in [
            "f.log",
            "f",
            "f.",
            "flog",
            "f1.log",
            "f-2.log",
            "f-error.log",
            "f-20261125.log.gz",
            "f-20261125.txt",
            "g-20261125.log",
        ] {
            assert_eq!(mark(name), None, "{name}");
        }
        assert!(super::mark("f".as_ref(), "f.1".as_ref()).is_some());
        assert!(super::mark("f".as_ref(), "g.1".as_ref()).is_none());
    }

    #[test]
    fn numbers_grow_with_age_and_dates_with_time() {
        let mark = |text: &str| Mark { text: text.into(), is_last: true };
        let compare = |one: &str, other: &str| compare_marks(&mark(one), &mark(other));
        for (mark, other) in [
            (".1", ".2"),
            (".9", ".10"),
            ("-20261125", "-20261124"),
            ("-2026-11-02", "-2026-11-01"),
            (".2026-11-25_12", ".2026-11-25_09"),
        ] {
            assert_eq!(compare(mark, other), Some(Ordering::Greater), "{mark} {other}");
            assert_eq!(compare(other, mark), Some(Ordering::Less), "{mark} {other}");
            assert_eq!(compare(mark, mark), Some(Ordering::Equal));
        }
        assert_eq!(compare(".1", "-20261125"), None);
    }
}
