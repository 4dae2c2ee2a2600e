//! The one place that reads the clock.

use std::time::{SystemTime, UNIX_EPOCH};

use f2b_types::Time;
use jiff::tz::TimeZone;

/// The time now.
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(since.as_secs_f64())
}

/// The zone of this machine, as `TZ` or `/etc/localtime` say it.
pub fn local_zone() -> TimeZone {
    TimeZone::system()
}
