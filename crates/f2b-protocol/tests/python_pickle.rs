//! Python's own pickles, read and written.
//!
//! Both tests ask `/usr/bin/python3`, and are skipped where there is none (unless `F2B_CI` is set).

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use f2b_protocol::pickle::{Limits, decode, encode};
use f2b_protocol::{Exception, Value};

const PYTHON: &str = "/usr/bin/python3";

/// What the script prints, fed with `input`; `None` without Python.
fn python(script: &str, input: &str) -> Option<String> {
    if !Path::new(PYTHON).exists() {
        assert!(std::env::var_os("F2B_CI").is_none(), "{PYTHON} is missing");
        let test = std::thread::current();
        let _ = writeln!(std::io::stderr(), "skipped: {} needs {PYTHON}", test.name().unwrap_or("a test"));
        return None;
    }
    let mut child = Command::new(PYTHON)
        .args(["-c", script])
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(String::from_utf8(output.stdout).unwrap())
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_protocol_of_python_is_read() {
    let script = r#"
import pickle, re, json, sqlite3
shared = ['a', 'b']
class Text(object):
    def __init__(self, text): self.text = text
    def __reduce__(self): return (str, (self.text,))
    def __repr__(self): return repr(self.text)
def error(call):
    try: call()
    except Exception as e: return e
values = [
    None, True, False, 0, 1, -1, 255, 256, 65536, -70000, 2**31, 2**40, -2**63, 2**63 - 1,
    0.0, -1.5, 1e300, 1e-7, float('inf'), '', 'sshd', 'x' * 300, 'Grüße €\n\r\t\\ \U0001f600', 'a\\u0041',
    b'', b'abc', bytes(range(256)), [], [[]], (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {}, {'a': 1, 2: [3]},
    set(), {1}, {'only'}, [shared, shared, (shared,)], list(range(2500)), {str(i): i for i in range(1200)},
    ['set', 'sshd', 'banip', '192.0.2.1'], ['server-stream', [['set', 'loglevel', 'INFO'], ['add', 'j', 'auto']]],
    ['multi-set', 'sshd', 'addfailregex', ['^a$', '^b$']], [Text('192.0.2.1')] * 3,
    (1, ValueError('bad', 3)), (1, KeyError('x')), (1, Exception()), error(lambda: open('/nonexistent')),
    error(lambda: b'\xff'.decode('utf-8')), error(lambda: re.compile('(')), sqlite3.OperationalError('locked'),
    error(lambda: [][1]), error(lambda: {}['x']),
]
for value in values:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        text = repr(value)
        print(pickle.dumps(value, protocol).hex(), text.encode('utf-8').hex(), protocol)
"#;
    let Some(lines) = python(script, "") else { return };
    let mut count = 0;
    for line in lines.lines() {
        let mut fields = line.split(' ');
        let pickle = from_hex(fields.next().unwrap());
        let repr = String::from_utf8(from_hex(fields.next().unwrap())).unwrap();
        let protocol = fields.next().unwrap();
        match decode(&pickle, &Limits::default()) {
            Ok(value) => assert!(same(&value, &repr), "protocol {protocol}: {value} is not {repr}"),
            Err(error) => panic!("protocol {protocol}: {repr}: {error}"),
        }
        count += 1;
    }
    assert!(count > 200, "only {count} pickles");
}

/// An `OSError` prints two of its three arguments only, and below protocol 3 its subclasses are unknown.
fn same(value: &Value, repr: &str) -> bool {
    let text = value.to_string();
    let shortened = text.replace(", '/nonexistent')", ")");
    text == repr || shortened == repr || shortened == repr.replace("FileNotFoundError", "OSError")
}

#[test]
fn python_reads_what_is_written() {
    let values = [
        Value::None,
        Value::List(vec![true.into(), false.into(), Value::Float(-0.5), Value::Float(1e300)]),
        Value::List([0, 255, 256, 65535, 65536, -1, i64::MAX, i64::MIN].map(Value::Int).into()),
        Value::Tuple(vec![]),
        Value::Tuple(vec![1.into()]),
        Value::Tuple((0..5).map(Value::Int).collect()),
        Value::Dict(vec![("a".into(), Value::Dict(vec![])), (2.into(), Value::List(vec![Value::None]))]),
        Value::Set(vec!["only".into()]),
        Value::Set(vec![]),
        Value::Bytes(vec![0, b'a', 255]),
        Value::Bytes(vec![b'x'; 300]),
        "Grüße € \u{1f600}\n'\"\\".into(),
        "y".repeat(70_000).into(),
        Value::Tuple(vec![1.into(), Exception::new("builtins", "ValueError", "bad").into()]),
        Exception::new("builtins", "IndexError", "list index out of range").into(),
        Exception { module: "builtins".into(), class: "Exception".into(), args: vec![] }.into(),
    ];
    let input: String = values.iter().map(|value| to_hex(&encode(value)) + "\n").collect();
    let script = r#"
import sys, pickle
for line in sys.stdin:
    print(repr(pickle.loads(bytes.fromhex(line.strip()))).encode('utf-8').hex())
"#;
    let Some(lines) = python(script, &input) else { return };
    let found: Vec<String> = lines.lines().map(|line| String::from_utf8(from_hex(line)).unwrap()).collect();
    let expected: Vec<String> = values.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
}
