//! The command line that client and server share.
//!
//! Options are read as `getopt` reads them (`fail2bancmdline.Fail2banCmdLine`): up to the first word that is no option,
//! short ones bundled, long ones by any unique prefix, and acted on in the order in which they stand, so that `-V -h`
//! prints a version and `-h -V` the usage.
//!
//! Two types keep apart what was written and what it means: [`CmdLine`] is what stands on the command line, [`Conf`] what
//! it comes to with the early options of the configuration.

mod conf;
#[cfg(test)]
pub(crate) mod differential;
mod reader;
mod usage;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use f2b_types::{Number, str2seconds};

pub(crate) use self::conf::Early;
pub use self::conf::{Conf, ConfError};
pub(crate) use self::reader::{Opt, Reader, Style};
pub(crate) use self::usage::COMMANDS;
pub use self::usage::{banner, usage};

/// Where the configuration lies unless `-c` says otherwise.
pub const DEFAULT_ROOT: &str = "/etc/fail2ban";

/// How long to wait for a server unless `--timeout` says otherwise.
const MAX_WAIT: Number = Number::Int(30);

/// Every spelling of an option, and whether it takes a value.
const OPTIONS: &[(&str, bool)] = &[
    ("-h", false),
    ("--help", false),
    ("-c", true),
    ("--conf", true),
    ("-s", true),
    ("--socket", true),
    ("-p", true),
    ("--pidfile", true),
    ("--pname", true),
    ("--loglevel", true),
    ("--logtarget", true),
    ("--syslogsocket", true),
    ("-d", false),
    ("--dp", false),
    ("--dump-pretty", false),
    ("-t", false),
    ("--test", false),
    ("--explain", true),
    ("--json", false),
    ("--shell-completion", true),
    ("--shell-words", false),
    ("-v", false),
    ("-i", false),
    ("-q", false),
    ("-x", false),
    ("-b", false),
    ("-f", false),
    ("--async", false),
    ("--timeout", true),
    ("--str2sec", true),
    ("-V", false),
    ("--version", false),
];

/// Options and words as they were given.
#[derive(Debug, Clone, PartialEq)]
pub struct CmdLine {
    /// The name under which the program was started.
    pub program: String,
    /// `-c`: the directory of the configuration.
    pub root: PathBuf,
    /// `-s`: the socket.
    pub socket: Option<PathBuf>,
    /// `-p`: the pid file.
    pub pidfile: Option<PathBuf>,
    /// `--pname`: the name of the process.
    pub pname: Option<String>,
    /// `--loglevel`
    pub loglevel: Option<String>,
    /// `--logtarget`
    pub logtarget: Option<String>,
    /// `--syslogsocket`
    pub syslogsocket: Option<String>,
    /// `-d`, `--dp`: print the command stream.
    pub dump: Option<Dump>,
    /// `-t`: check the configuration.
    pub test: bool,
    /// `--explain`: a jail, or an option of one.
    pub explain: Option<String>,
    /// `--shell-words`: the words are a command line that a shell wants completed.
    pub completes: bool,
    /// `--json`: for programs to read.
    pub json: bool,
    /// `-i`: read commands from standard input.
    pub interactive: bool,
    /// 1, plus the number of `-v`, minus the number of `-q`.
    pub verbose: i32,
    /// `-x`: start even though a socket exists.
    pub force: bool,
    /// `-b` rather than `-f`, whichever came last.
    pub background: bool,
    /// `--async`: a server that is configured by its client.
    pub nonsync: bool,
    /// `--timeout`: seconds to wait for the server.
    pub timeout: Number,
    /// What follows the options: a command.
    pub args: Vec<String>,
}

/// How to print the command stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dump {
    /// `-d`: a command a line.
    Plain,
    /// `--dp`: long commands over many lines.
    Pretty,
}

/// A command line that is answered at once.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// `-h`: prints the usage.
    Usage,
    /// No command line at all: prints the usage and fails.
    Misuse,
    /// `-V`, `--version`, `--str2sec`: prints this.
    Print(String),
    /// An option with a value that can't be: prints this and fails.
    Invalid(String),
}

/// Reads the arguments of the program, its name first.
///
/// # Errors
///
/// [`Answer`] for a command line that is no command, right or wrong; there is nothing left to do but to print.
pub fn parse(argv: &[OsString]) -> Result<CmdLine, Answer> {
    let (program, rest) = match argv {
        [program, rest @ ..] => (program_name(Path::new(program)), rest),
        [] => (String::new(), argv),
    };
    let read = Reader::new(Style::Getopt, OPTIONS.iter().copied()).read(rest);
    if read.misuse.is_some() {
        return Err(Answer::Misuse);
    }
    let mut line = CmdLine {
        program,
        root: DEFAULT_ROOT.into(),
        socket: None,
        pidfile: None,
        pname: None,
        loglevel: None,
        logtarget: None,
        syslogsocket: None,
        dump: None,
        test: false,
        explain: None,
        completes: false,
        json: false,
        interactive: false,
        verbose: 1,
        force: false,
        background: true,
        nonsync: false,
        timeout: MAX_WAIT,
        args: read.words.iter().map(text).collect(),
    };
    for option in read.options {
        line.apply(option)?;
    }
    Ok(line)
}

impl CmdLine {
    /// Whether this is the command line of a server.
    pub fn is_server(&self) -> bool {
        is_server(&self.program)
    }

    /// Whether it has all that `fail2ban.conf` would be asked for first.
    pub(crate) fn says_all(&self) -> bool {
        self.socket.is_some()
            && self.pidfile.is_some()
            && [&self.loglevel, &self.logtarget, &self.syslogsocket].into_iter().all(Option::is_some)
    }

    fn apply(&mut self, Opt { name, value }: Opt) -> Result<(), Answer> {
        match name.as_str() {
            "-c" | "--conf" => self.root = value.into(),
            "-s" | "--socket" => self.socket = Some(value.into()),
            "-p" | "--pidfile" => self.pidfile = Some(value.into()),
            "--pname" => self.pname = Some(text(&value)),
            "--loglevel" => self.loglevel = Some(text(&value)),
            "--logtarget" => self.logtarget = Some(text(&value)),
            "--syslogsocket" => self.syslogsocket = Some(text(&value)),
            "-d" => self.dump = Some(Dump::Plain),
            "--dp" | "--dump-pretty" => self.dump = Some(Dump::Pretty),
            "-t" | "--test" => self.test = true,
            "--explain" => self.explain = Some(text(&value)),
            "--json" => self.json = true,
            "--shell-words" => self.completes = true,
            "--shell-completion" => return Err(completion(&text(&value))),
            "-v" => self.verbose += 1,
            "-q" => self.verbose -= 1,
            "-x" => self.force = true,
            "-i" => self.interactive = true,
            "-b" => self.background = true,
            "-f" => self.background = false,
            "--async" => self.nonsync = true,
            "--timeout" => self.timeout = seconds(&value)?,
            "--str2sec" => return Err(Answer::Print(seconds(&value)?.to_string())),
            "-V" => return Err(Answer::Print(f2b_types::VERSION.into())),
            "--version" => return Err(Answer::Print(format!("Fail2Ban v{}", f2b_types::VERSION))),
            _ => return Err(Answer::Usage),
        }
        Ok(())
    }
}

/// Whether a program of this name is the server rather than the client.
pub fn is_server(program: &str) -> bool {
    program.ends_with("server")
}

/// The name under which the program was started, without its directory.
pub fn program_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Every spelling of an option, but for those that shells use.
pub(crate) fn options() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|(name, _)| *name).filter(|name| *name != "--shell-words")
}

fn completion(shell: &str) -> Answer {
    match crate::complete::script(shell) {
        Some(script) => Answer::Print(script.trim_end().into()),
        None => Answer::Invalid(format!(
            "there is no completion for {shell}; there is one for bash, zsh and fish"
        )),
    }
}

fn seconds(value: &OsString) -> Result<Number, Answer> {
    str2seconds(&text(value)).map_err(|error| Answer::Invalid(error.to_string()))
}

/// Words travel as text; bytes that are none are replaced.
fn text(word: &OsString) -> String {
    word.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(args: &str) -> Result<CmdLine, Answer> {
        let argv: Vec<OsString> =
            ["/usr/bin/f2b-client"].into_iter().chain(args.split(' ')).map(Into::into).collect();
        parse(&argv)
    }

    #[track_caller]
    fn check(args: &str, expected: impl FnOnce(&mut CmdLine)) {
        let mut line_expected = parse(&["f2b-client".into()]).unwrap();
        expected(&mut line_expected);
        assert_eq!(line(args), Ok(line_expected));
    }

    #[track_caller]
    fn check_answer(args: &str, expected: Answer) {
        assert_eq!(line(args), Err(expected));
    }

    #[test]
    fn options_stop_at_the_first_word() {
        check("-c /x status -d", |line| {
            line.root = "/x".into();
            line.args = vec!["status".into(), "-d".into()];
        });
        check("-vvx -fs/run/sock --dp --pid=p -- -i", |line| {
            (line.verbose, line.force, line.background) = (3, true, false);
            (line.socket, line.pidfile) = (Some("/run/sock".into()), Some("p".into()));
            line.dump = Some(Dump::Pretty);
            line.args = vec!["-i".into()];
        });
        check("-f -b -q --async --timeout 1m -t --du", |line| {
            (line.verbose, line.nonsync, line.test) = (0, true, true);
            line.timeout = Number::Int(60);
            line.dump = Some(Dump::Pretty);
        });
    }

    #[test]
    fn some_options_are_answered_at_once() {
        check_answer("-V -h", Answer::Print(f2b_types::VERSION.into()));
        check_answer("--version", Answer::Print(format!("Fail2Ban v{}", f2b_types::VERSION)));
        check_answer("-h -V", Answer::Usage);
        check_answer("--str2sec 1d12h", Answer::Print("129600".into()));
        check_answer("--nonsense", Answer::Misuse);
        check_answer("-c", Answer::Misuse);
        assert!(matches!(line("--timeout soon"), Err(Answer::Invalid(_))));
    }
}
