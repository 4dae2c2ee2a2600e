//! A mail on its way to an SMTP server.
//!
//! The commands are written here rather than by the library's transport, which insists on addresses with a domain: the
//! defaults of the action are `fail2ban` and `root`.
//!
//! Upstream: `smtplib.SMTP`, as `config/action.d/smtp.py` uses it.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use f2b_protocol::Value;
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{SmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::Data;
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use nix::errno::Errno;

/// How long the server may take for each step.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long all steps together may take: a server that says a little now and then must not hold the jail up.
const DEADLINE: Duration = Duration::from_secs(60);

/// Mails on their way at once, with those that were given up and whose threads still wait for their servers.
const MAX_MAILS: usize = 64;
static MAILS: AtomicUsize = AtomicUsize::new(0);

/// One of them.
struct OnItsWay;

impl OnItsWay {
    fn new() -> Option<Self> {
        let mail = Self;
        (MAILS.fetch_add(1, Ordering::Relaxed) < MAX_MAILS).then_some(mail)
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        MAILS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A letter and where it goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parcel<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// How this host introduces itself.
    pub(crate) hello: &'a str,
    /// Encrypts the connection. Like upstream, without asking who the server is.
    pub(crate) tls: bool,
    /// User and password.
    pub(crate) login: Option<(&'a str, &'a str)>,
    pub(crate) from: &'a str,
    pub(crate) to: &'a [&'a str],
    pub(crate) mail: &'a [u8],
}

/// What became of a letter that was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Recipients that the server refused while it took others.
    pub(crate) refused: Vec<Refused>,
    /// The server's last words, if it had any.
    pub(crate) farewell: Option<Reply>,
}

/// A reply of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its number.
    pub code: u16,
    /// Its text.
    pub text: String,
}

/// A recipient whom the server does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The address.
    pub address: String,
    /// What the server says.
    pub reply: Reply,
}

/// A mail that could not be sent. Prints the text of upstream's exception.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MailError {
    /// A host that is no `name:port`.
    Host(String),
    /// An address that can't stand in a command.
    Address(String),
    /// Nobody listens, or nobody answers in time.
    Network(String),
    /// The server refuses the connection.
    Greeting(Reply),
    /// It refuses user and password, or knows no way to take them.
    Login(Reply),
    /// It refuses something else.
    Refused(Reply),
    /// It refuses who sends.
    Sender(Refused),
    /// It refuses everybody to whom the mail goes.
    Recipients(Vec<Refused>),
    /// It does not speak SMTP, or not enough of it.
    Protocol(String),
}

/// Sends a mail.
///
/// # Errors
///
/// [`MailError`].
pub(crate) fn send(parcel: &Parcel<'_>) -> Result<Sent, MailError> {
    send_within(parcel, DEADLINE)
}

/// Sends a mail from a thread of its own, which is left alone when the time is over.
fn send_within(parcel: &Parcel<'_>, deadline: Duration) -> Result<Sent, MailError> {
    let Some(on_its_way) = OnItsWay::new() else {
        return Err(MailError::Network("too many mails are on their way to servers that hang".into()));
    };
    let text = |text: &str| text.to_owned();
    let (host, hello, from, mail) =
        (text(parcel.host), text(parcel.hello), text(parcel.from), parcel.mail.to_vec());
    let login = parcel.login.map(|(user, password)| (text(user), text(password)));
    let to: Vec<String> = parcel.to.iter().map(ToString::to_string).collect();
    let (port, tls) = (parcel.port, parcel.tls);
    let (sender, receiver) = mpsc::sync_channel(1);
    let deliver = move || {
        let _on_its_way = on_its_way;
        let parcel = Parcel {
            host: &host,
            port,
            hello: &hello,
            tls,
            login: login.as_ref().map(|(user, password)| (user.as_str(), password.as_str())),
            from: &from,
            to: &to.iter().map(String::as_str).collect::<Vec<_>>(),
            mail: &mail,
        };
        // Nobody may be waiting any more.
        let _ = sender.send(deliver(&parcel));
    };
    let thread = thread::Builder::new().name("f2b/mail".into()).spawn(deliver);
    thread.map_err(|error| MailError::Network(error.to_string()))?;
    receiver.recv_timeout(deadline).unwrap_or_else(|_| Err(MailError::Network("timed out".into())))
}

fn deliver(parcel: &Parcel<'_>) -> Result<Sent, MailError> {
    for address in parcel.to.iter().chain([&parcel.from]) {
        let wrong = |c: char| c.is_control() || c.is_whitespace() || c == '<' || c == '>';
        if address.contains(wrong) || address.len() > 320 {
            return Err(MailError::Address((*address).into()));
        }
    }
    let hello = match parcel.hello.contains('.') {
        true => ClientId::Domain(parcel.hello.into()),
        false => ClientId::default(),
    };
    let server = (parcel.host, parcel.port);
    let connected = SmtpConnection::connect(server, Some(TIMEOUT), &hello, None, None);
    let mut connection = connected.map_err(|error| failed(&error, MailError::Greeting))?;
    let result = converse(&mut connection, &hello, parcel);
    // Whatever went wrong, it is said before the farewell, which may fail as it likes.
    let farewell = if connection.has_broken() { None } else { connection.quit().ok() };
    result.map(|refused| Sent { refused, farewell: farewell.as_ref().map(reply_of) })
}

fn converse(
    connection: &mut SmtpConnection,
    hello: &ClientId,
    parcel: &Parcel<'_>,
) -> Result<Vec<Refused>, MailError> {
    let refused = |error: SmtpError| failed(&error, MailError::Refused);
    if parcel.tls {
        if !connection.can_starttls() {
            return Err(MailError::Protocol("STARTTLS extension not supported by server.".into()));
        }
        let parameters = TlsParameters::builder(parcel.host.into())
            .dangerous_accept_invalid_certs(true)
            .dangerous_accept_invalid_hostnames(true)
            .build_rustls()
            .map_err(refused)?;
        connection.starttls(&parameters, hello).map_err(refused)?;
    }
    if let Some((user, password)) = parcel.login {
        let mechanisms = [Mechanism::Plain, Mechanism::Login];
        if connection.server_info().get_auth_mechanism(&mechanisms).is_none() {
            let reason = "No suitable authentication method found.";
            return Err(MailError::Protocol(reason.into()));
        }
        let credentials = Credentials::new(user.into(), password.into());
        connection.auth(&mechanisms, &credentials).map_err(|error| failed(&error, MailError::Login))?;
    }
    let sender = |reply| MailError::Sender(Refused { address: parcel.from.into(), reply });
    let command = format!("MAIL FROM:<{}>\r\n", parcel.from);
    connection.command(command).map_err(|error| failed(&error, sender))?;
    let mut turned_away = Vec::new();
    for address in parcel.to {
        let Err(error) = connection.command(format!("RCPT TO:<{address}>\r\n")) else { continue };
        match failed(&error, MailError::Refused) {
            MailError::Refused(reply) => turned_away.push(Refused { address: (*address).into(), reply }),
            other => return Err(other),
        }
    }
    if turned_away.len() == parcel.to.len() {
        return Err(MailError::Recipients(turned_away));
    }
    connection.command(Data).map_err(refused)?;
    connection.message(parcel.mail).map_err(refused)?;
    Ok(turned_away)
}

/// What the library's error says: a reply of the server, or something of the network.
fn failed(error: &SmtpError, refused: impl FnOnce(Reply) -> MailError) -> MailError {
    let source = error.source();
    if let Some(code) = error.status() {
        let text = source.map(ToString::to_string).unwrap_or_default();
        return refused(Reply { code: code.into(), text });
    }
    match source.and_then(|source| source.downcast_ref::<io::Error>()) {
        Some(error) => MailError::Network(network_error(error)),
        None => MailError::Protocol(error.to_string()),
    }
}

/// An error of the network as Python prints it.
fn network_error(error: &io::Error) -> String {
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock, _) => "timed out".into(),
        (_, Some(number)) => format!("[Errno {number}] {}", Errno::from_raw(number).desc()),
        _ => error.to_string(),
    }
}

fn reply_of(response: &Response) -> Reply {
    Reply { code: response.code().into(), text: response.message().collect::<Vec<_>>().join("\n") }
}

/// As a pair in Python, `(550, b'no')`.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value().fmt(f)
    }
}

impl Reply {
    fn value(&self) -> Value {
        Value::Tuple(vec![Value::Int(self.code.into()), self.bytes()])
    }

    /// Its text as Python keeps it.
    pub(crate) fn bytes(&self) -> Value {
        Value::Bytes(self.text.clone().into_bytes())
    }
}

/// Refused recipients as Python keeps them.
pub(crate) fn dict_of(refused: &[Refused]) -> Value {
    Value::Dict(refused.iter().map(|one| (one.address.as_str().into(), one.reply.value())).collect())
}

impl fmt::Display for MailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => write!(f, "{host:?} is no host, write name:port"),
            Self::Address(address) => write!(f, "{address:?} is no mail address"),
            Self::Network(reason) | Self::Protocol(reason) => reason.escape_debug().fmt(f),
            Self::Greeting(reply) | Self::Login(reply) | Self::Refused(reply) => reply.fmt(f),
            Self::Sender(Refused { address, reply }) => {
                let code = Value::Int(reply.code.into());
                Value::Tuple(vec![code, reply.bytes(), address.as_str().into()]).fmt(f)
            }
            Self::Recipients(refused) => dict_of(refused).fmt(f),
        }
    }
}

impl Error for MailError {}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn errors_read_as_python_writes_them() {
        let reply = Reply { code: 550, text: "5.1.1 <x> it's\nunknown".into() };
        let refused = Refused { address: "root".into(), reply: reply.clone() };
        assert_eq!(reply.to_string(), r#"(550, b"5.1.1 <x> it's\nunknown")"#);
        let error = MailError::Sender(refused.clone());
        assert_eq!(error.to_string(), r#"(550, b"5.1.1 <x> it's\nunknown", 'root')"#);
        let error = MailError::Recipients(vec![refused]);
        assert_eq!(error.to_string(), r#"{'root': (550, b"5.1.1 <x> it's\nunknown")}"#);
        let error = io::Error::from_raw_os_error(Errno::ECONNREFUSED as i32);
        assert_eq!(network_error(&error), "[Errno 111] Connection refused");
    }

    #[test]
    fn a_server_that_goes_on_for_ever_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        thread::spawn(move || {
            let (mut client, _) = listener.accept().expect("a client");
            while client.write_all(b"220-wait\r\n").is_ok() {
                thread::sleep(Duration::from_millis(10));
            }
        });
        let parcel = Parcel {
            host: "127.0.0.1",
            port,
            hello: "",
            tls: false,
            login: None,
            from: "fail2ban",
            to: &["root"],
            mail: b"",
        };
        let sent = send_within(&parcel, Duration::from_millis(200));
        assert_eq!(sent.err(), Some(MailError::Network("timed out".into())));
    }

    #[test]
    fn addresses_bring_no_command_of_their_own() {
        let send = |to: &str| {
            send(&Parcel {
                host: "127.0.0.1",
                port: 1,
                hello: "",
                tls: false,
                login: None,
                from: "fail2ban",
                to: &[to],
                mail: b"",
            })
        };
        for wrong in ["a>\r\nDATA\r\n", "a b", "<a>", "a\0"] {
            assert_eq!(send(wrong).err(), Some(MailError::Address(wrong.into())));
        }
        assert!(matches!(send("root"), Err(MailError::Network(_))));
    }
}
