//! Family protocol: both are alive and disagree.

use super::restarting::listened_after;
use super::scene::Scene;
use super::{COMPATIBLE, LIKELY, POSSIBLE, PROVEN, Rule, Support, hung, inner, overload};
use crate::case::Note;
use crate::model::{Cause, Evidence, HealthResult, Signal};

pub(super) const RULES: &[Rule] =
    &[keepalive_race, premature_close, header_too_big, header_invalid, tls_handshake_failed, wrong_protocol];

/// Signals of a connection that was cut before a complete header.
const CUT: &[Signal] = &[Signal::ResetBeforeHeaders, Signal::ClosedBeforeHeaders, Signal::NoResponseHeaders];
/// A reused connection that was closed already fails within a round trip and what a busy machine adds to it; a request
/// that was worked on for longer was not lost in a race, microseconds.
const AT_ONCE_US: u64 = 500_000;

/// What is known of idle connections between the gateway and the instance.
struct Idle {
    /// The gateway keeps them so long. None: not known; zero: it keeps none.
    gateway_us: Option<u64>,
    /// The instance closes them after so long. None: not measured.
    instance_us: Option<(i64, u64)>,
    /// The instance kept one at least so long.
    kept_us: u64,
}

impl Idle {
    fn of(scene: &Scene) -> Self {
        let measured = scene.probes.iter().rev().find_map(|(at_us, probe)| Some((*at_us, probe.idle_close_us?)));
        let kept_us = scene.probes.iter().filter_map(|(_, probe)| probe.idle_kept_us).max().unwrap_or(0);
        Self { gateway_us: scene.pool.and_then(|pool| pool.keepalive_idle_us), instance_us: measured, kept_us }
    }

    /// Whether requests for one path alone fail, and sooner after each other than a connection takes to grow old: races
    /// strike any request, and each needs a connection that was idle for as long as the instance keeps one.
    fn too_often(&self, scene: &Scene, cut: &[&Note]) -> bool {
        let Some((_, instance_us)) = self.instance_us else { return false };
        let one_path = cut.iter().all(|note| note.request == cut[0].request);
        let lasted_us = u64::try_from(scene.failures.last_us - scene.failures.first_us).unwrap_or(0);
        one_path && cut.len() >= 4 && lasted_us / (cut.len() as u64 - 1) < instance_us
    }

    /// Whether the instance closes sooner than the gateway: then the two can race.
    fn can_race(&self) -> Option<bool> {
        match (self.gateway_us, self.instance_us) {
            (Some(0), _) => Some(false),
            (Some(gateway_us), Some((_, instance_us))) => Some(instance_us <= gateway_us),
            (Some(gateway_us), None) if self.kept_us > gateway_us => Some(false),
            _ => None,
        }
    }
}

/// The cut failures of an instance that lived on; None where they are not what this case is about.
fn cut_while_alive<'s>(scene: &'s Scene) -> Option<Vec<&'s Note>> {
    let alive = !scene.process_alive().no() && scene.chain.is_empty();
    if scene.by_application() || scene.share(CUT) < 0.5 || !alive || worker_ended(scene) {
        return None;
    }
    Some(scene.failures.notes.iter().filter(|note| CUT.contains(&note.signal)).collect())
}

/// Whether an end of one of its workers stands beside most of the failures.
fn worker_ended(scene: &Scene) -> bool {
    super::instance_down::RULES
        .iter()
        .filter_map(|rule| rule(scene))
        .any(|support| matches!(support.cause, Cause::WorkerKilled | Cause::OomKilled) && support.weight >= PROVEN)
}

/// A request that the gateway would have sent again if a kept connection had failed it: its failure was on a fresh one.
/// nginx, Caddy and Traefik do so for idempotent methods.
fn failed_fresh(scene: &Scene, note: &Note) -> bool {
    let resends = matches!(scene.case.key.gateway.kind.as_str(), "nginx" | "ingress_nginx" | "caddy" | "traefik");
    let idempotent = ["GET ", "HEAD ", "OPTIONS "].iter().any(|method| note.request.starts_with(method));
    note.reused == Some(false) || (resends && idempotent && note.last_try)
}

fn probe_http<'a>(scene: &Scene<'a>) -> Option<(i64, &'a crate::model::HttpTry)> {
    scene.probes.iter().rev().find_map(|(at_us, probe)| Some((*at_us, probe.http.as_ref()?)))
}

fn fresh_works(scene: &Scene) -> Option<Evidence> {
    let (at_us, http) = probe_http(scene).filter(|(_, http)| http.status > 0)?;
    Some(scene.from_gateway(
        at_us,
        "probe",
        format!("{} on a fresh connection is answered with {}", http.request, http.status),
    ))
}

fn keepalive_race(scene: &Scene) -> Option<Support> {
    let cut = cut_while_alive(scene)?;
    let idle = Idle::of(scene);
    let fresh_share = share(&cut, |note| failed_fresh(scene, note));
    let at_once = share(&cut, |note| note.response_us.is_none_or(|took_us| took_us <= AT_ONCE_US));
    let reused = share(&cut, |note| note.reused == Some(true));
    if idle.can_race() == Some(false) || fresh_share > 0.5 || at_once < 0.5 {
        return None;
    }
    let fresh = fresh_works(scene);
    let known_alive = scene.process_alive().yes();
    let weight = match (idle.can_race(), fresh.is_some(), reused > 0.5) {
        // More of them at one path than connections can have grown old: some handler closes them.
        (Some(true), _, false) if idle.too_often(scene, &cut) => LIKELY,
        // Where nobody saw whether a process ended, a crash looks the same.
        (Some(true), _, _) if !known_alive => POSSIBLE * 2.0,
        (Some(true), true, _) => PROVEN,
        (Some(true), false, _) | (None, true, true) => LIKELY,
        (None, _, true) => POSSIBLE * 1.5,
        (None, _, false) if idle.gateway_us.is_some() && known_alive => POSSIBLE,
        _ => COMPATIBLE,
    };
    let mut support = Support::new(Cause::KeepaliveRace, weight, scene.failures.first_us).with(fresh);
    if !known_alive {
        support = support.lacking("whether a process of the instance ended at that time: a crash looks the same");
    }
    if let Some((at_us, instance_us)) = idle.instance_us {
        let gateway =
            idle.gateway_us.map_or_else(String::new, |us| format!("; the gateway keeps them {:.0} s", us as f64 / 1e6));
        let says = format!(
            "{} closes idle connections after {:.1} s{gateway}",
            scene.service_name(),
            instance_us as f64 / 1e6
        );
        support = support.with([scene.from_gateway(at_us, "probe", says)]);
    } else {
        support = support.lacking(
            "how soon the instance closes idle connections: the measurement is still under way or could not be made",
        );
    }
    if idle.gateway_us.is_none() {
        support = support.lacking("how long the gateway keeps idle connections: give the agent its configuration file");
    }
    Some(support)
}

fn premature_close(scene: &Scene) -> Option<Support> {
    let cut = cut_while_alive(scene)?;
    let idle = Idle::of(scene);
    let probe_cut = probe_http(scene).filter(|(_, http)| CUT.iter().any(|signal| signal.id() == http.signal));
    let fresh_share = share(&cut, |note| failed_fresh(scene, note));
    let slow = share(&cut, |note| note.response_us.is_some_and(|took_us| took_us > AT_ONCE_US));
    let alive = scene.process_alive().yes();
    let weight = match (probe_cut.is_some() || fresh_share > 0.5, idle.can_race()) {
        _ if !alive || header_seen(scene).is_some() || takes_tls(scene).is_some() => COMPATIBLE,
        _ if inner::cuts_as_it_fails(scene).is_some() => COMPATIBLE,
        // The same is written of a header that the gateway would not take, and nobody has looked at one.
        (true, _) if untold(scene) && probe_http(scene).is_none() => LIKELY,
        (true, _) => PROVEN,
        (false, Some(false)) => PROVEN,
        _ if slow > 0.5 => LIKELY,
        (false, Some(true)) if idle.too_often(scene, &cut) => LIKELY * 1.5,
        (false, Some(true)) => POSSIBLE,
        (false, None) => POSSIBLE,
    };
    // What it is short of makes it close; the closing is the consequence.
    let weight = if overload::short_of_something(scene) { weight.min(POSSIBLE) } else { weight };
    let mut support = Support::new(Cause::PrematureClose, weight, scene.failures.first_us);
    if alive {
        let at_us = scene.samples.first().map_or(scene.failures.first_us, |sample| sample.at_us);
        let says = format!("no process of {} ended while it closed the connections", scene.service_name());
        support = support.with([scene.from_host(at_us, "process", says)]);
    }
    if fresh_share > 0.5 {
        let says = "the closed connections were fresh ones: a kept one would have been tried again".to_owned();
        support = support.with([scene.from_gateway(scene.failures.first_us, "gateway_log", says)]);
    }
    if let Some((at_us, http)) = probe_cut {
        let says = format!("{} on a fresh connection is cut as well ({})", http.request, http.signal);
        support = support.with([scene.from_gateway(at_us, "probe", says)]);
    }
    let log = scene.log_of(
        &["error", "uncaught_exception"],
        scene.failures.began_us - 1_000_000,
        scene.failures.last_us + 2_000_000,
    );
    Some(support.with(log.map(|(at_us, found)| scene.from_host(at_us, "app_log", found.line.clone()))))
}

fn share(notes: &[&Note], fits: impl Fn(&Note) -> bool) -> f64 {
    notes.iter().filter(|note| fits(note)).count() as f64 / notes.len().max(1) as f64
}

/// Whether the gateway's record of most failures does not tell a connection that was closed from an answer that it would not
/// take: an access log's line of nginx or of an AWS load balancer.
fn untold(scene: &Scene) -> bool {
    let kind = scene.case.key.gateway.kind.as_str();
    let access_alone = matches!(kind, "nginx" | "ingress_nginx" | "aws_alb" | "aws_clb");
    access_alone && scene.share(&[Signal::NoResponseHeaders]) >= 0.5
}

/// A header that a probe got and that is larger than the gateway takes.
fn header_seen(scene: &Scene) -> Option<Evidence> {
    let limit = scene.pool.map_or(0, |pool| pool.header_limit_bytes);
    let (at_us, http) = probe_http(scene).filter(|(_, http)| limit > 0 && http.header_bytes > limit)?;
    let says =
        format!("the header of {} has {} bytes, the gateway's limit is {limit}", http.request, http.header_bytes);
    Some(scene.from_gateway(at_us, "probe", says))
}

/// Whether a probe's answer had a header so large that one of its lines may be over Varnish' limit for a line, http_resp_hdr_len
/// (varnishd(1)), which says of such no more than of a malformed one.
fn long_line(scene: &Scene) -> Option<Evidence> {
    const LINE_LIMIT_BYTES: u64 = 8 * 1024;
    let varnish = scene.case.key.gateway.kind == "varnish" && scene.share(&[Signal::HeaderInvalid]) >= 0.3;
    let (at_us, http) = probe_http(scene).filter(|(_, http)| varnish && http.header_bytes > LINE_LIMIT_BYTES)?;
    let says = format!(
        "the header of {} has {} bytes, and Varnish takes no line of more than {LINE_LIMIT_BYTES}",
        http.request, http.header_bytes
    );
    Some(scene.from_gateway(at_us, "probe", says))
}

/// Whether the gateway does not tell what was wrong with an answer.
fn vague(scene: &Scene) -> bool {
    const VAGUE: &[Signal] = &[Signal::ResponseInvalid, Signal::StatusOnly, Signal::UpstreamErrorUnspecified];
    scene.share(VAGUE) >= 0.3 || untold(scene)
}

fn header_too_big(scene: &Scene) -> Option<Support> {
    let vague = vague(scene);
    let long_line = long_line(scene);
    let seen = header_seen(scene).or_else(|| long_line.clone());
    let weight = match (scene.share(&[Signal::HeaderTooBig]) >= 0.3, vague, &seen) {
        (true, ..) => PROVEN,
        _ if scene.by_application() => return None,
        _ if long_line.is_some() => LIKELY * 1.5,
        (false, true, Some(_)) => PROVEN,
        // Nobody looked at such an answer: too big or malformed, the gateway says the same.
        (false, true, None) if scene.share(&[Signal::ResponseInvalid]) >= 0.3 => {
            if probe_http(scene).is_none() {
                POSSIBLE
            } else {
                COMPATIBLE
            }
        }
        (false, true, None) if untold(scene) && probe_http(scene).is_none() => COMPATIBLE,
        _ => return None,
    };
    Some(Support::new(Cause::HeaderTooBig, weight, scene.failures.first_us).with(seen))
}

/// An answer that a probe got and whose header is none.
fn malformed_seen(scene: &Scene) -> Option<Evidence> {
    let (at_us, http) = probe_http(scene).filter(|(_, http)| http.signal == Signal::HeaderInvalid.id())?;
    let says = format!("what answers {} has a malformed header: {}", http.request, http.error);
    Some(scene.from_gateway(at_us, "probe", says))
}

fn header_invalid(scene: &Scene) -> Option<Support> {
    let told = scene.share(&[Signal::HeaderInvalid]) >= 0.3;
    let seen = malformed_seen(scene).filter(|_| !scene.by_application());
    let weight = if seen.is_some() && (told || vague(scene)) {
        PROVEN
    } else if told {
        // Where the process ended then, the header was cut off, not wrong; nginx tells the two apart, others may not.
        let tells = matches!(scene.case.key.gateway.kind.as_str(), "nginx" | "ingress_nginx");
        match (scene.chain.is_empty(), tells || scene.process_alive().yes()) {
            _ if long_line(scene).is_some() => COMPATIBLE,
            (true, true) => PROVEN,
            (true, false) => LIKELY / 2.0,
            (false, _) => POSSIBLE,
        }
    } else if scene.share(&[Signal::ResponseInvalid]) >= 0.3 {
        POSSIBLE
    } else {
        return None;
    };
    Some(Support::new(Cause::HeaderInvalid, weight, scene.failures.first_us).with(seen))
}

/// Signals of a connection that was made and then not secured.
const TLS: &[Signal] = &[Signal::TlsHandshake, Signal::TlsVerify];

/// Whether TLS fails since the instance that was started amid the failures has come to listen: until then it was only not there.
pub(super) fn fails_by_tls_since_start(scene: &Scene) -> bool {
    let Some((start_us, _)) = scene.starts.iter().rfind(|(_, start)| start.leader && !start.already_running) else {
        return false;
    };
    listened_after(scene, *start_us).is_some_and(|listened_us| scene.share_from(listened_us, TLS) >= 0.3)
}

/// Whether the gateway's record, or a handshake repeated where the record tells no phase, shows that TLS failed.
fn tls_fails(scene: &Scene) -> bool {
    /// What a gateway says that does not tell a failed handshake from a failed connect or a closed connection.
    const VAGUE: &[Signal] = &[
        Signal::ConnectFailed,
        Signal::UpstreamErrorUnspecified,
        Signal::StatusOnly,
        Signal::NoResponseHeaders,
        Signal::ResetBeforeHeaders,
        Signal::ClosedBeforeHeaders,
    ];
    let repeated = || tls_tried(scene).is_some_and(|(_, tls)| !tls.ok);
    scene.share(TLS) >= 0.3 || fails_by_tls_since_start(scene) || (scene.share(VAGUE) >= 0.5 && repeated())
}

fn tls_tried<'a>(scene: &Scene<'a>) -> Option<(i64, &'a crate::model::TlsTry)> {
    scene.probes.iter().rev().find_map(|(at_us, probe)| Some((*at_us, probe.tls.as_ref()?)))
}

/// When a probe found that what closes on the gateway's plain requests takes a handshake.
fn takes_tls(scene: &Scene) -> Option<i64> {
    let gateway_plain = scene.pool.is_some_and(|pool| pool.scheme == "http");
    tls_tried(scene).filter(|(_, tls)| tls.ok && gateway_plain).map(|(at_us, _)| at_us)
}

fn tls_handshake_failed(scene: &Scene) -> Option<Support> {
    if scene.by_application() || !tls_fails(scene) {
        return None;
    }
    let tried = tls_tried(scene);
    let plain = tried.is_some_and(|(_, tls)| tls.plain_answer) || says_plain(scene) || answers_by(scene, "http:");
    // A handshake that ended for want of an answer tells of the process more than of its TLS.
    let weight = if plain || hung::unshaken(scene) > 0.5 { POSSIBLE } else { PROVEN };
    let evidence = tried.filter(|(_, tls)| !tls.ok).map(|(at_us, tls)| {
        let names = if tls.names.is_empty() {
            String::new()
        } else {
            format!("; the certificate is for {}", tls.names.join(", "))
        };
        scene.from_gateway(at_us, "probe", format!("the handshake repeated from here fails: {}{names}", tls.error))
    });
    Some(Support::new(Cause::TlsHandshakeFailed, weight, scene.failures.first_us).with(evidence))
}

/// The gateway's own words say that the peer spoke plain text.
fn says_plain(scene: &Scene) -> bool {
    const PLAIN: &[&str] =
        &["wrong version number", "WRONG_VERSION_NUMBER", "first record does not look like a TLS", "http request"];
    scene.failures.notes.iter().any(|note| PLAIN.iter().any(|words| note.reason.contains(words)))
}

/// The instance's own host was answered in that way while requests failed.
fn answers_by(scene: &Scene, scheme: &str) -> bool {
    let answered = |(at_us, health): &(i64, &HealthResult)| {
        *at_us >= scene.failures.first_us && health.url.starts_with(scheme) && (1..400).contains(&health.status)
    };
    scene.health.iter().any(answered)
}

fn wrong_protocol(scene: &Scene) -> Option<Support> {
    let tls = !scene.by_application() && tls_fails(scene);
    let invalid = scene.share(&[Signal::ResponseInvalid, Signal::HeaderInvalid]) >= 0.3;
    let cut = scene.share(CUT) >= 0.5;
    let plain =
        tls_tried(scene).is_some_and(|(_, tls)| tls.plain_answer) || says_plain(scene) || answers_by(scene, "http:");
    let gateway_plain = scene.pool.is_some_and(|pool| pool.scheme == "http");
    let takes_tls = takes_tls(scene);
    let instance_speaks_tls = answers_by(scene, "https:") || takes_tls.is_some();
    let weight = match (tls && plain, instance_speaks_tls && gateway_plain && cut) {
        (true, _) => PROVEN,
        (false, true) => PROVEN,
        _ if invalid && !scene.ever_answered() => POSSIBLE,
        _ => return None,
    };
    let says = if tls {
        "the gateway speaks TLS, the instance plain text"
    } else if instance_speaks_tls {
        "the gateway speaks plain text, the instance TLS"
    } else {
        "the gateway speaks plain text, the instance does not"
    };
    let at_us = scene.failures.first_us;
    let support = Support::new(Cause::WrongProtocol, weight, at_us);
    let support = support.with([scene.from_gateway(at_us, "gateway_log", says.to_owned())]);
    Some(support.with(takes_tls.map(|at_us| {
        let says = "it closes on a plain request and takes a TLS handshake from here".to_owned();
        scene.from_gateway(at_us, "probe", says)
    })))
}
