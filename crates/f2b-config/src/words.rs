//! Texts cut into words.
//!
//! Answers to `shlex.split` and to `helpers.splitwords`.

use crate::python::{is_space, strip};

/// Words as a POSIX shell cuts them: quotes hold blanks together, a backslash takes the next character as it is.
///
/// # Errors
///
/// `No closing quotation` and `No escaped character`, in Python's words.
pub fn shell_words(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().push(chars.next().ok_or("No escaped character")?),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or("No closing quotation")? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => double_quoted(&mut chars, word.get_or_insert_default())?,
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// In double quotes a backslash escapes itself and the quote only.
fn double_quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), &'static str> {
    loop {
        match chars.next().ok_or("No closing quotation")? {
            '"' => return Ok(()),
            '\\' => match chars.next().ok_or("No escaped character")? {
                c @ ('"' | '\\') => word.push(c),
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

/// Words between blanks, line ends and commas.
pub(crate) fn split_words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| c == ',' || is_space(c)).map(strip).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&[&str], &'static str>) {
        let expected = expected.map(|words| words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(shell_words(text), expected);
    }

    #[test]
    fn a_shell_would_cut_the_same_words() {
        check(
            "_SYSTEMD_UNIT=sshd.service + _COMM=sshd",
            Ok(&["_SYSTEMD_UNIT=sshd.service", "+", "_COMM=sshd"]),
        );
        check(r#" a'b c'd "e \" \x" f\ g '' "#, Ok(&["ab cd", r#"e " \x"#, "f g", ""]));
        check("", Ok(&[]));
        check("a # b", Ok(&["a", "#", "b"]));
        check("'a", Err("No closing quotation"));
        check("\"a", Err("No closing quotation"));
        check("a\\", Err("No escaped character"));
    }

    #[test]
    fn addresses_are_cut_at_blanks_and_commas() {
        assert_eq!(
            split_words("127.0.0.1/8 ::1,,x,\n y ").collect::<Vec<_>>(),
            ["127.0.0.1/8", "::1", "x", "y"]
        );
        assert_eq!(split_words("").count(), 0);
    }
}
