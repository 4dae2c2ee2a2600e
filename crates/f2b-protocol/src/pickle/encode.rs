//! Values to pickles, protocol 4.
//!
//! Without frames and memo, both of which are optional for a reader.

use crate::{Exception, Value};

const PROTO: u8 = 0x80;
const STOP: u8 = b'.';
const MARK: u8 = b'(';
const NONE: u8 = b'N';
const NEWTRUE: u8 = 0x88;
const NEWFALSE: u8 = 0x89;
const BININT: u8 = b'J';
const BININT1: u8 = b'K';
const BININT2: u8 = b'M';
const LONG1: u8 = 0x8a;
const BINFLOAT: u8 = b'G';
const SHORT_BINUNICODE: u8 = 0x8c;
const BINUNICODE: u8 = b'X';
const BINUNICODE8: u8 = 0x8d;
const SHORT_BINBYTES: u8 = b'C';
const BINBYTES: u8 = b'B';
const BINBYTES8: u8 = 0x8e;
const EMPTY_LIST: u8 = b']';
const APPENDS: u8 = b'e';
const EMPTY_TUPLE: u8 = b')';
const TUPLE1: u8 = 0x85;
const TUPLE2: u8 = 0x86;
const TUPLE3: u8 = 0x87;
const TUPLE: u8 = b't';
const EMPTY_DICT: u8 = b'}';
const SETITEMS: u8 = b'u';
const EMPTY_SET: u8 = 0x8f;
const ADDITEMS: u8 = 0x90;
const STACK_GLOBAL: u8 = 0x93;
const REDUCE: u8 = b'R';

/// The pickle of `value`; Python's `pickle.loads` gives the same value, exceptions as instances of their class.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = vec![PROTO, 4];
    write(&mut out, value);
    out.push(STOP);
    out
}

fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::None => out.push(NONE),
        Value::Bool(true) => out.push(NEWTRUE),
        Value::Bool(false) => out.push(NEWFALSE),
        Value::Int(n) => write_int(out, *n),
        Value::Float(x) => {
            out.push(BINFLOAT);
            out.extend(x.to_be_bytes());
        }
        Value::Str(text) => write_text(out, text),
        Value::Bytes(bytes) => write_sized(out, [SHORT_BINBYTES, BINBYTES, BINBYTES8], bytes),
        Value::List(items) => write_items(out, EMPTY_LIST, items, APPENDS),
        Value::Tuple(items) => write_tuple(out, items),
        Value::Dict(entries) => {
            out.push(EMPTY_DICT);
            if entries.is_empty() {
                return;
            }
            out.push(MARK);
            for (key, value) in entries {
                write(out, key);
                write(out, value);
            }
            out.push(SETITEMS);
        }
        Value::Set(items) => write_items(out, EMPTY_SET, items, ADDITEMS),
        Value::Exception(exception) => write_exception(out, exception),
    }
}

fn write_int(out: &mut Vec<u8>, n: i64) {
    if let Ok(n) = u8::try_from(n) {
        out.extend([BININT1, n]);
    } else if let Ok(n) = u16::try_from(n) {
        out.push(BININT2);
        out.extend(n.to_le_bytes());
    } else if let Ok(n) = i32::try_from(n) {
        out.push(BININT);
        out.extend(n.to_le_bytes());
    } else {
        out.extend([LONG1, 8]);
        out.extend(n.to_le_bytes());
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    write_sized(out, [SHORT_BINUNICODE, BINUNICODE, BINUNICODE8], text.as_bytes());
}

/// Bytes after their length, by the opcode for lengths of one, four or eight bytes.
fn write_sized(out: &mut Vec<u8>, [short, normal, long]: [u8; 3], bytes: &[u8]) {
    if let Ok(len) = u8::try_from(bytes.len()) {
        out.extend([short, len]);
    } else if let Ok(len) = u32::try_from(bytes.len()) {
        out.push(normal);
        out.extend(len.to_le_bytes());
    } else {
        out.push(long);
        out.extend((bytes.len() as u64).to_le_bytes());
    }
    out.extend_from_slice(bytes);
}

fn write_items(out: &mut Vec<u8>, empty: u8, items: &[Value], fill: u8) {
    out.push(empty);
    if items.is_empty() {
        return;
    }
    out.push(MARK);
    items.iter().for_each(|item| write(out, item));
    out.push(fill);
}

fn write_tuple(out: &mut Vec<u8>, items: &[Value]) {
    let end = match items.len() {
        0 => EMPTY_TUPLE,
        1 => TUPLE1,
        2 => TUPLE2,
        3 => TUPLE3,
        _ => TUPLE,
    };
    if end == TUPLE {
        out.push(MARK);
    }
    items.iter().for_each(|item| write(out, item));
    out.push(end);
}

fn write_exception(out: &mut Vec<u8>, exception: &Exception) {
    write_text(out, &exception.module);
    write_text(out, &exception.class);
    out.push(STACK_GLOBAL);
    write_tuple(out, &exception.args);
    out.push(REDUCE);
}
