//! `-i`: commands from standard input, one a line.

use std::io::BufRead;

use f2b_config::shell_words;

use super::Failed;
use super::session::Client;
use crate::cmdline::{self, CmdLine};

const PROMPT: &str = "fail2ban> ";

/// Executes the command of the command line, if there is one, and then each line of `input`.
///
/// # Errors
///
/// [`Failed`] when that first command fails, or when the input ends without `exit` or `quit`.
pub(super) fn run(client: &mut Client<'_>, line: &CmdLine, input: &mut dyn BufRead) -> Result<(), Failed> {
    if !line.args.is_empty() {
        client.command(&line.args)?;
    }
    client.print(&(cmdline::banner() + "\n"));
    loop {
        client.print(PROMPT);
        let mut text = String::new();
        match input.read_line(&mut text) {
            Ok(0) => {
                client.print("\n");
                return Err(client.fail("EOF when reading a line"));
            }
            Ok(_) => {}
            Err(error) => return Err(client.fail(error.to_string())),
        }
        match text.trim_end_matches('\n') {
            "" => {}
            "exit" | "quit" => return Ok(()),
            "help" => client.print(&cmdline::usage(&line.program)),
            command => match shell_words(command) {
                // What went wrong has been logged, and the next line is another command.
                Ok(words) if !words.is_empty() => drop(client.command(&words)),
                Ok(_) => {}
                Err(error) => drop(client.fail(error)),
            },
        }
    }
}
