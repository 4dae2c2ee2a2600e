//! Which files a journal is made of, by the parameters of the backend `systemd`.
//!
//! Upstream: `FilterSystemd._getJournalArgs` and `_globJournalFiles`.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use f2b_protocol::Value;
use nix::unistd::{AccessFlags, access, geteuid};

use crate::error::JournalError;
use crate::sd::{Handle, Place};

/// Flags of `sd_journal_open`.
const LOCAL_ONLY: i32 = 1;
const RUNTIME_ONLY: i32 = 2;
const SYSTEM_ONLY: i32 = 4;
const CURRENT_USER: i32 = 8;

/// Where the system keeps its journals, lasting and not.
const STATE_LOGS: &str = "/var/log/journal/*";
const RUNTIME_LOGS: &str = "/run/log/journal/*";

/// Names the flags to use where no parameter does.
const DEFAULT_FLAGS: &str = "F2B_SYSTEMD_DEFAULT_FLAGS";

/// What was asked for, not yet looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    path: Option<PathBuf>,
    files: Option<Vec<String>>,
    flags: Option<i32>,
    namespace: Option<String>,
    rotated: bool,
}

/// A parameter that can't be; prints as Python's exception.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceError {
    /// There is none of this name (a `TypeError`).
    UnknownParameter(String),
    /// `journalflags` is no number (a `ValueError`).
    InvalidFlags(String),
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| Value::from(text);
        match self {
            Self::UnknownParameter(name) => {
                write!(f, "Filter.__init__() got an unexpected keyword argument {}", quoted(name))
            }
            Self::InvalidFlags(text) => {
                write!(f, "invalid literal for int() with base 10: {}", quoted(text))
            }
        }
    }
}

impl std::error::Error for SourceError {}

/// What to open.
struct Chosen {
    files: Vec<PathBuf>,
    flags: Option<i32>,
}

/// One file of an open journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenFile {
    pub(crate) path: PathBuf,
    inode: Option<(u64, u64)>,
    /// How long it was if it could not be opened.
    left_out: Option<u64>,
}

/// What becomes of a journal of which some files can't be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// It is not opened at all, as by the library.
    Refused,
    /// The others are, if nothing has happened to those for so long: a file that is being begun can't be opened either.
    LeftOutAfter(Duration),
}

impl Source {
    /// Reads the options in the brackets of `systemd[...]`: `journalpath`, `journalfiles`, `journalflags`, `namespace`,
    /// `rotated`.
    ///
    /// # Errors
    ///
    /// [`SourceError`] names another option, or flags that are no number.
    pub fn parse(options: &[(String, String)]) -> Result<Self, SourceError> {
        let mut source = Self::default();
        for (name, value) in options {
            match name.as_str() {
                "journalpath" => source.path = Some(value.into()),
                "journalfiles" => source.files = Some(words(value)),
                "journalflags" => source.flags = Some(number(value)?),
                "namespace" => source.namespace = Some(value.clone()),
                "rotated" => source.rotated = f2b_types::is_on(value),
                name => return Err(SourceError::UnknownParameter(name.into())),
            }
        }
        Ok(source)
    }

    /// Opens the files that there are now. Of those that were rotated out of use the ones changed `since` then are opened as
    /// well, for somebody who was reading them. Answers with the files too, if it was opened by these.
    pub(crate) fn open(
        &self,
        since: Option<SystemTime>,
        broken: Broken,
    ) -> Result<(Handle, Option<Vec<OpenFile>>), JournalError> {
        let Chosen { mut files, flags } = self.choose()?;
        if files.is_empty() {
            // Python takes the local journals where nothing is said.
            let flags = flags.unwrap_or(if self.path.is_some() { 0 } else { LOCAL_ONLY });
            let place = match (&self.path, &self.namespace) {
                (Some(path), _) => Place::Directory(path),
                (None, Some(name)) => Place::Namespace(name),
                (None, None) => Place::System,
            };
            return Ok((Handle::open(&place, flags)?, None));
        }
        let mut opened: Vec<_> = files.iter().map(|path| OpenFile::of(path)).collect();
        if let Some(since) = since {
            let siblings: Vec<_> = files.iter().flat_map(|path| rotated_siblings(path, since)).collect();
            files.extend(siblings);
        }
        let open = |files: &[PathBuf]| Handle::open(&Place::Files(files), flags.unwrap_or(0));
        let handle = match open(&files) {
            Err(error) => {
                let Broken::LeftOutAfter(pause) = broken else { return Err(error) };
                let (sound, broken): (Vec<_>, Vec<_>) =
                    files.into_iter().partition(|file| open(std::slice::from_ref(file)).is_ok());
                if sound.is_empty() || broken.iter().any(|file| has_changed_within(file, pause)) {
                    return Err(error);
                }
                for file in opened.iter_mut().filter(|file| broken.contains(&file.path)) {
                    file.leave_out();
                }
                open(&sound)?
            }
            Ok(handle) => handle,
        };
        Ok((handle, Some(opened)))
    }

    /// Whether files are asked for by names that none has, so that the system's own journal is opened, as by upstream.
    pub fn has_no_files(&self) -> bool {
        let is_named =
            self.files.is_some() || (self.path.is_some() && !self.rotated && self.namespace.is_none());
        is_named && self.choose().is_ok_and(|chosen| chosen.files.is_empty())
    }

    /// Whether there are files, whatever is in them.
    pub fn finds_files(&self) -> bool {
        self.choose().is_ok_and(|chosen| !chosen.files.is_empty())
    }

    /// Whether other files would be opened now, or any of these has been replaced or might be opened where it was not before.
    pub(crate) fn have_changed(&self, files: &[OpenFile]) -> bool {
        let chosen = self.choose().map(|chosen| chosen.files).unwrap_or_default();
        !chosen.iter().eq(files.iter().map(|file| &file.path)) || files.iter().any(OpenFile::has_changed)
    }

    /// The files to open, if files are to be opened, and the flags.
    fn choose(&self) -> Result<Chosen, JournalError> {
        let files = self.named_files();
        if !files.is_empty() {
            return Ok(Chosen { files, flags: self.flags });
        }
        let flags = match (self.flags, &self.path) {
            (None, None) => self.default_flags()?,
            (flags, _) => flags,
        };
        if self.rotated || self.namespace.is_some() {
            return Ok(Chosen { files, flags });
        }
        let files = self.files_in_use(if self.path.is_some() { flags.or(Some(LOCAL_ONLY)) } else { flags });
        Ok(match files.is_empty() {
            true => Chosen { files, flags },
            false => Chosen { files, flags: None },
        })
    }

    fn default_flags(&self) -> Result<Option<i32>, JournalError> {
        match std::env::var(DEFAULT_FLAGS) {
            Ok(flags) => {
                let wrong = JournalError::Invalid("F2B_SYSTEMD_DEFAULT_FLAGS must be a number");
                flags.trim().parse().map(Some).map_err(|_| wrong)
            }
            Err(_) => Ok(self.rotated.then_some(SYSTEM_ONLY)),
        }
    }

    /// What the wildcards of `journalfiles` match.
    fn named_files(&self) -> Vec<PathBuf> {
        let patterns = self.files.iter().flatten();
        sorted(patterns.flat_map(|pattern| matches(pattern)))
    }

    /// The files that are being written, without those that were rotated out of use: a service that has run for years has so
    /// many that they could not all be opened.
    fn files_in_use(&self, flags: Option<i32>) -> Vec<PathBuf> {
        let files = match &self.path {
            Some(path) => in_use(&path.to_string_lossy(), flags),
            None => {
                let lasting = flags.is_none_or(|flags| flags & RUNTIME_ONLY == 0);
                let mut files = if lasting { in_use(STATE_LOGS, flags) } else { Vec::new() };
                files.extend(in_use(RUNTIME_LOGS, flags));
                files
            }
        };
        let is_root = geteuid().is_root();
        sorted(files.into_iter().filter(|path| is_root || access(path, AccessFlags::R_OK).is_ok()))
    }
}

/// Bytes of the header of a journal file, at least.
const MIN_HEADER: u64 = 208;

impl OpenFile {
    /// Whether it is the same file still, but with less in it than its header.
    pub(crate) fn is_beheaded(&self) -> bool {
        let meta = fs::metadata(&self.path).ok();
        let is_same = |meta: &fs::Metadata| self.inode == Some((meta.dev(), meta.ino()));
        !self.is_left_out() && meta.is_some_and(|meta| is_same(&meta) && meta.len() < MIN_HEADER)
    }

    /// Whether that is the same file.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.inode == other.inode
    }

    /// Whether it could not be opened.
    pub(crate) fn is_left_out(&self) -> bool {
        self.left_out.is_some()
    }

    fn leave_out(&mut self) {
        self.left_out = Some(fs::metadata(&self.path).map_or(0, |meta| meta.len()));
    }

    /// Whether it has been replaced; if it could not be opened, whether something has come of it since.
    pub(crate) fn has_changed(&self) -> bool {
        let mut now = Self::of(&self.path);
        if self.is_left_out() {
            now.leave_out();
        }
        now != *self
    }

    fn of(path: &Path) -> Self {
        let inode = fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
        Self { path: path.into(), inode, left_out: None }
    }
}

/// Whether something has happened to a file so lately; so it is with one that is gone already.
fn has_changed_within(path: &Path, pause: Duration) -> bool {
    let Ok(meta) = fs::metadata(path).or_else(|_| fs::symlink_metadata(path)) else { return true };
    let (seconds, nanos) = (u64::try_from(meta.ctime()), u32::try_from(meta.ctime_nsec()));
    let changed = UNIX_EPOCH + Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0));
    // A clock that has been put back since tells nothing.
    changed.elapsed().is_ok_and(|ago| ago < pause)
}

/// The files below `directory`, a pattern itself, that have names of what `flags` asks for.
fn in_use(directory: &str, flags: Option<i32>) -> Vec<PathBuf> {
    let has = |flag| flags.is_some_and(|flags| flags & flag != 0);
    let mut files = Vec::new();
    if flags.is_none() || has(SYSTEM_ONLY) {
        files.extend(matches(&format!("{directory}/system.journal")));
    }
    if has(CURRENT_USER) {
        files.extend(matches(&format!("{directory}/user-{}.journal", geteuid())));
    }
    if flags.is_none() || !has(SYSTEM_ONLY | CURRENT_USER) {
        files.extend(matches(&format!("{directory}/*.journal")));
    }
    files.retain(|path| !is_rotated(path));
    files
}

fn is_rotated(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().contains(&b'@'))
}

/// `system@....journal` beside `system.journal`, and `system@....journal~` as journald names what was not closed or is
/// corrupt, if it was written to `since` then.
fn rotated_siblings(path: &Path, since: SystemTime) -> Vec<PathBuf> {
    let (Some(directory), Some(stem)) = (path.parent(), path.file_stem()) else { return Vec::new() };
    let directory = glob::Pattern::escape(&directory.to_string_lossy());
    let stem = glob::Pattern::escape(&stem.to_string_lossy());
    let is_recent = |path: &PathBuf| {
        let modified = fs::metadata(path).and_then(|meta| meta.modified());
        modified.is_ok_and(|modified| modified >= since)
    };
    let named = |ending| matches(&format!("{directory}/{stem}@*.{ending}"));
    ["journal", "journal~"].into_iter().flat_map(named).filter(is_recent).collect()
}

fn matches(pattern: &str) -> Vec<PathBuf> {
    glob::glob(pattern).map(|paths| paths.filter_map(Result::ok).collect()).unwrap_or_default()
}

fn sorted(paths: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
    paths.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

/// Words between blanks and commas (`helpers.splitwords`).
fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| c == ',' || c.is_whitespace());
    words.filter(|word| !word.is_empty()).map(Into::into).collect()
}

fn number(text: &str) -> Result<i32, SourceError> {
    text.trim().parse().map_err(|_| SourceError::InvalidFlags(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(options: &[(&str, &str)]) -> Result<Source, SourceError> {
        let options: Vec<_> = options.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Source::parse(&options)
    }

    #[test]
    fn parameters_are_those_of_the_backend() {
        assert_eq!(source(&[]), Ok(Source::default()));
        let all =
            source(&[("journalpath", "/j"), ("journalflags", " 4 "), ("namespace", "n"), ("rotated", "on")]);
        let expected = Source {
            path: Some("/j".into()),
            files: None,
            flags: Some(4),
            namespace: Some("n".into()),
            rotated: true,
        };
        assert_eq!(all, Ok(expected));
        for (option, message) in [
            (("journalflags", "x"), "invalid literal for int() with base 10: 'x'"),
            (("path", "x"), "Filter.__init__() got an unexpected keyword argument 'path'"),
        ] {
            assert_eq!(source(&[option]).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn rotated_files_are_left_out_unless_they_are_wanted() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "system.journal",
            "user-7.journal",
            "system@1-2.journal",
            "system@1-3.journal~",
            "user-7@x.journal",
            "x.journal~",
        ] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let path = dir.path().to_str().unwrap();
        let names = |flags| {
            let source = source(&[("journalpath", path)]).unwrap();
            let files = source.files_in_use(flags).into_iter();
            files.map(|file| file.file_name().unwrap().to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(Some(LOCAL_ONLY)), ["system.journal", "user-7.journal"]);
        assert_eq!(names(Some(SYSTEM_ONLY)), ["system.journal"]);
        assert_eq!(names(Some(CURRENT_USER)), [""; 0]);
        assert_eq!(names(None), ["system.journal", "user-7.journal"]);
        let named = source(&[("journalfiles", &format!("{path}/*@*.journal, {path}/none"))]).unwrap();
        assert_eq!(named.named_files().len(), 2);
        let siblings = rotated_siblings(&dir.path().join("system.journal"), SystemTime::UNIX_EPOCH);
        assert_eq!(siblings, ["system@1-2.journal", "system@1-3.journal~"].map(|name| dir.path().join(name)));
    }
}
