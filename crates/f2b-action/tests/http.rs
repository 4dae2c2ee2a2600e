//! Fetching from web servers that do what they should and from others.

#[path = "../../../tests/support/web.rs"]
mod web;

use std::time::{Duration, Instant};

use f2b_action::{FetchError, FetchLimits, fetch};
use web::{Answer, Web};

/// Limits that a test can wait for.
fn limits() -> FetchLimits {
    FetchLimits { connect: Duration::from_secs(1), total: Duration::from_secs(2), ..FetchLimits::default() }
}

#[track_caller]
fn check(answer: Answer, expected: Result<&str, FetchError>) {
    let begin = Instant::now();
    assert_eq!(fetch(&Web::new(answer).url(), &limits()), expected.map(str::to_owned));
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_text_is_fetched() {
    check(Answer::Text(200, "192.0.2.1\n".into()), Ok("192.0.2.1\n"));
    check(Answer::Text(200, String::new()), Ok(""));
}

#[test]
fn a_redirect_is_followed_but_not_for_ever() {
    let target = Web::text("192.0.2.1\n");
    check(Answer::Redirect(target.url()), Ok("192.0.2.1\n"));
    check(Answer::Redirect("/".into()), Err(FetchError::TooManyRedirects));
}

#[test]
fn what_is_not_success_is_an_error() {
    check(Answer::Text(500, "192.0.2.1\n".into()), Err(FetchError::Status(500)));
    check(Answer::Text(404, String::new()), Err(FetchError::Status(404)));
}

#[test]
fn a_large_answer_is_given_up_early() {
    check(Answer::Huge(50 << 20), Err(FetchError::TooLarge(1 << 20)));
}

#[test]
fn a_slow_answer_is_given_up_in_time() {
    check(Answer::Slow, Err(FetchError::Timeout(limits().total)));
}

#[test]
fn what_is_no_http_and_no_text_is_refused() {
    for bytes in ["", "\r\n\r\n", "SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"] {
        let result = fetch(&Web::new(Answer::Raw(bytes.into())).url(), &limits());
        assert!(matches!(result, Err(FetchError::Transport(_))), "{bytes:?}: {result:?}");
    }
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let result = fetch(&Web::new(Answer::Raw(endless.into())).url(), &limits());
    assert!(matches!(result, Err(FetchError::Transport(_))), "{result:?}");
    let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe".to_vec();
    check(Answer::Raw(bytes), Err(FetchError::NoText));
}

#[test]
fn nobody_listens() {
    let url = Web::text("").url();
    let result = fetch(&url, &limits());
    assert!(
        matches!(&result, Err(FetchError::Transport(reason)) if reason.contains("refused")),
        "{result:?}"
    );
    // What speaks no TLS is no secure server.
    let plain = Web::text("192.0.2.1\n");
    let result = fetch(&plain.url().replace("http:", "https:"), &limits());
    assert!(matches!(result, Err(FetchError::Transport(_) | FetchError::Timeout(_))), "{result:?}");
}
