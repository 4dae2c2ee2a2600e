//! Colours of a report on a terminal. Elsewhere, and where `NO_COLOR` says so, every byte is as fail2ban has it.

use std::io::stdout;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

const HEADING: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default();

/// Whether standard output shows colours.
pub(super) fn is_wanted() -> bool {
    AutoStream::choice(&stdout()) != ColorChoice::Never
}

/// The line of a report in its colour. What is of a log stays as it is.
pub(super) fn paint(line: &str) -> String {
    let text = line.trim_start_matches('\n');
    let style = match text.split([':', ' ']).next().unwrap_or("") {
        "Running" | "Results" | "Prefregex" | "Failregex" | "Ignoreregex" | "Date" | "Lines" | "Profile" => {
            HEADING
        }
        "ERROR" | "Error" | "Wrong" => BAD,
        _ => return line.to_owned(),
    };
    let before = &line[..line.len() - text.len()];
    format!("{before}{style}{text}{style:#}")
}

/// The header of a list in the colour of what stands in it.
pub(super) fn paint_header(header: &str) -> String {
    let style = match header.split(' ').next().unwrap_or("") {
        "Matched" => GOOD,
        "Ignored" => DOUBTFUL,
        "Missed" => BAD,
        _ => return header.to_owned(),
    };
    format!("{style}{header}{style:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_ours_is_painted() {
        assert_eq!(paint("\nFailregex: 1 total"), "\n\u{1b}[1mFailregex: 1 total\u{1b}[0m");
        assert_eq!(paint("ERROR: x"), "\u{1b}[31mERROR: x\u{1b}[0m");
        assert_eq!(paint("a line of a log"), "a line of a log");
        assert_eq!(paint(""), "");
        assert_eq!(paint_header("Missed line(s):"), "\u{1b}[31mMissed line(s):\u{1b}[0m");
        assert_eq!(paint_header(" #) [# of hits]"), " #) [# of hits]");
    }
}
