//! The report (`Fail2banRegex.printStats`).

use std::fmt::Write;
use std::io;

use f2b_filter::{UseDns, expand_tags};
use f2b_types::{Time, local_time};

use super::options::Options;
use super::output::Output;
use super::trial::{Lines, RegexHits, Trial};

/// Prints everything that the lines came to.
pub(super) fn print(trial: &Trial, options: &Options, out: &mut Output) -> io::Result<()> {
    for line in ["", "Results", "======="] {
        out.print(line)?;
    }
    if let Some(regex) = trial.filter.prefregex() {
        let groups = trial.prefix_groups.iter().map(|groups| format!("    {groups}"));
        let lines: Vec<_> = std::iter::once(regex.to_owned()).chain(groups).collect();
        out.print(&format!("\nPrefregex: {} total", trial.prefix_hits))?;
        out.list(&lines, None)?;
    }
    print_regexes("Failregex", &trial.fail, trial, options, out)?;
    print_regexes("Ignoreregex", &trial.ignore, trial, options, out)?;
    print_date_templates(trial, options, out)?;
    let (tested, matched, missed) = (trial.tested, trial.matched.count, trial.missed.count);
    let ignored = trial.ignored.count;
    out.print(&format!("\nLines: {tested} lines, {ignored} ignored, {matched} matched, {missed} missed"))?;
    out.print(&format!("[processed in {:.2} sec]", trial.seconds))?;
    out.print("")?;
    if options.profile {
        trial.profile.print(&trial.filter, out)?;
    }
    if options.print_all_matched {
        print_lines("matched", &trial.matched, true, trial, options, out)?;
    }
    if !options.print_no_ignored {
        print_lines("ignored", &trial.ignored, options.print_all_ignored, trial, options, out)?;
    }
    if !options.print_no_missed {
        print_lines("missed", &trial.missed, options.print_all_missed, trial, options, out)?;
    }
    Ok(())
}

fn print_regexes(
    title: &str,
    regexes: &[RegexHits],
    trial: &Trial,
    options: &Options,
    out: &mut Output,
) -> io::Result<()> {
    let verbose = options.verbose > 0;
    let mut lines = Vec::new();
    for (index, regex) in regexes.iter().enumerate() {
        if regex.hits > 0 || verbose {
            lines.push(format!("{:2}) [{}] {}", index + 1, regex.hits, regex.regex));
        }
        for found in regex.matches.iter().filter(|_| verbose) {
            let time = found.time.map_or_else(crate::clock::now, |time| Time(time.as_f64()));
            let time = local_time(time, trial.clock.zone())
                .map_or_else(String::new, |time| time.strftime("%a %b %d %H:%M:%S %Y").to_string());
            let repeated = if found.repeated { " (multiple regex matched)" } else { "" };
            lines.push(format!("    {}  {time}{repeated}", found.id));
        }
    }
    let total: usize = regexes.iter().map(|regex| regex.hits).sum();
    out.print(&format!("\n{title}: {total} total"))?;
    out.list(&lines, Some(" #) [# of hits] regular expression"))
}

fn print_date_templates(trial: &Trial, options: &Options, out: &mut Output) -> io::Result<()> {
    let Some(detector) = trial.filter.date_detector() else { return Ok(()) };
    let mut lines = Vec::new();
    for template in detector.templates().filter(|template| options.verbose > 0 || template.hits > 0) {
        lines.push(format!("[{}] {}", template.hits, template.name));
        if options.verbose_date {
            let pattern = template.pattern.as_deref().unwrap_or("");
            lines.push(format!(
                "    # weight: {:.3} ({:.3}), pattern: {pattern}",
                template.weight, template.template_weight
            ));
            lines.push(format!("    # regex:   {}", template.regex));
        }
    }
    out.print("\nDate template hits:")?;
    out.list(&lines, Some("[# of hits] date format"))
}

fn print_lines(
    kind: &str,
    lines: &Lines,
    all: bool,
    trial: &Trial,
    options: &Options,
    out: &mut Output,
) -> io::Result<()> {
    if lines.count == 0 {
        return Ok(());
    }
    let title: String =
        kind.chars().take(1).flat_map(char::to_uppercase).chain(kind.chars().skip(1)).collect();
    let header = format!("{title} line(s):");
    if lines.count >= trial.max_lines && !all {
        let count = lines.count;
        return out.print(&format!(
            "{header} too many to print.  Use --print-all-{kind} to print all {count} lines"
        ));
    }
    let shown: Vec<String> = match options.debuggex {
        false => lines.kept.iter().map(|line| strip_end(line).to_owned()).collect(),
        true => {
            let regexes = if kind == "ignored" { &trial.ignore } else { &trial.fail };
            let pairs = lines.kept_without_date.iter().flat_map(|line| {
                regexes.iter().map(move |regex| debuggex(line, &regex.regex, trial, options))
            });
            pairs.collect()
        }
    };
    let shown = with_explanations(shown, lines);
    out.list(&shown, Some(&header))
}

/// Each line with what is known of it below.
fn with_explanations(shown: Vec<String>, lines: &Lines) -> Vec<String> {
    if lines.explained.is_empty() {
        return shown;
    }
    let explained = lines.explained.iter().map(|lines| lines.iter().map(|line| format!("     {line}")));
    shown.into_iter().zip(explained).flat_map(|(line, below)| std::iter::once(line).chain(below)).collect()
}

/// The line, the expression and a link to try both at debuggex.com.
fn debuggex(line: &str, regex: &str, trial: &Trial, options: &Options) -> String {
    let use_dns = options.use_dns.as_deref().filter(|word| *word == "no").map_or(UseDns::Yes, |_| UseDns::No);
    let expanded = expand_tags(regex, use_dns);
    let mut url = format!(
        "https://www.debuggex.com/?re={}&str={}&flavor=python",
        quote_plus(&expanded),
        quote_plus(line)
    );
    if trial.filter.max_lines() > 1 {
        url.push_str("&flags=m");
    }
    format!("{line} | {regex} |  {url}")
}

/// Python's `urllib.parse.quote_plus`.
fn quote_plus(text: &str) -> String {
    let mut quoted = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => quoted.push('+'),
            byte if byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte) => quoted.push(char::from(byte)),
            // Writing into a String never fails.
            byte => drop(write!(quoted, "%{byte:02X}")),
        }
    }
    quoted
}

/// Python's `str.rstrip`.
fn strip_end(line: &str) -> &str {
    line.trim_end_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}
