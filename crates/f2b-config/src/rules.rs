//! Filters and jails for `f2b-regex`.
//!
//! Answers to what `fail2banregex.Fail2banRegex.readRegex` takes from `FilterReader` and `JailReader`.

use std::path::Path;
use std::rc::Rc;

use f2b_protocol::{Command, Value};

use crate::configurator::base_of;
use crate::definition::Definition;
use crate::diagnostic::Diagnostic;
use crate::error::{Error, ErrorKind};
use crate::files::Files;
use crate::filter::Filter;
use crate::glob::Globs;
use crate::jail::Jail;
use crate::python::repr;
use crate::setting::Options;

/// The jail's name in the commands of a filter that belongs to none.
const NO_JAIL: &str = "fail2ban-regex-jail";

/// Reads single filters and jails, each file once.
#[derive(Debug, Default)]
pub struct RulesReader {
    files: Files,
}

/// What a filter or a jail comes down to.
#[derive(Debug)]
pub struct Rules {
    /// The commands that would set it up in a server, such as `multi-set NAME addfailregex [...]`.
    pub commands: Vec<Command>,
    /// How many of the diagnostics that wait came up before the commands were made of the options.
    pub said_before_commands: usize,
    combined: Options,
    definition: Option<Definition>,
}

impl Rules {
    /// An option after everything is resolved, or else as the filter's file has it; `None` for one that is nowhere.
    pub fn option(&self, name: &str) -> Option<Value> {
        let combined = self.combined.get(name).map(|setting| Value::from(&setting.datum));
        let from_file = || self.definition.as_ref()?.get(name).map(|setting| Value::from(&setting.datum));
        combined.or_else(from_file)
    }

    /// The options of the filter's brackets and of its `[Init]`, in order.
    pub fn init_names(&self) -> impl Iterator<Item = &str> {
        self.definition.iter().flat_map(|definition| definition.init.keys()).map(|name| &**name)
    }

    /// All options after everything is resolved, in upstream's order.
    pub fn options(&self) -> impl Iterator<Item = (&str, Value)> {
        self.combined.iter().map(|(name, setting)| (&**name, Value::from(&setting.datum)))
    }
}

impl RulesReader {
    /// Nothing is read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What there was to say since the last time somebody asked.
    pub fn take_diagnostics(&mut self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.files.log.diagnostics)
    }

    /// Whether the configuration under `root` has a jail of this name (`JailReader.read`, which raises `NoJailError`).
    ///
    /// # Errors
    ///
    /// That the directory is not there, or that a file is wrong.
    pub fn has_jail(&mut self, root: &Path, name: &str) -> Result<bool, Error> {
        let jails = self.files.read(&base_of(root), "jail")?;
        Ok(jails.merged.section_names().any(|section| **section == *name))
    }

    /// The names of all jails under `root`, whether they are enabled or not.
    ///
    /// # Errors
    ///
    /// As [`RulesReader::has_jail`].
    pub fn jails(&mut self, root: &Path) -> Result<Vec<String>, Error> {
        let jails = self.files.read(&base_of(root), "jail")?;
        let names = jails.merged.section_names().filter(|name| &***name != "INCLUDES");
        Ok(names.map(ToString::to_string).collect())
    }

    /// Reads a jail as if it were enabled, whether its log files are there or not. The options go to its filter;
    /// upstream gives `backend` among them. `None` for a jail that is wrong, about which there is a diagnostic.
    ///
    /// # Errors
    ///
    /// That a file is wrong or does not resolve.
    pub fn read_jail(
        &mut self,
        root: &Path,
        name: &str,
        options: &[(String, String)],
    ) -> Result<Option<Rules>, Error> {
        if !self.has_jail(root, name)? {
            let message = format!("Jail {} was not found among available", repr(name));
            return Err(Error::new(ErrorKind::Value, message));
        }
        let base = base_of(root);
        let mut merged = (*self.files.read(&base, "jail")?.merged).clone();
        let mut jail = Jail::new(name, true);
        if !jail.read(&mut merged, &base, options, &mut self.files)? {
            return Ok(None);
        }
        let combined = jail.combined(&mut self.files.log)?;
        let said_before_commands = self.files.log.diagnostics.len();
        let commands = jail.commands(true, &mut Globs::default(), &mut self.files.log)?;
        let definition = jail.filter.map(|filter| filter.definition);
        Ok(Some(Rules { commands, said_before_commands, combined, definition }))
    }

    /// Reads the filter `filter.d/name` under `root`, with all its layers. `None` where it can't be read.
    ///
    /// # Errors
    ///
    /// That the directory is not there, that a file is wrong or does not resolve.
    pub fn read_filter(
        &mut self,
        root: &Path,
        name: &str,
        options: &[(String, String)],
        backend: &str,
    ) -> Result<Option<Rules>, Error> {
        let filter = Filter::open(&mut self.files, &base_of(root), name, options)?;
        self.rules(filter, backend)
    }

    /// Reads a filter from a file anywhere, with what it includes. `None` where it can't be read.
    ///
    /// # Errors
    ///
    /// That a file is wrong or does not resolve.
    pub fn read_filter_file(
        &mut self,
        path: &Path,
        options: &[(String, String)],
        backend: &str,
    ) -> Result<Option<Rules>, Error> {
        let filter = Filter::open_file(&mut self.files, &path.to_string_lossy(), options)?;
        self.rules(filter, backend)
    }

    fn rules(&mut self, filter: Option<Filter>, backend: &str) -> Result<Option<Rules>, Error> {
        let Some(mut filter) = filter else { return Ok(None) };
        let log = &mut self.files.log;
        filter.apply_backend(backend);
        filter.definition.read(&Rc::default(), false, log)?;
        let combined = filter.definition.combined(&[], log)?;
        let said_before_commands = log.diagnostics.len();
        let commands = filter.commands(NO_JAIL, log)?;
        Ok(Some(Rules { commands, said_before_commands, combined, definition: Some(filter.definition) }))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn tree() -> TempDir {
        let root = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, text).expect("a file");
        };
        write(
            "jail.conf",
            "[j]\nfilter = f[mode=jail]\nmaxlines = 3\nlogpath = /nope\n[wrong]\nfilter = nope\n",
        );
        write(
            "filter.d/f.conf",
            "[Definition]\nfailregex = <mode> <logtype>\nextra = %(__name__)s\n[Init]\nmode = init\n",
        );
        write("filter.d/f.local", "[Init]\nmode = local\n");
        root
    }

    #[track_caller]
    fn check(rules: Result<Option<Rules>, Error>, expected: &[&str]) {
        let rules = rules.expect("no error").expect("a filter");
        assert_eq!(rules.commands.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_filter_is_read_by_name_with_all_its_layers() {
        let root = tree();
        let mut reader = RulesReader::new();
        let regex = "['set', 'fail2ban-regex-jail', 'addfailregex', 'local file']";
        check(reader.read_filter(root.path(), "f", &[], "auto"), &[regex]);
        let options = [("mode".into(), "given".into())];
        let regex = "['set', 'fail2ban-regex-jail', 'addfailregex', 'given journal']";
        check(reader.read_filter(root.path(), "f", &options, "systemd"), &[regex]);
        assert!(reader.read_filter(root.path(), "nope", &[], "auto").expect("no error").is_none());
    }

    #[test]
    fn a_filter_is_read_from_a_file_with_its_local() {
        let root = tree();
        let rules = RulesReader::new().read_filter_file(&root.path().join("filter.d/f.conf"), &[], "auto");
        check(rules, &["['set', 'fail2ban-regex-jail', 'addfailregex', 'local file']"]);
    }

    #[test]
    fn a_jail_is_read_though_it_is_off() {
        let root = tree();
        let mut reader = RulesReader::new();
        assert_eq!(reader.has_jail(root.path(), "j"), Ok(true));
        assert_eq!(reader.has_jail(root.path(), "f"), Ok(false));
        check(
            reader.read_jail(root.path(), "j", &[("backend".into(), "systemd".into())]),
            &[
                "['add', 'j', 'auto']",
                "['set', 'j', 'maxlines', 3]",
                "['set', 'j', 'addfailregex', 'jail journal']",
            ],
        );
        assert!(reader.read_jail(root.path(), "wrong", &[]).expect("no error").is_none());
        assert!(reader.read_jail(root.path(), "f", &[]).is_err());
    }

    #[test]
    fn options_come_resolved_or_from_the_file() {
        let root = tree();
        let rules = RulesReader::new()
            .read_filter(root.path(), "f", &[], "auto")
            .expect("no error")
            .expect("a filter");
        assert_eq!(rules.option("logtype"), Some("file".into()));
        assert_eq!(rules.option("extra"), Some("Definition".into()));
        assert_eq!(rules.option("nope"), None);
        assert_eq!(rules.options().next(), Some(("failregex", "local file".into())));
    }
}
