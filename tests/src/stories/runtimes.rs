//! The same faults under other runtimes, whose masters, pools and words differ: PHP-FPM, uWSGI and Puma.

use std::time::Duration;

use serde_json::json;

use super::overload::in_bursts;
use super::{ONE, TWO, behave};
use crate::lab::plan::{App, Gateway, Plan, Runtime};
use crate::lab::story::{Expect, Story};

pub(super) fn all() -> Vec<Story> {
    vec![
        php_worker_killed(),
        php_pool_exhausted(),
        uwsgi_worker_killed(),
        uwsgi_pool_exhausted(),
        puma_worker_killed(),
        puma_pool_exhausted(),
    ]
}

/// Two applications of a runtime behind nginx, which speaks to them as it must.
fn two(runtime: Runtime, arguments: &[&'static str]) -> Plan {
    let gateway = Gateway { protocol: runtime.protocol(), ..Gateway::default() };
    let apps = vec![App::of(runtime, "app-1", ONE, arguments), App::of(runtime, "app-2", TWO, arguments)];
    Plan { gateway, apps, ..Plan::default() }
}

/// A request now and then, of each member in turn, takes longer than the master allows; nginx would have waited ten seconds.
fn worker_killed(name: &'static str, plan: Plan, says: &'static str) -> Story {
    Story::new(name)
        .plan(plan.gateway(|gateway| gateway.read_s = 10))
        .expect(Expect::new("worker_killed", "app-1", ONE).cites(&[says]).advises(&["timeout"]))
        .fault(|world| {
            world.faults("app-1", &json!({ "hang": { "path": "/export" }, "freeze": { "path": "/export" } }))?;
            world.client()?.change(|traffic| {
                traffic.paths = vec!["/", "/items/1", "/items/2", "/items/3", "/items/4", "/items/5", "/export"];
                traffic.every = Duration::from_millis(250);
            });
            Ok(())
        })
        .heal(behave)
}

fn php_worker_killed() -> Story {
    let settings = ["pm = static", "pm.max_children = 4", "request_terminate_timeout = 2s"];
    worker_killed("php_worker_killed", two(Runtime::PhpFpm, &settings), "execution timed out")
}

fn uwsgi_worker_killed() -> Story {
    worker_killed("uwsgi_worker_killed", two(Runtime::Uwsgi, &["--processes", "4", "--harakiri", "2"]), "harakiri")
}

/// Its master hears nothing of a worker for as long as it waits at the least.
fn puma_worker_killed() -> Story {
    let arguments = ["--workers", "5", "--threads", "1:1"];
    worker_killed("puma_worker_killed", two(Runtime::Puma, &arguments), "terminating timed out worker")
}

fn pool_exhausted(name: &'static str, plan: Plan) -> Story {
    let expect = Expect::new("worker_pool_exhausted", "app-1", ONE);
    let expect = expect.cites(&["wait|queue|max_children"]).advises(&["worker"]);
    in_bursts(Story::new(name).plan(plan).expect(expect))
}

fn php_pool_exhausted() -> Story {
    let settings = [
        "pm = dynamic",
        "pm.max_children = 2",
        "pm.start_servers = 1",
        "pm.min_spare_servers = 1",
        "pm.max_spare_servers = 1",
    ];
    pool_exhausted("php_pool_exhausted", two(Runtime::PhpFpm, &settings))
}

fn uwsgi_pool_exhausted() -> Story {
    pool_exhausted("uwsgi_pool_exhausted", two(Runtime::Uwsgi, &["--processes", "2"]))
}

fn puma_pool_exhausted() -> Story {
    pool_exhausted("puma_pool_exhausted", two(Runtime::Puma, &["--workers", "2", "--threads", "1:1"]))
}
