//! How far a long log has been read, for somebody who watches. Standard error has it, and only if it is a terminal.

use std::io::{IsTerminal, stderr, stdout};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Logs that take less time need no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lines between two looks at the clock.
const STRIDE: usize = 512;

/// A bar with the lines in a second, or its absence.
pub(super) struct Progress {
    started: Instant,
    wanted: bool,
    lines: usize,
    /// How many bytes have been read, and of how many if that is known.
    bytes: u64,
    size: Option<u64>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// A bar that appears by and by; none where nobody sees it, or where lines are printed between which it would stand.
    pub(super) fn new(prints_lines: bool, size: Option<u64>) -> Self {
        let is_disturbing = prints_lines && stdout().is_terminal();
        let wanted = stderr().is_terminal() && !is_disturbing;
        Self { started: Instant::now(), wanted, lines: 0, bytes: 0, size, bar: None }
    }

    /// As many bytes have been read by now.
    pub(super) fn read(&mut self, bytes: u64) {
        self.bytes = bytes;
    }

    /// A line has been tried.
    pub(super) fn line(&mut self) {
        self.lines += 1;
        if !self.wanted || !self.lines.is_multiple_of(STRIDE) || self.started.elapsed() < PATIENCE {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| bar(self.size));
        bar.set_position(self.bytes);
        let rate = self.lines as f64 / self.started.elapsed().as_secs_f64();
        bar.set_message(format!("{} lines, {rate:.0} lines/s", self.lines));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(size: Option<u64>) -> ProgressBar {
    let target = ProgressDrawTarget::stderr();
    let template = match size {
        Some(_) => "{wide_bar} {percent:>3}% {msg} {eta}",
        None => "{spinner} {bytes} {msg}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(size, target).with_style(style)
}
