//! Small configuration trees, most of them wrong: what is said about them and where it points, what commands come out,
//! and whether they can be used.
//!
//! Each tree is also given to the installed fail2ban (or to the release that `PYTHONPATH` names), which has to come to the
//! same commands, log the same and exit alike. Where it is not installed that half is skipped, unless `F2B_CI` is
//! set.

mod support;

use support::Tree;

const JAIL: &str = "[f]\nenabled = 1\nfilter = f\naction =\nlogpath = /nope\n";

fn jail(text: &str) -> Tree {
    Tree::new().file("jail.conf", text)
}

fn filter(text: &str) -> Tree {
    jail(JAIL).file("filter.d/f.conf", text)
}

fn action(text: &str) -> Tree {
    jail("[f]\nenabled = 1\nfilter = f\naction = a\n").file("action.d/a.conf", text)
}

#[test]
fn a_sound_jail_without_log_files_is_watched_nonetheless() {
    jail(JAIL).check(
        "WARNING No actions were defined for f (ROOT/jail.conf:4:9)
WARNING Have not found any log file for 'f' jail. (ROOT/jail.conf:5:11)
['add', 'f', 'auto']
['set', 'f', 'addfailregex', '^<HOST>$']
['start', 'f']
ok",
    );
}

#[test]
fn wrong_jails_are_skipped_and_the_others_are_read() {
    let text = "[DEFAULT]\nenabled=1\nfilter=f\naction=a\n[a]\n[b]\nfilter = nope\n[c]\naction = a\n nope[x=1]\n\
                [d]\nfilter=f[x\n[e]\naction=a[x=1] b[\n[g]\nfilter=f[x=\"1\" ,y=2]\n[h]\nfilter=f [x=1]\n";
    jail(text).file("action.d/a.conf", "[Definition]\nactionban = ban <ip> <x>\n[Init]\nx=1\n").check(r#"ERROR Found no accessible config files for 'filter.d/nope' under ROOT
ERROR Unable to read the filter 'nope' (ROOT/jail.conf:7:10)
ERROR Errors in jail 'b'. Skipping... (ROOT/jail.conf:6:1)
ERROR Found no accessible config files for 'action.d/nope' under ROOT
ERROR Unable to read action 'nope' (ROOT/jail.conf:10:2)
ERROR Errors in jail 'c'. Skipping... (ROOT/jail.conf:8:1)
ERROR Invalid filter definition 'f[x': unexpected option syntax (ROOT/jail.conf:12:8)
ERROR Errors in jail 'd'. Skipping... (ROOT/jail.conf:11:1)
ERROR Invalid action definition 'b[': unexpected option syntax (ROOT/jail.conf:14:15)
ERROR Errors in jail 'e'. Skipping... (ROOT/jail.conf:13:1)
ERROR Invalid filter definition 'f[x="1" ,y=2]': unexpected syntax at 5 after option 'x':  ,y=2 (ROOT/jail.conf:16:8)
ERROR Errors in jail 'g'. Skipping... (ROOT/jail.conf:15:1)
ERROR Found no accessible config files for 'filter.d/f ' under ROOT
ERROR Unable to read the filter 'f ' (ROOT/jail.conf:18:8)
ERROR Errors in jail 'h'. Skipping... (ROOT/jail.conf:17:1)
['add', 'a', 'auto']
['multi-set', 'a', 'action', 'a', [['actionban', 'ban <ip> 1'], ['name', 'a'], ['actname', 'a'], ['x', '1']]]
['config-error', "Jail 'b' skipped, because of wrong configuration: Unable to read the filter 'nope'"]
['config-error', "Jail 'c' skipped, because of wrong configuration: Unable to read action 'nope'"]
['config-error', "Jail 'd' skipped, because of wrong configuration: Invalid filter definition 'f[x': unexpected option syntax"]
['config-error', "Jail 'e' skipped, because of wrong configuration: Invalid action definition 'b[': unexpected option syntax"]
['config-error', 'Jail \'g\' skipped, because of wrong configuration: Invalid filter definition \'f[x="1" ,y=2]\': unexpected syntax at 5 after option \'x\':  ,y=2']
['config-error', "Jail 'h' skipped, because of wrong configuration: Unable to read the filter 'f '"]
['start', 'a']
ok"#);
    jail("[f]\nenabled=1\nfilter=nope\n").check(
        r#"ERROR Found no accessible config files for 'filter.d/nope' under ROOT
ERROR Unable to read the filter 'nope' (ROOT/jail.conf:3:8)
ERROR Errors in jail 'f'. Skipping... (ROOT/jail.conf:1:1)
['config-error', "Jail 'f' skipped, because of wrong configuration: Unable to read the filter 'nope'"]
wrong"#,
    );
    jail("[f]\nenabled=1\nfilter=/etc/no/such\n").check(
        r#"ERROR Found no accessible config files for '/etc/no/such' under ROOT
ERROR Unable to read the filter '/etc/no/such' (ROOT/jail.conf:3:8)
ERROR Errors in jail 'f'. Skipping... (ROOT/jail.conf:1:1)
['config-error', "Jail 'f' skipped, because of wrong configuration: Unable to read the filter '/etc/no/such'"]
wrong"#,
    );
}

#[test]
fn wrong_numbers_fall_back() {
    jail("[f]\nenabled=1\nmaxretry = abc\nmaxmatches=1_0\nfilter=f\n").check(
        "WARNING Wrong value for 'maxretry' in 'f'. Using default one: 'None' (ROOT/jail.conf:3:12)
WARNING No actions were defined for f (ROOT/jail.conf:1:1)
['add', 'f', 'auto']
['set', 'f', 'addfailregex', '^<HOST>$']
['set', 'f', 'maxretry', None]
['set', 'f', 'maxmatches', 10]
['start', 'f']
ok",
    );
    filter("[Definition]\nmaxlines = 2x\n").check(
        "WARNING Wrong int value '2x' for 'maxlines'. Using default one: None (ROOT/filter.d/f.conf:2:12)
WARNING No actions were defined for f (ROOT/jail.conf:4:9)
WARNING Wrong int value '2x' for 'maxlines'. Using default one: None (ROOT/filter.d/f.conf:2:12)
WARNING Have not found any log file for 'f' jail. (ROOT/jail.conf:5:11)
['add', 'f', 'auto']
['start', 'f']
ok",
    );
}

#[test]
fn wrong_references_stop_everything() {
    jail("[f]\nenabled=1\nfilter=f\nfindtime = %(x)s\n").check("ERROR Failed during configuration: Bad value substitution: option 'findtime' in section 'f' contains an interpolation key 'x' which is not a valid option name. Raw value: '%(x)s' (ROOT/jail.conf:4:12)
ERROR: The configuration stream failed because of the invalid syntax.
wrong");
    jail("[f]\nenabled=1\nfilter=f\nfindtime = 5%\n").check("ERROR Failed during configuration: '%' must be followed by '%' or '(', found: '%' (ROOT/jail.conf:4:13)
ERROR: The configuration stream failed because of the invalid syntax.
wrong");
    jail("[f]\nenabled=1\nfilter=f\nfindtime = %(findtime)s\n").check("ERROR Failed during configuration: Recursion limit exceeded in value substitution: option 'findtime' in section 'f' contains an interpolation key which cannot be substituted in 10 steps. Raw value: '%(findtime)s' (ROOT/jail.conf:4:12)
ERROR: The configuration stream failed because of the invalid syntax.
wrong");
    jail("[Sec]\nenabled=1\nfilter=f\n[g]\nenabled=1\nfilter=f\nbantime=%(Sec/enabled)s\n").check("WARNING No actions were defined for Sec (ROOT/jail.conf:1:1)
ERROR Failed during configuration: Bad value substitution: option 'bantime' in section 'g' contains an interpolation key 'sec/enabled' which is not a valid option name. Raw value: '%(Sec/enabled)s' (ROOT/jail.conf:7:9)
ERROR: The configuration stream failed because of the invalid syntax.
wrong");
    jail("[f]\nenabled=1\nfilter=f\nfindtime=%(known/maxlines)s\n")
        .file("filter.d/f.conf", "[Definition]\nmaxlines=2\n")
        .check(
            "ERROR Failed during configuration: argument of type 'int' is not iterable (ROOT/jail.conf:4:10)
ERROR: The configuration stream failed because of the invalid syntax.
wrong",
        );
    action("[Definition]\nactionban = %(x)s\n").check("ERROR Failed during configuration: Error in action definition 'a': Bad value substitution: option 'actionban' in section 'Definition' contains an interpolation key 'x' which is not a valid option name. Raw value: '%(x)s' (ROOT/action.d/a.conf:2:13)
ERROR: The configuration stream failed because of the invalid syntax.
wrong");
}

#[test]
fn references_go_ten_deep() {
    let deep: String = (0..12).map(|i| format!("x{i} = %(x{})s\n", i + 1)).collect();
    jail(&format!("[f]\nenabled=1\nfilter=f\nbantime=%(x3)s\n{deep}x12=1\n")).check(
        "WARNING No actions were defined for f (ROOT/jail.conf:1:1)
['add', 'f', 'auto']
['set', 'f', 'addfailregex', '^<HOST>$']
['set', 'f', 'bantime', '1']
['start', 'f']
ok",
    );
    jail(&format!("[f]\nenabled=1\nfilter=f\nbantime=%(x2)s\n{deep}x12=1\n")).check("ERROR Failed during configuration: Recursion limit exceeded in value substitution: option 'bantime' in section 'f' contains an interpolation key which cannot be substituted in 10 steps. Raw value: '%(x2)s' (ROOT/jail.conf:16:7)
ERROR: The configuration stream failed because of the invalid syntax.
wrong");
}

#[test]
fn syntax_errors_name_the_line() {
    jail("[f]\nenabled=1\nfilter=f\n[f]\n").check("ERROR Failed during configuration: While reading from 'ROOT/jail.conf' [line  4]: section 'f' already exists (ROOT/jail.conf:4:1)
ERROR: The configuration stream failed because of the invalid syntax.
wrong");
    jail("[f]\nenabled=1\nfilter=f\nfilter=g\n").check("ERROR Failed during configuration: While reading from 'ROOT/jail.conf' [line  4]: option 'filter' in section 'f' already exists (ROOT/jail.conf:4:1)
ERROR: The configuration stream failed because of the invalid syntax.
wrong");
    jail("enabled=1\n").check(
        r#"ERROR Failed during configuration: File contains no section headers.
file: 'ROOT/jail.conf', line: 1
'enabled=1\n' (ROOT/jail.conf:1:1)
ERROR: The configuration stream failed because of the invalid syntax.
wrong"#,
    );
    jail("[f]\nenabled=1\nfoo\n bar\nbaz\n").check(
        r#"ERROR Failed during configuration: Source contains parsing errors: 'ROOT/jail.conf'
	[line  3]: 'foo\n'
	[line  5]: 'baz\n' (ROOT/jail.conf:3:1)
ERROR: The configuration stream failed because of the invalid syntax.
wrong"#,
    );
    jail("\u{feff}[f]\nenabled=1\n").check(
        r#"ERROR Failed during configuration: File contains no section headers.
file: 'ROOT/jail.conf', line: 1
'\ufeff[f]\n' (ROOT/jail.conf:1:1)
ERROR: The configuration stream failed because of the invalid syntax.
wrong"#,
    );
    jail("[f]\nenabled=1\n").file("jail.d/b.conf", "[f]\n = 1\n").check(
        r#"ERROR Failed during configuration: Source contains parsing errors: 'ROOT/jail.d/b.conf'
	[line  2]: ' = 1\n' (ROOT/jail.d/b.conf:2:2)
ERROR: The configuration stream failed because of the invalid syntax.
wrong"#,
    );
    action("[Definition]\nx=1\nx=1\n").check("ERROR Failed during configuration: Error in action definition 'a': While reading from 'ROOT/action.d/a.conf' [line  3]: option 'x' in section 'Definition' already exists (ROOT/action.d/a.conf:3:1)
ERROR: The configuration stream failed because of the invalid syntax.
wrong");
}

#[test]
fn files_that_are_no_text_are_named() {
    jail(JAIL).file("jail.local", b"[f]\nenabled=1\n\xff\xfe\n").new_in_1_1().check("ERROR Error decoding config file 'ROOT/jail.local': 'utf-8' codec can't decode byte 0xff in position 14: invalid start byte (ROOT/jail.local:3:1)
ERROR Could not read config files: ROOT/jail.local
ERROR Failed during configuration: Read jails configuration failed.
ERROR: The configuration stream failed because of the invalid syntax.
wrong");
    let late = [b"[f]\nenabled=1\nenabled=0\n".as_slice(), &b"#aaaaaaa\n".repeat(1000), b"\xff"].concat();
    jail(JAIL).file("jail.local", late).check("ERROR Failed during configuration: While reading from 'ROOT/jail.local' [line  3]: option 'enabled' in section 'f' already exists (ROOT/jail.local:3:1)
ERROR: The configuration stream failed because of the invalid syntax.
wrong");
    jail(JAIL).file("jail.local", b"[f]\nenabled=1\nenabled=0\n\xff").new_in_1_1().check("ERROR Error decoding config file 'ROOT/jail.local': 'utf-8' codec can't decode byte 0xff in position 24: invalid start byte (ROOT/jail.local:4:1)
ERROR Could not read config files: ROOT/jail.local
ERROR Failed during configuration: Read jails configuration failed.
ERROR: The configuration stream failed because of the invalid syntax.
wrong");
    jail(JAIL).file("filter.d/f.conf", b"\x00\x01\xe2\x82").check(r#"ERROR Error decoding config file 'ROOT/filter.d/f.conf': 'utf-8' codec can't decode bytes in position 0-1: unexpected end of data (ROOT/filter.d/f.conf:1:3)
ERROR Could not read config files: ROOT/filter.d/f.conf
ERROR Unable to read the filter 'f' (ROOT/jail.conf:3:10)
ERROR Errors in jail 'f'. Skipping... (ROOT/jail.conf:1:1)
['config-error', "Jail 'f' skipped, because of wrong configuration: Unable to read the filter 'f'"]
wrong"#);
}

#[test]
fn files_that_are_none_are_named() {
    Tree::new().new_in_1_1().check(
        "ERROR Found no accessible config files for 'jail' under ROOT
ERROR Failed during configuration: Read jails configuration failed.
ERROR: The configuration stream failed because of the invalid syntax.
wrong",
    );
    jail(JAIL).file("filter.d/f.local/x", "").new_in_1_1().check(
        r#"ERROR Could not read config files: ROOT/filter.d/f.local
ERROR Unable to read the filter 'f' (ROOT/jail.conf:3:10)
ERROR Errors in jail 'f'. Skipping... (ROOT/jail.conf:1:1)
['config-error', "Jail 'f' skipped, because of wrong configuration: Unable to read the filter 'f'"]
wrong"#,
    );
    jail(JAIL).link("filter.d/f.local", "/dev/null").check(
        "WARNING No actions were defined for f (ROOT/jail.conf:4:9)
WARNING Have not found any log file for 'f' jail. (ROOT/jail.conf:5:11)
['add', 'f', 'auto']
['set', 'f', 'addfailregex', '^<HOST>$']
['start', 'f']
ok",
    );
    jail(JAIL).link("filter.d/f.local", "/nowhere").check(
        "WARNING No actions were defined for f (ROOT/jail.conf:4:9)
WARNING Have not found any log file for 'f' jail. (ROOT/jail.conf:5:11)
['add', 'f', 'auto']
['set', 'f', 'addfailregex', '^<HOST>$']
['start', 'f']
ok",
    );
    jail("").check(
        "
ok",
    );
}

#[test]
fn main_options_are_checked() {
    let main = |text: &str| jail(JAIL).file("fail2ban.conf", text);
    main("[Definition]\nloglevel=5\ndbmaxmatches = x\n[Thread]\nstacksize=16\n").check("WARNING Wrong value for 'dbmaxmatches' in 'Definition'. Using default one: 'None' (ROOT/fail2ban.conf:3:16)
WARNING No actions were defined for f (ROOT/jail.conf:4:9)
WARNING Have not found any log file for 'f' jail. (ROOT/jail.conf:5:11)
['add', 'f', 'auto']
['set', 'f', 'addfailregex', '^<HOST>$']
['start', 'f']
ok");
    main("[Thread]\nstacksize = 1x\n").check(
        "ERROR No section: 'Definition' (ROOT/fail2ban.conf:1:1)
ERROR No section: 'Definition' (ROOT/fail2ban.conf:1:1)
ERROR No section: 'Definition' (ROOT/fail2ban.conf:1:1)
ERROR No section: 'Definition' (ROOT/fail2ban.conf:1:1)
ERROR No section: 'Definition' (ROOT/fail2ban.conf:1:1)
ERROR No section: 'Definition' (ROOT/fail2ban.conf:1:1)
ERROR No section: 'Definition' (ROOT/fail2ban.conf:1:1)
ERROR No section: 'Definition' (ROOT/fail2ban.conf:1:1)
ERROR No section: 'Definition' (ROOT/fail2ban.conf:1:1)
ERROR No section: 'Definition' (ROOT/fail2ban.conf:1:1)
ERROR No section: 'Definition' (ROOT/fail2ban.conf:1:1)
ERROR No section: 'Definition' (ROOT/fail2ban.conf:1:1)
WARNING Wrong value for 'stacksize' in 'Thread'. Using default one: 'None' (ROOT/fail2ban.conf:2:13)
WARNING No actions were defined for f (ROOT/jail.conf:4:9)
WARNING Have not found any log file for 'f' jail. (ROOT/jail.conf:5:11)
['add', 'f', 'auto']
['set', 'f', 'addfailregex', '^<HOST>$']
['start', 'f']
ok",
    );
    main("[Definition\n").check(
        r#"(ROOT/fail2ban.conf:1:1)
ERROR: File contains no section headers.
file: 'ROOT/fail2ban.conf', line: 1
'[Definition\n'
wrong"#,
    );
    main("[Definition]\nloglevel = loud\n").check(
        "ERROR: Invalid log level 'loud'
wrong",
    );
}

#[test]
fn includes_are_read_once_around() {
    jail("[INCLUDES]\nbefore=nope.conf\n a.conf\nafter=b.conf\n[f]\nenabled=1\nfilter=f\nbantime=%(known/bantime)s0\n")
        .file("a.conf", "[INCLUDES]\nbefore=jail.conf\n b.conf\n[f]\nbantime=1\nfindtime=a\n")
        .file("a.local", "[f]\nfindtime=l\n")
        .file("b.conf", "[INCLUDES]\nafter=a.conf\n b.conf\n[f]\nbantime=%(known/bantime)s2\n[DEFAULT]\nmaxretry=7\n")
        .check("ERROR Failed during configuration: Recursion limit exceeded in value substitution: option 'bantime' in section 'f' contains an interpolation key which cannot be substituted in 10 steps. Raw value: '%(known/bantime)s2' (ROOT/b.conf:5:9)
ERROR: The configuration stream failed because of the invalid syntax.
wrong");
    jail("[INCLUDES]\nbefore = %(x)s\n[f]\n").check("ERROR Failed during configuration: Bad value substitution: option 'before' in section 'INCLUDES' contains an interpolation key 'x' which is not a valid option name. Raw value: '%(x)s' (ROOT/jail.conf:2:10)
ERROR: The configuration stream failed because of the invalid syntax.
wrong");
    jail("[DEFAULT]\nbefore=a.conf\n[INCLUDES]\n[f]\nenabled=1\nfilter=f\n")
        .file("a.conf", "[f]\nbantime=1\n")
        .check(
            "WARNING No actions were defined for f (ROOT/a.conf:1:1)
['add', 'f', 'auto']
['set', 'f', 'addfailregex', '^<HOST>$']
['set', 'f', 'bantime', '1']
['start', 'f']
ok",
        );
}

#[test]
fn files_that_include_each_other_are_read_once() {
    filter("[INCLUDES]\nbefore = g.conf\n[Definition]\nfailregex = %(known/failregex)s\n <x>\n")
        .file(
            "filter.d/g.conf",
            "[INCLUDES]\nafter = f.conf\n[Definition]\nfailregex = ^g <HOST>$\nx = ^x <HOST>$\n",
        )
        .check(
            "WARNING No actions were defined for f (ROOT/jail.conf:4:9)
WARNING Have not found any log file for 'f' jail. (ROOT/jail.conf:5:11)
['add', 'f', 'auto']
['multi-set', 'f', 'addfailregex', ['^g <HOST>$', '^x <HOST>$']]
['start', 'f']
ok",
        );
}

#[test]
fn layers_lie_in_the_order_of_their_names() {
    jail("[f]\nenabled=1\nfilter=f\n")
        .file("jail.d/b.conf", "[f]\nbantime=b\n")
        .file("jail.d/a.conf", "[f]\nbantime=a%(known/bantime)s\n")
        .file("jail.d/.h.conf", "[f]\nx")
        .file("jail.d/a.local", "[f]\nfindtime=l\n")
        .file("jail.local", "[f]\nbantime=%(known/bantime)sL\n[KNOWN/z]\nenabled=1\n")
        .check(
            "WARNING No actions were defined for f (ROOT/jail.conf:1:1)
['add', 'f', 'auto']
['set', 'f', 'addfailregex', '^<HOST>$']
['set', 'f', 'findtime', 'l']
['set', 'f', 'bantime', 'bL']
['start', 'f']
ok",
        );
    jail(
        "[DEFAULT]\nignoreip=1 2\nq=3\n[s]\nenabled=1\nfilter=f\nbantime=%%\n[g]\nenabled=1\nfilter=f\n\
          bantime=%(s/bantime)s %(default/q)s\nignoreip=%(known/ignoreip)s,  x\n",
    )
    .check(
        "WARNING No actions were defined for s (ROOT/jail.conf:4:1)
WARNING No actions were defined for g (ROOT/jail.conf:8:1)
['add', 's', 'auto']
['add', 'g', 'auto']
['start', 's']
['start', 'g']
ok",
    );
}

#[test]
fn lines_end_and_continue_as_in_python() {
    jail("[f]\r\nenabled=1\r\nfilter=f\r\nignoreip=1.1.1.1\r\n  2.2.2.2 ; x\r\n\r\n  # c\r\n  3.3.3.3\r\n")
        .check(
            "WARNING No actions were defined for f (ROOT/jail.conf:1:1)
['add', 'f', 'auto']
['set', 'f', 'addfailregex', '^<HOST>$']
['set', 'f', 'addignoreip', '1.1.1.1', '2.2.2.2', '3.3.3.3']
['start', 'f']
ok",
        );
    jail("[f]\nenabled = 1\n  ; c\n  # d\nfilter : f\nbantime: 1:2=3\nfindtime = a ;b\n y;c\n").check(
        r#"WARNING No actions were defined for f (ROOT/jail.conf:1:1)
['add', 'f', 'auto']
['set', 'f', 'addfailregex', '^<HOST>$']
['set', 'f', 'findtime', 'a\ny;c']
['set', 'f', 'bantime', '1:2=3']
['start', 'f']
ok"#,
    );
    jail("[f?x=1]\nbantime=1\n[f]\nenabled=1\nfilter=f\n[a b]\nenabled=1\nfilter=f\n[INCLUDES]\nenabled=1\n")
        .check(
            "WARNING No actions were defined for f (ROOT/jail.conf:1:1)
WARNING No actions were defined for a b (ROOT/jail.conf:6:1)
['add', 'f', 'auto']
['set', 'f', 'addfailregex', '^<HOST>$']
['add', 'a b', 'auto']
['start', 'f']
['start', 'a b']
ok",
        );
}

#[test]
fn filters_and_actions_take_options_from_everywhere() {
    jail("[f]\nenabled=1\nfilter=f[mode=x, y=\"1\"]\naction=a[name=z, q=%(__name__)s]\n  a[actname=b,actionban='x <y>']\n p.py[a=\"x\"]\n\
          usedns=no\nmaxlines=3\nfailregex=a\n  b\n\n  c <HOST>\nignoreregex=\ndatepattern=%%Y\njournalmatch=A=1 + 'B C'\n  D\n\n")
        .file("filter.d/f.conf", "[DEFAULT]\nx=5\n[Definition]\nfailregex=<mode> <known/mode> <y> <z>\n prefix\n\
            prefregex=^<F-CONTENT>.</F-CONTENT>$\nmaxlines=2\nusedns=raw\nignoreregex=%(known/x)s\nz=<y>z\n\
            [Init]\nmode=init\njournalmatch=Q=\n")
        .file("action.d/a.conf", "[Definition]\nactionban=<a> <b> <matches> <bantime> <name> <c>\nactionstart=\nnorestored=yes\n\
            a=<b><c>\nactionunban=x <actionban>\n[Init]\nb=1\nc=4\n[Init?family=inet6]\nc=6\n")
        .check(r#"['add', 'f', 'auto']
['set', 'f', 'usedns', 'no']
['set', 'f', 'maxlines', 3]
['set', 'f', 'prefregex', '^<F-CONTENT>.</F-CONTENT>$']
['set', 'f', 'addjournalmatch', 'Q=']
['multi-set', 'f', 'addfailregex', ['a', 'b', 'c <HOST>']]
['set', 'f', 'datepattern', '%Y']
['set', 'f', 'addjournalmatch', 'A=1', '+', 'B C']
['set', 'f', 'addjournalmatch', 'D']
['set', 'f', 'addaction', 'a-z']
['multi-set', 'f', 'action', 'a-z', [['actionstart', ''], ['actionban', '1<c> 1 <matches> <bantime> z <c>'], ['actionunban', 'x 1<c> 1 <matches> <bantime> z <c>'], ['norestored', True], ['name', 'z'], ['q', 'f'], ['actname', 'a-z'], ['b', '1'], ['c', '4'], ['c?family=inet6', '6']]]
['set', 'f', 'addaction', 'b']
['multi-set', 'f', 'action', 'b', [['actionstart', ''], ['actionunban', 'x x <y>'], ['norestored', True], ['actionban', 'x <y>'], ['actname', 'b'], ['name', 'f'], ['b', '1'], ['c', '4'], ['c?family=inet6', '6']]]
['set', 'f', 'addaction', 'p', 'ROOT/action.d/p.py', '{"a": "x"}']
['start', 'f']
ok"#);
    jail("[f]\nenabled=1\nfilter=f\naction=a[x=1]\n[g]\nenabled=1\nfilter=f\naction=a[x=2]\n")
        .file("action.d/a.conf", "[Definition]\nactionban=<known/x> <x> <y>\ny=%(fail2ban_version)s\nactionstart_on_demand=ON\n[Init]\nx=0\n")
        .file("action.d/a.local", "[Init]\nx=%(known/x)s+\n")
        .new_in_1_1()
        .check("ERROR Failed during configuration: Bad value substitution: option 'y' in section 'Definition' contains an interpolation key 'fail2ban_version' which is not a valid option name. Raw value: '%(fail2ban_version)s' (ROOT/action.d/a.conf:3:3)
ERROR: The configuration stream failed because of the invalid syntax.
wrong");
}

#[test]
fn definitions_that_lead_to_themselves_stop_everything() {
    filter("[Definition]\nfailregex = <a>\na = <b>\nb = x <a>\n").check("ERROR Failed during configuration: properties contain self referencing definitions and cannot be resolved, fail tag: failregex, found: a in {'a': 26, 'b': 26}, value: x x x x x x x x x x x x x x x x x x x x x x x x x x <a> (ROOT/filter.d/f.conf:2:13)
ERROR: The configuration stream failed because of the invalid syntax.
wrong");
    action("[Definition]\nactionban = <actionban>\n").check("ERROR Failed during configuration: properties contain self referencing definitions and cannot be resolved, fail tag: actionban, found: actionban in {}, value: <actionban> (ROOT/action.d/a.conf:2:13)
ERROR: The configuration stream failed because of the invalid syntax.
wrong");
}

#[test]
fn a_filter_without_a_definition_says_so_for_each_option() {
    filter("[Init]\nfailregex=<a>\n").check(
        "ERROR No section: 'Definition' (ROOT/filter.d/f.conf:1:1)
ERROR No section: 'Definition' (ROOT/filter.d/f.conf:1:1)
ERROR No section: 'Definition' (ROOT/filter.d/f.conf:1:1)
ERROR No section: 'Definition' (ROOT/filter.d/f.conf:1:1)
ERROR No section: 'Definition' (ROOT/filter.d/f.conf:1:1)
ERROR No section: 'Definition' (ROOT/filter.d/f.conf:1:1)
ERROR No section: 'Definition' (ROOT/filter.d/f.conf:1:1)
ERROR No section: 'Definition' (ROOT/filter.d/f.conf:1:1)
ERROR No section: 'Definition' (ROOT/filter.d/f.conf:1:1)
ERROR No section: 'Definition' (ROOT/filter.d/f.conf:1:1)
ERROR No section: 'Definition' (ROOT/filter.d/f.conf:1:1)
ERROR No section: 'Definition' (ROOT/filter.d/f.conf:1:1)
ERROR No section: 'Definition' (ROOT/filter.d/f.conf:1:1)
WARNING No actions were defined for f (ROOT/jail.conf:4:9)
WARNING Have not found any log file for 'f' jail. (ROOT/jail.conf:5:11)
['add', 'f', 'auto']
['set', 'f', 'addfailregex', '<a>']
['start', 'f']
ok",
    );
    filter("[Definition]\nfailregex=1\n[Init?f=X]\na=1\n").check(
        "ERROR Failed during configuration: No option 'a?f=x' in section: 'Init' (ROOT/filter.d/f.conf:4:1)
ERROR: The configuration stream failed because of the invalid syntax.
wrong",
    );
    jail("[f]\nenabled=1\nfilter=f\njournalmatch = 'x\n").check(
        "WARNING No actions were defined for f (ROOT/jail.conf:1:1)
ERROR Failed during configuration: No closing quotation (ROOT/jail.conf:4:16)
ERROR: The configuration stream failed because of the invalid syntax.
wrong",
    );
}

#[test]
fn what_to_do_without_log_files_is_up_to_the_jail() {
    jail(
        "[DEFAULT]\nfilter=f\nenabled=1\n[f]\nskip_if_nologs=1\nlogpath=/nope\n\
          [g]\nlogpath=/nope tail\n /nope2\njournalmatch=a\n\
          [h]\nbackend=systemd\nlogpath=/x\n\
          [i]\nfilter=f[logtype=x]\nsystemd_if_nologs=0\njournalmatch=\nlogpath=\n",
    )
    .new_in_1_1()
    .check(
        r#"WARNING No actions were defined for f (ROOT/jail.conf:4:1)
WARNING No actions were defined for g (ROOT/jail.conf:7:1)
WARNING No actions were defined for h (ROOT/jail.conf:11:1)
WARNING No actions were defined for i (ROOT/jail.conf:14:1)
WARNING Have not found any log file for 'f' jail. (ROOT/jail.conf:6:9)
WARNING Jail 'f' skipped, because of missing log files. (ROOT/jail.conf:6:9)
WARNING Have not found any log file for 'g' jail. Jail will monitor systemd journal. (ROOT/jail.conf:8:9)
WARNING Have not found any log file for 'i' jail. (ROOT/jail.conf:18:9)
['config-error', "Jail 'f' skipped, because of missing log files."]
['add', 'g', 'systemd']
['add', 'h', 'systemd']
['add', 'i', 'auto']
['start', 'g']
['start', 'h']
['start', 'i']
ok"#,
    );
}

#[test]
fn unreasonable_files_are_refused() {
    jail(JAIL).file("jail.local", "#".repeat((16 << 20) + 1)).ours_alone().check(
        "ERROR Failed during configuration: 'ROOT/jail.local' is larger than 16 MiB
ERROR: The configuration stream failed because of the invalid syntax.
wrong",
    );
    let mut tree = jail("[INCLUDES]\nbefore = 1.conf\n");
    for i in 1..=120 {
        tree = tree.file(&format!("{i}.conf"), format!("[INCLUDES]\nbefore = {}.conf\n", i + 1));
    }
    tree.ours_alone().check("ERROR Failed during configuration: ROOT/100.conf is included through more than 100 files (ROOT/100.conf:2:10)
ERROR: The configuration stream failed because of the invalid syntax.
wrong");
    let mut tree = jail("[INCLUDES]\nbefore = 1.conf\n");
    for i in 1..=30 {
        tree = tree.file(&format!("{i}.conf"), format!("[INCLUDES]\nbefore = {0}.conf\n {0}.conf\n", i + 1));
    }
    tree.file("31.conf", "").ours_alone().check(
        "ERROR Failed during configuration: ROOT/18.conf includes too many files (ROOT/18.conf:2:10)
ERROR: The configuration stream failed because of the invalid syntax.
wrong",
    );
    jail("[INCLUDES]\nbefore = ./jail.conf\n").ours_alone().check("ERROR Failed during configuration: ROOT/././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././jail.conf is included through more than 100 files (ROOT/././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././././jail.conf:2:10)
ERROR: The configuration stream failed because of the invalid syntax.
wrong");
}

#[test]
fn unreasonable_values_are_read() {
    let nested = format!("[f]\nenabled=1\nfilter=f\naction=a{}\n", "[".repeat(10_000));
    jail(&nested).ours_alone().check_ok(false);
    let chain = |form: fn(usize) -> String| -> String { (0..10_000).map(form).collect() };
    let references = chain(|i| format!("x{i} = %(x{})s\n", i + 1));
    jail(&format!("[f]\nenabled=1\nfilter=f\nbantime=%(x0)s\n{references}")).ours_alone().check_ok(false);
    let tags = chain(|i| format!("x{i} = <x{}>\n", i + 1));
    filter(&format!("[Definition]\nfailregex = ^<x0><HOST>$\n{tags}")).ours_alone().check_ok(false);
    let long = format!("[f]\nenabled=1\nfilter=f\nignoreip={}\n", "192.0.2.1 ".repeat(100_000));
    jail(&long).check_ok(true);
    let many: String = (0..10_000).map(|i| format!("  {i}\n")).collect();
    jail(&format!("[f]\nenabled=1\nfilter=f\nfailregex=\n{many}")).check_ok(true);
    let tags = "<".repeat(10_000) + &">".repeat(10_000);
    filter(&format!("[Definition]\nfailregex = {tags}\n")).check_ok(true);
}
