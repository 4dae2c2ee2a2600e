//! The one place that reads the clock.

use std::time::{SystemTime, UNIX_EPOCH};

use f2b_types::Time;
use jiff::tz::{Offset, TimeZone};

/// The time now.
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(since.as_secs_f64())
}

/// The zone of this machine, as `TZ` or else `/etc/localtime` say it. The latter is read as it is: to find its name, the
/// whole database of zones would have to be walked.
pub fn local_zone() -> TimeZone {
    if std::env::var_os("TZ").is_none()
        && let Ok(bytes) = std::fs::read("/etc/localtime")
        && let Ok(zone) = TimeZone::tzif("Local", &bytes)
    {
        return zone;
    }
    TimeZone::system()
}

/// How far the time of this machine is from UTC now.
pub fn local_offset() -> Offset {
    local_zone().to_offset(jiff::Timestamp::now())
}
