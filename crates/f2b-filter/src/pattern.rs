//! A Python pattern, compiled and ready to search.
//!
//! Nearly all lines are plain ASCII and nearly all patterns are regular, if look-aheads and conditions are taken for what
//! they are; then an automaton finds a match and its groups in one pass ([`Tagged`]). Engines stand behind it for the
//! rest: for a pattern that is not regular, as word boundaries among other characters aren't, and for an automaton that
//! grows too big.
//!
//! Several programs stand behind a pattern (see [`Mode`]). The one for lines of plain ASCII is small. Another one is
//! compiled when the first line with other characters comes up, and others when there is one on which `$` or `\b` have to
//! be taken exactly. A linear screen stands before each engine that has to backtrack, so that a line that can't match is
//! known as such in linear time and without touching the heap.
//!
//! Backtracking is bounded. A search that runs out of steps, or would begin on a text longer than
//! [`MAX_BACKTRACKED`], ends as [`Search::Exhausted`].

use std::ops::Range;
use std::sync::OnceLock;

use fancy_regex::RegexBuilder;
use regex_automata::Input;
use regex_automata::meta;
use smallvec::SmallVec;

use crate::dialect::{self, DialectError, Effort, Look, Mode, Parsed};
use crate::tagged::{MAX_TEXT, NO_PLACE, Part, Place, Places, Tagged, Text, Unknown};

/// Steps that the backtracking engine may take back in one search.
pub(crate) const MAX_STEPS: usize = 1_000_000;

/// Bytes of the longest text that the backtracking engine gets to see.
pub(crate) const MAX_BACKTRACKED: usize = 128 * 1024;

/// Bytes that one compiled program may take.
const MAX_PROGRAM: usize = 64 << 20;

/// Groups whose places take no memory of their own.
const FEW_GROUPS: usize = 12;

/// A compiled pattern.
#[derive(Debug)]
pub(crate) struct Pattern {
    parsed: Parsed,
    asks_for_line_end: bool,
    asks_for_words: bool,
    ascii: Program,
    /// For any other characters, exact or not, and for lines within a line; `None` inside where one is too big for the
    /// engine.
    others: [OnceLock<Option<Box<Program>>>; 3],
}

/// A text to search, with what decides on the program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'t> {
    pub(crate) text: &'t str,
    shape: Shape,
}

/// What decides on the program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// The text has no newline, or only one at its end.
    one_line: bool,
    ascii: bool,
}

impl Shape {
    pub(crate) fn of(text: &str) -> Self {
        let body = text.strip_suffix('\n').unwrap_or(text);
        Self { one_line: memchr::memchr(b'\n', body.as_bytes()).is_none(), ascii: text.is_ascii() }
    }

    /// Of a text that was made of parts of this one, and a newline at its end.
    pub(crate) fn of_part(self, part: &str) -> Self {
        match self.is_plain() && !part.ends_with("\n\n") {
            true => self,
            false => Self::of(part),
        }
    }

    /// Whether the text is one line in ASCII, as each part of it is.
    pub(crate) fn is_plain(self) -> bool {
        self.ascii && self.one_line
    }
}

/// What became of a search.
#[derive(Debug, Clone)]
pub(crate) enum Search {
    /// No match.
    Missed,
    /// A match with the places of its groups.
    Found(Spans),
    /// No answer within the budget.
    Exhausted,
}

/// The places of a match and of its groups, in bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spans(SmallVec<[Place; FEW_GROUPS]>);

impl Spans {
    /// Of `count` groups, given those that were looked for and their places. The first place of a group counts.
    fn new(count: usize, found: impl Iterator<Item = (usize, Place)>) -> Self {
        let mut places = SmallVec::from_elem(NO_PLACE, count);
        for (group, found) in found {
            if let Some(place) = places.get_mut(group)
                && *place == NO_PLACE
            {
                *place = found;
            }
        }
        Self(places)
    }

    /// The place of group `index`, of the whole match for 0.
    pub(crate) fn get(&self, index: usize) -> Option<Range<usize>> {
        self.0
            .get(index)
            .filter(|place| **place != NO_PLACE)
            .map(|[start, end]| *start as usize..*end as usize)
    }

    /// The place of the whole match.
    pub(crate) fn whole(&self) -> Range<usize> {
        self.get(0).unwrap_or(0..0)
    }
}

impl<'t> Subject<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, shape: Shape::of(text) }
    }

    /// The same for a text whose shape is known already.
    pub(crate) fn with_shape(text: &'t str, shape: Shape) -> Self {
        Self { text, shape }
    }

    pub(crate) fn shape(self) -> Shape {
        self.shape
    }

    /// A text that was made of parts of this one, and a newline at its end.
    pub(crate) fn part(self, text: &'t str) -> Self {
        Self { text, shape: self.shape.of_part(text) }
    }

    /// Whether all characters are of ASCII, if it is one line and no longer than any that is searched.
    pub(crate) fn line_in_ascii(&self) -> Option<bool> {
        (self.shape.one_line && (1..=MAX_TEXT).contains(&self.text.len())).then_some(self.shape.ascii)
    }

    /// Whether the program for ASCII serves, whatever the pattern.
    pub(crate) fn is_plain(&self) -> bool {
        self.line_in_ascii() == Some(true)
    }

    /// The place in bytes of the character `index`, or the end of the text.
    pub(crate) fn byte_of(self, index: usize) -> usize {
        match self.shape.ascii {
            true => index.min(self.text.len()),
            false => self.text.char_indices().nth(index).map_or(self.text.len(), |(byte, _)| byte),
        }
    }

    /// How many characters stand before the byte `end`.
    pub(crate) fn chars_before(self, end: usize) -> usize {
        match self.shape.ascii {
            true => end,
            false => self.text.get(..end).map_or(0, |text| text.chars().count()),
        }
    }

    /// The part of the text before the byte `end`, as if it ended there.
    pub(crate) fn until(self, end: usize) -> Self {
        let text = self.text.get(..end).unwrap_or(self.text);
        match self.is_plain() {
            true => Self { text, ..self },
            false => Self::new(text),
        }
    }
}

impl Pattern {
    /// Compiles `pattern`; `multi_line` stands for `re.MULTILINE`.
    pub(crate) fn new(pattern: &str, multi_line: bool) -> Result<Self, DialectError> {
        let parsed = dialect::parse(pattern, multi_line)?;
        let ascii = Program::new(&parsed, Mode { ascii: true, exact: false })
            .map_err(|error| DialectError::new(error.to_string(), None, pattern))?;
        Ok(Self {
            asks_for_line_end: parsed.asks_for_line_end(),
            asks_for_words: parsed.asks_for_words(),
            parsed,
            ascii,
            others: Default::default(),
        })
    }

    /// Named groups and their numbers in the order of the pattern.
    pub(crate) fn names(&self) -> &[(String, usize)] {
        &self.parsed.names
    }

    /// What in it may match otherwise than in Python.
    pub(crate) fn doubt(&self) -> Option<&'static str> {
        self.parsed.doubt()
    }

    /// Whether lines of plain ASCII are for the linear engine.
    pub(crate) fn is_linear(&self) -> bool {
        self.ascii.regular.is_some()
    }

    /// The program by which the engine that backtracks searches `subject`, if it has to be asked.
    pub(crate) fn backtracking_program(&self, subject: Subject<'_>) -> Option<&str> {
        match self.program(subject)?.engine()? {
            Engine::Backtracking { screen, regex } if screen.is_match(subject.text) => Some(regex.as_str()),
            _ => None,
        }
    }

    /// Number of groups.
    #[cfg(test)]
    pub(crate) fn groups(&self) -> usize {
        self.parsed.groups
    }

    /// The number of the group `name`.
    pub(crate) fn group(&self, name: &str) -> Option<usize> {
        self.names().iter().find(|(known, _)| known == name).map(|(_, index)| *index)
    }

    /// The first match in `subject`. A line that doesn't match costs no allocation, unless it takes the
    /// backtracking engine to find that out.
    pub(crate) fn search(&self, subject: Subject<'_>) -> Search {
        match self.program(subject) {
            None => Search::Exhausted,
            Some(_) if let Ok(search) = self.search_beginning(subject, 0) => search,
            Some(program) => program.search(subject),
        }
    }

    /// Whether there is a match. A [`Search::Found`] has no places.
    pub(crate) fn test(&self, subject: Subject<'_>) -> Search {
        let program = self.program(subject).filter(|program| program.regular.is_none());
        match program.and_then(Program::engine) {
            Some(Engine::Linear(regex)) => match regex.is_match(subject.text) {
                true => Search::Found(Spans(SmallVec::new())),
                false => Search::Missed,
            },
            _ => self.search(subject),
        }
    }

    /// What stands for the pattern among others in an automaton for texts like `subject`: an expression that matches when
    /// this pattern does, with its named groups, or if that is not regular, one that matches whenever this pattern does.
    pub(crate) fn part(&self, subject: Subject<'_>) -> Part {
        match self.program(subject).and_then(|program| program.regular.as_ref()) {
            Some(regular) => regular.part(regular.named.iter().map(|(group, _)| *group).collect()),
            None => {
                let text = dialect::write_screen(&self.parsed, self.mode(subject));
                Part { text, groups: Vec::new(), looks: Vec::new() }
            }
        }
    }

    /// The places of the named groups in `subject`, given those of the groups of [`Self::part`]; `None` where that is none
    /// that matches exactly when this pattern does.
    pub(crate) fn named_spans(&self, subject: Subject<'_>, places: Places<'_>) -> Option<Spans> {
        let program = self.program(subject)?;
        let groups = program.regular.as_ref()?.named.iter().map(|(_, group)| *group);
        Some(Spans::new(program.count, groups.zip(places.iter())))
    }

    /// The first match at or behind the byte `start`, which look-behinds may look past.
    pub(crate) fn search_from(&self, subject: Subject<'_>, start: usize) -> Search {
        match self.program(subject) {
            None => Search::Exhausted,
            Some(_) if let Ok(search) = self.search_beginning(subject, start) => search,
            Some(program) => program.search_from(subject, start),
        }
    }

    /// The first match, if the characters of ASCII that a line with others begins with are enough to know. It is for
    /// patterns that are regular but for the word boundaries of other characters: those of dates.
    fn search_beginning(&self, subject: Subject<'_>, start: usize) -> Result<Search, Unknown> {
        match self.asks_for_words && !subject.shape.ascii && subject.shape.one_line {
            true => self.ascii.search_regular(Text::ascii_beginning(subject.text), start),
            false => Err(Unknown),
        }
    }

    /// The form of the pattern for a text; `None` if the text or the form is too big.
    fn program(&self, subject: Subject<'_>) -> Option<&Program> {
        if subject.text.len() > MAX_TEXT {
            return None;
        }
        let mode = self.mode(subject);
        let [other, other_exact, ascii_exact] = &self.others;
        let place = match (mode.ascii, mode.exact) {
            (true, false) => return Some(&self.ascii),
            (false, false) => other,
            (false, true) => other_exact,
            (true, true) => ascii_exact,
        };
        place.get_or_init(|| Program::new(&self.parsed, mode).ok().map(Box::new)).as_deref()
    }

    /// What the form of the pattern for a text has to expect.
    fn mode(&self, subject: Subject<'_>) -> Mode {
        let shape = subject.shape;
        let exact = (self.asks_for_line_end && !shape.one_line)
            || (self.asks_for_words && (!shape.ascii || subject.text.is_empty()));
        Mode { ascii: shape.ascii, exact }
    }
}

/// One form of a pattern.
#[derive(Debug)]
struct Program {
    recipe: Recipe,
    /// Made at once where there is no automaton. `None` inside if it is too big, which has been seen at once anyway.
    engine: OnceLock<Option<Box<Engine>>>,
    /// Which group of the pattern each group of the engine's is.
    groups: Vec<usize>,
    /// Groups of the pattern up to the last one that the engine knows, and the whole match.
    count: usize,
    /// The same for an automaton that finds the groups too; `None` if the pattern is not regular.
    regular: Option<Regular>,
}

/// How an engine is made.
#[derive(Debug)]
struct Recipe {
    effort: Effort,
    text: String,
    /// What sieves out lines, if the engine has to backtrack.
    screen: Option<String>,
}

/// What searches where there is no automaton, or where it gives up.
#[derive(Debug)]
enum Engine {
    Linear(meta::Regex),
    /// Linear, because the only look-ahead stands at the end.
    Eased(fancy_regex::Regex),
    Backtracking {
        screen: meta::Regex,
        regex: fancy_regex::Regex,
    },
}

/// A regular pattern.
#[derive(Debug)]
struct Regular {
    text: String,
    /// Which group of the pattern each group of the text is.
    groups: Vec<usize>,
    /// Those of the groups that have names, each with its number in the pattern.
    named: Vec<(usize, usize)>,
    looks: Vec<Look>,
    /// It is for texts of ASCII characters.
    ascii: bool,
    /// Made for the first text. `None` inside if it is too big.
    automaton: OnceLock<Option<Box<Tagged>>>,
}

/// An engine refuses a program: it is too big.
type TooBig = Box<dyn std::error::Error>;

impl Program {
    fn new(parsed: &Parsed, mode: Mode) -> Result<Self, TooBig> {
        let written = dialect::write(parsed, mode);
        let is_screened = written.effort == Effort::Backtracking;
        let screen = is_screened.then(|| dialect::write_screen(parsed, mode));
        let recipe = Recipe { effort: written.effort, text: written.text, screen };
        let engine = recipe.engine()?;
        let count = written.groups.iter().max().map_or(0, |last| *last) + 1;
        let regular = dialect::write_guarded(parsed, mode);
        let is_named = |group: &usize| parsed.names.iter().any(|(_, named)| named == group);
        let regular = regular.map(|(written, looks)| Regular {
            text: written.text,
            named: (1..).zip(written.groups.iter().copied()).filter(|(_, group)| is_named(group)).collect(),
            groups: written.groups,
            looks,
            ascii: mode.ascii,
            automaton: OnceLock::new(),
        });
        // Most automata never give up, and many engines would take much memory.
        let engine = if regular.is_some() { OnceLock::new() } else { OnceLock::from(Some(Box::new(engine))) };
        Ok(Self { recipe, engine, groups: written.groups, count, regular })
    }

    fn engine(&self) -> Option<&Engine> {
        self.engine.get_or_init(|| self.recipe.engine().ok().map(Box::new)).as_deref()
    }

    /// The first match. The engine that backtracks is asked only if there may be one.
    fn search(&self, subject: Subject<'_>) -> Search {
        if let Ok(search) = self.search_regular(Text::whole(subject.text), 0) {
            return search;
        }
        let Some(engine) = self.engine() else { return Search::Exhausted };
        let may_match = match engine {
            Engine::Linear(_) => true,
            Engine::Eased(regex) => regex.is_match(subject.text).unwrap_or(true),
            Engine::Backtracking { screen, .. } => screen.is_match(subject.text),
        };
        if may_match { self.search_from(subject, 0) } else { Search::Missed }
    }

    /// The first match at or behind the byte `start`.
    fn search_from(&self, subject: Subject<'_>, start: usize) -> Search {
        if let Ok(search) = self.search_regular(Text::whole(subject.text), start) {
            return search;
        }
        let Some(engine) = self.engine() else { return Search::Exhausted };
        let regex = match engine {
            Engine::Linear(regex) => return self.search_linear(regex, subject, start),
            Engine::Backtracking { .. } if subject.text.len() > MAX_BACKTRACKED => return Search::Exhausted,
            Engine::Eased(regex) | Engine::Backtracking { regex, .. } => regex,
        };
        match regex.captures_from_pos(subject.text, start) {
            Err(_) => Search::Exhausted,
            Ok(None) => Search::Missed,
            Ok(Some(captures)) => {
                let places = captures.iter().map(|span| span.map_or(NO_PLACE, |span| place(span.range())));
                Search::Found(self.spans(&self.groups, places))
            }
        }
    }

    fn search_regular(&self, text: Text<'_>, start: usize) -> Result<Search, Unknown> {
        let regular = self.regular.as_ref().ok_or(Unknown)?;
        let all = || regular.part((0..=regular.groups.len()).collect());
        let made = || Tagged::new(std::iter::once(all()), regular.ascii).map(Box::new);
        let automaton = regular.automaton.get_or_init(made).as_deref().ok_or(Unknown)?;
        let spans =
            automaton.search(text, start, 0, |_, places| self.spans(&regular.groups, places.iter()))?;
        Ok(spans.map_or(Search::Missed, Search::Found))
    }

    fn search_linear(&self, regex: &meta::Regex, subject: Subject<'_>, start: usize) -> Search {
        let mut slots = vec![None; 2 * (self.groups.len() + 1)];
        let input = Input::new(subject.text).range(start.min(subject.text.len())..);
        if regex.search_slots(&input, &mut slots).is_none() {
            return Search::Missed;
        }
        let places = slots.chunks_exact(2).map(|slots| match slots {
            [Some(start), Some(end)] => place(start.get()..end.get()),
            _ => NO_PLACE,
        });
        Search::Found(self.spans(&self.groups, places))
    }

    /// The places of the pattern's groups, given those of the whole match and of `groups`.
    fn spans(&self, groups: &[usize], mut places: impl Iterator<Item = Place>) -> Spans {
        let whole = places.next().map(|place| (0, place));
        Spans::new(self.count, whole.into_iter().chain(groups.iter().copied().zip(places)))
    }
}

impl Recipe {
    fn engine(&self) -> Result<Engine, TooBig> {
        Ok(match (self.effort, &self.screen) {
            (Effort::Linear, _) => Engine::Linear(linear(&self.text)?),
            (Effort::Backtracking, Some(screen)) => {
                Engine::Backtracking { screen: linear(screen)?, regex: backtracking(&self.text)? }
            }
            _ => Engine::Eased(backtracking(&self.text)?),
        })
    }
}

impl Regular {
    /// The pattern for an automaton, with those of its groups that somebody asks for.
    fn part(&self, groups: Vec<usize>) -> Part {
        Part { text: self.text.clone(), groups, looks: self.looks.clone() }
    }
}

/// A place in a text no longer than [`MAX_TEXT`].
fn place(range: Range<usize>) -> Place {
    [range.start as u32, range.end as u32]
}

fn linear(text: &str) -> Result<meta::Regex, TooBig> {
    let config = meta::Config::new().nfa_size_limit(Some(MAX_PROGRAM));
    Ok(meta::Builder::new().configure(config).build(text)?)
}

fn backtracking(text: &str) -> Result<fancy_regex::Regex, TooBig> {
    Ok(RegexBuilder::new(text).backtrack_limit(MAX_STEPS).delegate_size_limit(MAX_PROGRAM).build()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::generate::{generate, mutate};
    use crate::oracle::{Random, seed};

    #[track_caller]
    fn check(pattern: &str, text: &str, expected: Option<&[Option<&str>]>) {
        let pattern = Pattern::new(pattern, false).unwrap();
        let found = match pattern.search(Subject::new(text)) {
            Search::Found(spans) => Some(spans),
            Search::Missed => None,
            Search::Exhausted => panic!("exhausted"),
        };
        let found: Option<Vec<_>> =
            found.map(|spans| (0..spans.0.len()).map(|group| text.get(spans.get(group)?)).collect());
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn a_dollar_stands_before_the_last_newline_too() {
        check("a$", "a\n", Some(&[Some("a")]));
        check("a$", "a", Some(&[Some("a")]));
        check("a$", "a\nb\n", None);
        check(r"a\Z", "a\n", None);
        check("^b", "a\nb\n", None);
    }

    #[test]
    fn word_boundaries_are_pythons_beyond_ascii() {
        // A combining mark is no word character for Python, and a superscript is one.
        check(r"\bx\b", "x\u{301}", Some(&[Some("x")]));
        check(r"^x\b", "xé", None);
        check(r"^x\b", "x é", Some(&[Some("x")]));
        check(r"x\b", "x²", None);
    }

    #[test]
    fn nothing_begins_within_a_character() {
        check("(?!é)", "éa", Some(&[Some("")]));
        check("(?!é|a)(.?)", "éa€", Some(&[Some("€"), Some("€")]));
    }

    #[test]
    fn references_conditions_and_look_around_work() {
        check(r"(a)?(?(1)b|c)", "ab", Some(&[Some("ab"), Some("a")]));
        check(r"^(a)?(?(1)b|c)$", "c\n", Some(&[Some("c"), None]));
        check(r"(?P<q>['\x22])x(?P=q)", "'x\" \"x\"", Some(&[Some("\"x\""), Some("\"")]));
        check(r"(?<!a)b(?=c)", "ab bc", Some(&[Some("b")]));
    }

    #[test]
    fn catastrophic_patterns_end_by_the_budget() {
        let text = format!("{}b\n", "a".repeat(5000));
        // The linear engine has no catastrophe.
        check("(a+)+$", &text, None);
        let pattern = Pattern::new(r"^(?=a)(a+)+\1$", false).unwrap();
        assert!(matches!(pattern.search(Subject::new(&text)), Search::Missed), "the screen knows");
        let text = format!("{}bc", "a".repeat(40));
        let pattern = Pattern::new(r"(?:(?!c)a+)+(?<=x)bc", false).unwrap();
        assert!(matches!(pattern.search(Subject::new(&text)), Search::Exhausted | Search::Missed));
    }

    #[test]
    fn a_line_of_ten_megabytes_is_searched_or_refused() {
        let text = "x".repeat(10 << 20);
        check("y", &text, None);
        let pattern = Pattern::new(r"(?<!y)x(?!x)", false).unwrap();
        assert!(matches!(pattern.search(Subject::new(&text)), Search::Exhausted));
    }

    /// What is left of a search without its automaton.
    fn without_automaton(pattern: &Pattern, text: &str) -> Search {
        let subject = Subject::new(text);
        let program = Program::new(&pattern.parsed, pattern.mode(subject)).unwrap();
        Program { regular: None, ..program }.search(subject)
    }

    #[test]
    fn an_automaton_finds_what_the_engines_find() {
        // Linear ones and others, in ASCII and other characters; and what the beginning of a text decides.
        let (mut random, mut compared) = (Random::new(seed()), [0; 5]);
        while compared.iter().zip([2000, 300, 500, 50, 20]).any(|(count, enough)| *count < enough) {
            let generated = generate(&mut random);
            let Ok(pattern) = Pattern::new(&generated.pattern, false) else { continue };
            for text in [mutate(&mut random, &generated.text), generated.text] {
                let subject = Subject::new(&text);
                let Some(program) = pattern.program(subject) else { continue };
                let begins = pattern.search_beginning(subject, 0).is_ok();
                if program.regular.is_none() && !begins {
                    continue;
                }
                let (ours, theirs) = (pattern.search(subject), without_automaton(&pattern, &text));
                if let Search::Exhausted = theirs {
                    continue;
                }
                assert_eq!(format!("{ours:?}"), format!("{theirs:?}"), "{:?} in {text:?}", generated.pattern);
                let is_linear = program.recipe.effort == Effort::Linear;
                compared[match begins {
                    true => 4,
                    false => usize::from(!is_linear) + 2 * usize::from(!text.is_ascii()),
                }] += 1;
            }
        }
    }

    #[test]
    fn look_aheads_and_conditions_are_regular() {
        for (pattern, regular) in [
            ("^a(?!b)(?:(?! from ).)* from (?=c)", true),
            (r"^(x )?(?P<u>(?P<v>\S+)|(?(1)(?:(?! y ).)*?|[^:]+)) y (?(v)a|b)$", true),
            ("(?:(a)|b)?(?(1)c|d)", true),
            ("(a)??(?(1)b|c)", true),
            ("(?:(a)?(?(1)b|c))+", false),
            ("(?=(a))b", false),
            ("(?<!a)b", false),
            (r"(a)?(?(1)b|c)([ab])\2", false),
        ] {
            let pattern = Pattern::new(pattern, false).unwrap();
            assert_eq!(pattern.is_linear(), regular, "{pattern:?}");
            for text in
                ["a from c", "ab from c", "x y y b", "y y a", "z from y y b", "ab", "b", "d", "ac", "bd"]
            {
                let (ours, theirs) = (pattern.search(Subject::new(text)), without_automaton(&pattern, text));
                assert_eq!(format!("{ours:?}"), format!("{theirs:?}"), "{text}");
            }
        }
    }
}
