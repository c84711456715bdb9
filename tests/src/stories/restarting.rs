//! Instances that are away for a moment, once or again and again.

use serde_json::json;

use super::{ONE, behave};
use crate::lab::plan::{App, Kind, Plan};
use crate::lab::story::{Expect, Story};
use crate::lab::{ask, wait_for};

pub(super) fn all() -> Vec<Story> {
    vec![deployed(), deployed_by_mark(), crash_looping(), warming_up(), liveness_restart(), host_rebooted()]
}

/// A new release is put in place: stop, another script, start.
fn deployed() -> Story {
    Story::new("deployed")
        .everywhere()
        .plan(Plan::default().first(|app| App { release: "v41", ..app }.env("LISTEN_DELAY_MS", 1500)))
        .expect(Expect::new("deploying", "app-1", ONE).cites(&["v42|changed"]).advises(&["drain|readiness"]))
        .fault(|world| {
            world.stop_app("app-1")?;
            world.change_app("app-1", |app| app.release = "v42")?;
            world.start_app("app-1")
        })
}

/// The deployment tool says so; nothing that can be seen changes.
fn deployed_by_mark() -> Story {
    Story::new("deployed_by_mark")
        .plan(Plan::default().first(|app| app.env("LISTEN_DELAY_MS", 1500)))
        .expect(Expect::new("deploying", "app-1", ONE).cites(&["mark"]).advises(&["drain|readiness"]))
        .fault(|world| {
            world.ask(&["mark", "deploy", "--service", "shop", "--version", "42", "--host", "app-1"])?;
            world.stop_app("app-1")?;
            world.start_app("app-1")
        })
}

/// Its service manager starts it again each time.
fn crash_looping() -> Story {
    Story::new("crash_looping")
        .everywhere()
        .plan(Plan::default().first(|app| App { restart_ms: Some(300), ..app }))
        .expect(
            Expect::new("crash_looping", "app-1", ONE)
                .cites(&["database", "times|starts"])
                .advises(&["backoff|restart"]),
        )
        .fault(|world| world.faults("app-1", &json!({ "throw": "no such database: shop" })))
        .heal(behave)
}

/// Restarted as it was; it needs four seconds before it listens.
fn warming_up() -> Story {
    Story::new("warming_up")
        .everywhere()
        .plan(Plan::default().first(|app| app.env("LISTEN_DELAY_MS", 4000)))
        .expect(
            Expect::new("warming_up", "app-1", ONE)
                .cites(&["start"])
                .advises(&["delay|slow start|slow_start|readiness"]),
        )
        .fault(|world| {
            world.stop_app("app-1")?;
            world.start_app("app-1")
        })
}

/// Its health is slower than its supervisor allows, which says so, kills it, and starts it again.
fn liveness_restart() -> Story {
    Story::new("liveness_restart")
        .plan(Plan::default().first(|app| App { restart_ms: Some(2000), ..app }))
        .expect(
            Expect::new("health_check_restart", "app-1", ONE)
                .cites(&["liveness probe", "sigkill|signal 9"])
                .advises(&["liveness"]),
        )
        .fault(|world| {
            let line = "I1126 14:32:01.120000 1 kuberuntime_manager.go:1041] Container shop failed liveness probe, will be restarted";
            world.faults("app-1", &json!({ "health": { "ms": 3000 }, "log": [line] }))?;
            world.wait_logged("app-1", "failed liveness probe", 1)?;
            world.signal_app("app-1", "SIGKILL")
        })
        .heal(behave)
}

/// The host is gone, and back some seconds later with another boot id.
fn host_rebooted() -> Story {
    Story::new("host_rebooted")
        .also(&[Kind::Haproxy])
        .expect(Expect::new("host_rebooted", "app-1", ONE).cites(&["boot id"]))
        .fault(|world| {
            world.power_off("app-1")?;
            let limit = std::time::Duration::from_secs(15);
            wait_for("an incident opens", limit, || ask::incidents().ok().filter(|all| !all.is_empty()))?;
            world.boot_again("app-1")
        })
}
