//! One check of one address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use why502_proto::v1::HealthResult;

use crate::config::{Health, Listen, Scheme, Service};
use crate::dial::{self, Answer, Ask, NoAnswer, Stream, Target, TlsAsk};
use crate::gateway::Signal;
use crate::mask;

/// Bytes of an unhealthy answer that are kept.
const BODY_LIMIT_BYTES: usize = 256;
/// Bytes of an answer that are read: a role may stand behind much else.
const BODY_READ_BYTES: usize = 16 * 1024;
/// Words by which servers say that they got plain text where they speak TLS (nginx, Go, Apache).
const WANTS_TLS: [&[u8]; 3] =
    [b"plain HTTP request was sent to HTTPS", b"HTTP request to an HTTPS server", b"speaking plain HTTP to an SSL"];

/// What is asked, and of whom.
#[derive(Debug)]
pub(super) struct Check {
    service: String,
    target: Target,
    /// None: a connect is all.
    path: Option<String>,
    /// None: told apart by trying.
    scheme: Option<Scheme>,
    /// The scheme is configured, so a failure is no reason to try the other. What was told apart by trying may change with a
    /// restart.
    certain: bool,
    limit: Duration,
}

/// Where a service's health is asked.
pub(super) fn target(service: &Service) -> Option<Target> {
    let first = service.listen.first();
    let port = service.health.as_ref().and_then(|health| health.port);
    match (first, port) {
        (Some(Listen::Address(address)), Some(port)) => Some(Target::Tcp(SocketAddr::new(address.ip(), port))),
        (_, Some(port)) => Some(loopback(port)),
        (first, None) => first.map(address),
    }
}

/// Where a service's address is reached from this host.
pub(super) fn address(listen: &Listen) -> Target {
    match listen {
        Listen::Port(port) => loopback(*port),
        Listen::Address(address) => Target::Tcp(*address),
        Listen::Unix(path) => Target::Unix(path.clone()),
    }
}

fn loopback(port: u16) -> Target {
    Target::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
}

/// What came of one request.
struct Asked {
    connect: Option<Duration>,
    result: Result<Answer, NoAnswer>,
}

impl Check {
    pub(super) fn http(service: &str, health: &Health, target: Target) -> Self {
        let certain = health.scheme.is_some();
        let (path, scheme) = (Some(health.path.clone()), health.scheme);
        Self { service: service.to_owned(), target, path, scheme, certain, limit: health.timeout }
    }

    pub(super) fn connect(service: &str, target: Target, limit: Duration) -> Self {
        Self { service: service.to_owned(), target, path: None, scheme: None, certain: true, limit }
    }

    /// Asks once.
    pub(super) async fn ask(&mut self) -> HealthResult {
        match self.path.clone() {
            None => self.connect_only().await,
            Some(path) => {
                let (scheme, asked) = self.asked(&path).await;
                self.result(scheme, &path, &asked)
            }
        }
    }

    /// The body of an answer to its path, whatever the status; None where none came.
    pub(super) async fn body(&mut self) -> Option<Vec<u8>> {
        let path = self.path.clone()?;
        let (_, asked) = self.asked(&path).await;
        asked.result.ok().map(|answer| answer.body)
    }

    async fn asked(&mut self, path: &str) -> (Scheme, Asked) {
        let began = Instant::now();
        let first = self.scheme.unwrap_or(Scheme::Http);
        let mut asked = self.request(first, path, self.limit).await;
        let mut scheme = first;
        if !self.certain && self.other_is_likely(first, &asked) {
            let left = self.limit.saturating_sub(began.elapsed());
            let other = if first == Scheme::Http { Scheme::Https } else { Scheme::Http };
            let second = self.request(other, path, left).await;
            if second.result.is_ok() {
                (asked, scheme) = (second, other);
            }
        }
        if asked.result.is_ok() {
            self.scheme = Some(scheme);
        }
        (scheme, asked)
    }

    /// The path that is asked, without its query.
    pub(super) fn url_path(&self) -> &str {
        let path = self.path.as_deref().unwrap_or_default();
        path.split('?').next().unwrap_or(path)
    }

    async fn connect_only(&self) -> HealthResult {
        let (connected, took) = self.open(self.limit).await;
        let (signal, error) = match &connected {
            Ok(_) => (String::new(), String::new()),
            Err(refusal) => (refusal.signal.id().to_owned(), refusal.says.clone()),
        };
        let scheme = if matches!(self.target, Target::Unix(_)) { "" } else { "tcp://" };
        HealthResult {
            service: self.service.clone(),
            url: format!("{scheme}{}", self.target),
            connect_us: connected.is_ok().then(|| micros(took)),
            signal,
            error,
            timeout_us: micros(self.limit),
            connect_only: true,
            ..HealthResult::default()
        }
    }

    /// Connects; "any local address" may also be that of IPv6.
    async fn open(&self, limit: Duration) -> (Result<Stream, dial::NoConnection>, Duration) {
        let first = dial::connect(&self.target, limit).await;
        let (Err(refusal), Target::Tcp(address)) = (&first.0, &self.target) else { return first };
        if refusal.signal != Signal::ConnectRefused || address.ip() != IpAddr::V4(Ipv4Addr::LOCALHOST) {
            return first;
        }
        let other = Target::Tcp(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), address.port()));
        let second = dial::connect(&other, limit).await;
        if second.0.is_ok() { second } else { first }
    }

    async fn request(&self, scheme: Scheme, path: &str, limit: Duration) -> Asked {
        let began = Instant::now();
        let (connected, took) = self.open(limit).await;
        let stream = match connected {
            Ok(stream) => stream,
            Err(refusal) => {
                let result = Err(NoAnswer::new(refusal.signal, refusal.says));
                return Asked { connect: None, result };
            }
        };
        let left = || limit.saturating_sub(began.elapsed());
        let host = match &self.target {
            Target::Tcp(address) => address.to_string(),
            Target::Unix(_) => "localhost".to_owned(),
        };
        let result = match scheme {
            Scheme::Http => Ok(stream),
            Scheme::Https => self.secure(stream, left()).await,
        };
        let result = match result {
            Ok(stream) => {
                let ask =
                    Ask { path, host: &host, keep_alive: false, body_limit_bytes: BODY_READ_BYTES, limit: left() };
                dial::get(stream, &ask).await
            }
            Err(failure) => Err(failure),
        };
        Asked { connect: Some(took), result }
    }

    /// TLS without a look at who answers: it is this host's own service, known by its address.
    async fn secure(&self, stream: Stream, limit: Duration) -> Result<Stream, NoAnswer> {
        let name = match &self.target {
            Target::Tcp(address) => address.ip().to_string(),
            Target::Unix(_) => "localhost".to_owned(),
        };
        let ask = TlsAsk { name, ..TlsAsk::default() };
        let secured = dial::handshake(stream, &ask, limit).await;
        secured.map(|secured| secured.stream).map_err(|failure| NoAnswer::new(failure.signal, failure.says))
    }

    /// Whether what came back speaks for the other scheme.
    fn other_is_likely(&self, scheme: Scheme, asked: &Asked) -> bool {
        match (&asked.result, scheme) {
            (Ok(answer), Scheme::Http) => {
                answer.status == 400
                    && WANTS_TLS.iter().any(|words| memchr::memmem::find(&answer.body, words).is_some())
            }
            (Ok(_), Scheme::Https) => false,
            (Err(failure), Scheme::Http) => {
                // A TLS server that gets plain text answers with an alert, or just closes.
                let closed = matches!(failure.signal, Signal::ClosedBeforeHeaders | Signal::ResetBeforeHeaders);
                failure.speaks_tls || closed && failure.first_byte.is_none()
            }
            (Err(failure), Scheme::Https) => failure.signal == Signal::TlsHandshake,
        }
    }

    fn result(&self, scheme: Scheme, path: &str, asked: &Asked) -> HealthResult {
        let scheme = if scheme == Scheme::Https { "https" } else { "http" };
        let end = path.find('?').unwrap_or(path.len());
        let url = format!("{scheme}://{}{}", self.target, path.get(..end).unwrap_or(path));
        let mut result = HealthResult {
            service: self.service.clone(),
            url: mask::text(&url),
            connect_us: asked.connect.map(micros),
            timeout_us: micros(self.limit),
            ..HealthResult::default()
        };
        match &asked.result {
            Ok(answer) => {
                result.status = u32::from(answer.status);
                result.first_byte_us = Some(micros(answer.first_byte));
                if answer.status >= 400 {
                    result.body = mask::line(&answer.body, BODY_LIMIT_BYTES);
                }
            }
            Err(failure) => {
                result.first_byte_us = failure.first_byte.map(micros);
                result.signal = failure.signal.id().to_owned();
                result.error = mask::line(failure.says.as_bytes(), BODY_LIMIT_BYTES);
            }
        }
        result
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
