//! The hosts' agents, and the clocks that hosts go by.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::{UP_LIMIT, World};
use crate::lab::plan::GATEWAY_HOST;
use crate::lab::{Doing, Done, ask, wait_for};
use crate::programs;

impl World {
    pub(super) fn start_agent(&mut self, host: &str, config: &str) -> Done {
        let dir = self.dir_of(host);
        let file = dir.join("agent.toml");
        fs::write(&file, config).doing("agent.toml")?;
        // Nobody can be made to see another clock whose calls can't be bent: where the agent is static, cargo's own build is.
        let program =
            if self.plan.clock(host).is_some() { programs::built("why502-agent") } else { self.programs.agent.clone() };
        let argv = [program.display().to_string(), "run".into(), "--config".into(), file.display().to_string()];
        let argv = self.under_clock(host, argv.to_vec());
        let out = dir.join("agent.log");
        self.host(host)?.ask(&json!({ "op": "start", "name": "agent", "argv": argv, "out": out })).map(drop)
    }

    /// Starts or stops a host's agent.
    pub fn agent(&mut self, host: &str, runs: bool) -> Done {
        if !runs {
            return self.host(host)?.ask(&json!({ "op": "stop", "name": "agent" })).map(drop);
        }
        let text = fs::read_to_string(self.dir_of(host).join("agent.toml")).doing("agent.toml")?;
        self.start_agent(host, &text)
    }

    pub(super) fn wait_for_agents(&self) -> Done {
        let apps = self.plan.apps.iter().filter(|app| app.has_agent && app.host != GATEWAY_HOST).count();
        let gateways = 1 + usize::from(self.plan.inner.is_some()) + usize::from(self.plan.beside.is_some());
        let wanted = gateways + apps;
        wait_for("every agent reports", UP_LIMIT, || {
            let hosts = ask::get("/v1/hosts").ok()?;
            (hosts["hosts"].as_array()?.len() >= wanted).then_some(())
        })
    }

    /// A command line as it is started on a host whose clock is wrong: the program sees another time of day, while what only
    /// measures goes on as ever.
    pub(super) fn under_clock(&self, host: &str, argv: Vec<String>) -> Vec<String> {
        if self.plan.clock(host).is_none() {
            return argv;
        }
        // Not its wrapper, which would stay as the parent. The loader finds the library's folder by itself.
        let settings = [
            "env".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
            "FAKETIME_NO_CACHE=1".to_owned(),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.clock_file(host).display()),
            "LD_PRELOAD=/usr/$LIB/faketime/libfaketime.so.1".to_owned(),
        ];
        settings.into_iter().chain(argv).collect()
    }

    /// Steps the clock of a host that is planned with one of its own: it is ahead by so much from now on.
    pub fn step_clock(&self, host: &str, ahead_s: i32) -> Done {
        // Whole at once: every look of every program on the host reads it.
        let (file, next) = (self.clock_file(host), self.dir_of(host).join("clock.next"));
        fs::write(&next, format!("{ahead_s:+}s\n")).and_then(|()| fs::rename(&next, &file)).doing("the clock's file")
    }

    fn clock_file(&self, host: &str) -> PathBuf {
        self.dir_of(host).join("clock")
    }
}
