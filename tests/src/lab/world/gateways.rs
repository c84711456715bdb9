//! A world's gateways: the one that clients reach, one between it and the applications, one beside it.

use std::fs;

use serde_json::json;

use super::{UP_LIMIT, World, inner_address};
use crate::lab::gateway::{self, Reload, SetUp};
use crate::lab::plan::{App, BESIDE_HOST, GATEWAY_HOST, Gateway, INNER_HOST, NAME, PORT};
use crate::lab::{Doing, Done, conf, wait_for};

impl World {
    /// Members of the gateway's pool.
    pub fn members(&self) -> Vec<String> {
        if self.plan.gateway.by_name {
            return vec![format!("{NAME}:{PORT}")];
        }
        let given = self.plan.gateway.members.clone();
        if given.is_empty() { self.plan.apps.iter().map(App::address).collect() } else { given }
    }

    /// A host's gateway and its members. Where there is one between, the outer one has it for its only member, and waits longer.
    fn gateway_of(&self, host: &str) -> (Gateway, Vec<String>) {
        let planned = self.plan.gateway.clone();
        match (host, self.plan.inner, &self.plan.beside) {
            (INNER_HOST, Some(kind), _) => {
                (Gateway { kind, request_id: "$http_x_request_id", ..planned }, self.members())
            }
            (GATEWAY_HOST, Some(_), _) => {
                let outer = Gateway { request_id: "$request_id", read_s: planned.read_s + 2, ..planned };
                (outer, vec![inner_address()])
            }
            (BESIDE_HOST, _, Some(beside)) => (beside.clone(), self.members()),
            _ => (planned, self.members()),
        }
    }

    fn set_up(&self, host: &str) -> SetUp {
        let (gateway, members) = self.gateway_of(host);
        gateway::set_up(&gateway, &members, &self.dir_of(host))
    }

    /// Starts a host's gateway and its agent.
    pub(super) fn start_gateway(&mut self, host: &str) -> Done {
        self.run_gateway(host)?;
        let (gateway, members) = self.gateway_of(host);
        let dir = self.dir_of(host);
        let set_up = gateway::set_up(&gateway, &members, &dir);
        self.start_agent(host, &conf::gateway_agent(host, &self.plan, &gateway, &set_up, &dir))
    }

    fn run_gateway(&mut self, host: &str) -> Done {
        let (dir, set_up) = (self.dir_of(host), self.set_up(host));
        fs::write(dir.join(set_up.file), set_up.text).doing("gateway configuration")?;
        let request = json!({
            "op": "start", "name": "gateway", "argv": self.under_clock(host, set_up.argv), "out": dir.join(set_up.out),
            "err": dir.join("gateway.err"), "env": { "XDG_DATA_HOME": dir, "XDG_CONFIG_HOME": dir },
        });
        self.host(host)?.ask(&request)?;
        let address = std::net::SocketAddr::new(self.host(host)?.ip.parse().doing("address")?, gateway::PORT);
        wait_for("the gateway listens", UP_LIMIT, || std::net::TcpStream::connect(address).ok()).map(drop)
    }

    /// Writes the gateway's configuration anew with other members, and has it read.
    pub fn reload_gateway(&mut self, members: &[String]) -> Done {
        self.change_gateway(|gateway| gateway.members = members.to_vec())
    }

    /// Writes the gateway's configuration anew, and has it read.
    pub fn change_gateway(&mut self, change: impl FnOnce(&mut Gateway)) -> Done {
        change(&mut self.plan.gateway);
        let set_up = self.set_up(GATEWAY_HOST);
        fs::write(self.dir_of(GATEWAY_HOST).join(set_up.file), set_up.text).doing("gateway configuration")?;
        match set_up.reload {
            Reload::Signal(signal) => {
                self.host(GATEWAY_HOST)?.ask(&json!({ "op": "signal", "name": "gateway", "signal": signal })).map(drop)
            }
            Reload::Command(command) => self.run(GATEWAY_HOST, &command),
            Reload::Restart => {
                let before = self.client()?.pause();
                self.host(GATEWAY_HOST)?.ask(&json!({ "op": "stop", "name": "gateway" }))?;
                self.run_gateway(GATEWAY_HOST)?;
                self.client()?.change(|traffic| *traffic = before);
                Ok(())
            }
        }
    }
}
