//! `logformat` as it is written in a jail, in a command or behind `--logformat`.

use f2b_config::extract_options;
use f2b_filter::LogFormat;

/// Reads `docker-json` or `json[message=..., time=...]`; an empty text is none.
///
/// # Errors
///
/// What is wrong with it, and what to write.
pub(crate) fn parse(text: &str) -> Result<Option<LogFormat>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let (name, options) = extract_options(text).map_err(|error| format!("logformat {text}: {error}"))?;
    LogFormat::new(name.trim(), &options).map(Some).map_err(|error| error.to_string())
}
