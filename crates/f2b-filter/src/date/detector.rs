//! Finds the date of a line, and learns which templates a log uses (`datedetector.DateDetector`).
//!
//! The template of the last line is tried first. A template that hits moves up the list, and the one nearest to the
//! start of the line wins; so the order of the list, the hits and the distances are part of what decides, and appear
//! in the reports of `f2b-regex`. Distances are counted in characters.

use std::sync::Arc;

use f2b_types::{Level, Number, Record, Time};

use super::bounds;
use super::calendar::{Clock, DateError};
use super::defaults::defaults;
use super::searches::LineSearches;
use super::template::{DatePatternError, Template, TemplateHits};
use crate::pattern::{Search, Spans, Subject};
use crate::pytext::repr;

/// A template that was not used for this many seconds may be overtaken.
const UNUSED_TIME: f64 = 300.0;

/// Two detectors that have used a template within this many seconds have used it at the same time.
const SAME_TIME: f64 = 10.0;

/// The level of what is even less interesting than `HEAVYDEBUG`.
const STEP: Level = Level(4);

const NOWHERE: usize = 0x7fff_ffff;

/// The date templates of a log and what is known of their use.
#[derive(Debug, Clone)]
pub struct DateDetector {
    year_now: i16,
    slots: Vec<Slot>,
    default_offset: Option<i32>,
    last: Option<usize>,
    last_start: Edge,
    last_end: Edge,
    first_unused: usize,
    /// What there is to say since the last time somebody asked, from which level on.
    records: Vec<Record>,
    log_level: Level,
}

/// A template in the list.
#[derive(Debug, Clone)]
struct Slot {
    template: Arc<Template>,
    /// How often it gave the date.
    hits: u64,
    /// How often it matched at all.
    matches: u64,
    last_used: Time,
    distance: usize,
}

impl Slot {
    fn is_used_like(&self, other: &Self) -> bool {
        (self.hits, self.matches, self.distance) == (other.hits, other.matches, other.distance)
            && (self.last_used - other.last_used).abs() <= SAME_TIME
    }

    fn weight(&self) -> f64 {
        self.hits as f64 * self.template.weight / self.distance.max(1) as f64
    }
}

/// A border of the last match: its place and the characters on both sides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Edge {
    at: usize,
    before: Option<char>,
    behind: Option<char>,
}

/// A date that was found in a line.
#[derive(Debug)]
pub(crate) struct DateMatch {
    template: Arc<Template>,
    pub(crate) spans: Spans,
}

impl DateMatch {
    /// The name of the template.
    pub(crate) fn template_name(&self) -> &str {
        &self.template.name
    }
}

/// A candidate: where it was found and by which template.
struct Candidate {
    template: Arc<Template>,
    index: usize,
    start: usize,
    end: usize,
    spans: Spans,
}

/// What the template of the last line found.
#[derive(Default)]
struct FirstTry {
    /// The date.
    certain: Option<Candidate>,
    /// The date, unless another template finds one nearer to the start of the line.
    reserve: Option<Candidate>,
    /// The template if it need not be tried again.
    skip: Option<usize>,
}

impl DateDetector {
    /// A detector without templates, which takes the default ones at its first line. `year_now` decides which years
    /// `%ExY` takes: from 2000 up to some years from now.
    pub fn new(year_now: i16) -> Self {
        Self {
            year_now,
            slots: Vec::new(),
            default_offset: None,
            last: None,
            last_start: Edge { at: 1, ..Edge::default() },
            last_end: Edge { at: NOWHERE, ..Edge::default() },
            first_unused: 0,
            records: Vec::new(),
            log_level: Level::DEBUG,
        }
    }

    /// The offset in minutes of dates that name no zone; `None` for local time.
    pub fn set_default_offset(&mut self, minutes: Option<i32>) {
        self.default_offset = minutes;
    }

    /// Adds what a line of `datepattern` asks for: a pattern, `{DEFAULT}`, `{^LN-BEG}`, `{NONE}`, or the defaults at the
    /// place of `{DATE}`.
    ///
    /// # Errors
    ///
    /// [`DatePatternError`] for a wrong field or a template that is there already.
    pub fn append(&mut self, pattern: &str) -> Result<(), DatePatternError> {
        let key = if pattern.contains('%') { pattern.to_owned() } else { pattern.to_uppercase() };
        match key.as_str() {
            // Upstream's `{DEFAULT}` filters out every template, so that the defaults are taken if it stands alone.
            "{DEFAULT}" => {
                self.say(Level::INFO, "  default filtered date pattern: 0 template(s)".into());
                return Ok(());
            }
            "{^LN-BEG}" => {
                let count = self.add_defaults(true)?;
                self.say(Level::INFO, format!("  default filtered date pattern: {count} template(s)"));
                return Ok(());
            }
            key if key.contains("{DATE}") => {
                let mut count = 0;
                let ignore_known = !self.slots.is_empty();
                for template in defaults(self.year_now).listed {
                    let wrap = |inner: &str| bounds::set_date(pattern, bounds::unbound(inner));
                    let wrapped = wrap(template.pattern.as_ref().unwrap_or(&template.name));
                    let wrapped = Template::new(&wrapped, self.year_now)?;
                    self.add(Arc::new(wrapped), ignore_known)?;
                    count += 1;
                }
                let pattern = repr(pattern);
                self.say(Level::INFO, format!("  default date pattern for `{pattern}`: {count} template(s)"));
                return Ok(());
            }
            _ => {}
        }
        let pattern = if key == "{NONE}" { "{UNB}^" } else { pattern };
        let template = Template::new(pattern, self.year_now)?;
        let shown = template.pattern.clone().unwrap_or_default();
        self.say(Level::INFO, format!("  date pattern `{shown}`: `{}`", template.name));
        self.add(Arc::new(template), false)
    }

    /// What upstream logs, since the last call.
    pub(crate) fn take_records(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.records)
    }

    /// From which level on messages are wanted.
    pub fn set_log_level(&mut self, level: Level) {
        self.log_level = level;
    }

    /// Whether both find the same in every line to come, so that one can stand for the other.
    ///
    /// What a detector finds depends on the templates, their order and all that it has learned of their use; so that has to
    /// be the same too. When a template was used last may differ by some seconds: it decides whether a template counts as
    /// unused, and two jails that read the same lines do so at different moments. The use of a template that has no rival
    /// decides nothing.
    pub fn is_like(&self, other: &Self) -> bool {
        let is_single = self.slots.len() == 1;
        self.year_now == other.year_now
            && self.default_offset == other.default_offset
            && self.last == other.last
            && self.last_start == other.last_start
            && self.last_end == other.last_end
            && (is_single || self.first_unused == other.first_unused)
            && self.slots.len() == other.slots.len()
            && self.slots.iter().zip(&other.slots).all(|(slot, other)| {
                slot.template.is_like(&other.template) && (is_single || slot.is_used_like(other))
            })
    }

    /// What upstream logs of a search, if somebody wants to know.
    fn debug(&mut self, message: impl FnOnce(&Self) -> String) {
        if self.log_level <= Level::HEAVYDEBUG {
            let message = message(self);
            self.say(Level::HEAVYDEBUG, message);
        }
    }

    /// The same of every step of it.
    fn debug_step(&mut self, message: impl FnOnce(&Self) -> String) {
        if self.log_level <= STEP {
            let message = message(self);
            self.say(STEP, message);
        }
    }

    /// What upstream logs of the moment that a match stands for, if somebody wants to know.
    pub(crate) fn debug_moment(&mut self, date: Number, text: &str, found: &DateMatch) {
        self.debug(|_| {
            let (date, text, name) = (date.as_f64(), repr(text), found.template_name());
            format!("  got time {date:.6} for {text} using template {name}")
        });
    }

    fn say(&mut self, level: Level, message: String) {
        self.records.push(Record::new(level, "datedetector", message));
    }

    /// How many templates there are; none before the first line if no `datepattern` is set.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no template is there yet.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The templates in their present order.
    pub fn templates(&self) -> impl Iterator<Item = TemplateHits> + '_ {
        self.slots.iter().map(|slot| TemplateHits {
            hits: slot.hits,
            name: slot.template.name.clone(),
            weight: slot.weight(),
            template_weight: slot.template.weight,
            pattern: slot.template.pattern.clone(),
            regex: slot.template.regex.clone(),
        })
    }

    /// Finds the date in `line`, and remembers what it learned.
    pub(crate) fn match_line(
        &mut self,
        line: Subject<'_>,
        now: Time,
        mut known: Option<&mut LineSearches>,
    ) -> Result<Option<DateMatch>, DateError> {
        if self.slots.is_empty() {
            // The default templates have different names.
            if let Ok(count) = self.add_defaults(false) {
                self.say(Level::INFO, format!("  default date pattern: {count} template(s)"));
            }
        }
        self.debug_step(|_| {
            let start: String = line.text.chars().take(120).collect();
            format!("try to match time for line: {start}")
        });
        let first = self.try_last(line, known.as_deref_mut())?;
        let found = match first.certain {
            Some(candidate) => Some(candidate),
            None => self.try_all(line, (first.reserve, first.skip), known)?,
        };
        if found.is_none() {
            self.debug(|_| " no template.".into());
        }
        Ok(found.map(|candidate| self.remember(candidate, line.text, now)))
    }

    /// The moment that a match stands for.
    pub(crate) fn moment(
        &self,
        line: &str,
        DateMatch { template, spans }: &DateMatch,
        clock: &Clock,
        known: Option<&mut LineSearches>,
    ) -> Result<Number, DateError> {
        let offset = self.default_offset;
        LineSearches::moment(known, template, (spans, offset), || template.moment(line, spans, offset, clock))
    }

    fn add_defaults(&mut self, anchored_only: bool) -> Result<usize, DatePatternError> {
        let ignore_known = !self.slots.is_empty();
        let mut count = 0;
        for template in defaults(self.year_now).all {
            if template.line_anchored || !anchored_only {
                self.add(template, ignore_known)?;
                count += 1;
            }
        }
        Ok(count)
    }

    fn add(&mut self, template: Arc<Template>, ignore_known: bool) -> Result<(), DatePatternError> {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.template.name == template.name) {
            if !ignore_known {
                return Err(DatePatternError::Duplicate { name: template.name.clone() });
            }
            // To upstream both are one object, so that a pattern of the user gets the weight of the default.
            if slot.template.regex == template.regex {
                slot.template = template;
            }
            return Ok(());
        }
        let shown = template.pattern.as_deref().unwrap_or("");
        self.say(Level::DEBUG, format!("  date pattern regex for `{shown}`: `{}`", template.regex));
        self.slots.push(Slot { template, hits: 0, matches: 0, last_used: Time(0.0), distance: NOWHERE });
        Ok(())
    }

    /// Searches by the template of the last line: where it was found then, if the characters around that place are the
    /// same.
    fn try_last(
        &mut self,
        line: Subject<'_>,
        known: Option<&mut LineSearches>,
    ) -> Result<FirstTry, DateError> {
        let Some(index) = self.last.filter(|index| *index < self.slots.len()) else {
            return Ok(FirstTry::default());
        };
        let anchored = self.slots.get(index).is_some_and(|slot| slot.template.line_anchored);
        let whole = anchored || !self.has_same_edges(line);
        self.debug_last(index, anchored, whole, line.text);
        let candidate = match whole {
            true => self.search(index, line, known)?,
            false => self.search_part(index, line, known)?,
        };
        let skip = whole.then_some(index);
        let Some(candidate) = candidate else {
            self.debug(|_| "  ** last pattern not found - pattern change, search ...".into());
            return Ok(FirstTry { skip, ..FirstTry::default() });
        };
        let same_place = candidate.start == self.last_start.at && candidate.end == self.last_end.at;
        let is_certain = self.slots.len() == 1 || anchored || same_place;
        self.debug(|_| match is_certain {
            true => format!("  matched last time template #{index:02}"),
            false => "  ** last pattern collision - pattern change, reserve & search ...".into(),
        });
        Ok(match is_certain {
            true => FirstTry { certain: Some(candidate), reserve: None, skip },
            false => FirstTry { certain: None, reserve: Some(candidate), skip },
        })
    }

    fn debug_last(&mut self, index: usize, anchored: bool, whole: bool, line: &str) {
        if anchored {
            return self.debug_step(|_| format!("  try to match last anchored template #{index:02} ..."));
        }
        let (start, end) = (self.last_start, self.last_end);
        let part = |from: usize, to: usize| {
            line.chars().skip(from).take(to.saturating_sub(from)).collect::<String>()
        };
        let slice = |from: usize, to: usize| repr(&part(from, to));
        let shown = |c: Option<char>| repr(&c.map_or_else(String::new, String::from));
        self.debug_step(|_| {
            let before = if start.at == 0 { repr("") } else { slice(start.at - 1, start.at) };
            format!(
                "  try to match last template #{index:02} (from {} to {}): ...{before}=={} {} {}=={}...",
                start.at,
                end.at,
                shown(start.before),
                part(start.at, end.at),
                slice(end.at, end.at + 1),
                shown(end.behind),
            )
        });
        self.debug_step(|_| match whole {
            true => "  boundaries show conflict, try whole search".into(),
            false => format!("  boundaries are correct, search in part {}", slice(start.at, end.at)),
        });
    }

    /// Whether the last match could stand in `line` at the same place: equal characters outside, or equal ones inside
    /// that are neither letters nor digits.
    fn has_same_edges(&self, line: Subject<'_>) -> bool {
        let is_mark = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
        let (start, end) = (self.last_start, self.last_end);
        let before_start = start.at.checked_sub(1).and_then(|at| char_at(line, at));
        let before_end = end.at.checked_sub(1).and_then(|at| char_at(line, at));
        (before_start == start.before || (char_at(line, start.at) == start.behind && is_mark(start.behind)))
            && (char_at(line, end.at) == end.behind || (before_end == end.before && is_mark(end.before)))
    }

    /// Goes through the list until a match is good enough.
    fn try_all(
        &mut self,
        line: Subject<'_>,
        (reserve, skip): (Option<Candidate>, Option<usize>),
        mut known: Option<&mut LineSearches>,
    ) -> Result<Option<Candidate>, DateError> {
        let mut best = reserve;
        self.debug(|detector| format!(" search template ({}) ...", detector.len()));
        for index in 0..self.slots.len() {
            if Some(index) == skip {
                continue;
            }
            self.debug_step(|detector| {
                format!("  try template #{index:02}: {}", detector.slots[index].template.name)
            });
            let Some(candidate) = self.search(index, line, known.as_deref_mut())? else { continue };
            self.debug(|detector| detector.matched_text(&candidate));
            if self.is_winner(&candidate) {
                return Ok(Some(candidate));
            }
            self.debug(|_| "  ** distance collision - pattern change, reserve".into());
            if best.as_ref().is_none_or(|best| candidate.start < best.start) {
                best = Some(candidate);
            }
        }
        if let Some(best) = &best {
            self.debug(|_| format!("  use best time template #{:02}", best.index));
        }
        Ok(best)
    }

    fn matched_text(&self, candidate: &Candidate) -> String {
        let distance = self.slots.get(candidate.index).map_or(NOWHERE, |slot| slot.distance);
        format!(
            "  matched time template #{:02} (at {} <= {distance}, {}) {}",
            candidate.index, candidate.start, self.last_start.at, candidate.template.name
        )
    }

    /// Whether to look no further: the last template of the list, an anchored one, one that always hits at the start,
    /// or one found no farther from the start than before.
    fn is_winner(&self, candidate: &Candidate) -> bool {
        let Some(slot) = self.slots.get(candidate.index) else { return true };
        let Some(next) = self.slots.get(candidate.index + 1) else { return true };
        slot.template.line_anchored
            || (candidate.start == 0 && slot.hits > 0 && next.matches == 0)
            || !(candidate.start > slot.distance || candidate.start > self.last_start.at)
    }

    fn search(
        &mut self,
        index: usize,
        line: Subject<'_>,
        known: Option<&mut LineSearches>,
    ) -> Result<Option<Candidate>, DateError> {
        self.debug_search(index);
        let Some(slot) = self.slots.get_mut(index) else { return Ok(None) };
        let template = &slot.template;
        let search = || Ok(template.compiled()?.pattern.search(line));
        let search = LineSearches::search(known, template, None, search)?;
        Ok(slot.candidate(search, index, line))
    }

    /// Searches from where the last match began to where it ended, as if the line ended there.
    fn search_part(
        &mut self,
        index: usize,
        line: Subject<'_>,
        known: Option<&mut LineSearches>,
    ) -> Result<Option<Candidate>, DateError> {
        self.debug_search(index);
        let Some(slot) = self.slots.get_mut(index) else { return Ok(None) };
        let start = line.byte_of(self.last_start.at);
        let end = line.byte_of(self.last_end.at);
        if start > end {
            return Ok(None);
        }
        let template = &slot.template;
        let search = || Ok(template.compiled()?.pattern.search_from(line.until(end), start));
        let search = LineSearches::search(known, template, Some((start, end)), search)?;
        Ok(slot.candidate(search, index, line))
    }

    fn debug_search(&mut self, index: usize) {
        if self.log_level <= STEP
            && let Some(slot) = self.slots.get(index)
        {
            let message = format!("   search {}", slot.template.regex);
            self.records.push(Record::new(STEP, "datetemplate", message));
        }
    }

    /// Counts the hit and moves its template up.
    fn remember(&mut self, found: Candidate, line: &str, now: Time) -> DateMatch {
        let Candidate { template, index, start, end, spans } = found;
        let whole = spans.whole();
        let (before_start, from_start) = line.split_at_checked(whole.start).unwrap_or((line, ""));
        let (before_end, from_end) = line.split_at_checked(whole.end).unwrap_or((line, ""));
        self.last_start =
            Edge { at: start, before: last_char(before_start), behind: from_start.chars().next() };
        self.last_end = Edge { at: end, before: last_char(before_end), behind: from_end.chars().next() };
        if self.first_unused == index {
            self.first_unused += 1;
        }
        if let Some(slot) = self.slots.get_mut(index) {
            slot.hits += 1;
            slot.last_used = now;
            slot.distance = start;
        }
        let moved = index > 0 && Some(index) != self.last;
        self.last = Some(if moved { self.reorder(index) } else { index });
        DateMatch { template, spans }
    }

    /// Moves the template at `index` to the first unused place or half-way up, at least by one, if it weighs more than
    /// what is there or that wasn't used for long. Answers with its new place.
    fn reorder(&mut self, index: usize) -> usize {
        let Some(slot) = self.slots.get(index) else { return index };
        let (weight, unused) = (slot.weight(), slot.last_used - UNUSED_TIME);
        self.debug(|detector| {
            format!("  -> reorder template #{index:02}, hits: {}", detector.slots[index].hits)
        });
        let far = if self.first_unused < index { self.first_unused } else { index / 2 };
        let near = index - 1;
        let mut overtakes = |target: usize| {
            self.debug(|detector| detector.compared_text(index, target));
            self.slots.get(target).is_some_and(|other| weight > other.weight() || unused > other.last_used)
        };
        let target = if overtakes(far) {
            far
        } else if far != near && overtakes(near) {
            near
        } else {
            return index;
        };
        let slot = self.slots.remove(index);
        self.slots.insert(target, slot);
        while self.slots.get(self.first_unused).is_some_and(|slot| slot.hits > 0) {
            self.first_unused += 1;
        }
        self.debug(|_| format!("  -> moved template #{index:02} -> #{target:02}"));
        target
    }

    fn compared_text(&self, index: usize, target: usize) -> String {
        let (Some(slot), Some(other)) = (self.slots.get(index), self.slots.get(target)) else {
            return String::new();
        };
        let (weight, hits) = (slot.weight(), slot.hits);
        format!(
            "  -> compare template #{index:02} & #{target:02}, weight {weight:.3} > {:.3}, hits {hits} > {}",
            other.weight(),
            other.hits
        )
    }
}

impl Slot {
    fn candidate(&mut self, search: Search, index: usize, line: Subject<'_>) -> Option<Candidate> {
        let Search::Found(spans) = search else { return None };
        self.matches += 1;
        let whole = spans.whole();
        Some(Candidate {
            template: Arc::clone(&self.template),
            index,
            start: line.chars_before(whole.start),
            end: line.chars_before(whole.end),
            spans,
        })
    }
}

fn char_at(line: Subject<'_>, index: usize) -> Option<char> {
    line.text.get(line.byte_of(index)..)?.chars().next()
}

fn last_char(text: &str) -> Option<char> {
    text.chars().next_back()
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    /// 2005-08-14 10:00:00 UTC
    const NOW: f64 = 1_124_013_600.0;

    fn detector(patterns: &[&str]) -> DateDetector {
        let mut detector = DateDetector::new(2026);
        for pattern in patterns {
            detector.append(pattern).unwrap();
        }
        detector
    }

    /// The text of the date, and the moment.
    fn find(detector: &mut DateDetector, line: &str) -> Option<(String, Option<f64>)> {
        let found = detector.match_line(Subject::new(line), Time(NOW), None).unwrap()?;
        let text = line.get(found.spans.get(1)?)?.to_owned();
        let clock = Clock::new(Time(NOW), TimeZone::UTC);
        Some((text, detector.moment(line, &found, &clock, None).ok().map(Number::as_f64)))
    }

    #[track_caller]
    fn check(patterns: &[&str], line: &str, text: &str, moment: f64) {
        assert_eq!(find(&mut detector(patterns), line), Some((text.into(), Some(moment))), "{line}");
    }

    #[test]
    fn the_usual_dates_are_found_by_themselves() {
        for (line, text) in [
            ("2005-08-14T10:00:00.123Z x", "2005-08-14T10:00:00.123Z"),
            ("[14/Aug/2005:12:00:00 +0200] x", "14/Aug/2005:12:00:00 +0200"),
            ("Aug 14 10:00:00 host x", "Aug 14 10:00:00"),
            ("Sun Aug 14 10:00:00 2005 x", "Sun Aug 14 10:00:00 2005"),
            ("[1124013600] x", "1124013600"),
            ("type=X msg=audit(1124013600.000:5): x", "1124013600.000"),
            ("@4000000042ff16202a8b1c2c x", "@4000000042ff16202a8b1c2c"),
            ("x é 2005-08-14 10:00:00 x", "2005-08-14 10:00:00"),
            ("050814 10:00:00 x", "050814 10:00:00"),
            ("<08/14/05@10:00:00> x", "<08/14/05@10:00:00>"),
        ] {
            check(&[], line, text, NOW);
        }
        for line in ["", "no date", "12005-08-14 10:00:00", "1995-08-14 10:00:00"] {
            assert_eq!(find(&mut detector(&[]), line), None, "{line}");
        }
    }

    #[test]
    fn patterns_of_the_user_come_first() {
        check(&["%d.%m.%Y %H:%M"], "x 14.08.2005 10:00 y", "14.08.2005 10:00", NOW);
        check(&[r"^\[{DATE}\]"], "[2005-08-14 10:00:00] y", "[2005-08-14 10:00:00]", NOW);
        check(&[r"^L:{LEPOCH}"], "L:1124013600000 y", "L:1124013600000", NOW);
        check(&["%Y", "{DEFAULT}"], "2005-08-14 10:00:00", "2005", NOW - 36_000.0);
        assert_eq!(detector(&["{DEFAULT}"]).len(), 0);
        assert_eq!(detector(&["{^LN-BEG}"]).len(), 17);
        assert!(DateDetector::new(2026).append("%Q").is_err());
        let mut twice = detector(&["%Y"]);
        assert_eq!(twice.append("%Y").unwrap_err().to_string(), "There is already a template with name Year");
    }

    #[test]
    fn an_empty_date_in_an_empty_line_is_no_error() {
        assert!(find(&mut detector(&["{NONE}"]), "").is_some());
    }

    #[test]
    fn who_has_seen_the_same_lines_finds_the_same() {
        let dated = ["host: 14/Aug/2005:10:00:00 x", "2005-08-14 10:00:00 x", "no date"];
        let (mut one, mut other) = (detector(&[]), detector(&[]));
        assert!(one.is_like(&other));
        for line in dated {
            find(&mut one, line);
        }
        assert!(!one.is_like(&other));
        for line in dated {
            find(&mut other, line);
        }
        assert!(one.is_like(&other));
        find(&mut one, dated[0]);
        assert!(!one.is_like(&other), "one more hit may move a template");
        // Of a single template only the place counts.
        let pattern = ["%Y-%m-%d %H:%M:%S"];
        let (mut one, mut other) = (detector(&pattern), detector(&pattern));
        find(&mut one, dated[1]);
        find(&mut one, dated[1]);
        assert!(!one.is_like(&other));
        find(&mut other, dated[1]);
        assert!(one.is_like(&other));
        assert!(!one.is_like(&detector(&["%d"])));
        other.set_default_offset(Some(60));
        assert!(!one.is_like(&other));
    }

    #[test]
    fn the_template_in_use_moves_up() {
        let mut detector = detector(&[]);
        for _ in 0..3 {
            find(&mut detector, "host: 14/Aug/2005:10:00:00 x");
        }
        let first = detector.templates().next().unwrap();
        assert_eq!((first.hits, first.name.starts_with("Day(?P<_sep>[-/])MON")), (3, true));
        // A date in the message doesn't win over the one at the known place.
        let line = "host: 14/Aug/2005:10:00:00 since 2004-01-01 00:00:00";
        assert_eq!(find(&mut detector, line).unwrap().0, "14/Aug/2005:10:00:00");
        assert_eq!(find(&mut detector, "2005-08-14 10:00:00 x").unwrap().0, "2005-08-14 10:00:00");
    }
}
