//! Options as Python's `getopt.getopt` reads them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What options there are.
pub(super) struct Options {
    /// The letters, each followed by a colon if it takes a value.
    pub(super) short: &'static str,
    /// The names, each with whether it takes a value.
    pub(super) long: &'static [(&'static str, bool)],
}

/// One option: its letter or full name, and its value, which is empty where it takes none.
pub(super) struct Opt {
    pub(super) name: String,
    pub(super) value: OsString,
}

/// The options and the words behind them; `None` for an unknown or ambiguous option, or a value too many or too few.
pub(super) fn parse<'a>(args: &'a [OsString], options: &Options) -> Option<(Vec<Opt>, &'a [OsString])> {
    let mut found = Vec::new();
    let mut rest = args;
    while let [arg, tail @ ..] = rest {
        match arg.as_bytes() {
            b"--" => return Some((found, tail)),
            [b'-', b'-', long @ ..] => {
                rest = tail;
                found.push(long_option(long, &mut rest, options)?);
            }
            [b'-', letters @ ..] if !letters.is_empty() => {
                rest = tail;
                short_options(letters, &mut rest, options, &mut found)?;
            }
            _ => break,
        }
    }
    Some((found, rest))
}

fn long_option(option: &[u8], rest: &mut &[OsString], options: &Options) -> Option<Opt> {
    let (prefix, value) = match option.iter().position(|&byte| byte == b'=') {
        Some(at) => (&option[..at], Some(OsStr::from_bytes(&option[at + 1..]).to_owned())),
        None => (option, None),
    };
    let exact = options.long.iter().find(|(name, _)| name.as_bytes() == prefix);
    let &(name, takes_value) = exact.or_else(|| {
        let mut matching = options.long.iter().filter(|(name, _)| name.as_bytes().starts_with(prefix));
        matching.next().filter(|_| matching.next().is_none())
    })?;
    let value = match (takes_value, value) {
        (true, Some(value)) => value,
        (true, None) => take(rest)?,
        (false, None) => OsString::new(),
        (false, Some(_)) => return None,
    };
    Some(Opt { name: name.into(), value })
}

fn short_options(
    mut letters: &[u8],
    rest: &mut &[OsString],
    options: &Options,
    found: &mut Vec<Opt>,
) -> Option<()> {
    while let [letter, tail @ ..] = letters {
        letters = tail;
        let at = options.short.bytes().position(|known| known == *letter && known != b':')?;
        let mut value = OsString::new();
        if options.short.as_bytes().get(at + 1) == Some(&b':') {
            value = if tail.is_empty() { take(rest)? } else { OsStr::from_bytes(tail).to_owned() };
            letters = &[];
        }
        found.push(Opt { name: char::from(*letter).into(), value });
    }
    Some(())
}

fn take(rest: &mut &[OsString]) -> Option<OsString> {
    let (first, tail) = rest.split_first()?;
    *rest = tail;
    Some(first.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: Options =
        Options { short: "hc:v", long: &[("dp", false), ("dump-pretty", false), ("du", true)] };

    #[track_caller]
    fn check(args: &[&str], expected: Option<(&[(&str, &str)], usize)>) {
        let args: Vec<OsString> = args.iter().map(Into::into).collect();
        let found = parse(&args, &OPTIONS);
        let found = found.map(|(options, rest)| {
            let options: Vec<_> =
                options.into_iter().map(|o| (o.name, o.value.to_string_lossy().into_owned())).collect();
            (options, rest.len())
        });
        let expected = expected.map(|(options, rest)| {
            (options.iter().map(|&(name, value)| (name.into(), value.into())).collect(), rest)
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn short_options_bundle() {
        check(&["-vhcX", "-c", "-v", "-", "-v"], Some((&[("v", ""), ("h", ""), ("c", "X"), ("c", "-v")], 2)));
        check(&["-v", "--", "-h"], Some((&[("v", "")], 1)));
        check(&["-:"], None);
        check(&["-c"], None);
        check(&["-vz"], None);
    }

    #[test]
    fn long_options_abbreviate() {
        check(&["--dum", "--du=", "--du", "x"], Some((&[("dump-pretty", ""), ("du", ""), ("du", "x")], 0)));
        check(&["--d"], None);
        check(&["--dp=1"], None);
        check(&["--du"], None);
        check(&["--="], None);
    }
}
