//! What formulas come to. The expected values are Python's, and where Python is at hand it is asked itself.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;

const BAN: Ban = Ban { time: Number::Int(600), count: 3, factor: Number::Int(2) };

#[track_caller]
fn check(formula: &str, expected: f64) {
    let value = Formula::parse(formula).map_err(|error| error.to_string());
    let value = value.and_then(|formula| formula.eval(BAN).map_err(|error| error.to_string()));
    let value = value.map(Number::as_f64);
    assert_eq!(value, Ok(expected), "{formula}");
}

#[track_caller]
fn check_error(formula: &str, message: &str) {
    let error = Formula::parse(formula).map(|formula| formula.eval(BAN));
    let said = match error {
        Ok(Ok(value)) => value.to_string(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    assert_eq!(said, message);
}

#[test]
fn the_formulas_of_the_stock_configuration_work() {
    check("ban.Time * (1<<(ban.Count if ban.Count<20 else 20)) * banFactor", 9600.0);
    check("ban.Time * math.exp(float(ban.Count+1)*banFactor)/math.exp(1*banFactor)", 242_057.276_095_641_08);
}

#[test]
fn operators_bind_as_in_python() {
    check("2 + 3 * 4", 14.0);
    check("-2 ** 2", -4.0);
    check("2 ** -1", 0.5);
    check("2 ** 3 ** 2", 512.0);
    check("1 + 2 << 3", 24.0);
    check("6 & 3 | 8 ^ 1", 11.0);
    check("-7 // 2", -4.0);
    check("-7 % 3 + 7 % -3", 0.0);
    check("7 / 2", 3.5);
    check("1 < 2 < 3", 1.0);
    check("1 < 3 < 3", 0.0);
    check("not 0 and 5 or 7", 5.0);
    check("0 or 7 if 0 else 8", 8.0);
    check("1 if 0 else 2 if 0 else 3", 3.0);
    check("~5 + +3", -3.0);
    check("1_000 + 0x1F + 1e2 + .5", 1131.5);
}

#[test]
fn functions_and_lists_are_pythons() {
    check("max(ban.Time, min([5, 3, 9])) + len([1, 2]) + sum((1, 2,))", 605.0);
    check("[60, 300, 1800][min(ban.Count, 2)] + [1, 2][-1]", 1802.0);
    check("round(2.5) + round(3.5) + round(2.675, 2)", 8.67);
    check("int(-2.7) + math.floor(-2.1) + math.ceil(2.1) + abs(-3)", 1.0);
    check("math.log(8, 2) + math.log10(100) + math.sqrt(16) + pow(2, 3)", 17.0);
    check("1 << 200", 2_f64.powf(200.0));
    check("2 ** 300 * 0 + 1", 1.0);
}

#[test]
fn comments_say_what_a_formula_is_for() {
    check("ban.Time * 2 # twice", 1200.0);
    check("ban.Time*2#twice (and", 1200.0);
    check("(ban.Time # first\n * 2) # 'then'\n", 1200.0);
    check_error("# nothing", "something is missing at character 10 of the formula '# nothing'");
}

#[test]
fn what_is_no_formula_is_told_with_its_place() {
    check_error("", "something is missing at character 1 of the formula ''");
    check_error("ban.Time *", "something is missing at character 11 of the formula 'ban.Time *'");
    check_error("ban.Time ** ) 2", "unexpected at character 13 of the formula 'ban.Time ** ) 2'");
    check_error(
        "ban.Tiem * 2",
        "the name 'ban.Tiem' is not defined at character 1 of the formula 'ban.Tiem * 2'",
    );
    check_error("1 + __import__('os')", "unexpected at character 16 of the formula '1 + __import__('os')'");
    check_error("1 + open(1)", "there is no function open() at character 5 of the formula '1 + open(1)'");
    check_error("1 / (ban.Count - 3)", "division by zero");
    check_error("[1, 2][ban.Count - 1]", "list index out of range");
    check_error("math.exp(1e9)", "math domain error at character 1 of the formula 'math.exp(1e9)'");
    check_error("1 << -1", "negative shift count at character 1 of the formula '1 << -1'");
    check_error("[1, 2]", "a list is no number at character 1 of the formula '[1, 2]'");
    check_error(
        "1 + pow(2, 3, 5)",
        "pow() takes another number of arguments at character 5 of the formula '1 + pow(2, 3, 5)'",
    );
    check_error("min()", "min() takes another number of arguments at character 1 of the formula 'min()'");
}

#[test]
fn hostile_formulas_neither_crash_nor_take_long() {
    for text in [
        "(".repeat(100_000),
        "[".repeat(31),
        "-".repeat(1_999) + "1",
        "not ".repeat(499) + "1",
        "2**".repeat(600) + "2",
        "(".repeat(30) + "1" + &")".repeat(30),
        "1 if 1 else ".repeat(160) + "1",
        "[1]".to_owned() + &"[0]".repeat(600),
        "1 < ".repeat(199) + "1",
        "[".repeat(30) + "1" + &"]".repeat(30),
        "max(1,".repeat(30) + "1" + &")".repeat(30),
        "(1 if 1 else ".repeat(30) + "1" + &")".repeat(30),
        "((1,".repeat(15) + "1" + &"))".repeat(15),
    ] {
        if let Ok(formula) = Formula::parse(&text) {
            let _ = formula.eval(BAN);
        }
    }
}

/// Python's own values of expressions that are put together at random.
#[test]
fn python_reckons_alike() {
    let mut rng = fastrand::Rng::with_seed(7);
    let formulas: Vec<String> = (0..3000).map(|_| expression(&mut rng, 4)).collect();
    let script = "import sys, math\n\
        class ban: Time = 600; Count = 3\n\
        banFactor = 2\n\
        for line in sys.stdin:\n\
        \x20 try: v = eval(line); print('whole ' * isinstance(v, int) + repr(float(v)), flush=True)\n\
        \x20 except Exception as e: print('error', flush=True)\n";
    let python = Command::new("python3")
        .args(["-W", "ignore", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut python) = python else {
        assert!(std::env::var_os("F2B_CI").is_none(), "CI lacks python3");
        let _ = writeln!(std::io::stderr(), "skipped: python_reckons_alike needs python3");
        return;
    };
    let mut input = python.stdin.take().expect("a pipe");
    let lines = formulas.join("\n") + "\n";
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = python.wait_with_output().expect("python3 ends");
    writer.join().expect("a thread").expect("a write");
    let theirs = String::from_utf8(output.stdout).expect("a text");
    let mut numbers = 0;
    for (formula, theirs) in formulas.iter().zip(theirs.lines()) {
        let value = Formula::parse(formula).ok().and_then(|formula| formula.eval(BAN).ok());
        let ours = value.map(Number::as_f64);
        let (is_whole, theirs) = match theirs.strip_prefix("whole ") {
            Some(theirs) => (true, theirs.parse().ok()),
            None => (false, theirs.parse::<f64>().ok()),
        };
        numbers += usize::from(theirs.is_some());
        let is_near = match (ours, theirs) {
            (Some(a), Some(b)) => a == b || (a - b).abs() <= b.abs() * 1e-12 || (a.is_nan() && b.is_nan()),
            // Numbers beyond 128 bits go on as floats, which have no bits and may have no value.
            (None, Some(b)) => {
                b.abs() > 1e38 || (formula.contains("<<") && formula.contains(['&', '|', '^', '~', '>']))
            }
            (Some(a), None) => a.abs() > 1e38,
            (None, None) => true,
        };
        assert!(is_near, "{formula}: {ours:?}, in Python {theirs:?}");
        if let (Some(value), Some(theirs)) = (value, theirs)
            && theirs.abs() < 1e15
        {
            assert_eq!(matches!(value, Number::Int(_)), is_whole, "{formula}: {value:?}");
        }
    }
    assert!(numbers > 1500, "only {numbers} have a value");
}

fn expression(rng: &mut fastrand::Rng, depth: usize) -> String {
    let pick = |rng: &mut fastrand::Rng, choices: &[&str]| choices[rng.usize(..choices.len())].to_owned();
    if depth == 0 || rng.u8(..5) == 0 {
        return pick(
            rng,
            &[
                "0",
                "1",
                "2",
                "7",
                "0.5",
                "1.5",
                "ban.Time",
                "ban.Count",
                "banFactor",
                "True",
                "math.pi",
                "60",
            ],
        );
    }
    let sub = |rng: &mut fastrand::Rng| expression(rng, depth - 1);
    match rng.u8(..12) {
        0..=4 => {
            let sign = ["+", "-", "*", "/", "//", "%", "<<", ">>", "&", "|", "^"][rng.usize(..11)];
            format!("{} {sign} {}", sub(rng), sub(rng))
        }
        5 => format!("({} {} {})", sub(rng), ["<", "<=", ">", ">=", "==", "!="][rng.usize(..6)], sub(rng)),
        6 => format!("({} if {} else {})", sub(rng), sub(rng), sub(rng)),
        7 => format!("({} {} {})", sub(rng), ["and", "or"][rng.usize(..2)], sub(rng)),
        8 => format!("{}({})", ["-", "+", "not ", "~"][rng.usize(..4)], sub(rng)),
        9 => format!("{}({}, {})", ["min", "max"][rng.usize(..2)], sub(rng), sub(rng)),
        10 => {
            let name = ["int", "float", "abs", "round", "math.floor", "math.ceil", "math.sqrt", "math.log10"];
            format!("{}({})", name[rng.usize(..name.len())], sub(rng))
        }
        _ => format!("({})", sub(rng)),
    }
}
