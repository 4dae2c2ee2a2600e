//! The name that was probably meant.

use strsim::damerau_levenshtein;

/// Longer names have no slips that are worth the search.
const MAX_LENGTH: usize = 64;

/// The candidate that differs from `name` by the least, if that is little enough to be a slip.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().count();
    let slips = match length {
        0..=2 => return None,
        3..=4 => 1,
        5..=MAX_LENGTH => 2,
        _ => return None,
    };
    let (wanted, singular) = (name.to_lowercase(), singular(name));
    let distance = |candidate: &&str| match singular.as_deref() {
        Some(singular) if singular == *candidate => 1,
        _ => damerau_levenshtein(&wanted, &candidate.to_lowercase()),
    };
    let near = candidates
        .into_iter()
        .filter(|candidate| *candidate != name && candidate.chars().count().abs_diff(length) <= slips);
    near.min_by_key(distance).filter(|candidate| distance(candidate) <= slips)
}

/// `maxretry` of `maxretries`.
fn singular(name: &str) -> Option<String> {
    match name.strip_suffix("ies") {
        Some(stem) => Some(format!("{stem}y")),
        None => name.strip_suffix('s').map(Into::into),
    }
}

/// The hint that a slip gives.
pub(crate) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let names = ["maxretry", "maxlines", "findtime", "bantime", "port", "HOST"];
        assert_eq!(nearest("maxretries", names), Some("maxretry"));
        assert_eq!(nearest(&"maxretry".repeat(1000), names), None);
        assert_eq!(nearest("maxretyr", names), Some("maxretry"));
        assert_eq!(nearest("fintime", names), Some("findtime"));
        assert_eq!(nearest("prot", names), Some("port"));
        assert_eq!(nearest("host", names), Some("HOST"));
        assert_eq!(nearest("x", names), None);
        assert_eq!(nearest("banaction", names), None);
        assert_eq!(did_you_mean("bantme", names).as_deref(), Some("did you mean `bantime`?"));
    }
}
