//! Text to syntax tree.
//!
//! The rules are those of Python's `configparser` as fail2ban sets it up (`configparser.RawConfigParser._read`; strict,
//! `;` also for remarks within a line, empty lines belong to values): a line that is indented deeper than the option
//! before it continues the value, a section or an option must not come twice in a file, names of options are in lower
//! case.
//!
//! What a line opens, its content without blanks and remarks around it:
//!
//! ```text
//! header = "[" name "]" ANY*       the name reaches to the last bracket
//! option = key ("=" | ":") ANY*    the key reaches to the first sign
//! ```
//!
//! A grammar as simple as that is followed by hand: reading a stock configuration takes half the time.

use std::collections::HashSet;
use std::ops::Range;
use std::rc::Rc;

use foldhash::fast::RandomState;
use memchr::{memchr_iter, memchr2, memrchr};
use smallvec::{SmallVec, smallvec};

use crate::Error;
use crate::document::{Document, OptionNode, Origin, Section};
use crate::python::{is_space, lower, repr};
use crate::source::{Line, Lines, Place, Source};

/// The section whose options all other sections of its file tree have too.
pub(crate) const DEFAULT: &str = "DEFAULT";

/// So many errors at which Python would stop are enough.
const MAX_FATAL: usize = 20;

/// There is room at once for as many options as most files have.
const USUAL_OPTIONS: usize = 28;

/// Why a file is not accepted.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) kind: SyntaxErrorKind,
    source: Rc<Source>,
    line: Line,
    number: usize,
    /// Where the section or the option was seen first, for what comes twice.
    first: Option<Range<usize>>,
}

#[derive(Debug)]
pub(crate) enum SyntaxErrorKind {
    /// Something comes before the first section.
    NoSection,
    /// A line is neither a section nor an option.
    NoOption,
    SectionTwice(Rc<str>),
    OptionTwice(Rc<str>, Rc<str>),
}

impl SyntaxError {
    pub(crate) fn place(&self) -> Place {
        let line = self.line_text();
        self.source.place(self.line.start + (line.len() - line.trim_start().len()))
    }

    /// What Python says of one such error alone; of lines that are no options it says it once for all of them.
    pub(crate) fn message(&self) -> String {
        let (path, number) = (repr(&self.source.path), self.number);
        match &self.kind {
            SyntaxErrorKind::NoSection => {
                let line = self.repr_line();
                format!("File contains no section headers.\nfile: {path}, line: {number}\n{line}")
            }
            SyntaxErrorKind::NoOption => format!("Source contains parsing errors: {path}{}", self.item()),
            SyntaxErrorKind::SectionTwice(name) => {
                let name = repr(name);
                format!("While reading from {path} [line {number:2}]: section {name} already exists")
            }
            SyntaxErrorKind::OptionTwice(section, key) => {
                let (section, key) = (repr(section), repr(key));
                format!(
                    "While reading from {path} [line {number:2}]: option {key} in section {section} already exists"
                )
            }
        }
    }

    /// What is wrong with this line, in few words.
    pub(crate) fn in_short(&self) -> String {
        match &self.kind {
            SyntaxErrorKind::NoSection => "this stands before the first section".into(),
            SyntaxErrorKind::NoOption => "this is neither a section nor an option".into(),
            SyntaxErrorKind::SectionTwice(name) => format!("the section `{name}` is opened twice"),
            SyntaxErrorKind::OptionTwice(section, key) => {
                format!("the option `{key}` is set twice in the section `{section}`")
            }
        }
    }

    /// The line in the list of those that are no options.
    pub(crate) fn item(&self) -> String {
        format!("\n\t[line {:2}]: {}", self.number, self.repr_line())
    }

    pub(crate) fn hint(&self) -> Option<String> {
        let text = &self.source.text;
        match (&self.kind, &self.first) {
            (SyntaxErrorKind::NoSection, _) if text.starts_with('\u{feff}') => {
                Some("the file starts with a byte order mark; save it as UTF-8 without one".into())
            }
            (SyntaxErrorKind::NoSection, _) => {
                Some("a section such as [Definition] has to come first".into())
            }
            (SyntaxErrorKind::NoOption, _) => {
                Some("an option is written as name = value, a line that continues a value is indented".into())
            }
            (_, Some(first)) => {
                Some(format!("it stands in line {} already", self.source.place(first.start).location.line))
            }
            _ => None,
        }
    }

    fn line_text(&self) -> &str {
        self.source.text.get(self.line.content()).unwrap_or_default()
    }

    fn repr_line(&self) -> String {
        let end = if self.line.is_ended() { "\n" } else { "" };
        repr(&format!("{}{end}", self.line_text()))
    }
}

impl Document {
    /// Reads a text: all sections and options, and the errors met, the one that upstream speaks of first.
    pub fn parse(path: &str, text: &str) -> (Self, Vec<Error>) {
        let source = Rc::new(Source::new(path, text));
        let (document, errors) = parse(&source, text.len());
        (document, errors.iter().map(Error::from).collect())
    }
}

impl From<&SyntaxError> for Error {
    fn from(error: &SyntaxError) -> Self {
        let found = Self::config(error.message()).at_place(Some(error.place()));
        match error.hint() {
            Some(hint) => found.hint(hint),
            None => found,
        }
    }
}

/// Reads the first `limit` bytes of a file: all sections and options, and the errors met. A last line that has no end before `limit` is read only if the file ends there.
pub(crate) fn parse(source: &Rc<Source>, limit: usize) -> (Document, Vec<SyntaxError>) {
    let mut builder = Builder::new(source);
    for (index, line) in Lines::of(&source.text).enumerate() {
        if line.end > limit || (line.end == limit && !line.is_ended() && limit < source.text.len()) {
            break;
        }
        builder.number = index + 1;
        builder.take(line);
        if builder.fatal == MAX_FATAL {
            break;
        }
    }
    builder.finish()
}

/// What a line is, where its content stands, and how far it is indented.
enum Shape {
    Blank,
    Comment,
    Content { indent: usize, span: Range<usize> },
}

struct Builder {
    source: Rc<Source>,
    number: usize,
    indent: usize,
    sections: Vec<Section>,
    /// The option that a line can continue.
    current: Option<Draft>,
    /// Empty lines behind it, which belong to its value if that goes on.
    blanks: Vec<Range<usize>>,
    seen_sections: HashSet<Rc<str>, RandomState>,
    seen_options: HashSet<(Rc<str>, Rc<str>), RandomState>,
    errors: Vec<SyntaxError>,
    /// How many of the errors, the first ones, are such that Python stops at them.
    fatal: usize,
}

struct Draft {
    key: Rc<str>,
    name: Range<usize>,
    lines: SmallVec<[Range<usize>; 1]>,
}

impl Builder {
    fn new(source: &Rc<Source>) -> Self {
        Self {
            source: Rc::clone(source),
            number: 0,
            indent: 0,
            sections: Vec::new(),
            current: None,
            blanks: Vec::new(),
            seen_sections: HashSet::default(),
            seen_options: HashSet::with_capacity_and_hasher(USUAL_OPTIONS, RandomState::default()),
            errors: Vec::new(),
            fatal: 0,
        }
    }

    fn take(&mut self, line: Line) {
        match shape(&self.source.text, line) {
            Shape::Comment => {}
            Shape::Blank => {
                if self.current.is_some() {
                    self.blanks.push(line.start..line.start);
                }
            }
            Shape::Content { indent, span } => match &mut self.current {
                Some(option) if indent > self.indent => {
                    option.lines.extend(self.blanks.drain(..));
                    option.lines.push(span);
                }
                _ => {
                    self.indent = indent;
                    self.open(line, span);
                }
            },
        }
    }

    /// A line that continues nothing opens a section or an option.
    fn open(&mut self, line: Line, span: Range<usize>) {
        let source = Rc::clone(&self.source);
        let content = source.text.get(span.clone()).unwrap_or_default();
        if let Some(name) = header(content) {
            return self.open_section(line, name, span);
        }
        let Some(section) = self.sections.last().map(|section| Rc::clone(&section.name)) else {
            // One is enough, whatever else comes before the first section.
            if self.errors.is_empty() {
                self.fail(line, SyntaxErrorKind::NoSection, None);
            }
            return;
        };
        match option(content) {
            Some(parts) => self.open_option(line, section, parts, span.start),
            // The option before stays open: a deeper line can still continue it.
            None => self.errors.push(self.error(line, SyntaxErrorKind::NoOption, None)),
        }
    }

    fn open_section(&mut self, line: Line, name: &str, span: Range<usize>) {
        self.close_option();
        let name: Rc<str> = name.into();
        if &*name != DEFAULT && !self.seen_sections.insert(Rc::clone(&name)) {
            let first = self.sections.iter().find(|section| section.name == name).map(|s| s.span.clone());
            self.fail(line, SyntaxErrorKind::SectionTwice(Rc::clone(&name)), first);
        }
        self.sections.push(Section { name, span, options: Vec::new() });
    }

    fn open_option(
        &mut self,
        line: Line,
        section: Rc<str>,
        (key, value): (Range<usize>, Range<usize>),
        start: usize,
    ) {
        self.close_option();
        let shift = |range: Range<usize>| start + range.start..start + range.end;
        let (name, value) = (shift(key), shift(value));
        let key: Rc<str> = lower(self.source.text.get(name.clone()).unwrap_or_default()).into();
        if key.is_empty() {
            self.errors.push(self.error(line, SyntaxErrorKind::NoOption, None));
        }
        if !self.seen_options.insert((Rc::clone(&section), Rc::clone(&key))) {
            let options = self.sections.iter().filter(|s| s.name == section).flat_map(|s| &s.options);
            let first = options.into_iter().find(|o| o.key == key).map(|o| o.origin.name.clone());
            self.fail(line, SyntaxErrorKind::OptionTwice(section, Rc::clone(&key)), first);
        }
        if !key.is_empty() {
            self.current = Some(Draft { key, name, lines: smallvec![value] });
        }
    }

    fn close_option(&mut self) {
        self.blanks.clear();
        if let (Some(Draft { key, name, lines }), Some(section)) =
            (self.current.take(), self.sections.last_mut())
        {
            let origin = Rc::new(Origin { source: Rc::clone(&self.source), name, lines });
            section.options.push(OptionNode { key, origin });
        }
    }

    /// An error at which Python stops: of those it names the first, and forgets the lines that were no options. Here all
    /// are kept, for whoever wants to know.
    fn fail(&mut self, line: Line, kind: SyntaxErrorKind, first: Option<Range<usize>>) {
        self.errors.insert(self.fatal, self.error(line, kind, first));
        self.fatal += 1;
    }

    fn error(&self, line: Line, kind: SyntaxErrorKind, first: Option<Range<usize>>) -> SyntaxError {
        SyntaxError { kind, source: Rc::clone(&self.source), line, number: self.number, first }
    }

    fn finish(mut self) -> (Document, Vec<SyntaxError>) {
        self.close_option();
        (Document { source: self.source, sections: self.sections }, self.errors)
    }
}

/// Everything from the first `;` that starts a word is a comment; `#` starts one only at the start of a line.
fn shape(text: &str, line: Line) -> Shape {
    let whole = text.get(line.content()).unwrap_or_default();
    let content = whole.trim_start_matches(is_space);
    if content.is_empty() {
        return Shape::Blank;
    }
    if content.starts_with(['#', ';']) {
        return Shape::Comment;
    }
    let blanks = &whole[..whole.len() - content.len()];
    let remark = memchr_iter(b';', content.as_bytes()).find(|at| content[..*at].ends_with(is_space));
    let length = content[..remark.unwrap_or(content.len())].trim_end_matches(is_space).len();
    let start = line.start + blanks.len();
    Shape::Content { indent: blanks.chars().count(), span: start..start + length }
}

fn header(content: &str) -> Option<&str> {
    let inner = content.strip_prefix('[')?;
    let name = &inner[..memrchr(b']', inner.as_bytes())?];
    (!name.is_empty()).then_some(name)
}

/// The ranges of the name and of the value.
fn option(content: &str) -> Option<(Range<usize>, Range<usize>)> {
    let sign = memchr2(b'=', b':', content.as_bytes())?;
    let key = content[..sign].trim_end_matches(is_space);
    let value = content[sign + 1..].trim_start_matches(is_space);
    Some((0..key.len(), content.len() - value.len()..content.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Document, Vec<SyntaxError>) {
        let source = Rc::new(Source::new("x.conf", text));
        parse(&source, source.text.len())
    }

    /// Sections and options, one a line, with `|` for the ends of lines in values.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let (document, errors) = read(text);
        assert!(errors.is_empty(), "{errors:?}");
        let mut out = String::new();
        for section in &document.sections {
            out += &format!("[{}]", section.name);
            for option in &section.options {
                out += &format!(" {}={}", option.key, option.origin.text().replace('\n', "|"));
            }
        }
        assert_eq!(out, expected);
    }

    #[test]
    fn options_belong_to_sections() {
        check(
            "[a]\nx = 1\nY:2\n[b]\nz==3:4\n[DEFAULT]\n[DEFAULT]\nq=",
            "[a] x=1 y=2[b] z==3:4[DEFAULT][DEFAULT] q=",
        );
        check("  [a]  junk\n  x y\t=  1  ", "[a] x y=1");
        check("[a]b]\nx=[c]", "[a]b] x=[c]");
        check("[]]\nx=1", "[]] x=1");
    }

    #[test]
    fn deeper_lines_continue_a_value() {
        check("[a]\nx = 1\n  2\n\n   3\ny=4", "[a] x=1|2||3 y=4");
        check("[a]\n  x = 1\n  y = 2\n    z = 3\n w=4", "[a] x=1 y=2|z = 3 w=4");
        check("[a]\nx =\n  [b]\n\n\n[c]\n  y=1", "[a] x=|[b][c] y=1");
        check("[a]\r\nx = 1\r\n  2\ry=3", "[a] x=1|2 y=3");
    }

    #[test]
    fn comments_are_no_part_of_values() {
        check("# c\n[a] ; c\nx = 1 ; c\n# c\n  # c\n  2;3 #4\n;c\n  ; c\ny=;c", "[a] x=1|2;3 #4 y=;c");
        check("[a]\nx = ;c\n\n ;c\n\t1", "[a] x=||1");
    }

    #[track_caller]
    fn check_error(text: &str, message: &str, line: usize) {
        let (_, errors) = read(text);
        let error = errors.first().expect("an error");
        assert_eq!((error.message(), error.place().location.line), (message.into(), line));
    }

    #[test]
    fn errors_are_worded_as_python_words_them() {
        check_error("\n x=1\n", "File contains no section headers.\nfile: 'x.conf', line: 2\n' x=1\\n'", 2);
        check_error("[a]\n[b]\n[a]", "While reading from 'x.conf' [line  3]: section 'a' already exists", 3);
        check_error(
            "[a]\nx=1\nX:2",
            "While reading from 'x.conf' [line  3]: option 'x' in section 'a' already exists",
            3,
        );
        check_error("[a]\nfoo", "Source contains parsing errors: 'x.conf'\n\t[line  2]: 'foo'", 2);
        check_error("[a]\n=1\n", "Source contains parsing errors: 'x.conf'\n\t[line  2]: '=1\\n'", 2);
        check_error(
            "\u{feff}[a]\n",
            "File contains no section headers.\nfile: 'x.conf', line: 1\n'\\ufeff[a]\\n'",
            1,
        );
    }

    #[test]
    fn reading_goes_on_behind_lines_that_are_no_options() {
        let (document, errors) = read("[a]\nx=1\nfoo\n  2\nbar\ny=3");
        assert_eq!(errors.len(), 2);
        let values: Vec<_> = document.sections[0].options.iter().map(|o| o.origin.text()).collect();
        assert_eq!(values, ["1\n2", "3"]);
    }

    #[test]
    fn a_value_leads_back_to_its_place() {
        let (document, _) = read("[a]\nx =  1\n    zwei drei");
        let origin = &document.sections[0].options[0].origin;
        let place = origin.place_of_text("drei");
        assert_eq!((place.location.to_string(), &*place.line_text), ("x.conf:3:10".into(), "    zwei drei"));
        assert_eq!(origin.place().location.to_string(), "x.conf:2:1");
    }

    #[test]
    fn hostile_lines_neither_crash_nor_take_long() {
        let long = "x".repeat(1 << 20);
        for text in [
            format!("[{}", "[".repeat(1 << 20)),
            format!("[{}", "]".repeat(1 << 20)),
            format!("[a]\n{long}={long}"),
            format!("[a]\nx={}", "\n ".repeat(1 << 18)),
            format!("[a]\nx{}y", " ".repeat(1 << 20)),
            format!("[a]\nx = {}", "; ".repeat(1 << 19)),
            format!("[a]\n{}", "\u{85}\u{0}=\n".repeat(1 << 10)),
        ] {
            read(&text);
        }
    }
}
