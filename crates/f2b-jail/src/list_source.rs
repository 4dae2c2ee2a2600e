//! Lists that `ignoreip` names rather than contains: `file:/path` and `url:https://...`.

use std::fmt;
use std::time::Duration;

use f2b_types::{DurationError, Number, str2seconds};

/// How often a list is fetched anew, unless it says otherwise.
const REFRESH: Duration = Duration::from_secs(3600);

/// A list that is kept elsewhere. Two are the same when they print the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListSource {
    text: Box<str>,
    place: ListPlace,
}

/// Where a list is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListPlace {
    /// In a file, with a path as it is to be opened.
    File(String),
    /// On a web server.
    Url {
        /// From where it is fetched.
        url: String,
        /// How often.
        refresh: Duration,
    },
}

/// An entry that begins like a list and names none.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ListSourceError {
    /// An address that does not begin with `https://` or `http://` and a host.
    NotHttp(String),
    /// The time between two fetches is none.
    Refresh(DurationError),
    /// The time between two fetches is less than a second.
    TooOften(String),
}

impl ListSource {
    /// Reads an entry of `ignoreip`; `None` for one that is an address or a host name.
    ///
    /// ```text
    /// list    = "file:" path | "url:" ("https://" | "http://") rest ["[refresh=" duration "]"]
    /// path    = "/"{0,3} absolute | "/"{0,3} ("./" | "../") relative | relative
    /// ```
    ///
    /// Upstream: `FileIPAddrSet.RE_FILE_IGN_IP`, which takes a first directory of one or two characters for `.` or `..`.
    ///
    /// # Errors
    ///
    /// [`ListSourceError`], for a `url:` only.
    pub fn parse(text: &str) -> Result<Option<Self>, ListSourceError> {
        if let Some(path) = text.strip_prefix("file:") {
            let path = file_path(path);
            // As upstream shows it, whatever was written.
            let slash = if path.starts_with('/') { "/" } else { "" };
            let text = format!("file:{slash}{path}").into();
            return Ok(Some(Self { text, place: ListPlace::File(path) }));
        }
        let Some(address) = text.strip_prefix("url:") else { return Ok(None) };
        let (url, refresh) = match address.strip_suffix(']').and_then(|rest| rest.rsplit_once("[refresh=")) {
            Some((url, refresh)) => (url, seconds(refresh)?),
            None => (address, REFRESH),
        };
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let unprintable = |c: char| c.is_whitespace() || c.is_control();
        if host.is_none_or(|host| host.is_empty() || host.starts_with('/')) || url.contains(unprintable) {
            return Err(ListSourceError::NotHttp(url.into()));
        }
        Ok(Some(Self { text: text.into(), place: ListPlace::Url { url: url.into(), refresh } }))
    }

    /// How `get J ignoreip` shows it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where it is.
    pub fn place(&self) -> &ListPlace {
        &self.place
    }
}

/// The path behind `file:`.
fn file_path(text: &str) -> String {
    let slashes = text.bytes().take(3).take_while(|byte| *byte == b'/').count();
    let rest = &text[slashes..];
    let relative = slashes == 0 || rest.starts_with("./") || rest.starts_with("../");
    if relative { rest.into() } else { format!("/{rest}") }
}

/// How often a list can be fetched.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

fn seconds(text: &str) -> Result<Duration, ListSourceError> {
    let seconds: Number = str2seconds(text).map_err(ListSourceError::Refresh)?;
    match Duration::try_from_secs_f64(seconds.as_f64()) {
        Ok(time) if (SHORTEST..=LONGEST).contains(&time) => Ok(time),
        _ => Err(ListSourceError::TooOften(text.into())),
    }
}

impl fmt::Display for ListSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for ListSourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttp(url) => write!(f, "a list needs an address such as https://host/path, not {url:?}"),
            Self::Refresh(error) => error.fmt(f),
            Self::TooOften(text) => {
                write!(f, "a list can't be fetched every {text:?}, only every second to every year")
            }
        }
    }
}

impl std::error::Error for ListSourceError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> ListSource {
        ListSource::parse(text).expect("no error").expect("a list")
    }

    #[test]
    fn files_are_found_however_many_slashes_they_have() {
        for (text, path, shown) in [
            ("file:/etc/office", "/etc/office", "file://etc/office"),
            ("file://etc/office", "/etc/office", "file://etc/office"),
            ("file:///etc/office", "/etc/office", "file://etc/office"),
            ("file:/office", "/office", "file://office"),
            ("file:/a/office", "/a/office", "file://a/office"),
            ("file:./office", "./office", "file:./office"),
            ("file:/../office", "../office", "file:../office"),
            ("file:office", "office", "file:office"),
            ("file:", "", "file:"),
        ] {
            let list = list(text);
            assert_eq!((list.place(), list.as_str()), (&ListPlace::File(path.into()), shown), "{text}");
        }
    }

    #[test]
    fn addresses_may_say_how_often() {
        for (text, url, seconds) in [
            ("url:https://www.example.org/ips-v4", "https://www.example.org/ips-v4", 3600),
            ("url:http://[::1]:80/x?a=b[refresh=1d]", "http://[::1]:80/x?a=b", 86_400),
            ("url:https://h/x[refresh=90]", "https://h/x", 90),
        ] {
            let place = ListPlace::Url { url: url.into(), refresh: Duration::from_secs(seconds) };
            assert_eq!((list(text).place(), list(text).as_str()), (&place, text));
        }
        for wrong in [
            "url:",
            "url:ftp://h/x",
            "url:https://",
            "url:https:///x",
            "url:https://h/a b",
            "url:https://h\n",
            "url:https://h[refresh=soon]",
        ] {
            assert!(ListSource::parse(wrong).is_err(), "{wrong}");
        }
        for wrong in [
            "url:https://h[refresh=0]",
            "url:https://h[refresh=-5]",
            "url:https://h[refresh=1e99]",
            "url:https://h[refresh=300000000000y]",
        ] {
            assert!(ListSource::parse(wrong).is_err(), "{wrong}");
        }
        for none in ["192.0.2.1", "files.example", "url.example", "FILE:/x"] {
            assert_eq!(ListSource::parse(none), Ok(None));
        }
    }
}
