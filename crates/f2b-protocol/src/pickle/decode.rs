//! Pickles to values: the stack machine.

use std::collections::HashMap;

use super::class::{self, Class};
use super::error::PickleErrorKind::{self, Argument, Limit, Opcode, Operand, Protocol, Truncated};
use super::heap::{Heap, Node, Ref};
use super::{Limits, PickleError, text};
use crate::Value;

type Step<T> = Result<T, PickleErrorKind>;

/// The value in `bytes`; what follows the pickle is not looked at.
///
/// # Errors
///
/// [`PickleError`] with the opcode and the offset at which the bytes stop being a pickle of data within `limits`.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Value, PickleError> {
    let mut machine = Machine::new(bytes, limits);
    loop {
        let offset = machine.offset;
        let opcode = bytes.get(offset).copied();
        let fail = |kind| PickleError { opcode, offset, kind };
        machine.offset += 1;
        match opcode {
            None => return Err(fail(Truncated)),
            Some(b'.') => {
                return machine.pop().and_then(|root| machine.heap.value(root, limits)).map_err(fail);
            }
            Some(opcode) => machine.execute(opcode).map_err(fail)?,
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    offset: usize,
    heap: Heap,
    stack: Vec<Ref>,
    /// The heights of the stack at the marks that are still open.
    marks: Vec<usize>,
    memo: HashMap<u64, Ref>,
    limits: &'a Limits,
    /// References that may still be made, on the stack or inside containers.
    values_left: usize,
    /// Bytes that may still be copied from one text to another.
    bytes_left: usize,
}

impl<'a> Machine<'a> {
    fn new(bytes: &'a [u8], limits: &'a Limits) -> Self {
        Self {
            bytes,
            offset: 0,
            heap: Heap::default(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            limits,
            values_left: limits.values,
            bytes_left: limits.bytes,
        }
    }

    fn execute(&mut self, opcode: u8) -> Step<()> {
        match opcode {
            0x80 => match self.byte()? {
                0..=5 => Ok(()),
                version => Err(Protocol(version)),
            },
            0x95 => self.take(8).map(drop), // FRAME: the length is a hint for readers of streams.
            b'N' => self.push_leaf(Value::None),
            0x88 => self.push_leaf(Value::Bool(true)),
            0x89 => self.push_leaf(Value::Bool(false)),
            b'I' | b'L' | b'J' | b'K' | b'M' | 0x8a | 0x8b | b'F' | b'G' => self.number(opcode),
            b'S' | b'T' | b'U' | b'V' | b'X' | 0x8c | 0x8d => self.text(opcode),
            b'B' | b'C' | 0x8e | 0x96 => {
                let len = self.length(opcode)?;
                let bytes = self.take(len)?.to_vec();
                self.push_leaf(Value::Bytes(bytes))
            }
            b']' => self.push(Node::List(Vec::new())),
            b')' => self.push(Node::Tuple(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            0x8f => self.push(Node::Set(Vec::new())),
            b'l' => self.collect(Node::List),
            b't' => self.collect(Node::Tuple),
            0x91 => self.collect(Node::Set),
            b'd' => {
                let items = self.pop_to_mark()?;
                if items.len().is_multiple_of(2) {
                    self.push(Node::Dict(items))
                } else {
                    Err(Operand("a value for each key"))
                }
            }
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(opcode - 0x84))?;
                self.push(Node::Tuple(items))
            }
            b'a' => {
                let items = self.pop_many(1)?;
                self.fill(opcode, items)
            }
            b's' => {
                let items = self.pop_many(2)?;
                self.fill(opcode, items)
            }
            b'e' | b'u' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.fill(opcode, items)
            }
            b'(' | b'0' | b'1' | b'2' => self.shuffle(opcode),
            b'p' | b'q' | b'r' | 0x94 | b'g' | b'h' | b'j' => self.memo(opcode),
            b'c' | 0x93 => self.global(opcode),
            b'R' => self.reduce(),
            b'b' => self.build(),
            _ => Err(Opcode),
        }
    }

    fn number(&mut self, opcode: u8) -> Step<()> {
        let value = match opcode {
            b'I' => match self.line()? {
                b"00" => Value::Bool(false),
                b"01" => Value::Bool(true),
                line => Value::Int(text::number(line)?),
            },
            b'L' => {
                let line = self.line()?;
                Value::Int(text::number(line.strip_suffix(b"L").unwrap_or(line))?)
            }
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            b'K' => Value::Int(self.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(self.array()?).into()),
            b'F' => Value::Float(text::number(self.line()?)?),
            b'G' => Value::Float(f64::from_be_bytes(self.array()?)),
            _ => {
                let len = self.length(opcode)?;
                Value::Int(little_endian(self.take(len)?).ok_or(Argument("number"))?)
            }
        };
        self.push_leaf(value)
    }

    fn text(&mut self, opcode: u8) -> Step<()> {
        let text = match opcode {
            b'S' => text::quoted(self.line()?)?,
            b'V' => text::raw_unicode_escape(self.line()?)?,
            _ => {
                let len = self.length(opcode)?;
                text::utf8(self.take(len)?)?
            }
        };
        self.push_leaf(Value::Str(text.into()))
    }

    /// The length in front of a sized argument.
    fn length(&mut self, opcode: u8) -> Step<usize> {
        let len = match opcode {
            b'U' | b'C' | 0x8a | 0x8c => self.byte()?.into(),
            b'T' | b'B' | b'X' | 0x8b => u32::from_le_bytes(self.array()?).into(),
            _ => u64::from_le_bytes(self.array()?),
        };
        usize::try_from(len).map_err(|_| Truncated)
    }

    /// Adds `items` to the container below them; the opcode says to which kind.
    fn fill(&mut self, opcode: u8, mut items: Vec<Ref>) -> Step<()> {
        let at = self.top()?;
        match (opcode, self.heap.node_mut(at)) {
            (b'a' | b'e', Some(Node::List(content))) | (0x90, Some(Node::Set(content))) => {
                content.append(&mut items);
            }
            (b's' | b'u', Some(Node::Dict(content))) if items.len().is_multiple_of(2) => {
                content.append(&mut items)
            }
            (b's' | b'u', _) => return Err(Operand("a dictionary and pairs")),
            (0x90, _) => return Err(Operand("a set")),
            _ => return Err(Operand("a list")),
        }
        Ok(())
    }

    fn shuffle(&mut self, opcode: u8) -> Step<()> {
        match opcode {
            b'(' if self.marks.len() > self.limits.depth => Err(Limit("levels")),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' if self.marks.last() == Some(&self.stack.len()) => {
                self.marks.pop();
                Ok(())
            }
            b'0' => self.pop().map(drop),
            b'1' => self.pop_to_mark().map(drop),
            _ => {
                let top = self.top()?;
                self.push_ref(top)
            }
        }
    }

    fn memo(&mut self, opcode: u8) -> Step<()> {
        let index = match opcode {
            b'p' | b'g' => text::number(self.line()?)?,
            b'q' | b'h' => self.byte()?.into(),
            b'r' | b'j' => u32::from_le_bytes(self.array()?).into(),
            _ => self.memo.len() as u64,
        };
        if matches!(opcode, b'g' | b'h' | b'j') {
            let value = *self.memo.get(&index).ok_or(Operand("a value in the memo"))?;
            return self.push_ref(value);
        }
        if self.memo.len() >= self.limits.values {
            return Err(Limit("values"));
        }
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn global(&mut self, opcode: u8) -> Step<()> {
        let (module, name) = if opcode == b'c' {
            (text::utf8(self.line()?)?, text::utf8(self.line()?)?)
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            (self.string(module)?.to_owned(), self.string(name)?.to_owned())
        };
        match class::find(&module, &name) {
            Some(class) => self.push(Node::Class(class)),
            None => Err(PickleErrorKind::Class {
                module: module.chars().take(100).collect(),
                name: name.chars().take(100).collect(),
            }),
        }
    }

    /// Arranges the arguments on the stack as the class below them would.
    fn reduce(&mut self) -> Step<()> {
        let (args, class) = (self.pop()?, self.pop()?);
        let Some(Node::Class(class)) = self.heap.node(class) else {
            return Err(Operand("a class"));
        };
        let class = *class;
        let Some(Node::Tuple(args)) = self.heap.node(args) else {
            return Err(Operand("a tuple of arguments"));
        };
        match (class, args.as_slice()) {
            (Class::Exception(module, class), args) => {
                let args = args.to_vec();
                self.spend(args.len())?;
                self.push(Node::Exception { module, class, args })
            }
            (Class::Set, []) => self.push(Node::Set(Vec::new())),
            (Class::Set, &[items]) => match self.heap.node(items) {
                Some(Node::List(items) | Node::Tuple(items) | Node::Set(items)) => {
                    let items = items.clone();
                    self.spend(items.len())?;
                    self.push(Node::Set(items))
                }
                _ => Err(Operand("a list")),
            },
            (Class::Str, []) => self.push_leaf(Value::from("")),
            (Class::Str, &[text]) => {
                self.string(text)?;
                self.push_ref(text)
            }
            (Class::Bytes, []) => self.push_leaf(Value::Bytes(Vec::new())),
            (Class::Latin1, &[text, encoding]) if matches!(self.string(encoding)?, "latin1" | "latin-1") => {
                let text = self.string(text)?;
                let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
                let bytes = bytes.ok_or(Argument("text of Latin-1"))?;
                self.bytes_left = self.bytes_left.checked_sub(bytes.len()).ok_or(Limit("bytes"))?;
                self.push_leaf(Value::Bytes(bytes))
            }
            _ => Err(Operand("other arguments")),
        }
    }

    /// The state that some exceptions carry beside their arguments is dropped; nothing else has any.
    fn build(&mut self) -> Step<()> {
        self.pop()?;
        let object = self.top()?;
        match self.heap.node(object) {
            Some(Node::Exception { .. }) => Ok(()),
            _ => Err(Opcode),
        }
    }

    fn string(&self, at: Ref) -> Step<&str> {
        match self.heap.node(at) {
            Some(Node::Leaf(Value::Str(text))) => Ok(text),
            _ => Err(Operand("a text")),
        }
    }

    fn push(&mut self, node: Node) -> Step<()> {
        self.spend(1)?;
        let at = self.heap.add(node);
        self.stack.push(at);
        Ok(())
    }

    fn push_leaf(&mut self, value: Value) -> Step<()> {
        self.push(Node::Leaf(value))
    }

    fn push_ref(&mut self, at: Ref) -> Step<()> {
        self.spend(1)?;
        self.stack.push(at);
        Ok(())
    }

    fn spend(&mut self, values: usize) -> Step<()> {
        self.values_left = self.values_left.checked_sub(values).ok_or(Limit("values"))?;
        Ok(())
    }

    /// How much of the stack lies below the last mark, out of reach.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Step<Ref> {
        match self.stack.last() {
            Some(&top) if self.stack.len() > self.floor() => Ok(top),
            _ => Err(Operand("a value")),
        }
    }

    fn pop(&mut self) -> Step<Ref> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_many(&mut self, count: usize) -> Step<Vec<Ref>> {
        match self.stack.len().checked_sub(count) {
            Some(height) if height >= self.floor() => Ok(self.stack.split_off(height)),
            _ => Err(Operand("a value")),
        }
    }

    fn pop_to_mark(&mut self) -> Step<Vec<Ref>> {
        let height = self.marks.pop().ok_or(Operand("a mark"))?;
        Ok(self.stack.split_off(height))
    }

    fn collect(&mut self, container: fn(Vec<Ref>) -> Node) -> Step<()> {
        let items = self.pop_to_mark()?;
        self.push(container(items))
    }

    fn byte(&mut self) -> Step<u8> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| Truncated)
    }

    fn take(&mut self, len: usize) -> Step<&'a [u8]> {
        let end = self.offset.checked_add(len).ok_or(Truncated)?;
        let bytes = self.bytes.get(self.offset..end).ok_or(Truncated)?;
        self.offset = end;
        Ok(bytes)
    }

    /// An argument that ends with the line.
    fn line(&mut self) -> Step<&'a [u8]> {
        let rest = self.bytes.get(self.offset..).ok_or(Truncated)?;
        let len = rest.iter().position(|&byte| byte == b'\n').ok_or(Truncated)?;
        self.offset += len + 1;
        let line = &rest[..len];
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

/// A number in two's complement, as long as it fits.
fn little_endian(bytes: &[u8]) -> Option<i64> {
    let fill = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    let mut number = [fill; 8];
    for (i, &byte) in bytes.iter().enumerate() {
        match number.get_mut(i) {
            Some(slot) => *slot = byte,
            None if byte == fill => {}
            None => return None,
        }
    }
    let number = i64::from_le_bytes(number);
    ((number < 0) == (fill != 0)).then_some(number)
}
