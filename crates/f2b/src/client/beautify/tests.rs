use super::*;

fn words(command: &str) -> Vec<Value> {
    command.split(' ').map(Value::from).collect()
}

#[track_caller]
fn check(command: &str, response: impl Into<Value>, expected: &str) {
    assert_eq!(beautify(&words(command), &response.into(), Charset::Utf8), Ok(expected.into()));
}

#[track_caller]
fn check_unfit(command: &str, response: impl Into<Value>, expected: &str) {
    let unfit = Unfit { text: expected.into() };
    assert_eq!(beautify(&words(command), &response.into(), Charset::Utf8), Err(unfit));
}

fn list(items: impl IntoIterator<Item = Value>) -> Value {
    Value::List(items.into_iter().collect())
}

fn tuple(items: impl IntoIterator<Item = Value>) -> Value {
    Value::Tuple(items.into_iter().collect())
}

fn jail_status() -> Value {
    let entry = |name: &str, value: Value| tuple([name.into(), value]);
    list([
        tuple([
            "Filter".into(),
            list([
                entry("Currently failed", 1.into()),
                entry("Total failed", 5.into()),
                entry("File list", Value::strings(["/var/log/a", "/var/log/b"])),
            ]),
        ]),
        tuple([
            "Actions".into(),
            list([
                entry("Currently banned", 0.into()),
                entry("Total banned", 1.into()),
                entry("Banned IP list", list([])),
            ]),
        ]),
    ])
}

const JAIL_TREE: &str = "\
|- Filter
|  |- Currently failed:\t1
|  |- Total failed:\t5
|  `- File list:\t/var/log/a /var/log/b
`- Actions
   |- Currently banned:\t0
   |- Total banned:\t1
   `- Banned IP list:\t";

#[test]
fn the_server_answers_in_words() {
    check("ping", "pong", "Server replied: pong");
    check("version", "1.1.1", "1.1.1");
    check("start j", Value::None, "Jail started");
    check("stop", Value::None, "Shutdown successful");
    check("stop j", Value::None, "Jail stopped");
    check("add j polling", "j", "Added jail j");
    check("flushlogs", "rolled over", "logs: rolled over");
    check("echo a b", Value::strings(["a", "b"]), "a b");
    check("set loglevel info", "INFO", "Current logging level is 'INFO'");
    check("get loglevel", 25, "Current logging level is 'NOTICE'");
    check("get loglevel", 12, "Current logging level is '#12-Lev.'");
    check("get logtarget", "STDOUT", "Current logging target is:\n`- STDOUT");
    check("get syslogsocket", "auto", "Current syslog socket is:\n`- auto");
    check("get dbfile", Value::None, "Database currently disabled");
    check("get dbfile", "/x", "Current database file is:\n`- /x");
    check("get dbpurgeage", 86400, "Current database purge age is:\n`- 86400seconds");
    check("get dbmaxmatches", 10, "10");
    check("banned", list([]), "[]");
    check("unban --all", 3, "3");
}

#[test]
fn status_is_a_tree() {
    let server = [tuple(["Number of jail".into(), 2.into()]), tuple(["Jail list".into(), "a, b".into()])];
    check("status", list(server.clone()), "Status\n|- Number of jail:\t2\n`- Jail list:\ta, b");
    check("status j", jail_status(), &format!("Status for the jail: j\n{JAIL_TREE}"));
    let jails = Value::Dict(vec![("a".into(), jail_status()), ("b".into(), jail_status())]);
    let (first, last) = (JAIL_TREE.replace('\n', "\n   |  "), JAIL_TREE.replace('\n', "\n      "));
    check(
        "status --all",
        list(server.iter().cloned().chain([jails])),
        &format!(
            "Status\n|- Number of jail:\t2\n|- Jail list:\ta, b\n`- Status for the jails:\n   \
             |- Jail: a\n   |  {first}\n   `- Jail: b\n      {last}"
        ),
    );
    let none = list(server.into_iter().chain([Value::Dict(vec![])]));
    check("status --all", none, "Status\n|- Number of jail:\t2\n`- Jail list:\ta, b");
}

#[test]
fn stats_are_a_table() {
    let counts = |current: i64, total: i64| tuple([current.into(), total.into()]);
    let jails = Value::Dict(vec![
        ("sshd".into(), list(["systemd".into(), counts(1, 20), counts(3, 4000)])),
        ("a-long-name".into(), list(["polling".into(), counts(0, 0), counts(0, 0)])),
    ]);
    check(
        "stats",
        jails.clone(),
        "             ║          ║ Filter    ║ Actions   \n \
         Jail        ║ Backend  ╟───────────╫────────────\n             \
         ║          ║ cur │ tot ║ cur │  tot\n\
         ═════════════╬══════════╬═══════════╬════════════\n \
         sshd        ║ systemd  ║   1 │  20 ║   3 │ 4000\n \
         a-long-name ║ polling  ║   0 │   0 ║   0 │    0\n\
         ═════════════╩══════════╩═══════════╩════════════",
    );
    let ascii = beautify(&words("stats"), &jails, Charset::Ascii).unwrap();
    assert_eq!(ascii.lines().nth(1), Some(" Jail        | Backend  |-----------x------------"));
    assert_eq!(ascii.lines().nth(4), Some(" sshd        | systemd  |   1 |  20 |   3 | 4000"));
    check("statistics", Value::Dict(vec![]), "No jails found.");
}

#[test]
fn options_of_a_jail_have_their_own_texts() {
    let two = || Value::strings(["a", "b"]);
    check("get j logpath", list([]), "No file is currently monitored");
    check("set j addlogpath a", two(), "Current monitored log file(s):\n|- a\n`- b");
    check("get j logencoding", "UTF-8", "Current log encoding is set to:\nUTF-8");
    check("get j journalmatch", list([]), "No journal match filter set");
    check("get j journalmatch", list([two(), two()]), "Current match filter:\na b + a b");
    check("get j datepattern", Value::None, "Current date pattern set to: Not set/required");
    check(
        "get j datepattern",
        tuple([Value::None, "Default".into()]),
        "Current date pattern set to: Default",
    );
    check("get j datepattern", tuple(["%Y".into(), "Year".into()]), "Current date pattern set to: %Y (Year)");
    check("get j ignoreip", list([]), "No IP address/network is ignored");
    check("get j ignoreip", two(), "These IP addresses/networks are ignored:\n|- a\n`- b");
    check("get j failregex", list([]), "No regular expression is defined");
    check("get j ignoreregex", two(), "The following regular expression are defined:\n|- [0]: a\n`- [1]: b");
    check("get j actions", list([]), "No actions for jail j");
    check("get j actions", two(), "The jail j has the following actions:\na, b");
    check("get j actionproperties x", two(), "The jail j action x has the following properties:\na, b");
    check("get j actionmethods x", list([]), "No methods for jail j action x");
    check("get j banip", two(), "a b");
    check("get j banip ,", two(), "a,b");
    check("get j banip --with-time", two(), "a\nb");
    check("set j banip 192.0.2.1", 1, "1");
    check("get j maxretry", 5, "5");
    check("get j prefregex", "", "");
}

#[test]
fn what_does_not_fit_is_printed_all_the_same() {
    check_unfit("ping", Value::None, "NoneNone");
    check_unfit("status", Value::None, "['Status']None");
    check_unfit("status j stats", list(["polling".into()]), "['Status for the jail: j', '`- p']['polling']");
    check_unfit("get logtarget", 5, "'Current logging target is:\\n'5");
    check_unfit("get j logpath", 5, "55");
    check_unfit("get j logpath", list([5.into()]), "'Current monitored log file(s):\\n'[5]");
}

#[test]
fn exceptions_have_their_texts() {
    let text = |module: &str, class: &str| beautify_error(&Exception::new(module, class, "x"));
    assert_eq!(text("fail2ban.exceptions", "UnknownJailException"), "Sorry but the jail 'x' does not exist");
    assert_eq!(text("fail2ban.exceptions", "DuplicateJailException"), "The jail 'x' already exists");
    assert_eq!(text("builtins", "IndexError"), "Sorry but the command is invalid");
    assert_eq!(text("builtins", "KeyError"), "'x'");
    assert_eq!(text("builtins", "ValueError"), "x");
    let missing = Exception {
        module: "builtins".into(),
        class: "FileNotFoundError".into(),
        args: vec![2.into(), "No such file or directory".into(), "/x".into()],
    };
    assert_eq!(beautify_error(&missing), "[Errno 2] No such file or directory: '/x'");
    assert_eq!(exception_args(&missing).len(), 2);
}

#[test]
fn the_locale_says_how_tables_are_drawn() {
    let charset = |name: &'static str, value: &'static str| {
        Charset::from_locale(|asked| (asked == name).then(|| value.to_owned()))
    };
    assert_eq!(charset("LANG", "en_US.UTF-8"), Charset::Utf8);
    assert_eq!(charset("LC_ALL", "C"), Charset::Utf8);
    assert_eq!(charset("LC_ALL", "de_DE.ISO-8859-1"), Charset::Ascii);
    assert_eq!(charset("TZ", "x"), Charset::Utf8);
}
