//! The texts of `-h`.

/// The commands, as `-h` lists them.
const COMMANDS: &str = include_str!("commands.txt");

const OPTIONS: &str = "\
Options:
    -c, --conf <DIR>        configuration directory
    -s, --socket <FILE>     socket path
    -p, --pidfile <FILE>    pidfile path
    --pname <NAME>          name of the process (main thread) to identify instance (default fail2ban-server)
    --loglevel <LEVEL>      logging level
    --logtarget <TARGET>    logging target, use file-name or stdout, stderr, syslog or sysout.
    --syslogsocket auto|<FILE>
    -d                      dump configuration. For debugging
    --dp, --dump-pretty     dump the configuration using more human readable representation
    -t, --test              test configuration (can be also specified with start parameters)
    -i                      interactive mode
    -v                      increase verbosity
    -q                      decrease verbosity
    -x                      force execution of the server (remove socket file)
    -b                      start server in background (default)
    -f                      start server in foreground
    --async                 start server in async mode (for internal usage only, don't read configuration)
    --timeout               timeout to wait for the server (for internal usage only, don't read configuration)
    --str2sec <STRING>      convert time abbreviation format to seconds
    -h, --help              display this help message
    -V, --version           print the version (-V returns machine-readable short format)
";

/// What `-h` prints for a program of that name (`Fail2banCmdLine.dispUsage`); servers don't list the commands.
pub fn usage(program: &str) -> String {
    let is_server = program.ends_with("server");
    let command = if is_server { "" } else { " <COMMAND>" };
    let commands = if is_server { String::new() } else { format!("\nCommand:\n{COMMANDS}") };
    format!(
        "Usage: {program} [OPTIONS]{command}\n\n{}\n{OPTIONS}{commands}\n\
         Report bugs to https://github.com/fail2ban/fail2ban/issues\n",
        banner()
    )
}

/// The lines above the options, and above the prompt of the interactive mode.
pub fn banner() -> String {
    format!(
        "Fail2Ban v{} reads log file that contains password failure report\n\
         and bans the corresponding IP addresses using firewall rules.\n",
        f2b_types::VERSION
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clients_list_the_commands() {
        assert!(
            usage("fail2ban-client").starts_with("Usage: fail2ban-client [OPTIONS] <COMMAND>\n\nFail2Ban v")
        );
        assert!(
            usage("f2b-client")
                .contains("\n    ping                                     tests if the server")
        );
        assert!(usage("f2b-server").starts_with("Usage: f2b-server [OPTIONS]\n"));
        assert!(!usage("f2b-server").contains("Command:"));
    }
}
