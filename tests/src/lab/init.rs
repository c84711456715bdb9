//! Process 1 of a host: starts, watches and ends the host's programs as its parent asks, one JSON line each way, and takes
//! in orphans. It is the host's service manager: a unit may be restarted when it ends. End of input is power off.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::{Doing, Done, cgroup};

/// How long a unit may take to end when asked politely.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// A program that this host runs.
#[derive(Clone)]
struct Unit {
    spec: Value,
    pid: Option<i32>,
    ended: Option<String>,
    starts: u64,
    wanted: bool,
}

#[derive(Default)]
struct State {
    units: BTreeMap<String, Unit>,
    ended: BTreeMap<i32, String>,
    /// Children that were ever started.
    spawned: u64,
    /// The folders of this process' own control group.
    home: Vec<String>,
}

#[derive(Clone, Default)]
struct Init {
    state: Arc<(Mutex<State>, Condvar)>,
}

/// Serves until the input ends. `role` is the host's; `groups` are the folders of the host's control group, if there are any.
pub fn serve(role: &str, name: &str, groups: &[String]) -> Done<ExitCode> {
    super::enter::settle_host(role, groups)?;
    nix::unistd::sethostname(name).doing("sethostname")?;
    let init = Init::default();
    let reaper = init.clone();
    thread::spawn(move || reaper.reap());
    for line in std::io::stdin().lock().lines() {
        let line = line.doing("read a request")?;
        let answer = serde_json::from_str(&line)
            .doing("request")
            .and_then(|request| init.answer(&request))
            .unwrap_or_else(|fault| json!({ "fault": fault }));
        println!("{answer}");
        std::io::stdout().flush().doing("answer")?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Init {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in every child that ends, ours and orphans.
    fn reap(&self) {
        loop {
            let seen = self.lock().spawned;
            match waitpid(None, None) {
                Ok(WaitStatus::Exited(pid, code)) => self.ended(pid, format!("exit {code}")),
                Ok(WaitStatus::Signaled(pid, signal, _)) => self.ended(pid, format!("signal {}", signal as i32)),
                Ok(_) | Err(Errno::EINTR) => {}
                // There was none to wait for: not before the next is started, which may be already.
                Err(_) => {
                    let mut state = self.lock();
                    while state.spawned == seen {
                        state = self.state.1.wait(state).unwrap_or_else(PoisonError::into_inner);
                    }
                }
            }
        }
    }

    fn ended(&self, pid: Pid, how: String) {
        let mut state = self.lock();
        let mut restart = None;
        for (name, unit) in &mut state.units {
            if unit.pid == Some(pid.as_raw()) {
                (unit.pid, unit.ended) = (None, Some(how.clone()));
                restart =
                    unit.spec["restart_ms"].as_u64().filter(|_| unit.wanted).map(|after_ms| (name.clone(), after_ms));
            }
        }
        state.ended.insert(pid.as_raw(), how);
        drop(state);
        self.state.1.notify_all();
        if let Some((name, after_ms)) = restart {
            let init = self.clone();
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(after_ms));
                let mut state = init.lock();
                if state.units.get(&name).is_some_and(|unit| unit.wanted && unit.pid.is_none()) {
                    // A restart that fails shows as a unit that does not run.
                    let _ = init.launch(&mut state, &name);
                }
            });
        }
    }

    fn answer(&self, request: &Value) -> Done<Value> {
        let name = request["name"].as_str().unwrap_or_default().to_owned();
        match request["op"].as_str().unwrap_or_default() {
            "start" => {
                let mut state = self.lock();
                let starts = state.units.get(&name).map_or(0, |unit| unit.starts);
                let unit = Unit { spec: request.clone(), pid: None, ended: None, starts, wanted: true };
                state.units.insert(name.clone(), unit);
                let pid = self.launch(&mut state, &name)?;
                Ok(json!({ "pid": pid }))
            }
            "home" => {
                let mut state = self.lock();
                state.home = texts(request, "groups");
                cgroup::go_home(&state.home)?;
                Ok(json!({}))
            }
            "run" => self.run(request),
            "signal" => {
                let pid =
                    self.lock().units.get(&name).and_then(|unit| unit.pid).ok_or(format!("{name} does not run"))?;
                let signal = signal_of(request)?;
                kill(Pid::from_raw(if request["group"] == true { -pid } else { pid }), signal).doing("kill")?;
                Ok(json!({}))
            }
            "stop" => self.stop(&name),
            "status" => Ok(self
                .lock()
                .units
                .get(&name)
                .map_or(json!({}), |unit| json!({ "pid": unit.pid, "ended": unit.ended, "starts": unit.starts }))),
            other => Err(format!("unknown request {other}")),
        }
    }

    fn launch(&self, state: &mut State, name: &str) -> Done<i32> {
        let unit = state.units.get_mut(name).ok_or(format!("no unit {name}"))?;
        let pid = spawn(&unit.spec, &state.home)?;
        (unit.pid, unit.ended, unit.starts) = (Some(pid), None, unit.starts + 1);
        state.spawned += 1;
        self.state.1.notify_all();
        Ok(pid)
    }

    /// Runs a command to its end.
    fn run(&self, request: &Value) -> Done<Value> {
        let mut state = self.lock();
        let pid = spawn(request, &state.home)?;
        state.spawned += 1;
        self.state.1.notify_all();
        loop {
            if let Some(how) = state.ended.remove(&pid) {
                return Ok(json!({ "ended": how }));
            }
            state = self.state.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// As a service manager does it: SIGTERM to all of the unit, SIGKILL to what is left in the end.
    fn stop(&self, name: &str) -> Done<Value> {
        let mut state = self.lock();
        let Some(unit) = state.units.get_mut(name) else { return Ok(json!({})) };
        unit.wanted = false;
        let Some(pid) = unit.pid else { return Ok(json!({})) };
        let until = Instant::now() + STOP_LIMIT;
        // A stopped process takes the signal once it goes on.
        let _ = (kill(Pid::from_raw(-pid), Signal::SIGTERM), kill(Pid::from_raw(-pid), Signal::SIGCONT));
        while state.units.get(name).is_some_and(|unit| unit.pid == Some(pid)) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let _ = kill(Pid::from_raw(-pid), Signal::SIGKILL);
            }
            let wait = left.max(Duration::from_millis(50));
            state = self.state.1.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        let _ = kill(Pid::from_raw(-pid), Signal::SIGKILL);
        Ok(json!({}))
    }
}

fn signal_of(request: &Value) -> Done<Signal> {
    let name = request["signal"].as_str().unwrap_or_default();
    name.parse().doing(name)
}

/// Starts a program in its control groups and limits: this process goes there, starts it, and comes back, so that the
/// program is itself from its first moment, as a service manager has it.
fn spawn(spec: &Value, home: &[String]) -> Done<i32> {
    let argv = texts(spec, "argv");
    let (program, arguments) = argv.split_first().ok_or("nothing to start")?;
    let out = spec["out"].as_str().unwrap_or("/dev/null");
    let log = OpenOptions::new().create(true).append(true).open(out).doing(out)?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).process_group(0);
    let err = spec["err"].as_str().unwrap_or(out);
    command.stdout(log).stderr(OpenOptions::new().create(true).append(true).open(err).doing(err)?);
    if let Some(folder) = spec["cwd"].as_str() {
        command.current_dir(folder);
    }
    for (key, value) in spec["env"].as_object().into_iter().flatten() {
        command.env(key, value.as_str().unwrap_or_default());
    }
    let before = getrlimit(Resource::RLIMIT_NOFILE).doing("getrlimit")?;
    cgroup::enter(&texts(spec, "groups"))?;
    if let Some(limit) = spec["nofile"].as_u64() {
        setrlimit(Resource::RLIMIT_NOFILE, limit, before.1).doing("setrlimit")?;
    }
    let child = command.spawn().doing("start");
    setrlimit(Resource::RLIMIT_NOFILE, before.0, before.1).doing("setrlimit")?;
    cgroup::enter(home)?;
    i32::try_from(child?.id()).doing("pid")
}

fn texts(request: &Value, key: &str) -> Vec<String> {
    let all = request[key].as_array().into_iter().flatten();
    all.filter_map(|text| text.as_str().map(str::to_owned)).collect()
}
