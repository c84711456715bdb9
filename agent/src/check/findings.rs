//! What a look shows, judged. Over nine tenths of a limit is a warning; at the limit, absent or not answering is a failure;
//! what could not be read is neither.

use serde::Serialize;
use why502_proto::v1::{HealthResult, HostSample, InstanceSample, ListenerSample, ProcessSample};

use crate::config::{Config, Listen, Service};
use crate::observe::Look;

/// Share of a limit over which it is warned.
const NEAR: f64 = 0.9;

/// How a thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// As it should be.
    Ok,
    /// Near a limit.
    Warning,
    /// Not as it should be.
    Failed,
    /// It could not be seen.
    Unknown,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The service, or "host".
    pub subject: String,
    /// "process", "port", "queue", "health", "cpu", "memory", "descriptors", "disk".
    pub what: &'static str,
    /// How it stands.
    pub mark: Mark,
    /// In words.
    pub says: String,
}

/// Findings of one subject.
struct About<'a> {
    subject: &'a str,
    found: Vec<Finding>,
}

impl About<'_> {
    fn add(&mut self, what: &'static str, mark: Mark, says: String) {
        self.found.push(Finding { subject: self.subject.to_owned(), what, mark, says });
    }

    /// A share of a limit, in words that name both.
    fn share(&mut self, what: &'static str, share: f64, says: &str) {
        let mark = if share > NEAR { Mark::Warning } else { Mark::Ok };
        self.add(what, mark, format!("{says} {:.0} %", share * 100.0));
    }
}

pub(super) fn all(config: &Config, look: &Look, health: &[HealthResult]) -> Vec<Finding> {
    let mut found = Vec::new();
    for instance in &look.instances {
        let service = config.services.iter().find(|service| service.name == instance.service);
        found.extend(of_instance(instance, service, &look.host, health));
    }
    found.extend(of_host(&look.host));
    found
}

fn of_instance(
    instance: &InstanceSample,
    service: Option<&Service>,
    host: &HostSample,
    health: &[HealthResult],
) -> Vec<Finding> {
    let mut about = About { subject: &instance.service, found: Vec::new() };
    process(&mut about, instance, host);
    ports(&mut about, instance, service);
    for listener in &instance.listeners {
        queue(&mut about, listener);
    }
    for result in health.iter().filter(|result| result.service == instance.service) {
        answer(&mut about, result);
    }
    if instance.process_count > 0 {
        load(&mut about, instance, host);
    }
    about.found
}

fn process(about: &mut About<'_>, instance: &InstanceSample, host: &HostSample) {
    let Some(leader) = instance.processes.iter().find(|process| process.leader).or(instance.processes.first()) else {
        return match instance.process_count {
            0 => about.add("process", Mark::Failed, "no process of it runs".to_owned()),
            count => about.add("process", Mark::Unknown, format!("{count} processes, none of which can be read")),
        };
    };
    let since = age(host.at_unix_us.saturating_sub(leader.started_unix_us));
    let others = instance.process_count.saturating_sub(1);
    let others = if others > 0 { format!(", and {others} more") } else { String::new() };
    let rss: u64 = instance.processes.iter().map(|process| process.rss_bytes).sum();
    let who = format!("process {} ({}){others}, for {since}, {} resident", leader.pid, leader.name, bytes(rss));
    match leader.state.as_str() {
        "T" | "t" => about.add("process", Mark::Failed, format!("{who}, but it is stopped (SIGSTOP or a debugger)")),
        "Z" | "X" => about.add("process", Mark::Failed, format!("{who}, but it has ended and was not reaped")),
        "D" => about.add("process", Mark::Warning, format!("{who}; it waits for a device")),
        _ => about.add("process", Mark::Ok, who),
    }
}

fn ports(about: &mut About<'_>, instance: &InstanceSample, service: Option<&Service>) {
    let listening: Vec<&str> = instance.listeners.iter().map(|listener| listener.address.as_str()).collect();
    let wanted = service.map_or(&[][..], |service| service.listen.as_slice());
    if !instance.listeners_known {
        return about.add("port", Mark::Unknown, "its sockets can't be read".to_owned());
    }
    for listen in wanted {
        if listening.iter().any(|address| serves(address, listen)) {
            about.add("port", Mark::Ok, format!("listens on {listen}"));
        } else {
            let instead = if listening.is_empty() {
                "anything".to_owned()
            } else {
                format!("it, only on {}", listening.join(", "))
            };
            about.add(
                "port",
                Mark::Failed,
                format!("nothing listens on {listen}: the service does not listen on {instead}"),
            );
        }
    }
    if wanted.is_empty() && !listening.is_empty() {
        about.add("port", Mark::Ok, format!("listens on {}", listening.join(", ")));
    }
}

/// Whether a socket takes what is sent to a configured address: one of the same port on all addresses does, too.
fn serves(address: &str, listen: &Listen) -> bool {
    let socket = address.parse::<std::net::SocketAddr>().ok();
    match (listen, socket) {
        (Listen::Port(port), Some(socket)) => socket.port() == *port,
        (Listen::Address(wanted), Some(socket)) => {
            // The unspecified address of IPv6 takes IPv4 as well, unless the socket was told not to (ipv6(7)).
            let any = socket.ip().is_unspecified() && (socket.is_ipv6() || wanted.is_ipv4());
            socket.port() == wanted.port() && (any || socket.ip().to_canonical() == wanted.ip().to_canonical())
        }
        (Listen::Unix(_), None) => address == listen.to_string(),
        _ => false,
    }
}

fn queue(about: &mut About<'_>, listener: &ListenerSample) {
    let (waiting, limit) = (listener.queue, listener.queue_limit);
    let says = format!("{waiting} of {limit} connections wait to be accepted at {}", listener.address);
    let mark = match () {
        // The kernel takes one more than the limit before it drops.
        () if limit > 0 && waiting >= limit => Mark::Failed,
        () if limit > 0 && f64::from(waiting) > f64::from(limit) * NEAR => Mark::Warning,
        () => Mark::Ok,
    };
    about.add("queue", mark, says);
}

fn answer(about: &mut About<'_>, result: &HealthResult) {
    let ms = |micros: Option<u64>| micros.map_or_else(String::new, |micros| format!(" in {}", millis(micros)));
    if !result.signal.is_empty() {
        let says = format!("{} failed: {} ({})", result.url, result.error, result.signal);
        return about.add("health", Mark::Failed, says);
    }
    if result.connect_only {
        return about.add("health", Mark::Ok, format!("{} takes connections{}", result.url, ms(result.connect_us)));
    }
    let body = if result.body.is_empty() { String::new() } else { format!(": {}", result.body) };
    let says = format!("{} answered {}{}{body}", result.url, result.status, ms(result.first_byte_us));
    about.add("health", if result.status < 400 { Mark::Ok } else { Mark::Failed }, says);
}

fn load(about: &mut About<'_>, instance: &InstanceSample, host: &HostSample) {
    let cgroup = instance.cgroup.as_ref();
    let used: Option<f64> =
        instance.processes.iter().filter_map(|process| process.cpu_ratio).reduce(|sum, one| sum + one);
    let cpus = cgroup.and_then(|cgroup| cgroup.cpu_quota).unwrap_or(f64::from(host.cpus));
    if let Some(used) = used.filter(|_| cpus > 0.0) {
        about.share("cpu", used / cpus, &format!("uses {used:.2} of {cpus} CPUs,"));
    }
    let limited = cgroup.and_then(|cgroup| Some((cgroup.mem_bytes?, cgroup.mem_limit_bytes?)));
    let rss: u64 = instance.processes.iter().map(|process| process.rss_bytes).sum();
    if let Some((used, limit)) =
        limited.or(host.mem_total_bytes.map(|total| (rss, total))).filter(|(_, limit)| *limit > 0)
    {
        about.share("memory", ratio(used, limit), &format!("uses {} of {} memory,", bytes(used), bytes(limit)));
    }
    let fullest = instance.processes.iter().filter_map(descriptors).max_by(|left, right| left.0.total_cmp(&right.0));
    if let Some((share, says)) = fullest {
        let at_limit = share >= 1.0;
        about.share("descriptors", share, &says);
        if let Some(last) = about.found.last_mut().filter(|_| at_limit) {
            last.mark = Mark::Failed;
        }
    }
}

fn descriptors(process: &ProcessSample) -> Option<(f64, String)> {
    let (open, limit) = (u64::from(process.fds?), process.fd_limit.filter(|limit| *limit > 0)?);
    Some((ratio(open, limit), format!("process {} has {open} of {limit} descriptors open,", process.pid)))
}

fn of_host(host: &HostSample) -> Vec<Finding> {
    let mut about = About { subject: "host", found: Vec::new() };
    match host.cpu_busy_ratio {
        Some(busy) => about.share("cpu", busy, &format!("{} CPUs busy", host.cpus)),
        None => about.add("cpu", Mark::Unknown, "its CPU use can't be read".to_owned()),
    }
    match (host.mem_total_bytes, host.mem_available_bytes) {
        (Some(total), Some(available)) if total > 0 => {
            let used = total.saturating_sub(available);
            about.share("memory", ratio(used, total), &format!("{} of {} memory used,", bytes(used), bytes(total)));
        }
        _ => about.add("memory", Mark::Unknown, "its memory can't be read".to_owned()),
    }
    for mount in host.mounts.iter().filter(|mount| !mount.read_only && mount.total_bytes > 0) {
        let full = |available: u64, total: u64| if total > 0 { 1.0 - ratio(available, total) } else { 0.0 };
        let (space, inodes) =
            (full(mount.available_bytes, mount.total_bytes), full(mount.available_inodes, mount.total_inodes));
        let kind = if inodes > space { "inodes" } else { "space" };
        about.share("disk", space.max(inodes), &format!("{kind} used on {}", mount.path));
        let none_left = mount.available_bytes == 0 || mount.total_inodes > 0 && mount.available_inodes == 0;
        if let Some(last) = about.found.last_mut().filter(|_| none_left) {
            last.mark = Mark::Failed;
        }
    }
    about.found
}

fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

fn bytes(bytes: u64) -> String {
    match bytes {
        bytes if bytes >= 1 << 30 => format!("{:.1} GiB", ratio(bytes, 1 << 30)),
        bytes if bytes >= 1 << 20 => format!("{:.0} MiB", ratio(bytes, 1 << 20)),
        bytes => format!("{} KiB", bytes >> 10),
    }
}

fn millis(micros: u64) -> String {
    if micros >= 10_000 { format!("{} ms", micros / 1000) } else { format!("{:.1} ms", ratio(micros, 1000)) }
}

fn age(micros: i64) -> String {
    let seconds = micros.max(0) / 1_000_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
