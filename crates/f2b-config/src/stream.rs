//! What becomes of the commands that set a server up.

use f2b_protocol::Command;

/// Takes commands in their order. A server wants to have them; to print them, it is enough to keep their texts.
pub trait Stream: Default {
    /// Takes the next command.
    fn push(&mut self, command: Command);
}

impl Stream for Vec<Command> {
    fn push(&mut self, command: Command) {
        Vec::push(self, command);
    }
}
