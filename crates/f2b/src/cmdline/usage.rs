//! The texts of `-h`: names, headings and columns are those of upstream (`fail2bancmdline.py`, `protocol.py`), the
//! explanations are ours.

/// The commands, as `-h` lists them.
pub(crate) const COMMANDS: &str = include_str!("commands.txt");

const OPTIONS: &str = "\
Options:
    -c, --conf <DIR>        where the configuration lies (/etc/fail2ban unless given)
    -s, --socket <FILE>     the socket over which client and server talk
    -p, --pidfile <FILE>    the file that holds the process id of the server
    --pname <NAME>          what the server is called in a list of processes (fail2ban-server unless given)
    --loglevel <LEVEL>      from which level on to log
    --logtarget <TARGET>    where to log: a file, stdout, stderr, syslog or sysout
    --syslogsocket auto|<FILE>
    -d                      print what the configuration comes to, a command a line
    --dp, --dump-pretty     the same with long commands over many lines
    -t, --test              check the configuration; ahead of start, start only if it is sound
    --explain <JAIL>[.<OPTION>]
                            print where the options of a jail come from
    --json                  print answers as JSON, and with -t or --explain what these tell
    --shell-completion bash|zsh|fish
                            print a script that completes command lines
    -i                      read commands from a prompt
    -v                      say more
    -q                      say less
    -x                      start even though a socket exists, and replace it
    -b                      detach the server from the terminal (as it does unless told otherwise)
    -f                      keep the server attached to the terminal
    --async                 start a server without a configuration, which its client sends (internal)
    --timeout               how long to wait for the server (internal)
    --str2sec <STRING>      print how many seconds a duration such as 1d12h has
    -h, --help              print this text
    -V, --version           print the version, with -V nothing but the number
";

/// What `-h` prints for a program of that name (`Fail2banCmdLine.dispUsage`); servers don't list the commands.
pub fn usage(program: &str) -> String {
    let is_server = super::is_server(program);
    let command = if is_server { "" } else { " <COMMAND>" };
    let commands = if is_server { String::new() } else { format!("\nCommand:\n{COMMANDS}") };
    format!(
        "Usage: {program} [OPTIONS]{command}\n\n{}\n{OPTIONS}{commands}\n\
         This is f2b. Report bugs to its own authors, not to those of fail2ban.\n",
        banner()
    )
}

/// The lines above the options, and above the prompt of the interactive mode.
pub fn banner() -> String {
    format!(
        "Fail2Ban v{} follows log files, counts failures by address,\n\
         and has the firewall shut out whoever fails too often.\n",
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
        assert!(usage("f2b-client").contains("\nCommand:\n"));
        assert!(
            usage("f2b-client").contains("\n    ping                                     ask for a sign")
        );
        assert!(usage("f2b-server").starts_with("Usage: f2b-server [OPTIONS]\n"));
        assert!(!usage("f2b-server").contains("Command:"));
    }

    #[test]
    fn commands_are_explained_in_a_column_of_their_own() {
        for line in COMMANDS.lines().filter(|line| !line.is_empty()) {
            let (command, text) = line.split_at_checked(45).unwrap_or((line, ""));
            let is_long = command.len() == 45 && !command.ends_with(' ');
            assert!(is_long || text.len() <= 34 && !text.starts_with(' '), "{line:?}");
            assert_eq!(line.trim_end(), line);
        }
    }
}
