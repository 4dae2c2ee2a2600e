//! Room for as many open files as there are logs: each stays open while it is followed.

use f2b_types::{Level, Log, Record};
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// Descriptors for everything but logs: clients, actions, the database, logs that have been rotated.
const OTHERS: rlim_t = 256;

/// Raises the limit of open files where so many logs need it, as far as the system allows, and says so if that is not far
/// enough. Nobody else's limit is touched: what the server starts inherits it only then.
pub(super) fn make_room(logs: usize, log: &dyn Log) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let needed = (logs as rlim_t).saturating_add(OTHERS);
    if needed <= soft {
        return;
    }
    let wanted = needed.next_power_of_two().min(hard);
    let is_raised = soft >= wanted || setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok();
    if needed > hard || !is_raised {
        let message = format!("{logs} log files need more open files than the limit of {hard} allows");
        log.write(Record::new(Level::WARNING, "filter", message));
    }
}
