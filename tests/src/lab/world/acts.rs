//! What a story may do to a world.

use std::fs;

use serde_json::{Value, json};

use super::World;
use crate::lab::cgroup::Limits;
use crate::lab::host::{MANAGEMENT, Network, SERVICE, ip};
use crate::lab::{Doing, Done};

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
