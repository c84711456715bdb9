//! The demo: five instances behind a real nginx, each broken in its own way, and each verdict as `why502 why` prints it.
//! `deploy/demo.sh` builds everything and calls this. Without root it works where unprivileged user namespaces are allowed.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use serde_json::json;
use why502_tests::lab::cgroup::{self, Groups, Limits};
use why502_tests::lab::plan::{App, Plan};
use why502_tests::lab::world::{Programs, World, upstream};
use why502_tests::lab::{Doing, Done, ask, enter, wait_for};

/// One way to break an instance.
struct Break {
    /// What is done, in words.
    says: &'static str,
    /// The number of the instance's host.
    number: u8,
    /// What must be said of it.
    cause: &'static str,
    /// Program it needs.
    needs: &'static str,
    fault: fn(&mut World) -> Done,
    heal: fn(&mut World) -> Done,
}

const BREAKS: [Break; 5] = [
    Break {
        says: "app-1: somebody runs kill -9 on the application",
        number: 21,
        cause: "process_killed",
        needs: "",
        fault: |world| world.signal_app("app-1", "SIGKILL"),
        heal: |world| world.start_app("app-1"),
    },
    Break {
        says: "app-2: the application leaks memory until its limit",
        number: 22,
        cause: "oom_killed",
        needs: "cgroups",
        fault: |world| world.faults("app-2", &json!({ "leak_mb_s": 200 })),
        heal: |world| {
            world.faults("app-2", &json!({}))?;
            world.start_app("app-2")
        },
    },
    Break {
        says: "app-3: the application is stopped (SIGSTOP) and answers nothing any more",
        number: 23,
        cause: "process_hung",
        needs: "",
        fault: |world| world.signal_app("app-3", "SIGSTOP"),
        heal: |world| world.signal_app("app-3", "SIGCONT"),
    },
    Break {
        says: "app-4: a firewall rule drops what comes for port 3000",
        number: 24,
        cause: "firewall_drop",
        needs: "iptables",
        fault: |world| world.run("app-4", "iptables -w -A INPUT ! -i lo -p tcp --dport 3000 -j DROP"),
        heal: |world| world.run("app-4", "iptables -w -D INPUT ! -i lo -p tcp --dport 3000 -j DROP"),
    },
    Break {
        says: "app-5: the application answers with cookies that do not fit nginx's buffer",
        number: 25,
        cause: "header_too_big",
        needs: "",
        fault: |world| world.faults("app-5", &json!({ "header_bytes": 9000 })),
        heal: |world| world.faults("app-5", &json!({})),
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = enter::internal(&arguments).unwrap_or_else(|| match &arguments[..] {
        [word, dir] if word == "--play" => play(Path::new(dir)),
        [] => outside(),
        _ => Err("the demo takes no arguments".to_owned()),
    });
    done.unwrap_or_else(|fault| {
        eprintln!("demo: {fault}");
        ExitCode::FAILURE
    })
}

/// Makes the folder and the control groups, plays, and takes both away.
fn outside() -> Done<ExitCode> {
    enter::possible().map_err(|why| format!("it needs root or unprivileged user namespaces: {why}"))?;
    cgroup::remove_stale();
    let name = format!("why502-lab-{}", std::process::id());
    let dir = std::env::temp_dir().join(&name);
    std::fs::create_dir_all(&dir).doing("demo folder")?;
    let groups = Groups::make(&name);
    // Ctrl-C goes to the whole terminal: those inside end by it, and this one cleans up after them.
    let kept = why502_tests::lab::runner::stop_on_signal();
    let own = std::env::current_exe().doing("own path")?;
    let mut inside = Command::new(own)
        .args(["--enter", enter::STORY, "--play"])
        .arg(&dir)
        .env("WHY502_LAB_GROUPS", &name)
        .spawn()
        .doing("start")?;
    let status = why502_tests::lab::runner::wait(&mut inside, &kept, Duration::from_secs(3600));
    if let Ok(groups) = groups {
        groups.remove();
    }
    std::fs::remove_dir_all(&dir).doing("remove the demo's folder")?;
    println!("everything is cleaned up");
    status.map(|code| if code == Some(0) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn play(dir: &Path) -> Done<ExitCode> {
    enter::settle()?;
    let programs = Programs::find()?;
    let groups = std::env::var("WHY502_LAB_GROUPS").ok().and_then(|name| Groups::make(&name).ok());
    let has_groups = groups.is_some();
    let names = ["app-1", "app-2", "app-3", "app-4", "app-5"];
    let limits = Limits { memory_mib: has_groups.then_some(160), ..Limits::default() };
    let apps = names.into_iter().zip(21..).map(|(name, number)| App { limits, ..App::node(name, number) }).collect();
    println!("starting five applications, nginx in front of them, an agent on each host, a collector, a client...");
    let mut world = World::start(Plan { apps, ..Plan::default() }, dir, &programs, groups)?;
    println!("\n$ why502 status\n{}", world.ask(&["status"])?);
    let (mut right, mut done) = (0, 0);
    for act in &BREAKS {
        let lacks = act.needs == "cgroups" && !has_groups
            || act.needs == "iptables" && world.run("lb-1", "iptables -w -S").is_err();
        if lacks {
            println!("== {} (left out: no {})\n", act.says, act.needs);
            continue;
        }
        right += usize::from(one(act, &mut world)?);
        done += 1;
    }
    println!("$ why502 incidents\n{}", world.ask(&["incidents", "--state", "all"])?);
    world.stop_collector()?;
    println!("{right} of {done} verdicts were right");
    Ok(if right == done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Breaks one, waits for a verdict that lasts, prints it, mends. Whether it was right.
fn one(act: &Break, world: &mut World) -> Done<bool> {
    println!("== {}", act.says);
    let broken = Instant::now();
    (act.fault)(world)?;
    let address = upstream(act.number);
    let cause = || {
        let incidents = ask::incidents().ok()?;
        let incident = incidents.iter().find(|incident| incident["upstream"] == *address)?.clone();
        Some((incident["cause"].as_str()?.to_owned(), incident["confidence"].as_f64()?))
    };
    let (first, _) = wait_for("a first verdict", Duration::from_secs(15), cause)?;
    println!("   first verdict after {:.1} s: {first}", broken.elapsed().as_secs_f64());
    let (mut last, mut since) = (first, Instant::now());
    wait_for("a verdict that lasts", Duration::from_secs(40), || {
        let (now, confidence) = cause()?;
        if now != last {
            println!("   revised after {:.1} s: {now}", broken.elapsed().as_secs_f64());
            (last, since) = (now, Instant::now());
        }
        let settled = Duration::from_secs(if confidence > 0.8 { 3 } else { 12 });
        (since.elapsed() > settled).then_some(())
    })?;
    println!("\n$ why502 why {address}\n{}", world.ask(&["why", &address])?);
    (act.heal)(world)?;
    Ok(last == act.cause)
}
