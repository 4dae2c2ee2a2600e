use super::*;
use crate::{Exception, Value};

fn read(bytes: &[u8]) -> Result<Value, PickleErrorKind> {
    decode(bytes, &Limits::default()).map_err(|error| error.kind)
}

#[track_caller]
fn check(bytes: &[u8], repr: &str) {
    match read(bytes) {
        Ok(value) => assert_eq!(value.to_string(), repr),
        Err(error) => panic!("{error:?} instead of {repr}"),
    }
}

#[track_caller]
fn check_error(bytes: &[u8], message: &str) {
    match decode(bytes, &Limits { depth: 20, values: 1000, bytes: 1000 }) {
        Ok(value) => panic!("{value} instead of an error"),
        Err(error) => assert_eq!(error.to_string(), message),
    }
}

#[test]
fn what_old_and_foreign_clients_send_is_read() {
    // Protocol 0 of Python 2 and of Python 3.
    check(b"(lp0\nS'status'\np1\naS\"it's\"\np2\na.", "['status', \"it's\"]");
    check(b"(lp0\nVping\np1\naF0.5\naI01\naL12L\naNa.", "['ping', 0.5, True, 12, None]");
    // Protocol 2 as Go writes it.
    check(b"\x80\x02(U\x06statusU\x04sshdl.", "['status', 'sshd']");
    check(b"\x80\x02]q\0(X\x04\0\0\0pingq\x01K\x05e.", "['ping', 5]");
    // Protocols 4 and 5 of Python 3.
    check(b"\x80\x04\x95\x0a\0\0\0\0\0\0\0]\x94\x8c\x04ping\x94a.", "['ping']");
    check(b"\x80\x05\x95\x0a\0\0\0\0\0\0\0]\x94\x8c\x04ping\x94a.", "['ping']");
}

#[test]
fn known_names_arrange_data() {
    check(b"\x80\x02c__builtin__\nset\nq\0]q\x01(K\x01K\x02e\x85q\x02Rq\x03.", "{1, 2}");
    check(b"c__builtin__\nunicode\n(V192.0.2.1\ntR.", "'192.0.2.1'");
    check(b"c_codecs\nencode\n(V\xff\nVlatin1\ntR.", "b'\\xff'");
    check(b"cfail2ban.exceptions\nUnknownJailException\n(Vx\ntR.", "UnknownJailException('x')");
    check(b"cre\nerror\n(Vbad\ntR}(Vmsg\nVbad\nub.", "error('bad')");
}

#[test]
fn a_container_in_the_memo_is_filled_later() {
    check(b"(]q\0K\x01ah\0l.", "[[1], [1]]");
    check(b"]q\0(K\x01K\x02eh\0\x86.", "([1, 2], [1, 2])");
}

#[test]
fn integers_have_64_bits() {
    check(b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f.", "9223372036854775807");
    check(b"\x8a\x09\0\0\0\0\0\0\0\x80\xff.", "-9223372036854775808");
    check(b"\x8a\0.", "0");
    check(b"\x8a\x01\xff.", "-1");
    check(b"J\xff\xff\xff\xff.", "-1");
    check_error(b"\x8a\x09\0\0\0\0\0\0\0\x80\0.", "pickle: invalid number (opcode 0x8a) at offset 0");
}

#[test]
fn nothing_but_data_is_taken() {
    check_error(
        b"cos\nsystem\n(Vtrue\ntR.",
        "pickle: global 'os.system' is not allowed (opcode GLOBAL) at offset 0",
    );
    check_error(
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.",
        "pickle: global 'builtins.eval' is not allowed (opcode STACK_GLOBAL) at offset 18",
    );
    check_error(b"(Vtrue\nios\nsystem\n.", "pickle: opcode not allowed (opcode INST) at offset 7");
    check_error(b"Pid\n.", "pickle: opcode not allowed (opcode PERSID) at offset 0");
    check_error(b"]}b.", "pickle: opcode not allowed (opcode BUILD) at offset 2");
    check_error(
        b"c__builtin__\nset\n.",
        "pickle: a value instead of a class expected (opcode '.') at offset 17",
    );
    check_error(
        b"c__builtin__\nset\n(NNtR.",
        "pickle: other arguments expected (opcode REDUCE) at offset 21",
    );
}

#[test]
fn damaged_pickles_are_errors() {
    check_error(b"", "pickle: it ends too early at offset 0");
    check_error(b"K", "pickle: it ends too early (opcode 'K') at offset 0");
    check_error(b"X\xff\xff\xff\xffabc.", "pickle: it ends too early (opcode 'X') at offset 0");
    check_error(
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.",
        "pickle: it ends too early (opcode 0x8d) at offset 0",
    );
    check_error(b"\x80\x06.", "pickle: unsupported protocol 6 (opcode 0x80) at offset 0");
    check_error(b".", "pickle: a value expected (opcode '.') at offset 0");
    check_error(b"N(.", "pickle: a value expected (opcode '.') at offset 2");
    check_error(b"N(a.", "pickle: a value expected (opcode 'a') at offset 2");
    check_error(b"e.", "pickle: a mark expected (opcode 'e') at offset 0");
    check_error(b"NNa.", "pickle: a list expected (opcode 'a') at offset 2");
    check_error(b"h\x07.", "pickle: a value in the memo expected (opcode 'h') at offset 0");
    check_error(b"}(Nu.", "pickle: a dictionary and pairs expected (opcode 'u') at offset 3");
    check_error(b"}]Ns.", "pickle: a hashable key expected (opcode '.') at offset 4");
}

#[test]
fn size_and_depth_are_bounded() {
    let deep = [vec![b']'; 30], vec![b'a'; 29], b".".to_vec()].concat();
    check_error(&deep, "pickle: too many levels (opcode '.') at offset 59");
    check_error(&[b'('; 30], "pickle: too many levels (opcode '(') at offset 21");
    check_error(b"]q\0h\0a.", "pickle: too many levels (opcode '.') at offset 6");
    check_error(&[b'N'; 2000], "pickle: too many values (opcode 'N') at offset 1000");
    // Each level holds the one below twice: 2^15 texts.
    let laughs = [b"Vha\n".to_vec(), b"2\x86".repeat(15), b".".to_vec()].concat();
    check_error(&laughs, "pickle: too many values (opcode '.') at offset 34");
    let long = [b"(V", "x".repeat(300).as_bytes(), b"\n2222t."].concat();
    check_error(&long, "pickle: too many bytes (opcode '.') at offset 308");
}

#[test]
fn the_deepest_value_fits_a_small_stack() {
    let depth = Limits::default().depth;
    let deep = [vec![b']'; depth], vec![b'a'; depth - 1], b".".to_vec()].concat();
    let small = std::thread::Builder::new().stack_size(96 << 10);
    let thread = small.spawn(move || {
        let value = read(&deep).unwrap();
        assert_eq!(read(&encode(&value)).unwrap().to_string().len(), 2 * depth);
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn what_is_written_reads_back() {
    let exception = Exception::new("fail2ban.exceptions", "DuplicateJailException", "sshd");
    let values = [
        Value::None,
        Value::List(vec![true.into(), false.into(), Value::Float(-0.5), Value::Bytes(vec![0, 255])]),
        Value::List([0, 255, 256, 65535, 65536, -1, i64::MAX, i64::MIN].map(Value::Int).into()),
        Value::Tuple(vec![0.into(), Value::Tuple(vec![]), Value::Tuple(vec![1.into(), 2.into(), 3.into()])]),
        Value::Tuple(vec![
            Value::Set(vec![]),
            Value::Set(vec!["a".into()]),
            Value::List(vec![]),
            Value::None,
        ]),
        Value::Dict(vec![("ä€".into(), "x".repeat(1000).into()), (1.into(), Value::Dict(vec![]))]),
        Value::Tuple(vec![1.into(), exception.into()]),
    ];
    for value in values {
        assert_eq!(read(&encode(&value)), Ok(value));
    }
}

#[test]
fn cut_and_mutated_pickles_are_errors_or_values_and_never_panics() {
    let sample = Value::List(vec![
        Value::Dict(vec![("key".into(), Value::Tuple(vec![1.into(), 70000.into(), Value::Float(1.5)]))]),
        Value::Set(vec!["a".into()]),
        Exception::new("builtins", "ValueError", "x").into(),
    ]);
    let whole = encode(&sample);
    for len in 0..whole.len() {
        assert_eq!(read(&whole[..len]), Err(PickleErrorKind::Truncated), "cut at {len}");
    }
    let old = b"(lp0\nS'status'\np1\naV\\u20ac\np2\nacfail2ban.exceptions\nUnknownJailException\n(Vx\ntRa}(VaI1\nu0h\x001.";
    let limits = Limits { depth: 20, values: 10_000, bytes: 100_000 };
    let mut rng = fastrand::Rng::with_seed(1);
    let mut read = 0;
    for seed in [whole.as_slice(), old] {
        for _ in 0..20_000 {
            let mut bytes = seed.to_vec();
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(..bytes.len());
                match rng.u8(..3) {
                    0 => bytes[at] = rng.u8(..),
                    1 => bytes.insert(at, rng.u8(..)),
                    _ => drop(bytes.remove(at)),
                }
            }
            if let Ok(value) = decode(&bytes, &limits) {
                read += 1;
                assert_eq!(
                    decode(&encode(&value), &Limits::default()).map(|v| v.to_string()),
                    Ok(value.to_string())
                );
            }
        }
    }
    assert!(read > 100, "mutations that still read as a pickle: {read}");
}
