//! What a service itself is near the limit of: descriptors, memory, its accept queue.

use super::{SettingDoc, View};
use crate::model::{InstanceSample, ListenerSample};

/// Use of a limit from which it is worth raising.
const NEAR: f64 = 0.5;
/// The same for memory, of which a cache may fill much.
const MEMORY_NEAR: f64 = 0.8;

/// Limits of the services that a target names, or of all, which are nearly used up.
pub(super) fn all(view: &View, target: Option<&str>) -> Vec<SettingDoc> {
    let mut rows = Vec::new();
    for host in &view.hosts {
        for (service, instance) in &host.instances {
            let named = target.is_none_or(|target| target == service || target == host.name);
            let Some(sample) = instance.sample.as_deref().filter(|_| named) else { continue };
            rows.extend(
                [descriptors(sample), memory(sample), backlog(sample)].into_iter().flatten().map(|row| SettingDoc {
                    service: service.clone(),
                    host: host.name.clone(),
                    change: true,
                    ..row
                }),
            );
        }
    }
    rows
}

fn is_near(used: u64, limit: u64, near: f64) -> bool {
    limit > 0 && used as f64 >= limit as f64 * near
}

fn descriptors(sample: &InstanceSample) -> Option<SettingDoc> {
    let used = sample.processes.iter().filter_map(|process| Some((u64::from(process.fds?), process.fd_limit?)));
    let (fds, limit) = used.filter(|(fds, limit)| is_near(*fds, *limit, NEAR)).max()?;
    let wanted = (limit * 4).max(65_536);
    Some(SettingDoc {
        setting: "LimitNOFILE".to_owned(),
        what: "open descriptors".to_owned(),
        now: Some(limit.to_string()),
        recommended: wanted.to_string(),
        why: format!("{fds} are open"),
        snippet: format!("LimitNOFILE={wanted}"),
        ..SettingDoc::default()
    })
}

fn memory(sample: &InstanceSample) -> Option<SettingDoc> {
    let group = sample.cgroup.as_ref()?;
    let (used, limit) = (group.mem_bytes?, group.mem_limit_bytes?);
    let wanted_mib = (limit * 3 / 2) >> 20;
    is_near(used, limit, MEMORY_NEAR).then(|| SettingDoc {
        setting: "MemoryMax".to_owned(),
        what: "memory limit".to_owned(),
        now: Some(format!("{} MiB", limit >> 20)),
        recommended: format!("{wanted_mib} MiB"),
        why: format!("{} MiB are in use", used >> 20),
        snippet: format!("MemoryMax={wanted_mib}M"),
        ..SettingDoc::default()
    })
}

fn backlog(sample: &InstanceSample) -> Option<SettingDoc> {
    let near = |one: &&ListenerSample| is_near(one.queue.into(), one.queue_limit.into(), NEAR);
    let fullest = sample.listeners.iter().filter(near).max_by_key(|one| one.queue)?;
    let wanted = (u64::from(fullest.queue_limit) * 4).max(511);
    Some(SettingDoc {
        setting: "listen backlog".to_owned(),
        what: "connections that may wait".to_owned(),
        now: Some(fullest.queue_limit.to_string()),
        recommended: wanted.to_string(),
        why: format!("{} wait to be accepted on {}", fullest.queue, fullest.address),
        snippet: format!("net.core.somaxconn={wanted}  # and the backlog in the application's listen()"),
        ..SettingDoc::default()
    })
}
