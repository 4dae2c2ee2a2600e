//! Moments and how they are printed.

use std::ops::{Add, Sub};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

/// A moment: seconds since 1970 with a fraction, as upstream's tickets carry it.
///
/// The difference of two moments is a plain number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Time(pub f64);

impl Time {
    /// The fraction cut off.
    pub fn seconds(self) -> i64 {
        self.0.floor() as i64
    }

    /// Rounded to the nearest whole second, halves to even: what the database stores as `timeofban`.
    pub fn rounded(self) -> i64 {
        self.0.round_ties_even() as i64
    }
}

impl Add<f64> for Time {
    type Output = Self;
    fn add(self, seconds: f64) -> Self {
        Self(self.0 + seconds)
    }
}

impl Sub<f64> for Time {
    type Output = Self;
    fn sub(self, seconds: f64) -> Self {
        Self(self.0 - seconds)
    }
}

impl Sub for Time {
    type Output = f64;
    fn sub(self, other: Self) -> f64 {
        self.0 - other.0
    }
}

/// From here on upstream prints the last second of the year 9999, whatever the zone.
const END_OF_CALENDAR: f64 = 253_402_214_400.0;

/// The moment as `YYYY-MM-DD HH:MM:SS` in `zone` (`MyTime.time2str`).
pub fn time2str(time: Time, zone: &TimeZone) -> String {
    match local_time(time, zone) {
        Some(local) => local.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => "9999-12-31 23:59:59".into(),
    }
}

/// The moment on the calendar of `zone`; `None` where no calendar reaches.
pub fn local_time(time: Time, zone: &TimeZone) -> Option<Zoned> {
    if time.0.is_nan() || time.0 >= END_OF_CALENDAR {
        return None;
    }
    // Rounded to microseconds, as Python's `datetime` is: 59.9999999 is the next minute.
    let microseconds = ((time.0 - time.0.floor()) * 1e6).round_ties_even() as i64;
    let whole = Timestamp::from_second(time.0.floor() as i64).ok()?;
    let stamp = whole.checked_add(SignedDuration::from_micros(microseconds)).ok()?;
    Some(stamp.to_zoned(zone.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_prints_on_the_local_calendar() {
        assert_eq!(time2str(Time(1_124_012_400.9), &TimeZone::UTC), "2005-08-14 09:40:00");
        assert_eq!(time2str(Time(1_124_012_399.999_999_9), &TimeZone::UTC), "2005-08-14 09:40:00");
        assert_eq!(time2str(Time(f64::MAX), &TimeZone::UTC), "9999-12-31 23:59:59");
        assert_eq!(time2str(Time(f64::NAN), &TimeZone::UTC), "9999-12-31 23:59:59");
    }

    #[test]
    fn stored_seconds_round_halves_to_even() {
        assert_eq!(Time(2.5).rounded(), 2);
        assert_eq!(Time(3.5).rounded(), 4);
    }
}
