//! A host as the story sees it: a line to its process 1, and its place on the network.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::cgroup::{Groups, Limits};
use super::{Doing, Done};

/// A host that runs.
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its address on the service network.
    pub ip: String,
    /// Its own folder: configuration, logs, state.
    pub dir: PathBuf,
    enter: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// A network that hosts stand on.
pub struct Network {
    /// The bridge's name.
    pub bridge: &'static str,
    /// Its addresses without the last number.
    pub prefix: &'static str,
    /// Its IPv6 addresses without the last number.
    pub prefix_v6: &'static str,
    /// The hosts' interface.
    pub interface: &'static str,
}

/// The network that traffic takes.
pub const SERVICE: Network = Network { bridge: "br0", prefix: "10.50.0", prefix_v6: "fd50::", interface: "eth0" };
/// The network by which agents report where a story wants it apart.
pub const MANAGEMENT: Network = Network { bridge: "br1", prefix: "10.60.0", prefix_v6: "fd60::", interface: "eth1" };

/// Runs `ip` in the story's own namespace.
pub fn ip(arguments: &str) -> Done {
    run(&format!("ip {arguments}"))
}

/// Runs a command in the story's own namespaces; words are parted by blanks.
pub fn run(command: &str) -> Done {
    let words: Vec<&str> = command.split(' ').collect();
    let out = Command::new(words[0]).args(&words[1..]).output().doing(words[0])?;
    if out.status.success() { Ok(()) } else { Err(format!("{command}: {}", String::from_utf8_lossy(&out.stderr))) }
}

impl Network {
    /// Makes the bridge; the story itself is its number 1.
    pub fn make(&self) -> Done {
        // An address of its own: else the bridge takes the lowest of its ports', which changes whenever a host is
        // plugged in, and who has learned the old one sends into the void until its neighbour entry is renewed.
        let host: u8 = self.prefix.split('.').nth(1).and_then(|part| part.parse().ok()).unwrap_or(0);
        ip(&format!("link add {} address 02:00:00:00:00:{host:02x} type bridge", self.bridge))?;
        ip(&format!("addr add {}.1/24 dev {}", self.prefix, self.bridge))?;
        ip(&format!("link set {} up", self.bridge))
    }

    /// A host's IPv6 address with the length of the network's prefix.
    pub fn address_v6(&self, number: u8) -> String {
        format!("{}{number}/64", self.prefix_v6)
    }
}

impl Host {
    /// Makes a host with one interface on each network, in a control group of its own where there are any. `role` is `HOST` or
    /// `REBOOTED`.
    pub fn boot(
        name: &str,
        number: u8,
        dir: &Path,
        networks: &[&Network],
        groups: Option<&Groups>,
        role: &str,
    ) -> Done<Self> {
        std::fs::create_dir_all(dir).doing("host folder")?;
        let own = std::env::current_exe().doing("own path")?;
        let mut enter = Command::new(own)
            .args(["--enter", role, "--init", role, name])
            .args(groups.map(|groups| groups.host(name)).transpose()?.unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .doing("start a host")?;
        let (Some(requests), Some(answers)) = (enter.stdin.take(), enter.stdout.take()) else {
            return Err("no pipe to the host".to_owned());
        };
        let mut host = Self {
            name: name.to_owned(),
            ip: format!("{}.{number}", SERVICE.prefix),
            dir: dir.to_owned(),
            enter,
            requests,
            answers: BufReader::new(answers),
        };
        let pid = host.line()?.trim().to_owned();
        if let Some(groups) = groups {
            host.ask(&json!({ "op": "home", "groups": groups.group(name, "init", Limits::default())? }))?;
        }
        host.run("ip link set lo up")?;
        for network in networks {
            let (port, interface) = (format!("{}-{number}", network.bridge), network.interface);
            ip(&format!("link add {port} type veth peer name {interface} netns {pid}"))?;
            ip(&format!("link set {port} master {} up", network.bridge))?;
            host.run(&format!("ip addr add {}.{number}/24 dev {interface}", network.prefix))?;
            host.run(&format!("ip link set {interface} up"))?;
        }
        host.run(&format!("ip route add default via {}.1", SERVICE.prefix))?;
        Ok(host)
    }

    fn line(&mut self) -> Done<String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line).doing(&self.name)? {
            0 => Err(format!("{}: its process 1 has ended", self.name)),
            _ => Ok(line),
        }
    }

    /// Gives it an address of the service network's IPv6 as well; `number` is the last of the other.
    pub fn address_v6(&mut self, number: u8) -> Done {
        self.run(&format!("ip addr add {} dev {} nodad", SERVICE.address_v6(number), SERVICE.interface))
    }

    /// Asks process 1.
    pub fn ask(&mut self, request: &Value) -> Done<Value> {
        writeln!(self.requests, "{request}").doing(&self.name)?;
        let answer: Value = serde_json::from_str(&self.line()?).doing(&self.name)?;
        match answer["fault"].as_str() {
            Some(fault) => Err(format!("{}: {fault} ({request})", self.name)),
            None => Ok(answer),
        }
    }

    /// Runs a command to its end; words are parted by blanks.
    pub fn run(&mut self, command: &str) -> Done {
        self.run_words(&command.split(' ').collect::<Vec<_>>())
    }

    /// Runs a command to its end.
    pub fn run_words(&mut self, words: &[&str]) -> Done {
        let out = self.dir.join("run.log");
        let answer = self.ask(&json!({ "op": "run", "argv": words, "out": out }))?;
        match answer["ended"].as_str() {
            Some("exit 0") => Ok(()),
            other => Err(format!("{}: {}: {other:?}: {}", self.name, words.join(" "), tail(&out, 5))),
        }
    }

    /// Power off: everything on it is gone at once.
    pub fn power_off(&mut self) -> Done {
        self.enter.kill().doing(&self.name)?;
        self.enter.wait().doing(&self.name).map(drop)
    }
}

/// The last lines of a file.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
