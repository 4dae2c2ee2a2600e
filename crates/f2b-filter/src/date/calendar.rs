//! From the fields of a date to a moment (`strptime.reGroupDictStrptime`).
//!
//! A date without a year is of this year, or of the last one if it would lie more than a day ahead; one without a day
//! is of today, or of yesterday if it would lie ahead. Without an offset the date is local time, as `mktime` takes it:
//! what the clock skipped in spring is moved on, what it showed twice in autumn is taken for the first time.

use std::borrow::Cow;
use std::cell::OnceCell;

use f2b_types::{Number, Time, local_time};
use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, Timestamp, ToSpan};

use super::zone::{UnknownZone, validate_time_zone};
use crate::pytext::{ascii_digits, repr};

/// What time it is, and where: for lines that were read at once.
#[derive(Debug, Clone)]
pub struct Clock {
    now: Time,
    zone: TimeZone,
    /// The same on the calendar, worked out when it is first asked for.
    local: OnceCell<Option<DateTime>>,
}

impl Clock {
    /// A clock that stands at `now`, in the zone of the machine, for dates that name none.
    pub fn new(now: Time, zone: TimeZone) -> Self {
        Self { now, zone, local: OnceCell::new() }
    }

    /// What time it is.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The zone of the machine.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// On the calendar.
    fn local(&self) -> Result<DateTime, DateError> {
        let local = || local_time(self.now, &self.zone).map(|now| now.datetime());
        self.local.get_or_init(local).ok_or(DateError::Invalid)
    }
}

/// Why fields are no date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DateError {
    /// There is no such day or time (Python's `ValueError`): the line counts as one without a date.
    Invalid,
    /// Anything else that Python would raise, printed as its `repr`: the line fails.
    Raised(String),
}

impl From<UnknownZone> for DateError {
    fn from(unknown: UnknownZone) -> Self {
        match unknown.name {
            Some(name) => Self::Raised(format!("KeyError({})", repr(&name))),
            None => Self::Invalid,
        }
    }
}

impl From<jiff::Error> for DateError {
    fn from(_: jiff::Error) -> Self {
        Self::Invalid
    }
}

/// The fields of a date as far as they were given.
#[derive(Debug, Default)]
struct Fields {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    weekday: Option<i64>,
    day_of_year: Option<i64>,
    week: Option<(i64, Weekday)>,
    offset: Option<i32>,
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// The moment that the captured `fields` (their letter and their text) stand for; `default_offset` in minutes applies
/// where they name no zone.
pub(crate) fn moment<'t>(
    fields: impl Iterator<Item = (char, &'t str)> + Clone,
    default_offset: Option<i32>,
    clock: &Clock,
) -> Result<Number, DateError> {
    let fields = Fields::read(fields)?;
    let offset = fields.offset;

    let (mut year, assume_year) = match fields.year {
        Some(year) => (year, false),
        None => (i64::from(clock.local()?.year()), true),
    };
    let (mut month, mut day) = (fields.month, fields.day);
    if (month.is_none() || day.is_none())
        && let Some(date) = fields.ordinal_date(year)?
    {
        year = i64::from(date.year());
        month = Some(i64::from(date.month()));
        day = Some(i64::from(date.day()));
    }
    let assume_today = month.is_none() && day.is_none();
    if assume_today {
        let now = clock.local()?;
        month = Some(i64::from(now.month()));
        day = Some(i64::from(now.day()));
    }
    let (Some(month), Some(day)) = (month, day) else {
        let text = "TypeError(\"'NoneType' object cannot be interpreted as an integer\")";
        return Err(DateError::Raised(text.into()));
    };
    let mut date = civil(year, month, day, &fields)?;
    let offset = offset.or(default_offset);
    if let Some(offset) = offset {
        date = date.checked_sub(i64::from(offset).minutes())?;
    }
    if assume_today && date > clock.local()? {
        date = date.checked_sub(1.day())?;
    }
    if assume_year && date > clock.local()?.checked_add(1.day())? {
        date = DateTime::from_parts(civil(year - 1, month, day, &fields)?.date(), date.time());
    }
    match offset {
        Some(_) => Ok(Number::Int(date.to_zoned(TimeZone::UTC)?.timestamp().as_second())),
        None => Ok(Number::Float(local_moment(&clock.zone, date)?.as_second() as f64)),
    }
}

/// The moment of a local time. One that the clock skips counts by the offset from before the change, unless only that one was
/// daylight saving time, as in Ireland, whose winter is: so the C library has it.
fn local_moment(zone: &TimeZone, date: DateTime) -> Result<Timestamp, jiff::Error> {
    let moment = zone.to_ambiguous_timestamp(date);
    if let AmbiguousOffset::Gap { after, .. } = moment.offset() {
        let (earlier, later) = (after.to_timestamp(date)?, moment.compatible()?);
        let is_saving = |at| zone.to_offset_info(at).dst().is_dst();
        if is_saving(earlier) && !is_saving(later) {
            return Ok(earlier);
        }
    }
    moment.compatible()
}

fn civil(year: i64, month: i64, day: i64, time: &Fields) -> Result<DateTime, DateError> {
    let narrow = |n: i64| i8::try_from(n).map_err(|_| DateError::Invalid);
    let year = i16::try_from(year).ok().filter(|year| (1..=9999).contains(year)).ok_or(DateError::Invalid)?;
    let time = [narrow(time.hour)?, narrow(time.minute)?, narrow(time.second)?];
    let [hour, minute, second] = time;
    Ok(DateTime::new(year, narrow(month)?, narrow(day)?, hour, minute, second, 0)?)
}

impl Fields {
    fn read<'t>(fields: impl Iterator<Item = (char, &'t str)> + Clone) -> Result<Self, DateError> {
        let mut read = Self::default();
        for (key, text) in fields.clone() {
            match key {
                'y' => {
                    let year = number(text)?;
                    read.year = Some(if year <= 2000 { year + 2000 } else { year });
                }
                'Y' => read.year = Some(number(text)?),
                'm' => read.month = Some(number(text)?),
                'B' => read.month = Some(index_of(&MONTHS, text, usize::MAX)? + 1),
                'b' => read.month = Some(index_of(&MONTHS, text, 3)? + 1),
                'd' => read.day = Some(number(text)?),
                'H' => read.hour = number(text)?,
                'I' => {
                    let half = fields.clone().find(|(key, _)| *key == 'p').map_or("", |(_, half)| half);
                    read.hour = match (number(text)?, half.to_lowercase().as_str()) {
                        (12, "" | "am") => 0,
                        (hour, "pm") if hour != 12 => hour + 12,
                        (hour, _) => hour,
                    };
                }
                'M' => read.minute = number(text)?,
                'S' => read.second = number(text)?,
                'A' => read.weekday = Some(index_of(&WEEKDAYS, text, usize::MAX)?),
                'a' => read.weekday = Some(index_of(&WEEKDAYS, text, 3)?),
                // From Sunday 0 to Monday 0.
                'w' => read.weekday = Some((number(text)? + 6).rem_euclid(7)),
                'j' => read.day_of_year = Some(number(text)?),
                'U' => read.week = Some((number(text)?, Weekday::Sunday)),
                'W' => read.week = Some((number(text)?, Weekday::Monday)),
                'z' | 'Z' => read.offset = Some(validate_time_zone(text)?),
                _ => {}
            }
        }
        Ok(read)
    }

    /// The date by the day of the year, or by week and weekday.
    fn ordinal_date(&self, year: i64) -> Result<Option<Date>, DateError> {
        let year =
            i16::try_from(year).ok().filter(|year| (1..=9999).contains(year)).ok_or(DateError::Invalid)?;
        let first = Date::new(year, 1, 1)?;
        let day_of_year = match (self.day_of_year, self.week, self.weekday) {
            (Some(day), ..) => day,
            (None, Some((week, start)), Some(weekday)) => day_of_week(first, week, start, weekday),
            _ => return Ok(None),
        };
        let span = Span::new().try_days(day_of_year - 1)?;
        Ok(Some(first.checked_add(span)?))
    }
}

/// The day of the year (from 1) for a weekday (Monday 0) of a week that begins on `start`. Week 0 is what the year has
/// before its first full week.
fn day_of_week(first: Date, week: i64, start: Weekday, weekday: i64) -> i64 {
    let mut first_weekday = i64::from(first.weekday().to_monday_zero_offset());
    let mut weekday = weekday;
    if start == Weekday::Sunday {
        first_weekday = (first_weekday + 1) % 7;
        weekday = (weekday + 1) % 7;
    }
    let week_0_length = (7 - first_weekday) % 7;
    match week {
        0 => 1 + weekday - first_weekday,
        week => 1 + week_0_length + 7 * (week - 1) + weekday,
    }
}

fn number(text: &str) -> Result<i64, DateError> {
    // Nearly always.
    if let [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] = text.as_bytes() {
        return Ok(i64::from(tens - b'0') * 10 + i64::from(ones - b'0'));
    }
    ascii_digits(text.trim()).parse().map_err(|_| DateError::Invalid)
}

/// The place of a name, or of its first `length` letters, in `names`.
fn index_of(names: &[&str], text: &str, length: usize) -> Result<i64, DateError> {
    let text = match text.is_ascii() {
        true => Cow::Borrowed(text),
        false => text.to_lowercase().into(),
    };
    let first = text.as_bytes().first().map(u8::to_ascii_lowercase);
    let is_text = |name: &str| {
        name.as_bytes().first().copied() == first
            && name.get(..length).unwrap_or(name).eq_ignore_ascii_case(&text)
    };
    let position = names.iter().position(|name| is_text(name));
    position.and_then(|index| i64::try_from(index).ok()).ok_or(DateError::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2005-08-14 10:00:00 UTC, in a zone with the rules of Zurich.
    #[track_caller]
    fn check(fields: &[(char, &str)], default_offset: Option<i32>, expected: Result<Number, DateError>) {
        let zone = TimeZone::posix("CET-01CEST-02,M3.5.0,M10.5.0").unwrap();
        let clock = Clock::new(Time(1_124_013_600.0), zone);
        assert_eq!(moment(fields.iter().copied(), default_offset, &clock), expected);
    }

    const NOON: [(char, &str); 3] = [('H', "12"), ('M', "0"), ('S', "0")];

    #[test]
    fn local_time_and_offsets() {
        let date = [('Y', "2005"), ('b', "Aug"), ('d', "14")];
        check(&[&date[..], &NOON].concat(), None, Ok(Number::Float(1_124_013_600.0)));
        check(&[&date[..], &NOON].concat(), Some(0), Ok(Number::Int(1_124_020_800)));
        check(&[&date[..], &NOON, &[('z', "+0200")]].concat(), None, Ok(Number::Int(1_124_013_600)));
        check(&[&date[..], &[('z', "XYZ")]].concat(), None, Err(DateError::Raised("KeyError('XYZ')".into())));
        check(&[&date[..], &[('Z', "Foo")]].concat(), None, Err(DateError::Invalid));
    }

    #[test]
    fn a_missing_year_is_this_one_or_the_last() {
        check(&[('m', "8"), ('d', "15"), ('H', "11")], None, Ok(Number::Float(1_124_096_400.0)));
        check(&[('m', "8"), ('d', "16"), ('H', "12")], None, Ok(Number::Float(1_092_650_400.0)));
        check(&[('m', "2"), ('d', "29")], None, Err(DateError::Invalid));
    }

    #[test]
    fn a_missing_day_is_today_or_yesterday() {
        check(&NOON, None, Ok(Number::Float(1_124_013_600.0)));
        check(&[('H', "12"), ('M', "1")], None, Ok(Number::Float(1_124_013_660.0 - 86400.0)));
        check(
            &[('d', "3")],
            None,
            Err(DateError::Raised(
                "TypeError(\"'NoneType' object cannot be interpreted as an integer\")".into(),
            )),
        );
    }

    #[test]
    fn weeks_and_days_of_the_year() {
        check(&[('Y', "2005"), ('j', "226"), ('H', "12")], None, Ok(Number::Float(1_124_013_600.0)));
        check(
            &[('Y', "2005"), ('W', "32"), ('a', "sun"), ('H', "12")],
            None,
            Ok(Number::Float(1_124_013_600.0)),
        );
        check(
            &[('Y', "2005"), ('U', "33"), ('w', "0"), ('H', "12")],
            None,
            Ok(Number::Float(1_124_013_600.0)),
        );
    }

    #[test]
    fn the_clock_has_twelve_hours_twice() {
        let day = [('Y', "2005"), ('m', "8"), ('d', "14")];
        check(&[&day[..], &[('I', "12"), ('p', "PM")]].concat(), None, Ok(Number::Float(1_124_013_600.0)));
        check(&[&day[..], &[('I', "12")]].concat(), None, Ok(Number::Float(1_123_970_400.0)));
        check(&[&day[..], &[('I', "1"), ('p', "pm")]].concat(), None, Ok(Number::Float(1_124_017_200.0)));
    }

    #[test]
    fn what_the_clock_skips_or_repeats_has_a_moment() {
        let at = |month, day, hour| [('Y', "2005"), ('m', month), ('d', day), ('H', hour), ('M', "30")];
        check(&at("3", "27", "2"), None, Ok(Number::Float(1_111_887_000.0)));
        check(&at("10", "30", "1"), None, Ok(Number::Float(1_130_628_600.0)));
        // In Ireland it is the winter that is marked as the other time.
        let dublin = TimeZone::get("Europe/Dublin").unwrap();
        let skipped = jiff::civil::date(2005, 3, 27).at(1, 30, 0, 0);
        assert_eq!(local_moment(&dublin, skipped).unwrap().as_second(), 1_111_883_400);
    }

    #[test]
    fn impossible_dates_are_no_dates() {
        check(&[('Y', "2005"), ('m', "2"), ('d', "30")], None, Err(DateError::Invalid));
        check(&[('Y', "0000"), ('m', "1"), ('d', "1")], None, Err(DateError::Invalid));
        check(&[('Y', "2005"), ('m', "1"), ('d', "1"), ('S', "60")], None, Err(DateError::Invalid));
    }
}
