//! Filters of a configuration, as the tests of lines use them.

use std::path::Path;

use f2b_config::RulesReader;
use f2b_filter::Filter;
use f2b_protocol::Value;

/// The filter `filter.d/name` under `config` with its expressions, which takes host names as they are.
pub fn read_filter(config: &Path, name: &str, options: &[(String, String)]) -> Result<Filter, String> {
    read_filter_with_dns(config, name, options, "raw")
}

/// The same, which does with host names what `use_dns` says.
pub fn read_filter_with_dns(
    config: &Path,
    name: &str,
    options: &[(String, String)],
    use_dns: &str,
) -> Result<Filter, String> {
    let rules =
        RulesReader::new().read_filter(config, name, options, "auto").map_err(|error| error.to_string())?;
    let rules = rules.ok_or_else(|| format!("no filter {name}"))?;
    let mut filter = Filter::new("~jailless~", 2026);
    filter.set_raw_hosts(use_dns == "raw");
    filter.set_use_dns(use_dns);
    for command in rules.commands {
        let values = match command.word(0) {
            Some("multi-set") => command.0[3].as_items().unwrap().to_vec(),
            _ => command.0[3..].to_vec(),
        };
        for value in values.iter().map(Value::to_text) {
            match command.word(2).unwrap() {
                "prefregex" => filter.set_prefregex(&value).map_err(|error| error.to_string())?,
                "addfailregex" => filter.add_failregex(&value).map_err(|error| error.to_string())?,
                "addignoreregex" => filter.add_ignoreregex(&value).map_err(|error| error.to_string())?,
                "maxlines" => {
                    filter.set_max_lines(value.parse().unwrap()).map_err(|error| error.to_string())?
                }
                "datepattern" => filter.set_date_pattern(&value).map_err(|error| error.to_string())?,
                _ => {}
            }
        }
    }
    Ok(filter)
}
