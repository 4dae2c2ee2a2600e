//! What templates find in a line, kept for all detectors that look for its date.
//!
//! Which date a detector takes depends on what it has learned; what a template matches in a line, and which moment that is,
//! does not. So jails with the same templates search a line once, whatever each has seen before.

use std::sync::Arc;

use f2b_types::Number;

use super::calendar::DateError;
use super::template::Template;
use crate::pattern::{Search, Spans};

/// What has been found in a line.
#[derive(Debug, Default)]
pub struct LineSearches {
    searches: Vec<Searched>,
    moments: Vec<Moment>,
}

#[derive(Debug)]
struct Searched {
    template: Arc<Template>,
    /// From where to where, in bytes; `None` for the whole line.
    part: Option<(usize, usize)>,
    search: Search,
}

#[derive(Debug)]
struct Moment {
    template: Arc<Template>,
    spans: Spans,
    default_offset: Option<i32>,
    moment: Result<Number, DateError>,
}

impl LineSearches {
    /// Forgets everything: another line comes.
    pub fn clear(&mut self) {
        self.searches.clear();
        self.moments.clear();
    }

    /// What a template finds in a part of the line, searched unless that is known.
    pub(super) fn search(
        known: Option<&mut Self>,
        template: &Arc<Template>,
        part: Option<(usize, usize)>,
        search: impl FnOnce() -> Result<Search, DateError>,
    ) -> Result<Search, DateError> {
        let Some(known) = known else { return search() };
        let is_it = |one: &&Searched| one.part == part && one.template.is_like(template);
        if let Some(one) = known.searches.iter().find(is_it) {
            return Ok(one.search.clone());
        }
        let search = search()?;
        known.searches.push(Searched { template: Arc::clone(template), part, search: search.clone() });
        Ok(search)
    }

    /// The moment that a match stands for, worked out unless that is known.
    pub(super) fn moment(
        known: Option<&mut Self>,
        template: &Arc<Template>,
        (spans, default_offset): (&Spans, Option<i32>),
        moment: impl FnOnce() -> Result<Number, DateError>,
    ) -> Result<Number, DateError> {
        let Some(known) = known else { return moment() };
        let is_it = |one: &&Moment| {
            one.spans == *spans && one.default_offset == default_offset && one.template.is_like(template)
        };
        if let Some(one) = known.moments.iter().find(is_it) {
            return one.moment.clone();
        }
        let moment = moment();
        let (template, spans) = (Arc::clone(template), spans.clone());
        known.moments.push(Moment { template, spans, default_offset, moment: moment.clone() });
        moment
    }
}

#[cfg(test)]
mod tests {
    use f2b_types::Time;
    use jiff::tz::TimeZone;

    use super::*;
    use crate::filter::LineContext;
    use crate::{Clock, DateDetector};

    fn detector(patterns: &[&str], seen: &[&str], context: &LineContext<'_>) -> DateDetector {
        let mut detector = DateDetector::new(2005);
        patterns.iter().for_each(|pattern| detector.append(pattern).expect("a pattern"));
        seen.iter().for_each(|line| drop(detector.find(line, context)));
        detector
    }

    #[test]
    fn detectors_that_share_their_searches_find_what_each_finds_alone() {
        let clock = Clock::new(Time(1_124_013_600.0), TimeZone::UTC);
        let context = LineContext { clock: &clock, in_operation: true, check_find_time: true };
        let dates = [
            "2005-08-14 10:00:00",
            "14/Aug/2005:10:00:01 +0200",
            "Aug 14 10:00:02",
            "[2005-08-14T10:00:03Z]",
            "1124013604",
            "2005-02-30 10:00:05",
            "14.08.2005 10:00:06",
            "",
        ];
        let mut alone = vec![
            detector(&[], &[], &context),
            detector(&[], &["2005-08-14 10:00:00 x"; 5], &context),
            detector(&[], &["x: 14/Aug/2005:10:00:00 +0000 y", "Aug 14 10:00:00 z"], &context),
            detector(&["%Y-%m-%d %H:%M:%S", "{DATE}"], &[], &context),
            detector(&["%Y-%m-%d %H:%M:%S"], &[], &context),
            detector(&["{^LN-BEG}"], &[], &context),
        ];
        let mut zoned = alone[1].clone();
        zoned.set_default_offset(Some(60));
        alone.push(zoned);
        let mut shared = alone.clone();
        let mut state = 7_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let mut known = LineSearches::default();
        for _ in 0..500 {
            let before = ["", "x ", "host-1: ", "é "][random(4)];
            let [date, other] = [(); 2].map(|()| dates[random(dates.len())]);
            let line = format!("{before}{date} text {other}");
            known.clear();
            for (alone, shared) in alone.iter_mut().zip(&mut shared) {
                let expected = format!("{:?}", alone.find(&line, &context));
                assert_eq!(
                    format!("{:?}", shared.find_among(&line, &context, &mut known)),
                    expected,
                    "{line}"
                );
            }
        }
        assert!(alone.iter().zip(&shared).all(|(alone, shared)| alone.is_like(shared)));
    }

    #[test]
    fn what_is_known_is_not_searched_again() {
        let clock = Clock::new(Time(1_124_013_600.0), TimeZone::UTC);
        let context = LineContext { clock: &clock, in_operation: true, check_find_time: true };
        let line = "2005-08-14 10:00:00 x";
        // They have seen other lines, and what they have learned differs, but for the template of the last one and its place.
        let mut detectors = [
            detector(&[], &[line], &context),
            detector(&[], &["Aug 14 10:00:00 y", line, line], &context),
            detector(&[], &["14/Aug/2005:10:00:00 z", "1124013604", line], &context),
        ];
        assert!(!detectors[0].is_like(&detectors[1]) && !detectors[1].is_like(&detectors[2]));
        let mut known = LineSearches::default();
        for detector in &mut detectors {
            detector.find_among(line, &context, &mut known);
        }
        assert_eq!((known.searches.len(), known.moments.len()), (1, 1));
    }
}
