//! One probe. Its parts run side by side, so that the first one, for which a verdict waits, ends within two seconds.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;
use why502_proto::v1::{ConnectTry, HttpTry, NameLookup, ProbeResult, RouteLookup, TlsTry};

use super::idle::Way;
use super::plan::Depth;
use super::{ProbeRequest, echo, forbidden};
use crate::dial::{self, Ask, Certificate, NoConnection, Stream, Target, TlsAsk};
use crate::gateway::Signal;
use crate::kernel::route::{Route, Routes};
use crate::mask;
use crate::resolve::Resolver;

/// Connects, and the time between the beginnings of two.
const CONNECTS: usize = 4;
const STAGGER: Duration = Duration::from_millis(150);
/// When nothing was heard for so long, another port and an echo are tried.
const SILENCE: Duration = Duration::from_millis(300);
const OTHER_LIMIT: Duration = Duration::from_secs(1);
const LOOKUP_LIMIT: Duration = Duration::from_millis(1500);
/// Ports that many hosts serve, and one that none does: even its reset shows that the host answers.
const OTHER_PORTS: [u16; 4] = [22, 80, 443, 65533];
/// Other ports that a request may name.
const MOST_OTHER_PORTS: usize = 4;
/// Bytes of an error's words.
const SAYS_LIMIT_BYTES: usize = 256;
/// Bytes of a body that are kept; sixteen times as many are read over, more than one packet takes.
const BODY_KEPT_BYTES: usize = 256;

/// How a server that waits for TLS may take a plain request.
const CLOSED: [Signal; 2] = [Signal::ClosedBeforeHeaders, Signal::ResetBeforeHeaders];

/// Time limits of one probe.
struct Limits {
    connect: Duration,
    answer: Duration,
}

/// Tries an upstream. With the result comes the way of a request that was answered.
pub(super) async fn run(request: &ProbeRequest, depth: Depth) -> (ProbeResult, Option<Way>) {
    let mut result =
        ProbeResult { gateway: request.gateway.clone(), upstream: request.upstream.clone(), ..ProbeResult::default() };
    let gateways_own = request.connect_limit.unwrap_or(Duration::ZERO);
    let limits = match depth {
        Depth::Quick => Limits { connect: Duration::from_millis(1500), answer: Duration::from_millis(1500) },
        Depth::Patient => Limits {
            connect: gateways_own.clamp(Duration::from_millis(3500), Duration::from_secs(5)),
            answer: Duration::from_secs(5),
        },
    };
    let targets = targets(request, &mut result).await;
    let Some(first) = targets.first() else { return (result, None) };
    let address = match first {
        Target::Tcp(address) => Some(*address),
        Target::Unix(_) => None,
    };
    let mut routes = Routes::open().ok();
    let found = address.zip(routes.as_mut()).and_then(|(address, routes)| routes.to(address.ip()).ok());
    result.route = found.as_ref().map(route);
    let heard = AtomicBool::new(false);
    let (exchange, others, silent) = tokio::join!(
        exchange(request, first, &limits, &heard),
        connects(&targets, &limits, &heard),
        when_silent(request, address, &heard),
    );
    result.connects = std::iter::once(exchange.connect).chain(others).collect();
    (result.tls, result.http, result.small_packets) = (exchange.tls, exchange.http, exchange.small_packets);
    (result.other_port, result.echo_answered) = silent;
    // Asked last: the connects made the kernel look for the neighbour.
    let hop = found.zip(address).and_then(|(route, address)| next_hop(&route, address.ip()));
    let state = hop.zip(routes).and_then(|((hop, index), mut routes)| routes.neighbour(hop, index).ok().flatten());
    result.neighbour = state.unwrap_or("").to_owned();
    (result, exchange.way)
}

/// Where to, at most one for each connect. The lookup is noted; addresses that are never probed fall out.
async fn targets(request: &ProbeRequest, result: &mut ProbeResult) -> Vec<Target> {
    if let Some(path) = request.address.strip_prefix("unix:") {
        return vec![Target::Unix(path.into())];
    }
    let direct = request.address.parse::<SocketAddr>().ok();
    let split = request.address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let name = request.name.as_deref().or(split.filter(|_| direct.is_none()).map(|(host, _)| host));
    let mut found = Vec::new();
    if let Some(name) = name.filter(|name| name.parse::<IpAddr>().is_err()) {
        let looked = Resolver::default().lookup(name, LOOKUP_LIMIT).await;
        result.lookup = Some(NameLookup {
            name: mask::line(name.as_bytes(), SAYS_LIMIT_BYTES),
            addresses: looked.iter().flatten().map(IpAddr::to_string).collect(),
            error: looked.as_ref().err().map_or_else(String::new, |why| mask::line(why.as_bytes(), SAYS_LIMIT_BYTES)),
        });
        found = looked.unwrap_or_default();
    }
    let addresses = match (direct, split) {
        (Some(address), _) => vec![address],
        (None, Some((_, port))) => found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect(),
        (None, None) => Vec::new(),
    };
    let allowed = addresses.into_iter().filter(|address| !forbidden::is_forbidden(address.ip()) && address.port() > 0);
    allowed.map(Target::Tcp).take(CONNECTS).collect()
}

fn route(route: &Route) -> RouteLookup {
    match route {
        Route::Found { index, via } => RouteLookup {
            found: true,
            interface: interface(*index),
            via: via.map_or_else(String::new, |via| via.to_string()),
            error: String::new(),
        },
        Route::Refused(errno) => RouteLookup { error: format!("{errno:?}"), ..RouteLookup::default() },
    }
}

fn interface(index: u32) -> String {
    let name = nix::net::if_::if_indextoname(index);
    name.ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}

/// The neighbour that packets to an address are handed to.
fn next_hop(route: &Route, address: IpAddr) -> Option<(IpAddr, u32)> {
    match route {
        Route::Found { index, via } => Some((via.unwrap_or(address), *index)),
        Route::Refused(_) => None,
    }
}

/// The connects but the first, which serves the request.
async fn connects(targets: &[Target], limits: &Limits, heard: &AtomicBool) -> Vec<ConnectTry> {
    let mut tries = JoinSet::new();
    for number in 1..CONNECTS {
        let Some(target) = targets.get(number % targets.len().max(1)).cloned() else { continue };
        let limit = limits.connect;
        let delay = STAGGER * u32::try_from(number).unwrap_or(0);
        tries.spawn(async move {
            sleep(delay).await;
            let (result, took) = dial::connect(&target, limit).await;
            (number, connect_try(&target, &result, took))
        });
    }
    let mut done = Vec::new();
    while let Some(one) = tries.join_next().await {
        done.extend(one.ok());
        heard.fetch_or(done.last().is_some_and(|(_, one)| answered(one)), Ordering::Relaxed);
    }
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, one)| one).collect()
}

fn connect_try(target: &Target, result: &Result<Stream, NoConnection>, took: Duration) -> ConnectTry {
    let (outcome, errno) = match result {
        Ok(_) => ("connected", 0),
        Err(refusal) => (refusal.signal.id(), refusal.errno),
    };
    let syns_resent = result.as_ref().ok().and_then(|stream| stream.syns_resent());
    ConnectTry { address: target.to_string(), outcome: outcome.to_owned(), errno, took_us: micros(took), syns_resent }
}

/// The host itself answered.
fn answered(one: &ConnectTry) -> bool {
    one.outcome == "connected" || one.outcome == Signal::ConnectRefused.id()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What came of the first connect and what was said over it.
struct Exchange {
    connect: ConnectTry,
    tls: Option<TlsTry>,
    http: Option<HttpTry>,
    small_packets: Option<HttpTry>,
    way: Option<Way>,
}

async fn exchange(request: &ProbeRequest, target: &Target, limits: &Limits, heard: &AtomicBool) -> Exchange {
    let (connected, took) = dial::connect(target, limits.connect).await;
    let connect = connect_try(target, &connected, took);
    heard.fetch_or(answered(&connect), Ordering::Relaxed);
    let mut exchange = Exchange { connect, tls: None, http: None, small_packets: None, way: None };
    let Ok(stream) = connected else { return exchange };
    let began = Instant::now();
    let tls = (request.scheme == "https").then(|| tls_ask(request));
    let path = request.path().filter(|_| matches!(request.scheme.as_str(), "http" | "https"));
    let host = request.host.clone().unwrap_or_else(|| match target {
        Target::Tcp(_) => request.address.clone(),
        Target::Unix(_) => "localhost".to_owned(),
    });
    let words = Words { tls: tls.as_ref(), path, host: &host };
    ((exchange.tls, exchange.http), exchange.small_packets) = said(stream, target, &words, limits.answer).await;
    let Some((path, http)) = path.zip(exchange.http.as_ref()) else { return exchange };
    if http.status > 0 {
        exchange.way = Some(Way { target: target.clone(), tls, path: path.to_owned(), host });
    } else if tls.is_none() && http.first_byte_us.is_none() && CLOSED.iter().any(|signal| signal.id() == http.signal) {
        exchange.tls = takes_tls(request, target, limits.answer.saturating_sub(began.elapsed())).await;
    }
    exchange
}

/// What a connection brings: the handshake and the request.
type Said = (Option<TlsTry>, Option<HttpTry>);

/// What is said over a connection, and what over another that takes small packets only, where that ends first.
async fn said(stream: Stream, target: &Target, words: &Words<'_>, limit: Duration) -> (Said, Option<HttpTry>) {
    let (first, small) = (say(stream, words, limit), small_packets(target, words, limit));
    tokio::pin!(first, small);
    tokio::select! {
        said = &mut first => (said, None),
        small = &mut small => (first.await, small),
    }
}

/// What to say over a connection.
struct Words<'a> {
    tls: Option<&'a TlsAsk>,
    path: Option<&'a str>,
    host: &'a str,
}

/// The handshake where TLS is spoken, and the request where there is one.
async fn say(mut stream: Stream, words: &Words<'_>, limit: Duration) -> Said {
    let began = Instant::now();
    let mut tls = None;
    if let Some(ask) = words.tls {
        match dial::handshake(stream, ask, limit).await {
            Ok(secured) => {
                tls = Some(tls_try(None, secured.certificate, false));
                stream = secured.stream;
            }
            Err(failure) => {
                return (Some(tls_try(Some(failure.says), failure.certificate, failure.plain_answer)), None);
            }
        }
    }
    let Some(path) = words.path else { return (tls, None) };
    let limit = limit.saturating_sub(began.elapsed()).max(Duration::from_millis(200));
    let ask = Ask { path, host: words.host, keep_alive: false, body_limit_bytes: BODY_KEPT_BYTES, limit };
    (tls, Some(http_try(path, dial::get(stream, &ask).await)))
}

/// The same once half of the time has passed without an answer, by packets that pass where larger ones get lost. It ends before
/// the first is given up: a process that hung until then had answered both.
async fn small_packets(target: &Target, words: &Words<'_>, limit: Duration) -> Option<HttpTry> {
    let (Target::Tcp(_), Some(_)) = (target, words.path) else { return None };
    sleep(limit / 2).await;
    let (began, limit) = (Instant::now(), limit / 3);
    let stream = dial::connect_small(target, limit).await.ok()?;
    say(stream, words, limit.saturating_sub(began.elapsed())).await.1
}

/// The handshake of whoever closed on a plain request without a word, where it takes one.
async fn takes_tls(request: &ProbeRequest, target: &Target, limit: Duration) -> Option<TlsTry> {
    let ask = TlsAsk { verify: false, ..tls_ask(request) };
    let (connected, _) = dial::connect(target, limit).await;
    let secured = dial::handshake(connected.ok()?, &ask, limit).await.ok()?;
    Some(tls_try(None, secured.certificate, false))
}

fn tls_ask(request: &ProbeRequest) -> TlsAsk {
    let settings = request.tls.clone().unwrap_or_default();
    let host = request.address.rsplit_once(':').map_or(request.address.as_str(), |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let own_name = if host == "unix" || request.address.starts_with("unix:") { "localhost" } else { host };
    TlsAsk {
        verify: settings.verify,
        any_name: settings.any_name,
        ca_file: settings.ca_file,
        send_name: settings.server_name.is_some(),
        name: settings.server_name.or(request.name.clone()).unwrap_or_else(|| own_name.to_owned()),
        protocols: settings.protocols,
    }
}

fn tls_try(error: Option<String>, certificate: Option<Certificate>, plain_answer: bool) -> TlsTry {
    let certificate = certificate.unwrap_or_default();
    TlsTry {
        ok: error.is_none(),
        error: mask::line(error.unwrap_or_default().as_bytes(), SAYS_LIMIT_BYTES),
        not_after_unix_s: certificate.not_after_unix_s,
        names: certificate.names,
        plain_answer,
    }
}

fn http_try(path: &str, asked: Result<dial::Answer, dial::NoAnswer>) -> HttpTry {
    let request = format!("GET {}", mask::path(path, SAYS_LIMIT_BYTES));
    match asked {
        Ok(answer) => HttpTry {
            request,
            status: u32::from(answer.status),
            signal: match answer.status {
                _ if answer.stalled => Signal::BodyTimeout,
                ..400 => Signal::Ok,
                _ => Signal::AppStatus,
            }
            .id()
            .to_owned(),
            first_byte_us: Some(micros(answer.first_byte)),
            header_bytes: answer.header_bytes,
            error: String::new(),
            received_bytes: answer.received_bytes,
        },
        Err(failure) => HttpTry {
            request,
            status: 0,
            signal: failure.signal.id().to_owned(),
            first_byte_us: failure.first_byte.map(micros),
            header_bytes: 0,
            received_bytes: failure.received_bytes,
            error: match failure.speaks_tls {
                true => "the server answered with TLS".to_owned(),
                false => mask::line(failure.says.as_bytes(), SAYS_LIMIT_BYTES),
            },
        },
    }
}

/// Another port and an echo, where the upstream's own port stayed silent.
async fn when_silent(
    request: &ProbeRequest,
    address: Option<SocketAddr>,
    heard: &AtomicBool,
) -> (Option<ConnectTry>, Option<bool>) {
    let Some(address) = address else { return (None, None) };
    sleep(SILENCE).await;
    if heard.load(Ordering::Relaxed) {
        return (None, None);
    }
    tokio::join!(other_port(request, address), echo::answers(address.ip(), OTHER_LIMIT))
}

/// The first other port from which anything came back; else one of those from which nothing did.
async fn other_port(request: &ProbeRequest, address: SocketAddr) -> Option<ConnectTry> {
    let named = request.other_ports.iter().take(MOST_OTHER_PORTS);
    let ports = named.chain(&OTHER_PORTS).copied().filter(|port| *port != address.port());
    let mut tries = JoinSet::new();
    for port in ports {
        let target = Target::Tcp(SocketAddr::new(address.ip(), port));
        tries.spawn(async move {
            let (result, took) = dial::connect(&target, OTHER_LIMIT).await;
            connect_try(&target, &result, took)
        });
    }
    let mut silent = None;
    while let Some(one) = tries.join_next().await {
        match one {
            Ok(one) if answered(&one) => return Some(one),
            Ok(one) => silent = Some(one),
            Err(_) => {}
        }
    }
    silent
}
