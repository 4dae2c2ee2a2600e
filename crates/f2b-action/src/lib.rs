//! The actions of a jail: what is run when it starts, bans, unbans and stops.
//!
//! [`Actions`] is the ordered set of a jail's actions and carries out what the jail has decided; the thread that owns it
//! waits for each command, so it should have nothing else to do. What belongs to others (the time, the shell, the
//! database, the log) comes in with every call as a [`Context`].
//!
//! ```text
//! properties ──► static tags, by family, kept ──► dynamic tags of one ban ──► Script ──► /bin/sh -c ──► log lines
//!                (<name>, <port>, <cftarget>)     (<ip>, <F-USER>, <matches>)            (Runner)
//! ```
//!
//! | module | what it is | upstream |
//! |---|---|---|
//! | `actions` | all actions of a jail | `actions.Actions` |
//! | `action` | one action of any kind | `action.ActionBase` |
//! | `command` | one that runs commands, and its states | `action.CommandAction` |
//! | `mail` | one that sends mails | `config/action.d/smtp.py` |
//! | `python` | one written in Python, in a process of its own | `action.d/*.py`, `utils.load_python_module` |
//! | `message`, `smtp` | a mail, and its way to a server | `email.message`, `smtplib` |
//! | `families` | what it remembers of each family | `CommandAction.__started` |
//! | `properties` | its commands and settings | attributes of `CommandAction` |
//! | `tags` | replacement of what the configuration fixes | `helpers.substituteRecursiveTags` |
//! | `script` | replacement of what a log line brought in | `CommandAction.replaceDynamicTags` |
//! | `info` | the tags of a ban | `Actions.ActionInfo` |
//! | `shell`, `run`, `report` | running and logging | `utils.Utils.executeCmd` |
//! | `told` | what a client tells an action to do | `transmitter.py` |
//! | `ignore` | the command of `ignorecommand` | `filter._inIgnoreIPList` |
//! | `names` | host names | `ipdns.DNSUtils` |
//!
//! Beside them are `http` and `list`: a text from a web server, and the addresses in it, for `ignoreip = url:`.

mod action;
mod actions;
mod command;
mod context;
mod error;
mod families;
mod http;
mod ignore;
mod info;
mod list;
mod mail;
mod message;
mod names;
mod properties;
mod python;
mod report;
mod run;
mod script;
mod shell;
mod smtp;
mod tags;
mod told;

pub use crate::actions::Actions;
pub use crate::command::CommandAction;
pub use crate::context::Context;
pub use crate::error::{ActionError, Raised};
pub use crate::http::{FetchError, FetchLimits, fetch};
pub use crate::ignore::{ask_ignore_command, ignore_key};
pub use crate::info::{BanInfo, EarlierBans, JailCounts, JailInfo};
pub use crate::list::{ListError, parse_file, parse_list};
pub use crate::mail::MailAction;
pub use crate::names::{FixedNames, Names, SystemNames};
pub use crate::python::{Orders, Outside};
pub use crate::script::{Script, TagSource, fill, is_ban_tag};
pub use crate::shell::{End, Outcome, Runner, Shell};
pub use crate::smtp::{MailError, Refused, Reply};
pub use crate::tags::TagError;
