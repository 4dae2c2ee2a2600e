//! A line of words as a shell splits it (`shlex.split`).

/// The words of `line`.
///
/// # Errors
///
/// The text says which quotation or escape is not finished.
pub(super) fn split(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut chars = line.chars();
    let mut word: Option<String> = None;
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().push(chars.next().ok_or("No escaped character")?),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or("No closing quotation")? {
                        end if end == c => break,
                        '\\' if c == '"' => match chars.next().ok_or("No escaped character")? {
                            escaped @ ('"' | '\\') => word.push(escaped),
                            other => word.extend(['\\', other]),
                        },
                        other => word.push(other),
                    }
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Result<&[&str], &'static str>) {
        let expected = expected.map(|words| words.iter().map(|&word| word.to_owned()).collect());
        assert_eq!(split(line), expected);
    }

    #[test]
    fn quotes_and_escapes_keep_blanks_together() {
        check(" get  j\tbanip ", Ok(&["get", "j", "banip"]));
        check(r#"a "b c" 'd "e' f\ g "" x"y"z"#, Ok(&["a", "b c", "d \"e", "f g", "", "xyz"]));
        check(r#""a\"b\n" 'c\d'"#, Ok(&["a\"b\\n", "c\\d"]));
        check("", Ok(&[]));
    }

    #[test]
    fn unfinished_lines_are_errors() {
        check("'a", Err("No closing quotation"));
        check("\"a\\", Err("No escaped character"));
        check("a\\", Err("No escaped character"));
    }
}
