//! Configuration: text, syntax tree, merged layers, resolved options, and the command stream.
//!
//! What is read, and by whom:
//!
//! - the whole configuration, by client and server: [`Configurator`], or [`load`] and [`early_options`] for a single
//!   use. What comes out is the stream of commands that sets a server up; printed line by line it is `f2b-client -d`.
//! - one filter or one jail, by `f2b-regex`: [`RulesReader`]. `has_jail`, then `read_jail`, or else `read_filter` by name
//!   or `read_filter_file` by path; each gives [`Rules`] with the commands and the resolved options.
//! - everything, for what is wrong with it, by `f2b-client --test`: [`check`] gives a [`Report`].
//! - where the options of a jail come from, by `f2b-client --explain`: [`explain`].
//! - options in brackets and words in quotes, wherever they are given: [`extract_options`], [`shell_words`].
//!
//! The text of a file becomes a [`Document`], which knows where everything stands; documents on top of each other become
//! layers of raw values; raw values interpolated and with their tags resolved become options; options become commands.
//! Each step has its own types, none of them looks back into the text but for saying where something stands.
//!
//! Whatever upstream logs on the way comes out as a [`Diagnostic`], in upstream's words and order, with the place in the
//! files that caused it.

mod action;
mod bracketed;
mod configurator;
mod definition;
mod diagnostic;
mod document;
mod error;
mod explain;
mod files;
mod filter;
mod glob;
mod interpolate;
mod jail;
mod jails;
mod judge;
mod lint;
mod listing;
mod map;
mod merged;
mod nearest;
mod parse;
mod pattern;
mod python;
mod rounds;
mod rules;
mod setting;
mod shared;
mod source;
mod stream;
mod tags;
mod template;
mod words;

pub use crate::bracketed::{NamedValues, OptionSyntaxError, extract_options};
pub use crate::configurator::{
    Configurator, EarlyOptions, Loaded, Request, check_log_level, early_options, load,
};
pub use crate::diagnostic::{Diagnostic, Problem};
pub use crate::document::{Document, OptionNode, Origin, Section};
pub use crate::error::{Error, ErrorKind};
pub use crate::explain::{Explained, Explanation, Layer, explain};
pub use crate::judge::{Fault, Judge, TagUser};
pub use crate::lint::{Report, check};
pub use crate::rules::{Rules, RulesReader};
pub use crate::source::{Location, MAX_FILE, Source};
pub use crate::stream::Stream;
pub use crate::words::shell_words;
