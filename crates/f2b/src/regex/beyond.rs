//! What `f2b-regex` does beyond `fail2ban-regex` where it is asked to: `--json`, `--explain`, `--profile`.

use std::io;
use std::time::{Duration, Instant};

use f2b_filter::{Explainer, Field, Filter, Found, LineContext, StepCounter};
use f2b_types::Number;
use serde_json::{Map, Value as Json, json};

use super::output::Output;
use super::trial::{RegexHits, Trial};

/// Characters of an expression or a line that are shown on each side of the place where a match broke.
const AROUND: usize = 60;

/// What a line came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Matched,
    Missed,
    Ignored,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Missed => "missed",
            Self::Ignored => "ignored",
        }
    }
}

/// A line as an object of JSON.
pub(super) fn line_json(line: &str, verdict: Verdict, found: &[Found], ignored_by: &[usize]) -> Json {
    let failures: Vec<Json> = found
        .iter()
        .map(|found| {
            let fields: Map<String, Json> = found
                .fields
                .iter()
                .filter(|(name, value)| *name != "matches" && **value != Field::None)
                .map(|(name, value)| (name.to_owned(), field_json(value)))
                .collect();
            json!({
                "regex": found.regex + 1,
                "id": found.id().map(ToString::to_string),
                "time": found.time.map(Number::as_f64),
                "nofail": found.fields.is_no_failure(),
                "fields": fields,
            })
        })
        .collect();
    let ignored_by: Vec<usize> = ignored_by.iter().map(|index| index + 1).collect();
    json!({ "line": line, "verdict": verdict.as_str(), "failures": failures, "ignored_by": ignored_by })
}

fn field_json(field: &Field) -> Json {
    match field {
        Field::None => Json::Null,
        Field::Text(text) => text.to_string().into(),
        Field::Flag => true.into(),
        Field::Tuple(parts) => parts.iter().map(|part| part.as_deref()).collect(),
        Field::Users(users) => users.iter().map(field_json).collect(),
        Field::Lines(lines) => lines.iter().map(|line| line.concat()).collect(),
        Field::Ip(id) => id.to_string().into(),
    }
}

/// The object behind the lines.
pub(super) fn summary_json(trial: &Trial) -> Json {
    let regexes = |list: &[RegexHits]| -> Json {
        list.iter().map(|regex| json!({ "regex": regex.regex, "hits": regex.hits })).collect()
    };
    let dates: Vec<Json> = trial
        .filter
        .date_detector()
        .into_iter()
        .flat_map(|detector| detector.templates())
        .filter(|template| template.hits > 0)
        .map(|template| json!({ "template": template.name, "hits": template.hits }))
        .collect();
    json!({ "summary": {
        "lines": trial.tested,
        "matched": trial.matched.count,
        "missed": trial.missed.count,
        "ignored": trial.ignored.count,
        "prefregex": trial.filter.prefregex().map(|regex| json!({ "regex": regex, "hits": trial.prefix_hits })),
        "failregex": regexes(&trial.fail),
        "ignoreregex": regexes(&trial.ignore),
        "dates": dates,
        "seconds": trial.seconds,
    }})
}

/// Why a line was missed, in lines of text.
pub(super) fn explain(
    explainer: &mut Explainer,
    filter: &Filter,
    line: &str,
    context: &LineContext<'_>,
) -> Vec<String> {
    let explanation = explainer.explain(filter, line, context);
    let mut lines = Vec::new();
    lines.push(match &explanation.date {
        Some((text, template)) => format!("date: {text} ({template})"),
        None => "date: none was found".into(),
    });
    if let Some(matched) = explanation.prefix_matched {
        lines.push(format!("prefregex: {}", if matched { "matched" } else { "did not match" }));
    }
    let Some(nearest) = &explanation.nearest else { return lines };
    lines.push(match nearest.index {
        Some(index) => format!("nearest: failregex {}, which matched up to the marks", index + 1),
        None => "prefregex matched up to the marks".into(),
    });
    for (name, text, at) in
        [("regex", &nearest.regex, nearest.regex_reached), ("line", &nearest.text, nearest.text_reached)]
    {
        let (shown, column) = window(text.trim_end_matches('\n'), at);
        lines.push(format!("{name:>6}: {shown}"));
        lines.push(format!("{:8}{:column$}^", "", ""));
    }
    lines
}

/// The text around the byte `at` on one line, and the column of that byte in it.
fn window(text: &str, at: usize) -> (String, usize) {
    let (before, behind) = text.split_at_checked(at).unwrap_or((text, ""));
    let length = before.chars().count();
    let mut start: String = before.chars().skip(length.saturating_sub(AROUND)).collect();
    if length > AROUND {
        start.insert(0, '…');
    }
    let mut end: String = behind.chars().take(AROUND).collect();
    if behind.chars().nth(AROUND).is_some() {
        end.push('…');
    }
    let column = start.chars().count();
    // What is no blank and has no width would move the mark.
    let plain = |text: String| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    (plain(start) + &plain(end), column)
}

/// What each expression costs.
#[derive(Debug, Default)]
pub(super) struct Profile {
    costs: Vec<Cost>,
    counter: StepCounter,
}

#[derive(Debug, Default, Clone)]
struct Cost {
    searches: usize,
    hits: usize,
    total: Duration,
    longest: Duration,
    most: usize,
    exhausted: usize,
}

impl Profile {
    /// Tries every expression on a line by itself.
    pub(super) fn try_line(&mut self, filter: &Filter, line: &str, context: &LineContext<'_>) {
        self.costs.resize(filter.failregex().count(), Cost::default());
        let Some(sought) = filter.sought(line, context) else { return };
        for (index, cost) in self.costs.iter_mut().enumerate() {
            let start = Instant::now();
            let is_hit = filter.try_failregex(index, &sought);
            let time = start.elapsed();
            cost.searches += 1;
            cost.hits += usize::from(is_hit);
            cost.total += time;
            cost.longest = cost.longest.max(time);
            let steps = self.counter.count(filter, index, &sought);
            cost.most = cost.most.max(steps.at_most);
            cost.exhausted += usize::from(steps.exhausted);
        }
    }

    /// The most expensive first.
    pub(super) fn print(&self, filter: &Filter, out: &mut Output) -> io::Result<()> {
        let mut costs: Vec<(usize, &Cost)> = self.costs.iter().enumerate().collect();
        costs.sort_by_key(|(_, cost)| std::cmp::Reverse(cost.total));
        let lines: Vec<String> = costs
            .into_iter()
            .map(|(index, cost)| {
                let micros = |time: Duration| time.as_secs_f64() * 1e6;
                let mean = micros(cost.total) / cost.searches.max(1) as f64;
                let given_up = match cost.exhausted {
                    0 => String::new(),
                    count => format!(", given up {count} times"),
                };
                let mark = if filter.is_linear(index) { "" } else { ", not linear" };
                format!(
                    "{:2}) {:.3} ms, {mean:.1} µs a line, at most {:.1} µs and {} steps, {} of {} \
                     lines{given_up}{mark}",
                    index + 1,
                    micros(cost.total) / 1000.0,
                    micros(cost.longest),
                    cost.most,
                    cost.hits,
                    cost.searches,
                )
            })
            .collect();
        out.print("\nProfile:")?;
        out.list(&lines, Some(" #) time and steps of the failregex by itself, most expensive first"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_shows_the_place() {
        assert_eq!(window("abc", 1), ("abc".into(), 1));
        let long = "x".repeat(100) + "é" + &"y".repeat(100);
        let (shown, column) = window(&long, 102);
        assert_eq!((shown.chars().count(), column), (122, 61));
        assert_eq!(window("a\tb\0", 9), ("a b ".into(), 4));
    }
}
