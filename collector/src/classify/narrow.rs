//! Whether the way loses large packets: what a probe asked was not answered, and asked once more by small packets it was, while the
//! first was still waited for. A process that hangs answers neither, and one that is busy answers the first as well.

use super::scene::Scene;
use super::{LIKELY, PROVEN};
use crate::model::{Evidence, HttpTry, ProbeResult};

/// The largest packets of the second request, as the schema says, bytes. What fits into one of them is sent the same both times.
const SMALL_BYTES: u64 = 536;
/// What was asked so long before a failed attempt met the same as that, microseconds.
const BEFORE_US: i64 = 1_000_000;

/// A way that loses large packets.
#[derive(Debug)]
pub(super) struct Narrow {
    /// How surely.
    pub(super) weight: f64,
    /// What shows it.
    pub(super) evidence: Evidence,
    /// One probe alone shows it.
    pub(super) once: bool,
}

/// Whether a probe was answered by small packets while it waited for others.
pub(super) fn answers_small_packets(scene: &Scene) -> bool {
    scene.probes.iter().any(|(_, probe)| unheard(probe) && small_answer(probe).is_some())
}

/// The way as all probes show it. None: they do not, or one met what a way that loses large packets does not explain.
pub(super) fn narrow(scene: &Scene) -> Option<Narrow> {
    let probes = || scene.probes.iter().filter(|(at_us, _)| *at_us < scene.aftermath_us);
    let lost: Vec<(i64, &ProbeResult, &HttpTry)> =
        probes().filter_map(|(at_us, probe)| Some((*at_us, *probe, lost_answer(probe)?))).collect();
    let (newest_us, probe, small) = *lost.last()?;
    let lost_bytes = lost.iter().map(|(_, _, small)| small.received_bytes).min()?;
    let tells_us = newest_us.max(scene.failures.last_began_us - BEFORE_US);
    if probes().any(|(at_us, probe)| answered_at(*at_us, probe) < tells_us && met_otherwise(probe, lost_bytes)) {
        return None;
    }
    // Where some of several workers hang it is chance which request meets one of them, and the gateway gets answers as well.
    let weight = match (lost.len(), scene.answered_meanwhile()) {
        (1, _) => LIKELY / 2.0,
        (2, 1..) => LIKELY / 1.5,
        _ => PROVEN,
    };
    let first = match &probe.http {
        Some(http) if http.status > 0 => format!("the body of {} did not come here", http.request),
        Some(http) => format!("{} was not answered here", http.request),
        None => "the TLS handshake was not answered here".to_owned(),
    };
    let says = format!(
        "{first}; {} once more by packets of at most {SMALL_BYTES} bytes was, meanwhile, with {}: larger packets get lost on the way{}",
        small.request,
        small.status,
        if lost.len() > 1 { format!(" ({} probes)", lost.len()) } else { String::new() }
    );
    Some(Narrow { weight, evidence: scene.from_gateway(newest_us, "probe", says), once: lost.len() == 1 })
}

/// The first request, or the handshake before it, was waited for in vain.
fn unheard(probe: &ProbeResult) -> bool {
    match &probe.http {
        Some(http) => matches!(http.signal.as_str(), "read_timeout" | "body_timeout"),
        None => probe.tls.as_ref().is_some_and(|tls| !tls.ok),
    }
}

/// What came by small packets.
fn small_answer(probe: &ProbeResult) -> Option<&HttpTry> {
    probe.small_packets.as_ref().filter(|http| http.status > 0 && http.signal != "body_timeout")
}

/// The answer that came by small packets only and that others would have carried otherwise.
fn lost_answer(probe: &ProbeResult) -> Option<&HttpTry> {
    let small = small_answer(probe).filter(|_| unheard(probe))?;
    let differs = probe.http.as_ref().is_none_or(|http| small.received_bytes > SMALL_BYTES.max(http.received_bytes));
    differs.then_some(small)
}

/// When a probe met what it met: what is sent again until the way is mended arrives then.
fn answered_at(begun_us: i64, probe: &ProbeResult) -> i64 {
    let waited_us = probe.http.as_ref().and_then(|http| http.first_byte_us).unwrap_or(0);
    begun_us.saturating_add_unsigned(waited_us)
}

/// As much was answered at the first asking, or nothing by small packets either, or what both would have carried the same.
fn met_otherwise(probe: &ProbeResult, lost_bytes: u64) -> bool {
    match (&probe.http, unheard(probe)) {
        (_, true) => probe.small_packets.is_some() && lost_answer(probe).is_none(),
        (Some(http), false) => http.status > 0 && http.received_bytes >= lost_bytes,
        (None, false) => false,
    }
}
