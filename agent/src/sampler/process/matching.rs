//! Which process belongs to which service. A process belongs to the first service, in the order of the configuration, whose rules
//! all hold for it; to that of its nearest ancestor that belongs to one, if it matches none itself (workers, children of a
//! supervisor); and stays with its service for life. The agent itself never belongs to any.

use std::collections::HashMap;
use std::path::Path;

use super::table::{Entry, Needs};
use crate::config::{Matcher, Service};

/// Most levels of parents that are followed.
const DEPTH_LIMIT: usize = 64;

/// What the rules of all services ask of the process table. Without any service the units name what is found.
pub fn needs(services: &[Service]) -> Needs {
    Needs {
        args: services.iter().any(|s| s.matcher.cmdline.is_some()),
        exe: services.iter().any(|s| s.matcher.exe.is_some()),
        unit: services.is_empty() || services.iter().any(|s| s.matcher.unit.is_some()),
    }
}

/// No rule is given: the processes that hold the sockets of `listen` are meant.
pub fn by_listener(matcher: &Matcher) -> bool {
    matcher.cmdline.is_none() && matcher.exe.is_none() && matcher.unit.is_none() && matcher.pidfile.is_none()
}

/// Whether all the rules given hold for a process. `leader` is the id in the pidfile, where one is configured and readable.
pub fn matches(matcher: &Matcher, leader: Option<u32>, entry: &Entry) -> bool {
    if by_listener(matcher) || entry.inert {
        return false;
    }
    let cmdline = |rule: &regex::Regex| !entry.cmdline.is_empty() && rule.is_match(&entry.cmdline);
    let exe = |rule: &String| entry.exe.as_deref().is_some_and(|exe| same_exe(rule, exe));
    let unit = |rule: &String| {
        entry.unit.as_deref().is_some_and(|unit| unit == rule || unit.strip_suffix(".service") == Some(rule))
    };
    matcher.cmdline.as_ref().is_none_or(cmdline)
        && matcher.exe.as_ref().is_none_or(exe)
        && matcher.unit.as_ref().is_none_or(unit)
        && matcher.pidfile.as_ref().is_none_or(|_| leader == Some(entry.pid))
}

/// A rule is a full path, or the last part of one. An executable that was replaced while it ran is marked by the kernel.
fn same_exe(rule: &str, exe: &Path) -> bool {
    let text = exe.to_string_lossy();
    let text = text.strip_suffix(" (deleted)").unwrap_or(&text);
    if rule.contains('/') { text == rule } else { text.rsplit('/').next() == Some(rule) }
}

/// A system's init holds sockets only until it hands them to the service that they are for.
pub fn is_init(entry: &Entry) -> bool {
    entry.pid == 1 && matches!(entry.comm.as_str(), "systemd" | "init")
}

/// The process named in a pidfile.
pub fn pidfile(path: &Path) -> Option<u32> {
    crate::kernel::read_text(path).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

/// Adds the descendants of the processes that already belong to a service.
pub fn inherit(entries: &HashMap<u32, Entry>, owners: &mut HashMap<u32, usize>, except: u32) {
    let mut inherited = Vec::new();
    for entry in entries.values().filter(|e| !e.inert && e.pid != except && !owners.contains_key(&e.pid)) {
        let mut parent = entry.parent_pid;
        for _ in 0..DEPTH_LIMIT {
            // What the agent started (nothing) or what it was started by is not followed through it.
            if parent == 0 || parent == except {
                break;
            }
            if let Some(service) = owners.get(&parent) {
                inherited.push((entry.pid, *service));
                break;
            }
            let Some(above) = entries.get(&parent) else { break };
            parent = above.parent_pid;
        }
    }
    owners.extend(inherited);
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    fn entry(pid: u32, parent_pid: u32, args: &str) -> Entry {
        Entry {
            pid,
            parent_pid,
            cmdline: args.to_owned(),
            exe: Some("/usr/bin/node".into()),
            unit: Some("api.service".into()),
            ..Entry::default()
        }
    }

    #[test]
    fn all_rules_must_hold() {
        let process = entry(7, 1, "node /srv/index.js");
        let rule = |cmdline: &str, exe: &str, unit: &str| Matcher {
            cmdline: (!cmdline.is_empty()).then(|| Regex::new(cmdline).unwrap()),
            exe: (!exe.is_empty()).then(|| exe.to_owned()),
            unit: (!unit.is_empty()).then(|| unit.to_owned()),
            pidfile: None,
        };
        assert!(matches(&rule("node .*index\\.js", "", ""), None, &process));
        assert!(matches(&rule("", "node", "api"), None, &process));
        assert!(matches(&rule("", "/usr/bin/node", "api.service"), None, &process));
        assert!(!matches(&rule("node", "nod", ""), None, &process));
        assert!(!matches(&rule("python", "node", ""), None, &process));
        assert!(!matches(&Matcher::default(), None, &process));
        assert!(!matches(&rule("node", "", ""), None, &Entry { inert: true, ..process.clone() }));
        let by_file = Matcher { pidfile: Some("/x".into()), ..rule("node", "", "") };
        assert!(matches(&by_file, Some(7), &process) && !matches(&by_file, Some(8), &process));
        assert!(same_exe("node", Path::new("/opt/node (deleted)")));
    }

    #[test]
    fn workers_belong_to_their_master() {
        let list = [
            entry(10, 1, "master"),
            entry(11, 10, "worker"),
            entry(12, 11, "sub"),
            entry(20, 1, "other"),
            entry(30, 10, "agent"),
        ];
        let entries: HashMap<u32, Entry> = list.into_iter().map(|e| (e.pid, e)).collect();
        let mut owners = HashMap::from([(10, 0)]);
        inherit(&entries, &mut owners, 30);
        assert_eq!(owners, HashMap::from([(10, 0), (11, 0), (12, 0)]));
    }
}
