//! The date patterns of a log without a `datepattern` (`datedetector.DateDetectorCache`).
//!
//! They are the same for every jail, so they are made, and compiled, once.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use super::template::Template;

/// Upstream's list, in its order.
pub(super) const PATTERNS: &[&str] = &[
    r"%ExY(?P<_sep>[-/.])%m(?P=_sep)%d(?:T|  ?)%H:%M:%S(?:[.,]%f)?(?:\s*%z)?",
    r"(?:%a )?%b %d %k:%M:%S(?:\.%f)?(?: %ExY)?",
    r"(?:%a )?%b %d %ExY %k:%M:%S(?:\.%f)?",
    r"%d(?P<_sep>[-/])%m(?P=_sep)(?:%ExY|%Exy) %k:%M:%S",
    r"%d(?P<_sep>[-/])%b(?P=_sep)%ExY[ :]?%H:%M:%S(?:\.%f)?(?: %z)?",
    r"%m/%d/%ExY:%H:%M:%S",
    r"%m-%d-%ExY %k:%M:%S(?:\.%f)?",
    r"EPOCH",
    r"{^LN-BEG}%H:%M:%S",
    r"^<%m/%d/%Exy@%H:%M:%S>",
    r"%Exy%Exm%Exd  ?%H:%M:%S",
    r"%b %d, %ExY %I:%M:%S %p",
    r"^%b-%d-%Exy %k:%M:%S",
    r"%ExY%Exm%Exd(?:-|T|  ?)%ExH:?%ExM:?%ExS(?:[.,]%f)?(?:\s*%z)?",
    r"(?:%Z )?(?:%a )?%b %d %k:%M:%S(?:\.%f)?(?: %ExY)?",
    r"(?:%z )?(?:%a )?%b %d %k:%M:%S(?:\.%f)?(?: %ExY)?",
    r"TAI64N",
];

/// The templates in force in one year.
#[derive(Debug, Clone)]
pub(super) struct Defaults {
    /// As they are listed.
    pub(super) listed: Vec<Arc<Template>>,
    /// In front those that begin a line, which are preferred and weigh more; then the listed ones.
    pub(super) all: Vec<Arc<Template>>,
}

/// The default templates where `year_now` is the year.
pub(super) fn defaults(year_now: i16) -> Defaults {
    static CACHE: LazyLock<Mutex<BTreeMap<i16, Defaults>>> = LazyLock::new(Mutex::default);
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    cache.entry(year_now).or_insert_with(|| build(year_now)).clone()
}

fn build(year_now: i16) -> Defaults {
    // Every pattern of the list is valid; a test sees to it.
    let listed: Vec<_> =
        PATTERNS.iter().filter_map(|pattern| Template::new(pattern, year_now).ok()).map(Arc::new).collect();
    let anchored = listed.iter().filter_map(|template| {
        if template.name.starts_with(['^']) || template.name.starts_with("{^LN-BEG}") {
            return None;
        }
        let pattern = template.pattern.as_ref().unwrap_or(&template.name);
        let mut anchored = Template::new(&format!("{{^LN-BEG}}{pattern}"), year_now).ok()?;
        anchored.weight = 100.0;
        (anchored.name != template.name).then(|| Arc::new(anchored))
    });
    Defaults { all: anchored.chain(listed.iter().cloned()).collect(), listed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_there_and_compiles() {
        let defaults = defaults(2026);
        assert_eq!((defaults.listed.len(), defaults.all.len()), (17, 31));
        for template in &defaults.all {
            assert!(template.compiled().is_ok(), "{}", template.name);
        }
    }
}
