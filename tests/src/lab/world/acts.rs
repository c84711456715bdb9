//! What a story may do to a world.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::World;
use crate::lab::cgroup::Limits;
use crate::lab::enter::REBOOTED;
use crate::lab::host::{MANAGEMENT, Network, SERVICE, ip};
use crate::lab::plan::{GATEWAY_HOST, NAME};
use crate::lab::{Doing, Done, ask, wait_for};

impl World {
    /// Sends a signal to an application's leader.
    pub fn signal_app(&mut self, host: &str, signal: &str) -> Done {
        self.host(host)?.ask(&json!({ "op": "signal", "name": "shop", "signal": signal })).map(drop)
    }

    /// Tells an application to misbehave; `{}` tells it to behave.
    pub fn faults(&self, host: &str, faults: &Value) -> Done {
        let dir = self.dir_of(host);
        fs::write(dir.join("faults.new"), faults.to_string()).doing("faults")?;
        fs::rename(dir.join("faults.new"), dir.join("faults.json")).doing("faults")
    }

    /// Starts any other program on a host, in a group of its own.
    pub fn start_other(&mut self, host: &str, name: &str, command: &str, limits: Limits) -> Done {
        let out = self.dir_of(host).join(format!("{name}.log"));
        let groups = self.groups_of(host, name, limits)?;
        let argv = ["sh", "-c", command];
        self.host(host)?
            .ask(&json!({ "op": "start", "name": name, "argv": argv, "out": out, "groups": groups }))
            .map(drop)
    }

    /// Stops such a program.
    pub fn stop_other(&mut self, host: &str, name: &str) -> Done {
        self.host(host)?.ask(&json!({ "op": "stop", "name": name })).map(drop)
    }

    /// Changes the limits of an application's control group.
    pub fn limit_app(&mut self, host: &str, limits: Limits) -> Done {
        let groups = self.groups.as_ref().ok_or("no control groups")?;
        groups.limit(host, "shop", limits)
    }

    /// Waits until the collector knows whether a host's instance leads.
    pub fn wait_role(&self, host: &str, leads: bool) -> Done {
        wait_for("an instance's role", Duration::from_secs(20), || {
            let all = ask::get("/v1/instances").ok()?;
            let found = all["instances"].as_array()?.iter().find(|one| one["host"] == host)?;
            (found["role"]["leader"] == leads).then_some(())
        })
    }

    /// Runs a shell's command on a host.
    pub fn shell(&mut self, host: &str, command: &str) -> Done {
        self.host(host)?.run_words(&["sh", "-c", command])
    }

    /// Runs a command on a host.
    pub fn run(&mut self, host: &str, command: &str) -> Done {
        self.host(host)?.run(command)
    }

    /// Power off.
    pub fn power_off(&mut self, host: &str) -> Done {
        self.host(host)?.power_off()
    }

    /// Power on, with application and agent.
    pub fn power_on(&mut self, host: &str) -> Done {
        let app = self.app(host)?;
        self.boot(host, app.number)?;
        self.start_app(host)?;
        self.agent(host, true)
    }

    /// A reboot's second half: another boot id, an uptime that begins anew, application and agent.
    pub fn boot_again(&mut self, host: &str) -> Done {
        let app = self.app(host)?;
        self.boot_as(REBOOTED, host, app.number)?;
        self.start_app(host)?;
        self.agent(host, true)
    }

    /// Gives the gateway's host a name server of its own, which knows the applications by `NAME`.
    pub(super) fn start_names(&mut self) -> Done {
        let dir = self.dir_of(GATEWAY_HOST);
        let addresses = self.plan.apps.iter().map(|app| format!("{}.{}", SERVICE.prefix, app.number)).collect();
        self.name(addresses)?;
        fs::write(dir.join("resolv.conf"), "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
            .doing("resolv.conf")?;
        self.run(GATEWAY_HOST, &format!("mount --bind {}/resolv.conf /etc/resolv.conf", dir.display()))?;
        let script = self.programs.apps.join("python/names.py");
        let command = format!("exec python3 {} {}/names.json", script.display(), dir.display());
        self.start_other(GATEWAY_HOST, "names", &command, Limits::default())?;
        wait_for("the name server serves", Duration::from_secs(20), || {
            fs::read_to_string(dir.join("names.log")).ok()?.contains("serving").then_some(())
        })
    }

    /// What that name server answers from now on. None: there is no such name.
    pub fn name(&self, addresses: Vec<String>) -> Done {
        self.names(&if addresses.is_empty() { json!({}) } else { json!({ NAME: addresses }) })
    }

    /// The same for any names, each with its addresses; null: the server fails at it.
    pub fn names(&self, names: &Value) -> Done {
        fs::write(self.dir_of(GATEWAY_HOST).join("names.json"), names.to_string()).doing("names.json")
    }

    /// Cuts a host's cable on the service network, or mends it.
    pub fn cable(&self, host: &str, whole: bool) -> Done {
        self.cable_of(&SERVICE, host, whole)
    }

    /// The same on the management network.
    pub fn management_cable(&self, host: &str, whole: bool) -> Done {
        self.cable_of(&MANAGEMENT, host, whole)
    }

    fn cable_of(&self, network: &Network, host: &str, whole: bool) -> Done {
        let number = self.app(host)?.number;
        ip(&format!("link set {}-{number} {}", network.bridge, if whole { "up" } else { "down" }))
    }
}
