//! The `%` fields of a date pattern: the expression of each, and the name under which reports show it.
//!
//! The expressions appear in `--verbose-date` reports and decide what is a date; they are upstream's
//! (`strptime.timeRE`, which extends Python's `_strptime.TimeRE` in the C locale).

/// Key, expression, name.
const FIELDS: &[(&str, &str, &str)] = &[
    ("ExZ", "(?P<Z>[A-Z](?:[A-Z]{2,4})?)", "ExZone name"),
    ("Exz", r"(?P<z>(?:[A-Z](?:[A-Z]{2,4})?)?[+-][01]\d(?::?\d{2})?|[A-Z](?:[A-Z]{2,4})?)", "ExZone offset"),
    ("Exd", r"(?P<d>[1-2]\d|0[1-9]|3[0-1])", "ExDay"),
    ("Exm", "(?P<m>0[1-9]|1[0-2])", "ExMonth"),
    ("ExH", r"(?P<H>[0-1]\d|2[0-3])", "Ex24hour"),
    ("Exk", r" ?(?P<H>[0-1]?\d|2[0-3])", "%Exk"),
    ("Exl", r" ?(?P<I>1[0-2]|\d)", "%Exl"),
    ("ExM", r"(?P<M>[0-5]\d)", "ExMinute"),
    ("ExS", r"(?P<S>[0-5]\d|6[0-1])", "ExSecond"),
    // The expression of the year depends on the year it is.
    ("ExY", "", "ExYear"),
    ("Exy", r"(?P<y>\d{2})", "ExYear2"),
    ("d", r"(?P<d>[1-2]\d|[0 ]?[1-9]|3[0-1])", "Day"),
    ("f", "(?P<f>[0-9]{1,6})", "Microseconds"),
    ("H", r"(?P<H>[0-1]?\d|2[0-3])", "24hour"),
    ("I", "(?P<I>1[0-2]|0[1-9]|[1-9])", "12hour"),
    ("G", r"(?P<G>\d\d\d\d)", "%G"),
    ("j", r"(?P<j>36[0-6]|3[0-5]\d|[1-2]\d\d|0[1-9]\d|00[1-9]|[1-9]\d|0[1-9]|[1-9])", "Yearday"),
    ("m", "(?P<m>0?[1-9]|1[0-2])", "Month"),
    ("M", r"(?P<M>[0-5]?\d)", "Minute"),
    ("S", r"(?P<S>[0-5]?\d|6[0-1])", "Second"),
    ("U", r"(?P<U>5[0-3]|[0-4]\d|\d)", "Yearweek"),
    ("w", "(?P<w>[0-6])", "Weekday"),
    ("u", "(?P<u>[1-7])", "%u"),
    ("V", r"(?P<V>5[0-3]|0[1-9]|[1-4]\d|\d)", "%V"),
    ("y", r"(?P<y>\d\d)", "Year2"),
    ("Y", r"(?P<Y>\d{4})", "Year"),
    ("z", r"(?P<z>Z|UTC|GMT|[+-][01]\d(?::?\d{2})?)", "Zone offset"),
    ("A", "(?P<A>wednesday|thursday|saturday|tuesday|monday|friday|sunday)", "DAYNAME"),
    ("a", "(?P<a>mon|tue|wed|thu|fri|sat|sun)", "DAY"),
    (
        "B",
        "(?P<B>september|february|november|december|january|october|august|march|april|june|july|may)",
        "MONTH",
    ),
    ("b", "(?P<b>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)", "MON"),
    ("p", "(?P<p>am|pm)", "AMPM"),
    ("Z", "(?P<Z>Z|[A-Z]{3,5})", "Zone name"),
    ("%", "%", "%"),
    ("W", r"(?P<W>5[0-3]|[0-4]\d|\d)", "Yearweek"),
    (
        "c",
        concat!(
            r"(?P<a>mon|tue|wed|thu|fri|sat|sun)\s+(?P<b>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)",
            r"\s+(?P<d>3[0-1]|[1-2]\d|0[1-9]|[1-9]| [1-9])\s+(?P<H>2[0-3]|[0-1]\d|\d):(?P<M>[0-5]\d|\d)",
            r":(?P<S>6[0-1]|[0-5]\d|\d)\s+(?P<Y>\d\d\d\d)",
        ),
        "%c",
    ),
    ("x", r"(?P<m>1[0-2]|0[1-9]|[1-9])/(?P<d>3[0-1]|[1-2]\d|0[1-9]|[1-9]| [1-9])/(?P<y>\d\d)", "%x"),
    ("X", r"(?P<H>2[0-3]|[0-1]\d|\d):(?P<M>[0-5]\d|\d):(?P<S>6[0-1]|[0-5]\d|\d)", "%X"),
    ("k", r" ?(?P<H>[0-2]?\d)", "%k"),
    ("l", r" ?(?P<I>1?\d)", "%l"),
];

/// A pattern with its fields replaced.
pub(super) struct Expanded {
    /// By their expressions.
    pub(super) regex: String,
    /// By their names.
    pub(super) name: String,
}

/// Replaces the fields of `pattern`; `year_now` decides which years `%ExY` takes.
///
/// # Errors
///
/// A percent sign that begins no field is an error in Python's formatting, whose text is given back.
pub(super) fn expand(pattern: &str, year_now: i16) -> Result<Expanded, String> {
    let mut expanded = Expanded { regex: String::new(), name: String::new() };
    let mut rest = pattern;
    // Python counts in its own format string, in which a field `%d` is written `%(d)s`.
    let mut index = 0;
    while let Some(at) = rest.find('%') {
        let (before, from) = rest.split_at(at);
        expanded.regex.push_str(before);
        expanded.name.push_str(before);
        let behind = from.get(1..).unwrap_or("");
        // Python's own way to write a field, which upstream's ends up as.
        let (behind, spelled_out) = match behind.strip_prefix('(').and_then(|inner| inner.split_once(")s")) {
            Some((key, _)) if FIELDS.iter().any(|(known, ..)| *known == key) => {
                (behind.get(1..).unwrap_or(""), true)
            }
            _ => (behind, false),
        };
        let Some((key, regex, name)) = FIELDS.iter().find(|(key, ..)| behind.starts_with(key)) else {
            return Err(match behind.chars().next() {
                None => "incomplete format".into(),
                Some(c) => {
                    let index = index + before.chars().count() + 1;
                    let shown = if c.is_ascii() { c } else { '?' };
                    format!("unsupported format character '{shown}' (0x{:x}) at index {index}", u32::from(c))
                }
            });
        };
        index += before.chars().count() + "%()s".len() + key.len();
        if *key == "ExY" {
            expanded.regex.push_str(&format!(r"(?P<Y>{}\d)", decades(year_now)));
        } else {
            expanded.regex.push_str(regex);
        }
        expanded.name.push_str(name);
        rest = behind.get(key.len() + if spelled_out { ")s".len() } else { 0 }..).unwrap_or("");
    }
    expanded.regex.push_str(rest);
    expanded.name.push_str(rest);
    Ok(expanded)
}

/// Whether the pattern has a field that is a word, so that its case doesn't matter.
pub(super) fn has_words(pattern: &str) -> bool {
    let bytes = pattern.as_bytes();
    bytes.windows(2).enumerate().any(|(index, pair)| {
        let escaped = index.checked_sub(1).is_some_and(|before| bytes.get(before) == Some(&b'%'));
        !escaped && matches!(pair, [b'%', b'a' | b'A' | b'b' | b'B' | b'p' | b'c'])
    })
}

/// An expression for the first three digits of the years from 2000 up to three years from now
/// (`strptime._updateTimeRE`).
fn decades(year_now: i16) -> String {
    let year_now = i32::from(year_now);
    let mut years = vec![year_now - 1, year_now + 3];
    years.extend((2000..=year_now).step_by(3));
    let mut decades: Vec<String> =
        years.iter().map(|year| year.to_string().chars().take(3).collect()).collect();
    decades.sort();
    decades.dedup();
    one_of(&decades)
}

/// An expression for one of `texts`, with what is common at their start in front.
fn one_of(texts: &[String]) -> String {
    let Some(first) = texts.first() else { return String::new() };
    if texts.len() == 1 {
        return first.clone();
    }
    let common = [first.len().saturating_sub(1), 1]
        .into_iter()
        .find(|length| *length > 0 && texts.iter().all(|text| text.get(..*length) == first.get(..*length)));
    if let Some(length) = common.filter(|length| texts.iter().all(|text| text.len() > *length)) {
        let tails: Vec<_> = texts.iter().map(|text| text.get(length..).unwrap_or("").to_owned()).collect();
        return format!("{}{}", first.get(..length).unwrap_or(""), one_of(&tails));
    }
    match first.len() {
        1 => format!("[{}]", texts.concat()),
        _ => format!("(?:{})", texts.join("|")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_years_of_a_century_are_accepted() {
        assert_eq!(decades(2026), "20[012]");
        assert_eq!(decades(2027), "20[0123]");
        assert_eq!(decades(2005), "200");
        assert_eq!(decades(2099), "2(?:00|01|02|03|04|05|06|07|08|09|10)");
    }

    #[test]
    fn fields_are_replaced_and_named() {
        let expanded = expand(r"^%Y-%Exd%% %k", 2026).unwrap();
        assert_eq!(expanded.regex, r"^(?P<Y>\d{4})-(?P<d>[1-2]\d|0[1-9]|3[0-1])%  ?(?P<H>[0-2]?\d)");
        assert_eq!(expanded.name, "^Year-ExDay% %k");
        assert_eq!(expand("%(Y)s", 2026).unwrap().name, "Year");
        assert!(expand("%s", 2026).is_err());
        assert_eq!(expand("a%", 2026).err().as_deref(), Some("incomplete format"));
        assert_eq!(
            expand("é%Q", 2026).err().as_deref(),
            Some("unsupported format character 'Q' (0x51) at index 2")
        );
    }

    #[test]
    fn words_make_the_case_irrelevant() {
        assert!(has_words("%b") && has_words("x%p"));
        assert!(!has_words("%%b") && !has_words("%d %z") && !has_words(""));
    }
}
