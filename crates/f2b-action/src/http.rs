//! One text, fetched from a web server that is not trusted: within bounds of time, size and redirects.
//!
//! Certificates are checked against those of the system where there are any, so that an administrator's own authority
//! counts, else against the ones that Mozilla trusts.

use std::error::Error;
use std::fmt;
use std::fs;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// Where systems keep the certificates that they trust: Debian and Alpine, Fedora, SUSE, BSD.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// How long and how much.
#[derive(Debug, Clone)]
pub struct FetchLimits {
    /// Until there is a connection.
    pub connect: Duration,
    /// For everything together.
    pub total: Duration,
    /// Bytes of the answer.
    pub size: u64,
    /// How often the server may send us elsewhere.
    pub redirects: u32,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), total: Duration::from_secs(30), size: 1 << 20, redirects: 5 }
    }
}

/// Why there is no text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchError {
    /// The server answers with a status other than success.
    Status(u16),
    /// It takes longer than this.
    Timeout(Duration),
    /// The answer is larger than this many bytes.
    TooLarge(u64),
    /// The server sends us elsewhere time and again.
    TooManyRedirects,
    /// The server sends us from `https:` to something else.
    Downgrade,
    /// The answer is no text in UTF-8.
    NoText,
    /// There is no such host, nobody listens, the certificate is wrong, or what comes is not HTTP.
    Transport(String),
}

/// Fetches a text with `GET`. What begins as `https:` stays so, wherever the server sends us.
///
/// A proxy is used where the environment names one (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`).
///
/// # Errors
///
/// [`FetchError`].
pub fn fetch(url: &str, limits: &FetchLimits) -> Result<String, FetchError> {
    let secure = url.starts_with("https:");
    let mut config = Agent::config_builder()
        .https_only(secure)
        .timeout_connect(Some(limits.connect))
        .timeout_global(Some(limits.total))
        .max_redirects(limits.redirects)
        .max_response_header_size(64 << 10)
        .user_agent(concat!("f2b/", env!("CARGO_PKG_VERSION")));
    if secure {
        config = config.tls_config(TlsConfig::builder().root_certs(root_certs()).build());
    }
    let agent: Agent = config.build().into();
    let failed = |error| fetch_error(error, limits);
    let mut response = agent.get(url).call().map_err(failed)?;
    let bytes = response.body_mut().with_config().limit(limits.size).read_to_vec().map_err(failed)?;
    String::from_utf8(bytes).map_err(|_| FetchError::NoText)
}

/// The certificates of the system, or those that are built in.
fn root_certs() -> RootCerts {
    let named = std::env::var_os("SSL_CERT_FILE").map(Into::into);
    let bundles = BUNDLES.iter().map(std::path::PathBuf::from);
    let Some(pem) = named.into_iter().chain(bundles).find_map(|path| fs::read(path).ok()) else {
        return RootCerts::WebPki;
    };
    // Bundles hold certificates that some library or other can't read; the others count.
    let certs: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certs.is_empty() { RootCerts::WebPki } else { RootCerts::new_with_certs(&certs) }
}

fn fetch_error(error: ureq::Error, limits: &FetchLimits) -> FetchError {
    match error {
        ureq::Error::StatusCode(status) => FetchError::Status(status),
        ureq::Error::Timeout(ureq::Timeout::Connect) => FetchError::Timeout(limits.connect),
        ureq::Error::Timeout(_) => FetchError::Timeout(limits.total),
        ureq::Error::BodyExceedsLimit(size) => FetchError::TooLarge(size),
        ureq::Error::TooManyRedirects => FetchError::TooManyRedirects,
        ureq::Error::RequireHttpsOnly(_) => FetchError::Downgrade,
        ureq::Error::Io(error) => FetchError::Transport(error.to_string()),
        other => FetchError::Transport(other.to_string()),
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "the server answers with status {status}"),
            Self::Timeout(limit) => write!(f, "no complete answer within {} seconds", limit.as_secs_f32()),
            Self::TooLarge(limit) => write!(f, "the answer is larger than {limit} bytes"),
            Self::TooManyRedirects => f.write_str("the server redirects time and again"),
            Self::Downgrade => f.write_str("the server redirects from https to something else"),
            Self::NoText => f.write_str("the answer is no text in UTF-8"),
            // Parts of it may come from the server.
            Self::Transport(reason) => reason.escape_debug().fmt(f),
        }
    }
}

impl Error for FetchError {}
