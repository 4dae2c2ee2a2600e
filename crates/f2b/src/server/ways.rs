//! Where the reader's findings go: failures to the core, host names to the resolver, messages to the log.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use f2b_filter::{Clock, Filter, Found, LineContext, UseDns, Who};
use f2b_types::{Id, Level, Log, Record};
use jiff::tz::TimeZone;

use super::resolver::Resolver;
use super::{Backlog, JailKey, Msg};
use crate::logging::{ServerLog, of_invalid_bytes};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

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
    pub(super) fn warn_of_bytes(
        &self,
        bytes: &[u8],
        path: &Path,
        encoding: &str,
        warned: &mut Option<Instant>,
    ) {
        let is_first = warned.is_none_or(|last| last.elapsed() >= DAY);
        if is_first {
            *warned = Some(Instant::now());
        } else if !self.log.enabled(Level::TRACEDEBUG) {
            return;
        }
        for record in of_invalid_bytes(bytes, path, encoding, is_first) {
            self.log.write(record);
        }
    }

    /// Matches one line; failures leave for the core, host names for the resolver.
    pub(super) fn line(
        &self,
        jail: JailKey,
        filter: &mut Filter,
        backlog: &Backlog,
        line: &str,
        context: &LineContext<'_>,
    ) {
        let outcome = filter.process_line(line, context);
        let error = outcome.as_ref().err().map(ToString::to_string);
        self.pass_on(jail, filter, backlog, outcome.unwrap_or_default(), context);
        if let Some(error) = error {
            let message =
                format!("Failed to process line: {}, caught exception: {error}", f2b_filter::repr(line));
            self.log.write(Record::new(Level::ERROR, "filter", message));
        }
    }

    /// What the filter has to say and has found.
    pub(super) fn pass_on(
        &self,
        jail: JailKey,
        filter: &mut Filter,
        backlog: &Backlog,
        all: Vec<Found>,
        context: &LineContext<'_>,
    ) {
        for record in filter.take_records() {
            self.log.write(record);
        }
        let warn = filter.use_dns() == UseDns::Warn;
        for found in all {
            match &found.who {
                Some(Who::Id(id)) => {
                    backlog.enter();
                    let failure = found.failure(id.clone(), context.clock.now());
                    let _ = self.core.send(Msg::Found { jail, failure });
                }
                Some(Who::Host(name)) => {
                    let failure = found.failure(Id::raw(name), context.clock.now());
                    self.resolver.failed(jail, name.clone(), warn, failure, backlog.clone());
                }
                None => {}
            }
        }
    }
}
