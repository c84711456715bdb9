//! Which upstreams are worth a probe, and how the gateway reaches them: only those that its configuration or its access
//! records name, since anybody may write an address into an error log.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::gateway::{Attempt, Member, Pool, Record, Served, Signal};
use crate::mask;
use crate::sampler::probe::ProbeRequest;

/// Between two requests for one upstream; the prober bounds the rate further.
const INTERVAL: Duration = Duration::from_secs(1);
/// Upstreams remembered.
const MAX_UPSTREAMS: usize = 1_024;
/// Members asked about where a gateway says that none of a pool is live.
const MAX_MEMBERS: usize = 4;
/// Other ports of one host.
const MAX_OTHER_PORTS: usize = 4;
/// The most of a path, bytes.
const MAX_PATH_BYTES: usize = 256;

/// How long a path that was answered is remembered before a newer one takes its place.
const PATH_KEPT: Duration = Duration::from_secs(10);

/// Asks for probes of failing upstreams.
#[derive(Debug, Default)]
pub struct Targets {
    asked: HashMap<String, Instant>,
    /// A path that each upstream answered a GET for, so that a probe has one that works.
    served: HashMap<String, (Instant, String)>,
}

impl Targets {
    /// Takes a request that was answered: its path is one that a probe may ask for where the failing ones are no GETs.
    pub fn served(&mut self, record: &Record, now: Instant) {
        let (Some("GET"), Some(path), Some(last)) = (record.method.as_deref(), &record.path, record.attempts.last())
        else {
            return;
        };
        if let Some(upstream) = last.upstream.as_deref().filter(|_| record.status.is_some_and(|status| status < 400)) {
            self.keep(upstream, path, now);
        }
    }

    /// As `served`, of a line that was read at a glance: nearly always a path is known already.
    pub fn glanced(&mut self, served: &Served<'_>, now: Instant) {
        let (Some(upstream), Some(request)) = (served.upstream, served.request) else { return };
        if self.served.get(upstream).is_some_and(|(kept, _)| now.duration_since(*kept) < PATH_KEPT) {
            return;
        }
        // One with something escaped is not worth asking for.
        if let Some(path) = request.path_of_get() {
            self.keep(upstream, path, now);
        }
    }

    fn keep(&mut self, upstream: &str, path: &str, now: Instant) {
        let path = in_origin_form(path);
        if path.len() > MAX_PATH_BYTES || path.contains('?') {
            return;
        }
        let room = self.served.len() < MAX_UPSTREAMS;
        match self.served.get_mut(upstream) {
            Some((kept, _)) if now.duration_since(*kept) < PATH_KEPT => {}
            Some(kept) => *kept = (now, path.to_owned()),
            None if room => drop(self.served.insert(upstream.to_owned(), (now, path.to_owned()))),
            None => {}
        }
    }

    /// The probes that a confirmed failure calls for now.
    pub fn requests(&mut self, gateway: &str, record: &Record, pools: &[Pool], now: Instant) -> Vec<ProbeRequest> {
        let failed = || record.attempts.iter().filter(|attempt| attempt.signal.is_failure());
        let mut requests: Vec<ProbeRequest> = failed().flat_map(|attempt| of_attempt(attempt, pools)).collect();
        let untried =
            record.attempts.is_empty().then_some(record.signal).filter(|signal| *signal == Signal::NoLiveUpstream);
        // Only a status: as nginx' access log of a name that was not found.
        let bare = (record.attempts.is_empty() && is_bare(record)).then_some(record.signal);
        // As Envoy's records of attempts before the last: it was one of the pool.
        let unnamed = failed().find(|attempt| attempt.upstream.is_none()).map(|attempt| attempt.signal);
        if let Some(signal) = untried.or(unnamed).or(bare) {
            let named = record.pool.as_deref().and_then(|name| pools.iter().find(|pool| pool.name == name));
            let pool = named.or(if let [only] = pools { Some(only) } else { None });
            requests.extend(pool.into_iter().flat_map(|pool| of_pool(pool, pools, signal)));
        }
        requests.retain(|request| self.is_due(&request.upstream, now));
        let is_get = record.method.as_deref() == Some("GET");
        let path = record.path.as_deref().filter(|_| is_get).map(in_origin_form);
        let get_path = path.map(|path| mask::path(path, MAX_PATH_BYTES));
        for request in &mut requests {
            gateway.clone_into(&mut request.gateway);
            // A masked path is not the one that failed.
            request.get_path = get_path.clone().filter(|path| !path.contains("***"));
            request.served_path = self.served.get(&request.upstream).map(|(_, path)| path.clone());
        }
        requests
    }

    fn is_due(&mut self, upstream: &str, now: Instant) -> bool {
        if self.asked.get(upstream).is_some_and(|asked| now.duration_since(*asked) < INTERVAL) {
            return false;
        }
        if self.asked.len() >= MAX_UPSTREAMS {
            self.asked.retain(|_, asked| now.duration_since(*asked) < INTERVAL);
        }
        self.asked.len() < MAX_UPSTREAMS && {
            self.asked.insert(upstream.to_owned(), now);
            true
        }
    }
}

/// A request's target without scheme and authority, which Varnish, Squid and load balancers of clouds write before the path
/// (RFC 9112, 3.2).
fn in_origin_form(target: &str) -> &str {
    let Some((_, rest)) = target.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https")) else {
        return target;
    };
    rest.find('/').map_or("/", |at| &rest[at..])
}

/// A gateway's own status that it gives when an upstream failed, and nothing more.
fn is_bare(record: &Record) -> bool {
    record.signal == Signal::StatusOnly && record.status.is_some_and(|status| matches!(status, 502..=504))
}

fn of_attempt(attempt: &Attempt, pools: &[Pool]) -> Vec<ProbeRequest> {
    let Some(upstream) = attempt.upstream.as_deref() else { return Vec::new() };
    let member = |pool: &'_ Pool| pool.members.iter().find(|member| is_named(upstream, pool, member)).cloned();
    if let Some((pool, member)) = pools.iter().find_map(|pool| Some((pool, member(pool)?))) {
        return vec![of_member(upstream, pool, &member, pools, attempt.signal)];
    }
    if let Some(pool) = pools.iter().find(|pool| pool.name == upstream) {
        return of_pool(pool, pools, attempt.signal);
    }
    // An address that the access record names: of a member that is configured by name, where one has its port.
    let address: Option<SocketAddr> = upstream.parse().ok();
    if address.is_none() && !upstream.starts_with("unix:") {
        return Vec::new();
    }
    let port = address.map(|address| address.port());
    let named = pools.iter().find_map(|pool| {
        let member = pool.members.iter().find(|member| port.is_some() && named_port(&member.address) == port)?;
        Some((pool, member))
    });
    let mut request = match named {
        Some((pool, member)) => of_member(upstream, pool, member, pools, attempt.signal),
        None => ProbeRequest { scheme: "http".to_owned(), signal: attempt.signal, ..Default::default() },
    };
    upstream.clone_into(&mut request.upstream);
    upstream.clone_into(&mut request.address);
    vec![request]
}

/// A record names a member by its address, its name, or its name within the pool.
fn is_named(upstream: &str, pool: &Pool, member: &Member) -> bool {
    let within = || upstream.strip_prefix(&pool.name).and_then(|rest| rest.strip_prefix('/'));
    member.address == upstream || !member.name.is_empty() && [Some(upstream), within()].contains(&Some(&member.name))
}

/// No member was live: all are in question.
fn of_pool(pool: &Pool, pools: &[Pool], signal: Signal) -> Vec<ProbeRequest> {
    let live = pool.members.iter().filter(|member| !member.down).take(MAX_MEMBERS);
    live.map(|member| of_member(&member.address, pool, member, pools, signal)).collect()
}

fn of_member(upstream: &str, pool: &Pool, member: &Member, pools: &[Pool], signal: Signal) -> ProbeRequest {
    let check = pool.check.as_ref();
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    ProbeRequest {
        gateway: String::new(),
        upstream: upstream.to_owned(),
        address: member.address.clone(),
        name: named_port(&member.address).and_then(|_| Some(member.address.rsplit_once(':')?.0.to_owned())),
        scheme: if pool.scheme.is_empty() { "http".to_owned() } else { pool.scheme.clone() },
        tls: pool.tls.clone(),
        host: check.and_then(|check| given(&check.host)),
        health_path: check.and_then(|check| given(&check.path)),
        served_path: None,
        get_path: None,
        connect_limit: pool.connect_timeout,
        other_ports: other_ports(&member.address, pools),
        signal,
    }
}

/// The port of an address that is written with a host's name. None: it is an IP address or a socket path.
fn named_port(address: &str) -> Option<u16> {
    let (host, port) = address.rsplit_once(':')?;
    let is_name =
        host != "unix" && !host.starts_with("unix:") && host.trim_matches(['[', ']']).parse::<IpAddr>().is_err();
    is_name.then(|| port.parse().ok()).flatten()
}

/// Other ports at which the gateway reaches the same host.
fn other_ports(address: &str, pools: &[Pool]) -> Vec<u16> {
    let Some((host, port)) = address.rsplit_once(':').filter(|(host, _)| !host.starts_with("unix")) else {
        return Vec::new();
    };
    let members = pools.iter().flat_map(|pool| &pool.members);
    let others =
        members.filter_map(|member| member.address.rsplit_once(':')).filter(|other| other.0 == host && other.1 != port);
    let mut ports: Vec<u16> = others.filter_map(|(_, port)| port.parse().ok()).collect();
    ports.sort_unstable();
    ports.dedup();
    ports.truncate(MAX_OTHER_PORTS);
    ports
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::{Check, Tls};

    fn member(address: &str) -> Member {
        Member { address: address.into(), ..Default::default() }
    }

    fn pools() -> Vec<Pool> {
        vec![
            Pool {
                name: "api".into(),
                members: vec![member("10.0.0.2:3000"), member("10.0.0.3:3000"), member("app.internal:3001")],
                check: Some(Check { path: "/health".into(), ..Default::default() }),
                scheme: "https".into(),
                tls: Some(Tls { verify: true, ..Default::default() }),
                connect_timeout: Some(Duration::from_secs(3)),
                ..Default::default()
            },
            Pool { name: "10.0.0.2:9000".into(), members: vec![member("10.0.0.2:9000")], ..Default::default() },
        ]
    }

    fn record(upstream: &str, signal: Signal) -> Record {
        let attempts = vec![Attempt { upstream: Some(upstream.into()), signal, ..Default::default() }];
        let (method, path) = (Some("GET".into()), Some("/a?secret=1".into()));
        Record { method, path, status: Some(502), signal, attempts, ..Default::default() }
    }

    fn upstreams(requests: &[ProbeRequest]) -> Vec<&str> {
        requests.iter().map(|request| request.upstream.as_str()).collect()
    }

    #[test]
    fn paths_are_asked_for_without_the_host_that_some_gateways_write_before_them() {
        let (now, mut targets) = (Instant::now(), Targets::default());
        let asked = |path: &str| Record { path: Some(path.into()), ..record("10.0.0.2:3000", Signal::ReadTimeout) };
        let served = Record { status: Some(200), ..asked("http://shop.example/items/7") };
        targets.served(&served, now);
        let requests = targets.requests("edge", &asked("https://shop.example:443/cart"), &pools(), now);
        assert_eq!(requests[0].get_path.as_deref(), Some("/cart"));
        assert_eq!(requests[0].served_path.as_deref(), Some("/items/7"));
        assert_eq!(
            (in_origin_form("http://shop.example"), in_origin_form("/to?u=http://a/b")),
            ("/", "/to?u=http://a/b")
        );
    }

    #[test]
    fn members_are_tried_as_the_gateway_reaches_them() {
        let now = Instant::now();
        let mut targets = Targets::default();
        let record = record("10.0.0.2:3000", Signal::ConnectRefused);
        let requests = targets.requests("edge", &record, &pools(), now);
        let expected = ProbeRequest {
            gateway: "edge".into(),
            upstream: "10.0.0.2:3000".into(),
            address: "10.0.0.2:3000".into(),
            scheme: "https".into(),
            tls: Some(Tls { verify: true, ..Default::default() }),
            health_path: Some("/health".into()),
            get_path: Some("/a".into()),
            connect_limit: Some(Duration::from_secs(3)),
            other_ports: vec![9000],
            signal: Signal::ConnectRefused,
            ..Default::default()
        };
        assert_eq!(requests, [expected]);
        assert_eq!(targets.requests("edge", &record, &pools(), now), [], "not again at once");
        assert_eq!(targets.requests("edge", &record, &pools(), now + INTERVAL).len(), 1);
    }

    #[test]
    fn a_bare_status_has_the_only_pool_tried() {
        let bare = Record { status: Some(502), signal: Signal::StatusOnly, ..Default::default() };
        let only = || vec![Pool { members: vec![member("shop.internal:3000")], ..Default::default() }];
        let ask = |record: &Record, pools: &[Pool]| Targets::default().requests("edge", record, pools, Instant::now());
        assert_eq!(upstreams(&ask(&bare, &only())), ["shop.internal:3000"]);
        assert_eq!(ask(&bare, &pools()), [], "nobody knows which");
        assert_eq!(ask(&Record { status: Some(404), ..bare }, &only()), [], "nobody failed");
    }

    #[test]
    fn names_pools_and_addresses_of_access_records() {
        let ask = |record: &Record| Targets::default().requests("edge", record, &pools(), Instant::now());
        let resolved = ask(&record("10.9.9.9:3001", Signal::ReadTimeout));
        assert_eq!(
            (resolved[0].name.as_deref(), resolved[0].address.as_str()),
            (Some("app.internal"), "10.9.9.9:3001")
        );
        assert_eq!(resolved[0].scheme, "https");
        let unknown = ask(&record("10.9.9.9:80", Signal::ReadTimeout));
        assert_eq!((upstreams(&unknown), unknown[0].scheme.as_str()), (vec!["10.9.9.9:80"], "http"));
        let all = ["10.0.0.2:3000", "10.0.0.3:3000", "app.internal:3001"];
        assert_eq!(upstreams(&ask(&record("api", Signal::NoLiveUpstream))), all);
        let mut unnamed = record("", Signal::NoLiveUpstream);
        (unnamed.attempts, unnamed.pool) = (Vec::new(), Some("api".into()));
        assert_eq!(upstreams(&ask(&unnamed)), all);
        let mut retried = record("", Signal::UpstreamErrorUnspecified);
        (retried.attempts[0].upstream, retried.pool) = (None, Some("api".into()));
        assert_eq!(upstreams(&ask(&retried)), all);
        assert_eq!(upstreams(&ask(&record("unix:/run/app.sock", Signal::SocketMissing))), ["unix:/run/app.sock"]);
        assert_eq!(ask(&record("somewhere", Signal::ConnectRefused)), []);
        assert_eq!(ask(&record("10.0.0.2:3000", Signal::AppStatus)), [], "it answers");
    }

    #[test]
    fn a_haproxy_server_is_named_with_its_backend() {
        let server = |name: &str, address: &str| Member { name: name.into(), ..member(address) };
        let pool = |name: &str, member: Member| Pool { name: name.into(), members: vec![member], ..Default::default() };
        let pools = [pool("blog", server("app1", "10.0.0.9:80")), pool("shop", server("app1", "10.0.0.2:3000"))];
        let failed = record("shop/app1", Signal::ConnectFailed);
        let requests = Targets::default().requests("edge", &failed, &pools, Instant::now());
        let told: Vec<_> = requests.iter().map(|one| (one.upstream.as_str(), one.address.as_str())).collect();
        assert_eq!(told, [("shop/app1", "10.0.0.2:3000")]);
    }

    #[test]
    fn only_safe_paths_are_repeated() {
        let mut post = record("10.0.0.2:3000", Signal::ReadTimeout);
        post.method = Some("POST".into());
        assert_eq!(Targets::default().requests("edge", &post, &pools(), Instant::now())[0].get_path, None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut targets = Targets::default();
        for number in 0..3 * MAX_UPSTREAMS {
            let record = record(&format!("10.0.0.1:{}", number + 1), Signal::ConnectRefused);
            targets.requests("edge", &record, &[], Instant::now());
        }
        assert!(targets.asked.len() <= MAX_UPSTREAMS);
    }
}
