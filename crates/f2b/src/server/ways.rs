//! Where the reader's findings go: failures to the core, host names to the resolver, messages to the log.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use f2b_filter::{Clock, Encoding, Filter, Found, LineContext, LineError, LogFormat, UseDns, Who};
use f2b_types::{Id, Level, Log, Number, Record, Time, time2str};
use jiff::tz::TimeZone;

use super::log_file::LogFile;
use super::resolver::{Failed, Resolver};
use super::{Backlog, JailKey, Msg, Outcome, Uncounted};
use crate::logging::{ServerLog, of_invalid_bytes};

/// Characters of a line that are shown.
const SHOWN: usize = 200;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// When the log was told last what is wrong with the lines of a file.
#[derive(Debug, Default)]
pub(super) struct Warned {
    of_bytes: Option<Instant>,
    of_format: Option<Instant>,
}

/// Where the reader's findings go.
pub(super) struct Ways {
    pub(super) core: Sender<Msg>,
    pub(super) resolver: Resolver,
    pub(super) log: Arc<ServerLog>,
    pub(super) zone: TimeZone,
}

impl Ways {
    /// What time it is, and where.
    pub(super) fn clock(&self) -> Clock {
        Clock::new(crate::clock::now(), self.zone.clone())
    }

    /// Says once a day for each file (and always to whoever wants to know everything) that a line is not in the encoding of its jail; it goes on with the invalid bytes
    /// replaced (`FileContainer.decode_line`).
    pub(super) fn warn_of_bytes(&self, bytes: &[u8], path: &Path, encoding: &str, warned: &mut Warned) {
        let is_first = is_first_of_day(&mut warned.of_bytes);
        if !is_first && !self.log.enabled(Level::TRACEDEBUG) {
            return;
        }
        for record in of_invalid_bytes(bytes, path, encoding, is_first) {
            self.log.write(record);
        }
    }

    /// Says once a day for each file that a line is left out, since it isn't what the jail says that lines are.
    pub(super) fn warn_of_format(
        &self,
        line: &str,
        path: &Path,
        format: Option<&LogFormat>,
        warned: &mut Warned,
    ) {
        let Some(format) = format.filter(|_| is_first_of_day(&mut warned.of_format)) else { return };
        let shown: String = line.chars().take(SHOWN).collect();
        let message = format!(
            "A line of '{}' is no entry of the logformat {format} and is left out, as every such line is: {}",
            path.display(),
            f2b_filter::repr(&shown)
        );
        self.log.write(Record::new(Level::WARNING, "filter", message));
    }

    /// Searches a log that is open for the first line that counts (`FileFilter.seekToTime`): what is older than `findtime`
    /// need not be read.
    pub(super) fn seek(&self, filter: &mut Filter, log: &mut LogFile, encoding: &Encoding) {
        let (clock, size) = (self.clock(), log.size());
        let wanted = clock.now() - filter.find_time().as_f64();
        let debug = |message: &dyn Fn() -> String| {
            if self.log.enabled(Level::DEBUG) {
                self.log.write(Record::new(Level::DEBUG, "filter", message()));
            }
        };
        let shown = |time: f64| time2str(Time(time), &self.zone);
        debug(&|| {
            let time = Number::Float(wanted.0);
            format!("Seek to find time {time} ({}), file size {size}", shown(wanted.0))
        });
        if size == 0 {
            return;
        }
        let context = LineContext { clock: &clock, in_operation: false, check_find_time: true };
        let sought = log.seek_to_time(encoding, wanted.0, |line| filter.time_of(line, &context));
        for record in filter.take_records() {
            self.log.write(record);
        }
        match sought {
            Ok(Some(sought)) => debug(&|| {
                let last = sought.last.map_or_else(|| "-1".into(), |last| last.to_string());
                let found = sought.found.map_or_else(|| "None".into(), |time| time.to_string());
                let shown = sought.found.map_or_else(String::new, |time| shown(time.as_f64()));
                let seeks = sought.seeks;
                format!("Position {last} from {size}, found time {found} ({shown}) within {seeks} seeks")
            }),
            Ok(None) => {}
            Err(error) => {
                let message =
                    format!("Error during seek to start time in \"{}\": {error}", log.path().display());
                self.log.write(Record::new(Level::ERROR, "filter", message));
            }
        }
    }

    /// What has come of a line: failures leave for the core, host names for the resolver.
    pub(super) fn outcome(
        &self,
        jail: JailKey,
        filter: &mut Filter,
        backlog: &Backlog,
        (line, outcome): (&str, Result<Vec<Found>, LineError>),
        context: &LineContext<'_>,
    ) -> Option<Outcome> {
        let error = outcome.as_ref().err().map(ToString::to_string);
        let outcome = self.pass_on(jail, filter, backlog, outcome.unwrap_or_default(), context);
        if let Some(error) = error {
            let message =
                format!("Failed to process line: {}, caught exception: {error}", f2b_filter::repr(line));
            self.log.write(Record::new(Level::ERROR, "filter", message));
        }
        outcome
    }

    /// What the filter has to say and has found; gives what comes of that if it is anything.
    pub(super) fn pass_on(
        &self,
        jail: JailKey,
        filter: &mut Filter,
        backlog: &Backlog,
        all: Vec<Found>,
        context: &LineContext<'_>,
    ) -> Option<Outcome> {
        for record in filter.take_records() {
            self.log.write(record);
        }
        let warn = filter.use_dns() == UseDns::Warn;
        let mut of_all = None;
        for found in all {
            let Some(who) = &found.who else { continue };
            let uncounted = of_all.get_or_insert_with(Uncounted::default).clone();
            match who {
                Who::Id(id) => {
                    backlog.enter();
                    let failure = found.failure(id.clone(), context.clock.now());
                    let _ = self.core.send(Msg::Found { jail, failure, uncounted });
                }
                Who::Host(name) => {
                    let failure = found.failure(Id::raw(name), context.clock.now());
                    let (name, backlog) = (name.clone(), backlog.clone());
                    self.resolver.failed(Failed { jail, name, warn, failure, backlog, uncounted });
                }
            }
        }
        of_all.map(|uncounted| uncounted.outcome())
    }
}

/// Whether something is to be said that is said once a day.
fn is_first_of_day(said: &mut Option<Instant>) -> bool {
    let is_first = said.is_none_or(|last| last.elapsed() >= DAY);
    if is_first {
        *said = Some(Instant::now());
    }
    is_first
}
