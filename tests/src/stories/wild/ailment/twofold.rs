//! Instances that two things happen to, and answers that are bad on one path only.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{Ailment, behave, pick};
use crate::lab::Done;
use crate::lab::plan::App;
use crate::lab::world::World;

pub(super) fn all() -> Vec<Ailment> {
    [answering(), changing()].into_iter().flatten().collect()
}

/// The application's own bad answers.
fn answering() -> Vec<Ailment> {
    vec![
        Ailment {
            told_by_gateway: true,
            heal: behave,
            ..Ailment::new("504", "app_error", |world, host, n| {
                world.faults(host, &json!({ "answer": { "status": pick(&[504, 505, 599], n), "body": "{}" } }))
            })
        },
        Ailment {
            told_by_gateway: true,
            heal: behave,
            ..Ailment::new("onepath", "app_error", |world, host, _| {
                world.faults(host, &json!({ "answer": { "status": 500, "body": "{}", "path": "/items/8" } }))
            })
        },
        Ailment {
            // It fails at some requests as ever since its last release, and then it is killed.
            expects: |ailment, _, place, _| vec![ailment.expected(place).or(&["app_error", "app_unavailable"])],
            ..Ailment::new("ailing", "process_killed", |world, host, n| {
                let status = pick(&[500, 503, 504], n);
                world.faults(host, &json!({ "answer": { "status": status, "body": "{}", "path": "/items/8" } }))?;
                thread::sleep(Duration::from_millis(500 + n % 1500));
                world.signal_app(host, "SIGKILL")
            })
        },
        Ailment {
            prepare: |plan, _, _| plan.traffic.method = "GET",
            told_by_gateway: true,
            heal: behave,
            ..Ailment::new("cookies", "header_too_big", |world, host, n| {
                world.faults(host, &json!({ "header_bytes": 18_000 + n % 40_000 }))
            })
        },
        Ailment {
            prepare: |plan, place, n| plan.apps[place].disk_kib = Some(256 + n % 512),
            heal: |world, host, n| {
                world.shell(host, &format!("rm -f {}", world.dir_of(host).join("disk/other").display()))?;
                behave(world, host, n)
            },
            ..Ailment::new("filled", "disk_full", |world, host, _| {
                let disk = world.dir_of(host).join("disk");
                world.faults(host, &json!({ "write": disk.join("orders") }))?;
                world.shell(host, &format!("head -c 2M /dev/zero > {} || true", disk.join("other").display()))
            })
        },
    ]
}

fn changing() -> Vec<Ailment> {
    vec![
        Ailment {
            // What was deployed ends at each start.
            prepare: |plan, place, n| {
                let app = App { release: "v41", restart_ms: Some(300 + n % 700), ..plan.apps[place].clone() };
                plan.apps[place] = app;
            },
            ..Ailment::new("badrelease", "crash_looping", |world, host, _| {
                world.stop_app(host)?;
                world.faults(host, &json!({ "throw": "no such column: price_cents" }))?;
                world.change_app(host, |app| app.release = "v42")?;
                world.start_app(host)
            })
        },
        Ailment {
            // The restart is somebody's answer to the failures.
            needs: &["iptables"],
            heal: |world, host, _| drop_all(world, "-D", host),
            ..Ailment::new("restarted", "firewall_drop", |world, host, n| {
                drop_all(world, "-A", host)?;
                thread::sleep(Duration::from_millis(5000 + n % 2000));
                world.stop_app(host)?;
                world.start_app(host)
            })
        },
        Ailment {
            fits: |_, _| true,
            heal: |_, _, _| Ok(()),
            ..Ailment::new("reboot", "host_rebooted", |world, host, n| {
                world.power_off(host)?;
                thread::sleep(Duration::from_millis(6000 + n % 4000));
                world.boot_again(host)
            })
        },
    ]
}

fn drop_all(world: &mut World, action: &str, host: &str) -> Done {
    world.run(host, &format!("iptables -w {action} INPUT ! -i lo -p tcp --dport 3000 -j DROP"))
}
