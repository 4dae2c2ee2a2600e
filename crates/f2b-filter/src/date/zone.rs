//! Names of time zones and their offsets (`strptime.TZ_STR`, `zone2offset`).

use std::error::Error;
use std::fmt;

use crate::pytext::{ascii_digits, repr};

/// A zone that isn't known; prints as upstream's `ValueError`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownZone {
    /// The zone as given.
    pub zone: String,
    /// It looks like a zone, but its name isn't in the table. Upstream raises `KeyError` then.
    pub(crate) name: Option<String>,
}

impl fmt::Display for UnknownZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(&repr(name)),
            None => write!(f, "Unknown or unsupported time zone: {}", repr(&self.zone)),
        }
    }
}

impl Error for UnknownZone {}

/// Minutes east of Greenwich, and the abbreviations that stand for them.
const ZONES: &[(i32, &str)] = &[
    (-720, "Y"),
    (-660, "X NUT SST"),
    (-600, "W CKT HAST HST TAHT TKT"),
    (-540, "V AKST GAMT GIT HADT HNY"),
    (-480, "U AKDT CIST HAY HNP PST PT"),
    (-420, "T HAP HNR MST PDT"),
    (-360, "S CST EAST GALT HAR HNC MDT"),
    (-300, "R CDT COT EASST ECT EST ET HAC HNE PET"),
    (-240, "Q AST BOT CLT COST EDT FKT GYT HAE HNA PYT"),
    (-180, "P ADT ART BRT CLST FKST GFT HAA PMST PYST SRT UYT WGT"),
    (-120, "O BRST FNT PMDT UYST WGST"),
    (-60, "N AZOT CVT EGT"),
    (0, "Z EGST GMT UTC WET WT"),
    (60, "A CET DFT WAT WEDT WEST"),
    (120, "B CAT CEDT CEST EET SAST WAST"),
    (180, "C EAT EEDT EEST IDT MSK"),
    (240, "D AMT AZT GET GST KUYT MSD MUT RET SAMT SCT"),
    (300, "E AMST AQTT AZST HMT MAWT MVT PKT TFT TJT TMT UZT YEKT"),
    (360, "F ALMT BIOT BTT IOT KGT NOVT OMST YEKST"),
    (420, "G CXT DAVT HOVT ICT KRAT NOVST OMSST THA WIB"),
    (480, "H ACT AWST BDT BNT CAST HKT IRKT KRAST MYT PHT SGT ULAT WITA WST"),
    (540, "I AWDT IRKST JST KST PWT TLT WDT WIT YAKT"),
    (600, "K AEST ChST PGT VLAT YAKST YAPT"),
    (660, "L AEDT LHDT MAGT NCT PONT SBT VLAST VUT"),
    (720, "M ANAST ANAT FJT GILT MAGST MHT NZST PETST PETT TVT WFT"),
    (780, "FJST NZDT"),
    (690, "NFT"),
    (630, "ACDT LHST"),
    (570, "ACST"),
    (390, "CCT MMT"),
    (345, "NPT"),
    (330, "SLT"),
    (270, "AFT IRDT"),
    (210, "IRST"),
    (-150, "HAT NDT"),
    (-210, "HNT NST NT"),
    (-270, "HLV VET"),
    (-570, "MART MIT"),
];

/// The offset in minutes of a zone such as `UTC+0100`, `CET`, `-04:30`.
///
/// # Errors
///
/// [`UnknownZone`] for anything of another form and for an unknown abbreviation.
pub fn validate_time_zone(zone: &str) -> Result<i32, UnknownZone> {
    let unknown = |name: Option<&str>| UnknownZone { zone: zone.into(), name: name.map(Into::into) };
    // Python's `$` lets a newline at the end pass.
    let text = &*ascii_digits(zone.strip_suffix('\n').unwrap_or(zone));
    let (name, offset) = match text.find(['+', '-']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let well_named = name.bytes().all(|b| b.is_ascii_uppercase()) && matches!(name.len(), 0 | 1 | 3..=5);
    let minutes = match well_named {
        true => offset_minutes(offset).ok_or_else(|| unknown(None))?,
        false => return Err(unknown(None)),
    };
    if name.is_empty() {
        return Ok(minutes);
    }
    // Of a name that appears twice the last one counts.
    let base = ZONES.iter().rev().find(|(_, names)| names.split(' ').any(|known| known == name));
    base.map(|(base, _)| base + minutes).ok_or_else(|| unknown(Some(name)))
}

/// `+hh`, `+hhmm` or `+hh:mm` with hours up to 19; nothing is 0.
fn offset_minutes(offset: &str) -> Option<i32> {
    let sign = match offset.get(..1) {
        None => return Some(0),
        Some("-") => -1,
        Some(_) => 1,
    };
    let (hours, minutes) = offset.get(1..)?.split_at_checked(2)?;
    let minutes = minutes.strip_prefix(':').filter(|rest| !rest.is_empty()).unwrap_or(minutes);
    let is_number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
    if !hours.starts_with(['0', '1'])
        || !is_number(hours)
        || !is_number(minutes)
        || ![0, 2].contains(&minutes.len())
    {
        return None;
    }
    let minutes: i32 = if minutes.is_empty() { 0 } else { minutes.parse().ok()? };
    Some(sign * (hours.parse::<i32>().ok()? * 60 + minutes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(zone: &str, minutes: Option<i32>) {
        assert_eq!(validate_time_zone(zone).ok(), minutes, "{zone}");
    }

    #[test]
    fn zones_have_offsets() {
        check("UTC", Some(0));
        check("", Some(0));
        check("CET+0100", Some(120));
        check("-0430", Some(-270));
        check("+05:45", Some(345));
        check("-01", Some(-60));
        check("PST", Some(-480));
        check("CST", Some(-360));
        check("CAST", Some(480));
        check("Z", Some(0));
    }

    #[test]
    fn other_zones_are_refused() {
        for zone in ["Europe/Paris", "utc", "+1", "+25", "+01:", "+010", "UTC+", "AB", "+0100x", "é+"] {
            check(zone, None);
        }
        assert_eq!(validate_time_zone("x").unwrap_err().to_string(), "Unknown or unsupported time zone: 'x'");
        assert_eq!(validate_time_zone("XYZ").unwrap_err().to_string(), "'XYZ'");
    }
}
