use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::succession::LONGEST_ROTATION;
use super::*;
use crate::server::retired::GRACE;
use crate::server::tail::{MAX_LINE, first_line_hash};

fn from_the_start() -> Place {
    Place { position: 0, hash: String::new() }
}

struct Fixture {
    dir: tempfile::TempDir,
    log: LogFile,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = LogFile::new(dir.path().join("log"), from_the_start(), false);
        Self { dir, log }
    }

    fn append(&self, text: &str) {
        let path = self.dir.path().join("log");
        let mut file = File::options().append(true).create(true).open(path).expect("the log");
        file.write_all(text.as_bytes()).expect("a write");
    }

    fn rename(&self) {
        fs::rename(self.dir.path().join("log"), self.dir.path().join("log.1")).expect("a rename");
    }

    fn read_all(&mut self) {
        while self.log.read_lines(&Encoding::default(), None, |_| ()).is_ok_and(|is| is != Progress::End) {}
    }

    #[track_caller]
    fn expect(&mut self, lines: &[&str], progress: Progress) {
        let mut seen = Vec::new();
        let result = loop {
            let result = self.log.read_lines(&Encoding::default(), None, |line| {
                seen.push(line.encoding.decode_line(line.bytes).0.into_owned());
            });
            match result {
                Ok(Progress::Unsettled) => std::thread::sleep(Duration::from_millis(5)),
                Ok(Progress::More) if progress != Progress::More => {}
                result => break result,
            }
        };
        assert_eq!(result.ok(), Some(progress));
        assert_eq!(seen, lines);
    }
}

#[test]
fn a_file_that_is_closed_for_a_while_is_read_on() {
    let mut file = Fixture::new();
    file.append("one\ntw");
    file.expect(&["one"], Progress::End);
    file.log.close();
    file.expect(&[], Progress::End);
    assert_eq!((file.log.open_files(), file.log.place().position), (0, 4));
    file.append("o\n");
    file.expect(&["two"], Progress::End);
    file.log.close();
    // Emptied, and the same first line and more come.
    fs::write(file.dir.path().join("log"), "one\nnew\nmore\n").expect("a write");
    file.expect(&["one", "new", "more"], Progress::End);
    file.log.close();
    file.append("late\n");
    file.rename();
    file.append("next\n");
    file.expect(&["late", "next"], Progress::End);
}

#[test]
fn lines_come_when_they_are_whole() {
    let mut file = Fixture::new();
    file.expect(&[], Progress::Missing);
    file.append("one\ntw");
    file.expect(&["one"], Progress::End);
    assert_eq!(file.log.place().position, 4);
    file.append("o\n\n");
    file.expect(&["two", ""], Progress::End);
}

#[test]
fn a_renamed_file_is_read_to_its_end_before_the_new_one() {
    let mut file = Fixture::new();
    file.append("one\n");
    file.expect(&["one"], Progress::End);
    file.append("two\n");
    file.rename();
    file.expect(&["two"], Progress::Missing);
    file.append("three\n");
    file.expect(&["three"], Progress::End);
    assert_eq!(file.log.place().position, 6);
}

/// A place in the new file is one behind all lines of the old one: a stop right then would skip them.
#[test]
fn what_came_between_the_last_look_and_a_rotation_is_read_before_the_new_file() {
    let mut file = Fixture::new();
    file.append("one\n");
    file.expect(&["one"], Progress::End);
    file.append("two\n");
    file.rename();
    file.append("three\n");
    // As long as this a rotation takes.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(file.log.look_behind().expect("a file"), None);
    assert_eq!(file.log.place().position, 4);
    file.expect(&["two", "three"], Progress::End);
}

#[test]
fn a_writer_that_has_not_noticed_the_rotation_is_heard() {
    let mut file = Fixture::new();
    file.append("one\n");
    let path = file.dir.path().join("log");
    let mut writer = File::options().append(true).open(path).expect("the log");
    file.expect(&["one"], Progress::End);
    file.rename();
    file.append("new\n");
    file.expect(&["new"], Progress::End);
    let since = |file: &Fixture| file.log.retired.open[0].1;
    let retired = since(&file);
    writer.write_all(b"late\n").expect("a write");
    file.expect(&["late"], Progress::End);
    assert_eq!(file.log.place().position, 4);
    // As long as it goes on.
    let heard = since(&file);
    assert!(heard > retired);
    file.append("newer\n");
    file.expect(&["newer"], Progress::End);
    assert_eq!(since(&file), heard);
}

/// As long as this two files are not told apart by their times.
fn pass_time() {
    std::thread::sleep(Duration::from_millis(15));
}

/// It may be written to at any time, and be called as if a rotation had made it (`app.log`, `app-2026-11-25.log`).
#[test]
fn a_log_beside_it_is_no_generation() {
    // It was there before, or is known as one that is followed.
    for is_older in [true, false] {
        let mut file = Fixture::new();
        let path = file.dir.path().join("log");
        let beside = file.dir.path().join("log-20261125");
        let write = || fs::write(&beside, "other\nlines\n").expect("a log");
        if is_older {
            write();
            pass_time();
        } else {
            let logs = Logs::default();
            logs.insert(&beside);
            file.log = LogFile::new(path.clone(), from_the_start(), false).among(&logs);
        }
        let append = |text: &str| {
            let mut other = File::options().append(true).create(true).open(&beside).expect("a log");
            other.write_all(text.as_bytes()).expect("a write");
            pass_time();
        };
        file.append("");
        file.expect(&[], Progress::End);
        pass_time();
        append("of another\n");
        file.append("one\n");
        file.expect(&["one"], Progress::End);
        fs::write(&path, "").expect("an emptied log");
        file.expect(&[], Progress::End);
        pass_time();
        append("log\n");
        file.append("two\n");
        file.expect(&["two"], Progress::End);
        file.rename();
        pass_time();
        append("again\n");
        file.append("three\n");
        file.expect(&["three"], Progress::End);
        fs::remove_file(&path).expect("a log");
        pass_time();
        append("and again\n");
        file.append("four\n");
        file.expect(&["four"], Progress::End);
    }
}

/// The same after a restart over a rotation, where only names tell: old files have their marks all at the end, or none has.
#[test]
fn a_log_beside_it_is_no_generation_after_a_restart() {
    let mut file = Fixture::new();
    let path = file.dir.path().join("app.log");
    file.log = LogFile::new(path.clone(), from_the_start(), false);
    fs::write(&path, "one\n").expect("a log");
    file.expect(&["one"], Progress::End);
    let place = file.log.place();
    pass_time();
    fs::rename(&path, path.with_file_name("app.log.1")).expect("a rotation");
    fs::write(path.with_file_name("app-20261126.log"), "of another log\n").expect("a log");
    pass_time();
    fs::write(&path, "").expect("a log");
    file.log = LogFile::new(path.clone(), place, false);
    file.expect(&[], Progress::End);
    fs::write(&path, "two\n").expect("a log");
    file.expect(&["two"], Progress::End);
}

/// A file without a name takes room for as long as somebody has it open.
#[test]
fn a_file_that_has_lost_its_name_for_good_is_closed_after_a_while() {
    let mut file = Fixture::new();
    file.append("one\n");
    file.expect(&["one"], Progress::End);
    file.rename();
    file.expect(&[], Progress::Missing);
    assert_eq!(file.log.open_files(), 1);
    let long_ago = Instant::now().checked_sub(GRACE).expect("the machine runs for longer");
    file.log.changed = long_ago;
    file.log.rotated.replace(long_ago).expect("it is known that it is gone");
    file.expect(&[], Progress::Missing);
    assert_eq!(file.log.open_files(), 0);
    // It is known all the same.
    fs::rename(file.dir.path().join("log.1"), file.dir.path().join("log")).expect("its name");
    file.append("two\n");
    file.expect(&["two"], Progress::End);
}

#[test]
fn generations_that_came_and_went_unseen_are_read_in_their_order() {
    let mut file = Fixture::new();
    file.append("one\n");
    file.expect(&["one"], Progress::End);
    for (number, text) in ["two\n", "three\n", "four\n"].iter().enumerate() {
        pass_time();
        let name = format!("log.{}", 9 - number);
        fs::rename(file.dir.path().join("log"), file.dir.path().join(name)).expect("a rotation");
        file.append(text);
    }
    file.expect(&["two", "three", "four"], Progress::End);
}

#[test]
fn a_copy_of_what_has_been_read_is_no_generation() {
    let mut file = Fixture::new();
    let path = |name: &str| file.dir.path().join(name);
    let (log, copy, old) = (path("log"), path("log.2"), path("log.1"));
    file.append("one\ntwo\n");
    file.expect(&["one", "two"], Progress::End);
    pass_time();
    fs::copy(&log, copy).expect("a copy");
    fs::write(&log, "six\n").expect("an emptied log");
    file.expect(&["six"], Progress::End);
    fs::rename(&log, old).expect("a rotation");
    pass_time();
    file.append("seven\n");
    file.expect(&["seven"], Progress::End);
}

#[test]
fn the_first_line_may_be_that_of_another_generation() {
    let mut file = Fixture::new();
    file.append("\none\n");
    file.expect(&["", "one"], Progress::End);
    file.rename();
    pass_time();
    file.append("two\n");
    file.expect(&["two"], Progress::End);
    for (number, text) in [(2, "\nthree\n"), (3, "four\n")] {
        let to = file.dir.path().join(format!("log.{number}"));
        fs::rename(file.dir.path().join("log"), to).expect("a rotation");
        pass_time();
        file.append(text);
    }
    file.expect(&["", "three", "four"], Progress::End);
}

#[test]
fn a_directory_that_never_comes_to_rest_holds_no_rotation_up() {
    let mut file = Fixture::new();
    file.append("one\n");
    file.expect(&["one"], Progress::End);
    let (restless, (end, ended)) = (file.dir.path().join("other"), std::sync::mpsc::channel());
    let churn = std::thread::spawn(move || {
        let until = Instant::now() + LONGEST_ROTATION * 10;
        while ended.try_recv().is_err() {
            fs::write(&restless, "").expect("a file");
            fs::remove_file(&restless).expect("the file");
            if Instant::now() > until {
                return false;
            }
        }
        true
    });
    file.rename();
    file.append("two\n");
    file.expect(&["two"], Progress::End);
    // The thread may be gone already.
    let _ = end.send(());
    assert!(churn.join().expect("a thread"), "the rotation was noticed when the directory had come to rest");
}

#[test]
fn a_file_that_gets_its_name_back_late_is_not_read_twice() {
    let mut file = Fixture::new();
    let path = |name: &str| file.dir.path().join(name);
    let (log, old, other) = (path("log"), path("log.1"), path("log.2"));
    file.append("one\n");
    file.expect(&["one"], Progress::End);
    file.rename();
    pass_time();
    file.append("two\n");
    file.expect(&["two"], Progress::End);
    for (_, since) in &mut file.log.retired.open {
        *since = since.checked_sub(GRACE).expect("a machine that has run for that long");
    }
    file.expect(&[], Progress::End);
    assert_eq!(file.log.open_files(), 1);
    // It comes back with one line more.
    let come_back = || {
        fs::rename(&log, &other).expect("a rotation");
        fs::rename(&old, &log).expect("a way back");
    };
    come_back();
    file.append("three\n");
    file.expect(&["three"], Progress::End);
    // What has another text by then begins anew.
    file.rename();
    pass_time();
    file.append("four\n");
    file.expect(&["four"], Progress::End);
    file.log.retired.close_all();
    fs::write(&old, "five\nsix\nseven\n").expect("a write");
    come_back();
    file.expect(&["five", "six", "seven"], Progress::End);
}

#[test]
fn a_file_that_gets_its_name_back_while_nobody_reads_is_read_on() {
    let mut file = Fixture::new();
    let dir = file.dir.path().to_owned();
    let rename = |from: &str, to: &str| {
        fs::rename(dir.join(from), dir.join(to)).expect("another name");
        pass_time();
    };
    file.append("one\n");
    file.log.read_lines(&Encoding::default(), None, |_| ()).expect("a log");
    rename("log", "log.1");
    file.append("two\n");
    file.expect(&["two"], Progress::End);
    let (place, old) = (file.log.place(), file.log.old_places(&file.log.place()));
    assert_eq!((place.position, old.len()), (4, 1));
    file.append("three\n");
    rename("log", "log.2");
    rename("log.1", "log");
    file.append("four\n");
    file.log = LogFile::new(file.dir.path().join("log"), place, false).read_at(None, old);
    file.expect(&["four"], Progress::End);
    file.expect(&["three"], Progress::End);
}

#[test]
fn reading_goes_on_in_a_file_that_was_renamed_while_nobody_read() {
    let mut file = Fixture::new();
    file.append("one\n");
    file.expect(&["one"], Progress::End);
    let place = file.log.place();
    file.append("two\n");
    fs::rename(file.dir.path().join("log"), file.dir.path().join("log-20261125")).expect("a rotation");
    pass_time();
    file.append("three\n");
    file.log = LogFile::new(file.dir.path().join("log"), place, false);
    file.expect(&["two", "three"], Progress::End);
    // One that nobody knows of any more takes nothing with it.
    let place = Place { position: 4, hash: "0".repeat(40) };
    file.log = LogFile::new(file.dir.path().join("log"), place, false);
    file.expect(&["three"], Progress::End);
}

#[test]
fn a_new_file_without_a_line_is_found_from_the_one_before() {
    let mut file = Fixture::new();
    file.append("one\n");
    file.expect(&["one"], Progress::End);
    let place = file.log.place();
    file.rename();
    pass_time();
    file.append("tw");
    file.expect(&[], Progress::End);
    assert_eq!(file.log.place(), place);
    file.append("o\n");
    file.expect(&["two"], Progress::End);
    assert_eq!(file.log.place().position, 4);
    assert_ne!(file.log.place().hash, place.hash);
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let mut file = Fixture::new();
    let path = file.dir.path().join("log");
    let socket = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    assert!(first_line_hash(&path).is_err());
    assert!(file.log.read_lines(&Encoding::default(), None, |_| {}).is_err());
    drop(socket);
    fs::remove_file(&path).expect("the socket");
    fs::create_dir(&path).expect("a directory");
    let error = file.log.read_lines(&Encoding::default(), None, |_| {}).expect_err("a directory");
    assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
}

#[test]
fn a_truncated_file_is_read_from_its_start() {
    let mut file = Fixture::new();
    file.append("one\ntwo\n");
    file.expect(&["one", "two"], Progress::End);
    fs::write(file.dir.path().join("log"), "new\n").expect("a write");
    file.expect(&["new"], Progress::End);
}

#[test]
fn a_file_that_was_emptied_and_has_grown_again_is_read_from_its_start() {
    let mut file = Fixture::new();
    file.append("one\ntw");
    file.expect(&["one"], Progress::End);
    fs::write(file.dir.path().join("log"), "six\n88").expect("a write");
    file.expect(&["six"], Progress::End);
    fs::write(file.dir.path().join("log"), "seven\neight\n").expect("a write");
    file.expect(&["seven", "eight"], Progress::End);
}

/// Some write their lines over zeros that they have put there before, or over the end of what they wrote last.
#[test]
fn what_is_written_over_the_end_of_a_file_is_read_once() {
    for zeros in [1, 4096, 10 << 20] {
        write_over_zeros(zeros);
    }
}

fn write_over_zeros(zeros: u64) {
    let mut file = Fixture::new();
    let path = file.dir.path().join("log");
    let write = |at: u64, text: &str| {
        let opened = File::options().write(true).open(&path).expect("the log");
        opened.write_all_at(text.as_bytes(), at).expect("a write");
        opened
    };
    file.append("one\n");
    file.expect(&["one"], Progress::End);
    write(0, "").set_len(4 + zeros).expect("zeros behind it");
    file.expect(&[], Progress::End);
    let mut at = 4;
    for line in [
        "two\n",
        "a longer line of more than a few bytes, so that all of a trace is written anew at once\n",
        "x\n",
    ] {
        write(at, line);
        at += line.len() as u64;
        pass_time();
        file.expect(&[line.trim_end()], Progress::End);
        file.expect(&[], Progress::End);
    }
    // The end of what is there by now, and more behind; then less than was there.
    write(at, "]").set_len(at + 1).expect("it is cut");
    file.expect(&[], Progress::End);
    for line in ["[1", ",2", ",3"] {
        write(at, &format!("{line}\n]"));
        at += line.len() as u64 + 1;
        file.expect(&[line], Progress::End);
    }
    write(0, "").set_len(at).expect("it is cut");
    file.expect(&[], Progress::End);
    file.append("]\nlast\n");
    file.expect(&["]", "last"], Progress::End);
}

/// As some editors write a file, into which others look meanwhile; fail2ban reads all of it again if it comes at that time.
#[test]
fn a_text_that_comes_back_is_not_read_twice() {
    let mut file = Fixture::new();
    let path = file.dir.path().join("log");
    let lines: Vec<String> = (0..20).map(|number| format!("line {number}")).collect();
    let content = lines.join("\n") + "\nhalf a";
    file.append(&content);
    file.expect(&lines.iter().map(String::as_str).collect::<Vec<_>>(), Progress::End);
    for part in [0, 5, 30, content.len()] {
        fs::write(&path, "").expect("an emptied log");
        file.expect(&[], Progress::End);
        fs::write(&path, &content[..part]).expect("a part of it");
        let progress = file.log.read_lines(&Encoding::default(), None, |_| panic!("nothing is new"));
        assert!(progress.is_ok_and(|progress| [Progress::End, Progress::Unsettled].contains(&progress)));
        fs::write(&path, &content).expect("all of it");
        file.expect(&[], Progress::End);
    }
    file.append(" line\n");
    file.expect(&["half a line"], Progress::End);
    // Another text that begins like it.
    fs::write(&path, "").expect("an emptied log");
    file.expect(&[], Progress::End);
    fs::write(&path, "line 0\nand another one\n").expect("another text");
    file.expect(&["line 0", "and another one"], Progress::End);
}

/// `logrotate` may copy a log and leave it as it is.
#[test]
fn a_copy_of_a_log_that_was_not_emptied_is_no_old_file() {
    let mut file = Fixture::new();
    file.append("");
    file.expect(&[], Progress::End);
    pass_time();
    file.append("one\ntwo\n");
    fs::copy(file.dir.path().join("log"), file.dir.path().join("log.1")).expect("a copy");
    file.append("three\n");
    file.expect(&["one", "two", "three"], Progress::End);
    file.expect(&[], Progress::End);
}

#[test]
fn a_file_that_was_copied_and_emptied_twice_before_anybody_looked_is_read_in_both_copies() {
    let mut file = Fixture::new();
    file.append("one\n");
    file.expect(&["one"], Progress::End);
    for number in [2, 1] {
        pass_time();
        fs::copy(file.dir.path().join("log"), file.dir.path().join(format!("log.{number}"))).expect("a copy");
        fs::write(file.dir.path().join("log"), "").expect("an emptied log");
        file.append("two\n");
    }
    pass_time();
    fs::write(file.dir.path().join("log"), "three\n").expect("an emptied log");
    file.expect(&["two", "three"], Progress::End);
}

/// The end of a list is a line of its own, which the next entry takes the place of.
#[test]
fn a_last_line_that_others_take_the_place_of_is_read_again_alone() {
    let mut file = Fixture::new();
    let path = file.dir.path().join("log");
    let mut content = String::from("[\n");
    for number in 0..40 {
        content += &format!("entry {number}\n");
        fs::write(&path, content.clone() + "]\n").expect("a log");
        pass_time();
        let entry = format!("entry {number}");
        match number {
            0 => file.expect(&["[", &entry, "]"], Progress::End),
            // Until there is enough to know it again.
            1..10 => file.read_all(),
            _ => file.expect(&[&entry, "]"], Progress::End),
        }
    }
}

#[test]
fn what_had_not_been_read_of_a_file_that_was_emptied_is_read_in_its_copy() {
    let mut file = Fixture::new();
    let (log, copy) = (file.dir.path().join("log"), file.dir.path().join("log.1"));
    let make_copy = || fs::copy(&log, &copy).expect("a copy");
    file.append("one\ntwo\nthr");
    file.expect(&["one", "two"], Progress::End);
    let old = file.log.place();
    file.append("ee\nfour\n");
    make_copy();
    fs::write(&log, "five\n").expect("a write");
    let fork = file.log.fork().expect("another reader");
    file.expect(&["three", "four", "five"], Progress::End);
    let read = std::mem::replace(&mut file.log, fork);
    file.expect(&["three", "four", "five"], Progress::End);
    assert_eq!(file.log.distance_to(&read), Some(0));
    assert_ne!(file.log.place().hash, old.hash);
    // While nothing stands in the file, a restart goes on behind the copy.
    file.append("six\n");
    make_copy();
    fs::write(&log, "").expect("a write");
    file.expect(&["six"], Progress::End);
    let place = file.log.place();
    assert_eq!(place.position, "five\nsix\n".len() as u64);
    file.log = LogFile::new(log, place, false);
    file.expect(&[], Progress::End);
    file.append("seven\n");
    file.expect(&["seven"], Progress::End);
}

#[test]
fn what_was_written_and_copied_before_anything_was_read_is_read_in_the_copy() {
    let mut file = Fixture::new();
    let (log, copy) = (file.dir.path().join("log"), file.dir.path().join("log.1"));
    let rotate = || {
        pass_time();
        fs::copy(&log, &copy).expect("a copy");
        fs::write(&log, "").expect("an emptied log");
        pass_time();
    };
    file.append("");
    file.expect(&[], Progress::End);
    pass_time();
    file.append("one\ntwo\n");
    rotate();
    file.expect(&["one", "two"], Progress::End);
    pass_time();
    file.append("three\n");
    rotate();
    file.append("four\n");
    file.expect(&["three", "four"], Progress::End);
    // The beginning of the first line only.
    fs::write(&log, "").expect("an emptied log");
    file.append("fi");
    file.expect(&[], Progress::End);
    file.append("ve\nsix\n");
    rotate();
    file.append("seven\n");
    file.expect(&["five", "six", "seven"], Progress::End);
    // Several times before anybody looks.
    for (number, text) in [(3, "eight\n"), (2, "nine\n")] {
        file.append(text);
        pass_time();
        fs::copy(&log, file.dir.path().join(format!("log.{number}"))).expect("a copy");
        fs::write(&log, "").expect("an emptied log");
        pass_time();
    }
    file.append("ten\n");
    file.expect(&["eight", "nine", "ten"], Progress::End);
}

#[test]
fn a_copy_is_looked_for_when_a_file_that_was_closed_has_been_emptied() {
    let mut file = Fixture::new();
    let log = file.dir.path().join("log");
    file.append("one\ntwo\nth");
    file.expect(&["one", "two"], Progress::End);
    file.log.close();
    file.append("ree\nfour\n");
    fs::copy(&log, file.dir.path().join("log.1")).expect("a copy");
    fs::write(&log, "five\n").expect("a write");
    file.expect(&["three", "four", "five"], Progress::End);
}

/// A reader that has not noticed yet that the file was emptied is not at the place of one that has.
#[test]
fn readers_of_different_texts_do_not_meet() {
    let mut file = Fixture::new();
    file.append("one\ntwo\n");
    file.expect(&["one", "two"], Progress::End);
    let mut late = file.log.fork().expect("another reader");
    fs::write(file.dir.path().join("log"), "six\n888\n").expect("a write");
    file.expect(&["six", "888"], Progress::End);
    assert_eq!(late.place().position, file.log.place().position);
    assert_eq!((late.distance_to(&file.log), file.log.distance_to(&late)), (None, None));
    assert_eq!(read(&mut late, None).0, ["six", "888"]);
    assert_eq!(late.distance_to(&file.log), Some(0));
}

#[test]
fn a_restart_goes_on_from_a_copy_to_the_file_that_was_emptied_and_renamed() {
    for (first, second, third) in [
        ("log-20261125", "log-20261125", "log-20261126"),
        ("log.1", "log.2", "log.1"),
        ("log.1", "log.1", "log-20261126"),
    ] {
        let mut file = Fixture::new();
        let path = |name: &str| file.dir.path().join(name);
        let (log, first, second, third) = (path("log"), path(first), path(second), path(third));
        file.append("one\ntwo\n");
        file.expect(&["one", "two"], Progress::End);
        let place = file.log.place();
        file.append("three\n");
        fs::copy(&log, &first).expect("a copy");
        pass_time();
        fs::write(&log, "").expect("an emptied log");
        file.append("four\n");
        fs::rename(first, second).expect("a rotation");
        fs::rename(&log, third).expect("a rotation");
        pass_time();
        file.append("five\n");
        file.log = LogFile::new(log, place, false);
        file.expect(&["three", "four", "five"], Progress::End);
    }
}

/// It is a copy of what is read under the name.
#[test]
fn a_renamed_file_that_is_overwritten_is_left_alone() {
    let mut file = Fixture::new();
    file.append("one\ntwo\n");
    file.expect(&["one", "two"], Progress::End);
    file.rename();
    file.append("three\n");
    file.expect(&["three"], Progress::End);
    file.append("four\n");
    fs::copy(file.dir.path().join("log"), file.dir.path().join("log.1")).expect("a copy");
    fs::write(file.dir.path().join("log"), "five\n").expect("a write");
    file.expect(&["four", "five"], Progress::End);
}

/// As an editor leaves it; fail2ban reads all of it again.
#[test]
fn a_copy_in_place_of_a_file_is_read_on() {
    let mut file = Fixture::new();
    let lines: Vec<String> = (0..20).map(|number| format!("line {number}")).collect();
    let content = lines.join("\n") + "\nhalf a";
    file.append(&content);
    file.expect(&lines.iter().map(String::as_str).collect::<Vec<_>>(), Progress::End);
    let new = file.dir.path().join("new");
    let replace = |content: &str| {
        fs::write(&new, content).expect("a file");
        fs::rename(&new, new.with_file_name("log")).expect("another file");
        pass_time();
    };
    replace(&(content + " line\nanother one\n"));
    file.expect(&["half a line", "another one"], Progress::End);
    replace("of another text\n");
    file.expect(&["of another text"], Progress::End);
    // So little is not known again.
    replace("of another text\nand on\n");
    file.expect(&["of another text", "and on"], Progress::End);
}

#[test]
fn an_old_file_that_can_not_be_read_any_more_is_left_alone() {
    let mut file = Fixture::new();
    file.append("one\n");
    file.expect(&["one"], Progress::End);
    file.rename();
    file.append("two\n");
    file.expect(&["two"], Progress::End);
    // As if the server of files had lost it: this one is open for writing only.
    let broken = File::create(file.dir.path().join("broken")).expect("a file");
    file.log.retired.open[0].0.file = broken.into();
    file.append("three\n");
    assert!(file.log.read_lines(&Encoding::default(), None, |_| {}).is_err());
    file.expect(&["three"], Progress::End);
}

/// The last bytes are known even if they came one by one.
#[test]
fn a_file_that_was_emptied_is_known_by_more_than_what_came_last() {
    let mut file = Fixture::new();
    file.append("one\ntwo");
    file.expect(&["one"], Progress::End);
    file.append("\n");
    file.expect(&["two"], Progress::End);
    fs::write(file.dir.path().join("log"), "six\n888\n99\n").expect("a write");
    file.expect(&["six", "888", "99"], Progress::End);
}

/// What a reader gets, up to a distance.
fn read(log: &mut LogFile, distance: Option<u64>) -> (Vec<String>, Progress) {
    let mut seen = Vec::new();
    loop {
        let progress = log.read_lines(&Encoding::default(), distance, |line| {
            seen.push(line.encoding.decode_line(line.bytes).0.into_owned());
        });
        match progress.expect("a file") {
            Progress::More => {}
            progress => return (seen, progress),
        }
    }
}

#[test]
fn readers_part_and_meet_again() {
    let mut file = Fixture::new();
    file.append("one\ntw");
    file.expect(&["one"], Progress::End);
    let mut behind = file.log.fork().expect("another reader");
    assert_eq!(behind.distance_to(&file.log), Some(0));
    file.append("o\nthree\nfo");
    file.expect(&["two", "three"], Progress::End);
    assert_eq!((behind.distance_to(&file.log), file.log.distance_to(&behind)), (Some(10), None));
    file.append("ur\nfive\n");
    // One that is behind comes exactly to where the other one is, and the other one goes on.
    assert_eq!(read(&mut behind, Some(10)), (vec!["two".into(), "three".into()], Progress::Met));
    assert_eq!((behind.distance_to(&file.log), file.log.distance_to(&behind)), (Some(0), Some(0)));
    file.expect(&["four", "five"], Progress::End);
    // Not over a rotation, until both have gone over it.
    file.rename();
    pass_time();
    file.append("six\n");
    file.expect(&["six"], Progress::End);
    assert_eq!(behind.distance_to(&file.log), None);
    let lines = ["four", "five", "six"].map(String::from).to_vec();
    assert_eq!(read(&mut behind, None), (lines, Progress::End));
    assert_eq!((behind.distance_to(&file.log), file.log.distance_to(&behind)), (Some(0), Some(0)));
    // Who has begun in the new file may join those who read on in the old one, but not the other way round.
    let start = Place { position: 4, hash: first_line_hash(file.log.path()).expect("a hash") };
    let mut late = LogFile::new(file.log.path().into(), start, true);
    assert_eq!(read(&mut late, None), (vec![], Progress::End));
    assert_eq!((late.distance_to(&file.log), file.log.distance_to(&late)), (Some(0), None));
}

#[test]
fn a_reader_that_parts_in_an_overlong_line_does_not_take_its_rest_for_a_line() {
    let mut file = Fixture::new();
    file.append(&"x".repeat(MAX_LINE + 200_000));
    let (first, _) = read(&mut file.log, None);
    assert_eq!(first.iter().map(String::len).collect::<Vec<_>>(), [MAX_LINE]);
    let mut other = file.log.fork().expect("another reader");
    assert_eq!(other.distance_to(&file.log), None);
    file.append("rest\nnext\n");
    assert_eq!(read(&mut other, None).0, ["next"]);
    assert_eq!(read(&mut file.log, None).0, ["next"]);
}

#[test]
fn a_reader_that_parts_when_the_file_was_emptied_begins_anew() {
    let mut file = Fixture::new();
    file.append("one\ntwo\n");
    file.expect(&["one", "two"], Progress::End);
    fs::write(file.log.path(), "1234567\nnew\n").expect("a write");
    let mut other = file.log.fork().expect("another reader");
    assert_eq!(read(&mut other, None).0, ["1234567", "new"]);
    assert_eq!(read(&mut file.log, None).0, ["1234567", "new"]);
}

#[test]
fn a_file_that_looks_the_same_is_not_read() {
    let mut file = Fixture::new();
    assert!(file.log.has_news());
    file.append("one\n");
    file.expect(&["one"], Progress::End);
    assert!(!file.log.has_news());
    file.append("two\n");
    assert!(file.log.has_news());
    // What comes between the look and the reading is read, and looked for once more.
    file.append("three\n");
    file.expect(&["two", "three"], Progress::End);
    assert!(file.log.has_news());
    file.expect(&[], Progress::End);
    assert!(!file.log.has_news());
    // A file that has lost the name may have more to come.
    file.rename();
    file.append("four\n");
    file.expect(&["four"], Progress::End);
    assert!(file.log.has_news());
}

#[test]
fn what_was_there_at_the_start_is_no_news() {
    let mut file = Fixture::new();
    file.append("old\n");
    let mut seen = Vec::new();
    file.log.read_lines(&Encoding::default(), None, |line| seen.push(line.is_news)).expect("lines");
    file.append("new\n");
    file.log.read_lines(&Encoding::default(), None, |line| seen.push(line.is_news)).expect("lines");
    assert_eq!(seen, [false, true]);
}

#[test]
fn a_mark_at_the_start_counts_for_the_whole_file() {
    let file = Fixture::new();
    let path = file.dir.path().join("log");
    let bytes = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
    fs::write(&path, bytes("\u{feff}one\n\u{0a0a}two\n")).expect("a write");
    let encoding = Encoding::parse("utf-16").expect("an encoding");
    // From its start, and from behind the first line.
    for (position, expected) in [(0, &["one", "\u{0a0a}two"][..]), (10, &["\u{0a0a}two"])] {
        let start = Place { position, hash: String::new() };
        let mut log = LogFile::new(path.clone(), start, false);
        let mut seen = Vec::new();
        log.read_lines(&encoding, None, |line| {
            seen.push(line.encoding.decode_line(line.bytes).0.into_owned())
        })
        .expect("lines");
        assert_eq!(seen, expected);
        assert_eq!(log.place().position, 20);
    }
}
