//! Room for open logs: each stays open while it is followed, as far as the limit of open files allows.

use f2b_types::{Level, Log, Record};
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// Descriptors for everything but logs: clients, actions, the database.
const OTHERS: rlim_t = 256;

/// Raises the limit of open files where so many logs need it, as far as the system allows, and says so if that is not far
/// enough. Nobody else's limit is touched: what the server starts inherits it only then. Answers how many logs may be open.
pub(super) fn make_room(logs: usize, log: &dyn Log) -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return usize::MAX };
    let needed = (logs as rlim_t).saturating_add(OTHERS);
    if needed <= soft {
        return room_within(soft);
    }
    let wanted = needed.next_power_of_two().min(hard);
    let is_raised = soft >= wanted || setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok();
    let room = room_within(if is_raised { wanted.max(soft) } else { soft });
    if room < logs {
        let message = format!(
            "{logs} log files need more open files than the limit of {hard} allows: no more than {room} stay open, those \
             that changed last"
        );
        log.write(Record::new(Level::WARNING, "filter", message));
    }
    room
}

/// How many logs may be open within a limit. Of a low one the others get the most.
fn room_within(limit: rlim_t) -> usize {
    usize::try_from(limit.saturating_sub(OTHERS).max(limit / 4)).unwrap_or(usize::MAX)
}
