//! Family network: the gateway can't reach a working instance.

use super::host_down::host_answers;
use super::link::{link_down, link_lost, no_route, no_route_found};
use super::narrow::narrow;
use super::scene::{SAME_MOMENT_US, Scene, Tri};
use super::{COMPATIBLE, LIKELY, POSSIBLE, PROVEN, Rule, Support};
use super::{hung, icmp};
use crate::fleet::{History, HostEntry};
use crate::model::{Address, Cause, ConnectTry, EventKind, Evidence, ListenerSample, Signal};

pub(super) const RULES: &[Rule] =
    &[firewall_reject, firewall_drop, link_down, no_route, packet_loss, dns_failure, conntrack_full, path_unreachable];

/// Signals of a connect that something turned down at once.
const TURNED_DOWN: &[Signal] = &[Signal::ConnectRefused, Signal::ConnectUnreachable, Signal::ConnectFailed];
/// Signals of a connect that nothing answered.
const UNANSWERED: &[Signal] = &[Signal::ConnectTimeout];
/// Signals of not getting through at all.
pub(super) const NO_WAY: &[Signal] = &[
    Signal::ConnectTimeout,
    Signal::ConnectUnreachable,
    Signal::ConnectFailed,
    Signal::ReadTimeout,
    Signal::SendTimeout,
    Signal::NoLiveUpstream,
    Signal::UpstreamErrorUnspecified,
    Signal::StatusOnly,
    Signal::DnsFailure,
];

/// An accept queue seen so full may have overflowed between two looks.
pub(super) const QUEUE_NEAR: f64 = 0.25;

/// The instance works where it runs: it listens on that very address, and its own host connects.
fn works_locally(scene: &Scene) -> Tri {
    match (scene.listening(), scene.local_connect()) {
        (Tri::Yes | Tri::Unknown, _) if scene.answered_elsewhere().is_some() => Tri::Yes,
        (Tri::Yes, Tri::Yes) => Tri::Yes,
        (Tri::No, _) | (_, Tri::No) => Tri::No,
        _ => Tri::Unknown,
    }
}

fn locally_evidence(scene: &Scene) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    if let Some((answered, host)) = scene.answered_elsewhere() {
        let says = format!("{host} got {answered} answers from {} meanwhile", scene.upstream());
        evidence.push(Evidence { at_us: scene.failures.last_us, host: host.to_owned(), source: "gateway_log", says });
    }
    if scene.listening().yes() {
        let at_us = scene.samples.first().map_or(scene.failures.first_us, |sample| sample.at_us);
        let says = format!("{} listens on {} all the while", scene.service_name(), scene.upstream());
        evidence.push(scene.from_host(at_us, "socket", says));
    }
    if scene.local_connect().no() {
        return evidence;
    }
    if let Some((at_us, health)) = scene
        .health
        .iter()
        .rev()
        .find(|(at_us, health)| *at_us >= scene.failures.first_us - SAME_MOMENT_US && health.connect_us.is_some())
    {
        let took_us = health.connect_us.unwrap_or(0);
        evidence.push(scene.from_host(
            *at_us,
            "health",
            format!("connecting to {} from its own host works ({took_us} us)", health.url),
        ));
    }
    evidence
}

fn firewall_reject(scene: &Scene) -> Option<Support> {
    let turned_down = scene.share_before_end(TURNED_DOWN);
    let no_connect = turned_down + scene.share_before_end(UNANSWERED);
    let tries = scene.tries();
    // Some gateways wait on in spite of an ICMP message: then only a connect of one's own meets the refusal.
    let turned_back = icmp::turned_back(scene);
    if scene.by_application()
        || (turned_down < 0.1 && !tries.rejected() && turned_back.is_none())
        || no_connect < 0.3
        || scene.listening().no()
        || !scene.chain.is_empty()
    {
        return None;
    }
    // Where only connects succeed nothing rejects them; where others found no answer the rule may have gone in between, and the
    // kernel sends the ICMP messages of a REJECT at a limited rate.
    if tries.connected > 0 && !tries.rejected() && tries.timed_out == 0 {
        return None;
    }
    if lost_neighbour(scene) || no_route_found(scene) {
        return None;
    }
    let refused = scene.share_before_end(&[Signal::ConnectRefused]) > 0.0;
    if !refused && !tries.rejected() && icmp::all_by_itself(scene) {
        return None;
    }
    let weight = match (scene.listening(), works_locally(scene), tries.rejected()) {
        // A full queue may be set to refuse what it can't hold (tcp_abort_on_overflow).
        _ if queue_full(scene) => COMPATIBLE,
        (Tri::Yes, Tri::Yes, false) if turned_back.is_some() => LIKELY * 2.0,
        // A host that has fallen silent vouches for nothing: it may have gone down since.
        (Tri::Yes, ..) if scene.host_reports().no() => POSSIBLE,
        // Nor does what was seen before: a kernel that goes down refuses for a moment.
        (Tri::Yes, Tri::Yes, true) if !scene.seen_since_first() => POSSIBLE * 1.5,
        (Tri::Yes, Tri::Yes, true) => PROVEN,
        (Tri::Yes, _, _) if scene.local_connect().no() => COMPATIBLE,
        (Tri::Yes, Tri::Yes, false) | (Tri::Yes, _, true) => LIKELY,
        (Tri::Yes, _, false) => POSSIBLE,
        _ => COMPATIBLE / 2.0,
    };
    let mut support = Support::new(Cause::FirewallReject, weight, scene.failures.first_us);
    support = support.with(locally_evidence(scene)).with(tries.evidence(scene)).with(turned_back);
    if !tries.any() {
        support = support.lacking("a connect from the gateway's host to see what it meets there");
    }
    Some(support)
}

/// Whether a probe found that the kernel asked in vain who has the address: then it is that which makes it unreachable.
fn lost_neighbour(scene: &Scene) -> bool {
    scene.probes.iter().any(|(_, probe)| matches!(probe.neighbour.as_str(), "failed" | "incomplete"))
}

fn firewall_drop(scene: &Scene) -> Option<Support> {
    // A read timeout alone shows that connections do get through.
    let told_little = scene.share(&[Signal::ConnectFailed, Signal::UpstreamErrorUnspecified, Signal::StatusOnly]);
    let unanswered = scene.share(UNANSWERED);
    let tries = scene.tries();
    if scene.by_application()
        || scene.case.key.upstream.is_none()
        || unanswered + 0.5 * told_little < 0.3
        || scene.listening().no()
        || scene.host_reports().no()
    {
        return None;
    }
    if link_lost(scene).is_some() {
        return None;
    }
    // Refusals among the timeouts at one address are a REJECT whose ICMP messages are limited in rate.
    let refused = tries.rejected() || scene.share(&[Signal::ConnectRefused]) > 0.05;
    if refused
        || icmp::turned_back(scene).is_some()
        || queue_full(scene)
        || (tries.any() && tries.timed_out == 0)
        || tries.lets_some_through(scene)
    {
        return None;
    }
    let host_in_reach = in_reach(scene);
    let weight = match (works_locally(scene), tries.timed_out > 0, host_in_reach) {
        // On connections that were kept, or on new ones: then it is no rule that lost the others.
        (Tri::Yes, true, Tri::Yes) if scene.answered_amid() > 0 => POSSIBLE * 1.5,
        (Tri::Yes, true, Tri::Yes) => PROVEN,
        (Tri::Yes, true, Tri::Unknown) => LIKELY,
        (Tri::Yes, true, Tri::No) => POSSIBLE,
        (Tri::Unknown, true, Tri::Yes) if scene.host_reports().yes() => LIKELY,
        // Without anybody on that host a full accept queue looks the same.
        (Tri::Unknown, true, Tri::Yes) => COMPATIBLE * 1.5,
        (Tri::Yes, false, _) if unanswered >= 0.3 => POSSIBLE * 1.5,
        _ => COMPATIBLE,
    };
    let mut support = Support::new(Cause::FirewallDrop, weight, scene.failures.began_us);
    support = support.with(locally_evidence(scene)).with(tries.evidence(scene)).with(reach_evidence(scene));
    if !tries.any() {
        support = support.lacking("a connect from the gateway's host to the same and to another port");
    }
    Some(support)
}

/// Whether anything of the instance's host answers the gateway's host.
fn in_reach(scene: &Scene) -> Tri {
    let mut asked =
        scene.probes.iter().filter(|(_, probe)| probe.other_port.is_some() || probe.echo_answered.is_some()).peekable();
    if asked.peek().is_none() {
        return Tri::Unknown;
    }
    if asked.any(|(_, probe)| host_answers(probe)) { Tri::Yes } else { Tri::No }
}

fn reach_evidence(scene: &Scene) -> Option<Evidence> {
    let (at_us, probe) = scene.probes.iter().rev().find(|(_, probe)| host_answers(probe))?;
    let alive = |tried: &&ConnectTry| matches!(tried.outcome.as_str(), "connected" | "connect_refused");
    let by = match probe.other_port.as_ref().filter(alive) {
        Some(tried) => format!("{} answers ({})", tried.address, tried.outcome),
        None => "it answers an echo request".to_owned(),
    };
    Some(scene.from_gateway(*at_us, "probe", format!("the host itself is in reach from here: {by}")))
}

/// Whether the instance's accept queue was at its limit while it failed.
pub(super) fn queue_full(scene: &Scene) -> bool {
    // The kernel's counter is the whole host's: another listener's overflow is not this one's.
    let peak = queue_peak(scene);
    peak.is_some_and(|share| share >= 1.0) || (overflows(scene) > 0 && peak.is_none_or(|share| share >= QUEUE_NEAR))
}

/// The most that the upstream's own accept queue was seen filled while it failed, as a share of its limit. None: not seen.
pub(super) fn queue_peak(scene: &Scene) -> Option<f64> {
    let listeners = scene.samples.iter().flat_map(|sample| &sample.listeners);
    let own = listeners.filter(|listener| Address::parse(&listener.address).covers(&scene.address));
    let shares = own.filter(|listener| listener.queue_limit > 0);
    shares.map(|listener| f64::from(listener.queue) / f64::from(listener.queue_limit)).max_by(f64::total_cmp)
}

/// Connections that found an accept queue full on the instance's host while it failed.
pub(super) fn overflows(scene: &Scene) -> u64 {
    let Some(host) = scene.host else { return 0 };
    let interval_us = i64::try_from(host.state.interval_us).unwrap_or(0);
    let samples = host.history.host_samples(scene.failures.began_us, scene.failures.last_us + interval_us + 1_000_000);
    samples.filter_map(|sample| sample.net.as_ref()).map(|net| net.listen_overflows).sum()
}

fn packet_loss(scene: &Scene) -> Option<Support> {
    const LOSSY: &[Signal] = &[
        Signal::ConnectTimeout,
        Signal::ReadTimeout,
        Signal::SendTimeout,
        Signal::BodyTimeout,
        Signal::BodyTruncated,
        Signal::UpstreamErrorUnspecified,
    ];
    let tries = scene.tries();
    let turned_down = scene.share(&[Signal::ConnectRefused, Signal::ConnectUnreachable]);
    let refused = tries.refused > 0 || ((tries.unreachable > 0 || turned_down > 0.05) && !lost_neighbour(scene));
    let lossy = scene.share(LOSSY) + hung::unshaken(scene);
    if scene.by_application() || lossy < 0.3 || queue_full(scene) || refused || nothing_since(scene) {
        return None;
    }
    let mixed = tries.lets_some_through(scene);
    let resent = retransmit_share(scene);
    let unheard = unheard(scene).filter(|_| tries.timed_out == 0);
    let narrow = narrow(scene);
    let weight = match (mixed, resent) {
        _ if narrow.as_ref().is_some_and(|narrow| narrow.weight >= PROVEN) => PROVEN,
        _ if unheard.as_ref().is_some_and(|(several, _)| *several) => PROVEN,
        // One packet may get lost on any way.
        _ if unheard.is_some() => LIKELY * 1.5,
        // A full accept queue loses some as well, and nobody looks at it.
        (true, _) if !scene.host_reports().yes() => LIKELY / 2.0,
        (true, share) if share > 0.02 => PROVEN,
        (true, _) => LIKELY,
        (false, share) if share > 0.10 && tries.connected > 0 => LIKELY,
        _ => narrow.as_ref()?.weight,
    };
    let says = format!("{:.0} % of the segments were sent again", resent * 100.0);
    let mut support = Support::new(Cause::PacketLoss, weight, scene.failures.began_us).with(tries.evidence(scene));
    support = support.with(unheard.map(|(_, evidence)| evidence));
    if let Some(narrow) = narrow {
        support = support.with([narrow.evidence]);
        if narrow.once {
            support = support.lacking("a second probe that is answered by small packets only");
        }
    }
    if resent > 0.0 {
        support = support.with([scene.from_gateway(scene.failures.first_us, "kernel", says)]);
    }
    Some(support)
}

/// The instance has answered, and nothing of it arrives: the kernel of whoever asked acknowledges nothing on most of its
/// connections, as where large packets get lost. With it goes whether these were several at once.
fn unheard(scene: &Scene) -> Option<(bool, Evidence)> {
    let lost = |listener: &&ListenerSample| {
        let of_upstream = Address::parse(&listener.address).covers(&scene.address);
        // Those that wait to be accepted have sent nothing.
        let spoken_on = listener.established.unwrap_or(0).saturating_sub(listener.queue);
        of_upstream && listener.unacknowledged > 0 && listener.unacknowledged * 2 >= spoken_on
    };
    let readings = scene.samples.iter().copied().chain(scene.unanswered_since());
    let found = readings.filter_map(|sample| Some((sample.at_us, sample.listeners.iter().find(lost)?)));
    let (at_us, listener) = found.max_by_key(|(_, listener)| listener.unacknowledged)?;
    let says = format!(
        "what {} sent on {} of its connections was sent again and again, and nobody acknowledged it",
        scene.service_name(),
        listener.unacknowledged
    );
    Some((listener.unacknowledged > 1, scene.from_host(at_us, "socket", says)))
}

/// Whether packets are lost on the way, which keeps requests waiting that an instance would have answered.
pub(super) fn loses_packets(scene: &Scene) -> bool {
    packet_loss(scene).is_some_and(|support| support.weight >= LIKELY || narrow(scene).is_some())
}

/// Whether nothing has come through since the instance's host fell silent: what loses all is no loss.
fn nothing_since(scene: &Scene) -> bool {
    let Some((since_us, until_us)) = scene.silence() else { return false };
    let during = (since_us + SAME_MOMENT_US)..=until_us;
    let probed = scene.probes.iter().any(|(at_us, probe)| during.contains(at_us) && host_answers(probe));
    !probed && scene.answered(*during.start(), *during.end()) == 0
}

/// The larger share of segments sent again of both hosts while it failed.
fn retransmit_share(scene: &Scene) -> f64 {
    let share = |entry: &HostEntry| {
        let samples = entry.history.host_samples(scene.failures.began_us, scene.failures.last_us + 5_000_000);
        let (again, all) = samples
            .filter_map(|sample| sample.net.as_ref())
            .fold((0, 0), |(again, all), net| (again + net.retransmits, all + net.segments_out));
        if all > 50 { again as f64 / all as f64 } else { 0.0 }
    };
    scene.host.map_or(0.0, share).max(scene.gateway_host().map_or(0.0, share))
}

fn dns_failure(scene: &Scene) -> Option<Support> {
    let lookup = scene.probes.iter().rev().find_map(|(at_us, probe)| Some((*at_us, probe.lookup.as_ref()?)));
    let failed = lookup.filter(|(_, lookup)| !lookup.error.is_empty());
    let weight = match (scene.share(&[Signal::DnsFailure]) > 0.5, &failed) {
        (true, _) => PROVEN,
        (false, Some(_)) if scene.share(NO_WAY) > 0.3 => LIKELY,
        _ => return None,
    };
    let evidence = failed.map(|(at_us, lookup)| {
        scene.from_gateway(at_us, "probe", format!("{} does not resolve here: {}", lookup.name, lookup.error))
    });
    Some(Support::new(Cause::DnsFailure, weight, scene.failures.began_us).with(evidence))
}

fn conntrack_full(scene: &Scene) -> Option<Support> {
    // Only new connections find the table full.
    let connected = scene.share(&[Signal::ReadTimeout, Signal::SendTimeout]);
    if scene.by_application() || scene.share(NO_WAY) - connected < 0.3 {
        return None;
    }
    let own = scene.host.map(|host| (host, scene.host_name().to_owned()));
    let gateway = scene.gateway_host().map(|host| (host, scene.case.key.gateway.host.clone()));
    own.into_iter().chain(gateway).find_map(|(entry, name)| {
        let (from_us, to_us) = (scene.failures.began_us - 10_000_000, scene.failures.last_us + 10_000_000);
        let note = entry.history.lives(from_us, to_us).find_map(|event| match &event.kind {
            EventKind::KernelNote(note) if note.kind == "conntrack_full" => Some((event.at_us, note.line.clone())),
            _ => None,
        });
        let full = entry.history.host_samples(from_us, to_us).find_map(|sample| {
            let (count, max) = (sample.conntrack_count?, sample.conntrack_max?);
            let says = format!("connection tracking holds {count} of {max} connections");
            (max > 0 && count >= max).then_some((sample.at_us, says))
        });
        let dropped = dropped_untracked(&entry.history, from_us, to_us);
        // A table that is full and whose drops nobody counted may be full of what is long gone.
        let weight = if note.is_some() || dropped.is_some() { PROVEN * 1.5 } else { LIKELY };
        let (at_us, says) = note.or(dropped).or(full)?;
        let evidence = Evidence { at_us, host: name, source: "kernel", says };
        Some(Support::new(Cause::ConntrackFull, weight, scene.failures.began_us).with([evidence]))
    })
}

/// How many packets a host dropped between two readings because it could not track their connections.
fn dropped_untracked(history: &History, from_us: i64, to_us: i64) -> Option<(i64, String)> {
    let mut first = None;
    history.host_samples(from_us, to_us).find_map(|sample| {
        let dropped = sample.conntrack_dropped?;
        let more = dropped.checked_sub(*first.get_or_insert(dropped)).filter(|more| *more > 0)?;
        let (count, max) = (sample.conntrack_count?, sample.conntrack_max?);
        // What has no valid state is dropped as well, however much room there is.
        let is_full = count.saturating_mul(100) >= max.saturating_mul(99);
        let says = format!("connection tracking holds {count} of {max} connections, and dropped {more} packets");
        is_full.then_some((sample.at_us, says))
    })
}

/// Whether the instance's host was heard after a probe had found that nothing of it answers, or after the failures began where
/// nobody probed.
fn heard_since_lost(scene: &Scene) -> bool {
    let lost = scene.probes.iter().find(|(_, probe)| !probe.connects.is_empty() && !host_answers(probe));
    let since_us = lost.map_or(scene.failures.first_us, |(at_us, _)| *at_us);
    scene.host.is_some_and(|host| host.state.last_heard_us > since_us + SAME_MOMENT_US)
}

fn path_unreachable(scene: &Scene) -> Option<Support> {
    if scene.by_application() || scene.share(NO_WAY) < 0.5 || !scene.host_reports().yes() || scene.listening().no() {
        return None;
    }
    let tries = scene.tries();
    let nothing = tries.any() && tries.connected + tries.refused == 0 && in_reach(scene).no();
    // A host that went down reported until then: only a word from after nothing of it answered shows that it is up.
    if no_route_found(scene) || link_lost(scene).is_some() || !heard_since_lost(scene) {
        return None;
    }
    let weight = match (nothing, works_locally(scene)) {
        (true, Tri::Yes) => LIKELY * 2.0,
        (true, _) => LIKELY,
        (false, _) if !tries.any() && !queue_full(scene) => COMPATIBLE,
        _ => return None,
    };
    let says = format!(
        "nothing of {} answers here, no port and no echo, while it reports to the collector",
        scene.host_name()
    );
    let probed = nothing.then(|| scene.from_gateway(tries.newest_us, "probe", says));
    let support = Support::new(Cause::PathUnreachable, weight, scene.failures.began_us);
    Some(support.with(probed).with(locally_evidence(scene)))
}
