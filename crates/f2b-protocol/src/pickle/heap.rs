//! What a pickle has built so far.
//!
//! Lists, dictionaries and sets are filled after they were put into the memo, so that values refer to each other;
//! [`Heap`] keeps them all in one vector, by number. When the pickle is read, [`Heap::value`] copies what can be reached
//! from the result into a [`Value`], and there the limits on depth and size hold: references may form cycles.

use std::slice;

use super::Limits;
use super::class::Class;
use super::error::PickleErrorKind::{self, Limit, Operand};
use crate::{Exception, Value};

/// The number of a node.
pub(super) type Ref = usize;

/// A value whose parts are nodes.
#[derive(Debug)]
pub(super) enum Node {
    /// A value without parts.
    Leaf(Value),
    List(Vec<Ref>),
    Tuple(Vec<Ref>),
    Set(Vec<Ref>),
    /// Keys and values in turn.
    Dict(Vec<Ref>),
    Exception {
        module: &'static str,
        class: &'static str,
        args: Vec<Ref>,
    },
    Class(Class),
}

#[derive(Debug, Default)]
pub(super) struct Heap(Vec<Node>);

impl Heap {
    pub(super) fn add(&mut self, node: Node) -> Ref {
        self.0.push(node);
        self.0.len() - 1
    }

    pub(super) fn node(&self, at: Ref) -> Option<&Node> {
        self.0.get(at)
    }

    pub(super) fn node_mut(&mut self, at: Ref) -> Option<&mut Node> {
        self.0.get_mut(at)
    }

    /// The value that starts at `root`. Without recursion, so that depth costs no stack.
    pub(super) fn value(&self, root: Ref, limits: &Limits) -> Result<Value, PickleErrorKind> {
        let (mut values_left, mut bytes_left) = (limits.values, limits.bytes);
        let mut open: Vec<Open<'_>> = Vec::new();
        let mut at = root;
        loop {
            values_left = values_left.checked_sub(1).ok_or(Limit("values"))?;
            let mut done = match self.node(at).ok_or(Operand("a value"))? {
                Node::Leaf(value) => {
                    bytes_left = bytes_left.checked_sub(size(value)).ok_or(Limit("bytes"))?;
                    Some(value.clone())
                }
                Node::Class(_) => return Err(Operand("a value instead of a class")),
                _ if open.len() >= limits.depth => return Err(Limit("levels")),
                container => {
                    open.push(Open { container, parts: container.parts().iter(), values: Vec::new() });
                    None
                }
            };
            at = loop {
                let Some(innermost) = open.last_mut() else { return done.ok_or(Operand("a value")) };
                innermost.values.extend(done.take());
                match innermost.parts.next() {
                    Some(&part) => break part,
                    None => done = open.pop().map(Open::close).transpose()?,
                }
            };
        }
    }
}

impl Node {
    fn parts(&self) -> &[Ref] {
        match self {
            Self::Leaf(_) | Self::Class(_) => &[],
            Self::List(parts) | Self::Tuple(parts) | Self::Set(parts) | Self::Dict(parts) => parts,
            Self::Exception { args, .. } => args,
        }
    }
}

/// A container of which some parts have been copied.
struct Open<'a> {
    container: &'a Node,
    parts: slice::Iter<'a, Ref>,
    values: Vec<Value>,
}

impl Open<'_> {
    fn close(self) -> Result<Value, PickleErrorKind> {
        let values = self.values;
        Ok(match self.container {
            Node::Leaf(_) | Node::Class(_) | Node::List(_) => Value::List(values),
            Node::Tuple(_) => Value::Tuple(values),
            Node::Set(_) => {
                Value::Set(if values.iter().all(is_hashable) { values } else { return Err(HASHABLE) })
            }
            Node::Dict(_) => {
                let mut values = values.into_iter();
                let mut entries = Vec::with_capacity(values.len() / 2);
                while let (Some(key), Some(value)) = (values.next(), values.next()) {
                    entries.push(if is_hashable(&key) { (key, value) } else { return Err(HASHABLE) });
                }
                Value::Dict(entries)
            }
            Node::Exception { module, class, .. } => {
                Exception { module: (*module).into(), class: (*class).into(), args: values }.into()
            }
        })
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Str(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    }
}

const HASHABLE: PickleErrorKind = Operand("a hashable key");

/// Whether Python would take the value as a key.
fn is_hashable(value: &Value) -> bool {
    match value {
        Value::List(_) | Value::Dict(_) | Value::Set(_) => false,
        Value::Tuple(items) => items.iter().all(is_hashable),
        _ => true,
    }
}
