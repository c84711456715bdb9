//! Network links that go up or down, as the kernel tells it. An interface that vanishes counts as down where it had been up with
//! an address; interfaces of containers that come and go without one are no event.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use why502_proto::v1;

use crate::kernel::link::{Change, Link, Links};
use crate::sampler::Status;

/// The interfaces as last told.
#[derive(Debug)]
pub struct LinkWatch {
    told: Option<Links>,
    dumps: Option<Links>,
    known: HashMap<u32, Link>,
    status: Status,
}

impl LinkWatch {
    /// Subscribes, and looks at what is.
    pub fn open() -> Self {
        let (told, status) = match Links::subscribe() {
            Ok(links) => (Some(links), Status::Active),
            Err(error) => (None, Status::Degraded(format!("link changes are seen at the next look only: {error}"))),
        };
        let mut watch = Self { told, dumps: Links::open().ok(), known: HashMap::new(), status };
        let _first = watch.look();
        watch
    }

    /// How well it sees.
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// A descriptor that is readable while there are untold changes. None: only looks tell them.
    pub fn readable(&self) -> Option<OwnedFd> {
        self.told.as_ref()?.readable().ok()
    }

    /// What changed since the last call, by what the kernel told.
    pub fn read(&mut self) -> Vec<v1::LinkChanged> {
        match self.told.as_mut().map(Links::changes) {
            Some(Ok(Some(changes))) => changes.into_iter().flat_map(|change| self.apply(change)).collect(),
            // Some were lost: only a look tells what is now.
            Some(Ok(None)) | None => self.look(),
            Some(Err(error)) => {
                self.status = Status::Degraded(format!("link changes are seen at the next look only: {error}"));
                self.told = None;
                self.look()
            }
        }
    }

    /// What changed since the last call, by a look at all interfaces. Also learns their addresses.
    pub fn look(&mut self) -> Vec<v1::LinkChanged> {
        let Some(Ok(links)) = self.dumps.as_mut().map(Links::dump) else { return Vec::new() };
        let gone: Vec<u32> =
            self.known.keys().copied().filter(|index| !links.iter().any(|l| l.index == *index)).collect();
        let mut changes: Vec<v1::LinkChanged> =
            gone.into_iter().flat_map(|i| self.apply(Change::Gone(i, String::new()))).collect();
        for link in links {
            let (index, addresses) = (link.index, link.addresses.clone());
            changes.extend(self.apply(Change::Is(link)));
            if let Some(known) = self.known.get_mut(&index) {
                known.addresses = addresses;
            }
        }
        changes
    }

    fn apply(&mut self, change: Change) -> Vec<v1::LinkChanged> {
        match change {
            Change::Gone(index, _) => {
                let was = self.known.remove(&index).filter(|l| !l.addresses.is_empty() && l.carrier == Some(true));
                was.map(|link| changed(&link.name, false, "carrier")).into_iter().collect()
            }
            Change::Is(mut link) => {
                let before = self.known.get(&link.index);
                let found = before.map(|before| differences(before, &link)).unwrap_or_default();
                // A change is told without addresses.
                if link.addresses.is_empty()
                    && let Some(before) = before
                {
                    link.addresses.clone_from(&before.addresses);
                }
                self.known.insert(link.index, link);
                found
            }
        }
    }
}

fn differences(before: &Link, now: &Link) -> Vec<v1::LinkChanged> {
    let mut found = Vec::new();
    if now.loopback && before.admin_up == now.admin_up {
        return found;
    }
    if before.admin_up != now.admin_up {
        found.push(changed(&now.name, now.admin_up, "admin"));
    } else if let (Some(was), Some(is)) = (before.carrier, now.carrier)
        && was != is
    {
        found.push(changed(&now.name, is, "carrier"));
    }
    found
}

fn changed(interface: &str, up: bool, what: &str) -> v1::LinkChanged {
    v1::LinkChanged { interface: interface.to_owned(), up, what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::*;

    fn link(carrier: Option<bool>, admin_up: bool) -> Link {
        Link { index: 7, name: "eth7".into(), carrier, admin_up, ..Link::default() }
    }

    #[test]
    fn tells_each_change_once() {
        let mut watch = LinkWatch { told: None, dumps: None, known: HashMap::new(), status: Status::Active };
        let mut is = |l: Link| watch.apply(Change::Is(l));
        assert!(is(link(Some(true), true)).is_empty(), "the first sight is no change");
        assert!(is(link(Some(true), true)).is_empty());
        assert_eq!(is(link(Some(false), true)), [changed("eth7", false, "carrier")]);
        assert_eq!(is(link(Some(true), true)), [changed("eth7", true, "carrier")]);
        assert_eq!(is(link(None, false)), [changed("eth7", false, "admin")]);
        assert_eq!(is(link(Some(true), true)), [changed("eth7", true, "admin")]);
        let with_address = Link { addresses: vec!["10.0.0.1".into()], ..link(Some(true), true) };
        assert!(is(with_address).is_empty());
        assert_eq!(watch.apply(Change::Gone(7, String::new())), [changed("eth7", false, "carrier")]);
        watch.apply(Change::Is(link(Some(true), true)));
        assert!(watch.apply(Change::Gone(7, String::new())).is_empty(), "it had no address");
    }

    #[test]
    fn opens_on_this_host() {
        let mut watch = LinkWatch::open();
        assert!(watch.known.values().any(|link| link.name == "lo"));
        assert!(watch.readable().is_some() || watch.status() != Status::Active);
        let _changes = watch.read();
    }

    /// Not a test: runs in a network namespace of its own, where it may pull a cable.
    #[test]
    #[ignore = "run by the story"]
    fn child_pulls_a_cable() {
        let ip =
            |args: &str| assert!(Command::new("ip").args(args.split(' ')).status().unwrap().success(), "ip {args}");
        ip("link add near type veth peer name far");
        ip("link set near up");
        ip("link set far up");
        let mut watch = LinkWatch::open();
        let mut told = |what: v1::LinkChanged| {
            let deadline = Instant::now() + Duration::from_secs(10);
            let mut seen = Vec::new();
            while !seen.contains(&what) {
                assert!(Instant::now() < deadline, "no {what:?} in {seen:?}");
                seen.extend(watch.read());
            }
        };
        ip("link set far down");
        told(changed("near", false, "carrier"));
        ip("link set far up");
        told(changed("near", true, "carrier"));
        ip("link set near down");
        told(changed("near", false, "admin"));
    }

    #[test]
    fn a_pulled_cable_is_told() {
        let mut inside = Command::new("unshare");
        inside.args(["--user", "--map-root-user", "--net"]).arg(std::env::current_exe().unwrap());
        inside.args(["--ignored", "--exact", "watch::link::tests::child_pulls_a_cable"]);
        let allowed = Command::new("unshare").args(["--user", "--map-root-user", "--net", "ip", "link"]).output();
        if allowed.is_ok_and(|output| output.status.success()) {
            let output = inside.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
            assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
        }
    }
}
