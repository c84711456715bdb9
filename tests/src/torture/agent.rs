//! The real agent reading a gateway's log, before a real collector: killed, and without space on its disk.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill as signal};
use nix::unistd::Pid;
use prost::Message;
use why502_proto::v1;

use super::{Outcome, Size};
use crate::dice::Dice;
use crate::fleet::Collector;
use crate::lab::wait_for;
use crate::programs;

/// How long anything may take that is waited for.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks into the collector's journal, each of which costs time itself.
const LOOK: Duration = Duration::from_millis(150);
/// The longest that an agent lives once it is connected.
const LIFE_MS: u64 = 400;
/// The size of the small disk.
const DISK_KIB: usize = 512;

/// Lines written so far, by a thread of its own.
struct Writer {
    lines: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Writes failing lines, some hundred a second, since the agent takes but a small share of the CPU for reading: in
    /// spurts, so that most are told one by one and some by their number.
    fn start(mut log: File) -> Self {
        let (lines, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, stopped) = (lines.clone(), stop.clone());
        let thread = thread::spawn(move || {
            let (mut dice, mut number) = (Dice::new(3), 0);
            while !stopped.load(SeqCst) {
                let count = if dice.below(16) == 0 { 60 } else { 1 + dice.below(2) };
                let text: String = (number..number + count).map(|number| line(&format!("/n/{number}"))).collect();
                if log.write_all(text.as_bytes()).is_err() {
                    return;
                }
                number += count;
                counted.store(number, SeqCst);
                thread::sleep(Duration::from_millis(20));
            }
        });
        Self { lines, stop, thread }
    }

    fn end(self) -> u64 {
        self.stop.store(true, SeqCst);
        // A writer that failed has written less, which the count tells.
        let _ = self.thread.join();
        self.lines.load(SeqCst)
    }
}

fn line(path: &str) -> String {
    format!("192.0.2.7 [2026-11-22T10:00:01+00:00] \"GET {path} HTTP/1.1\" 502 10.0.0.2:3000 502 0.001 - 0.011\n")
}

/// What the collector was told.
#[derive(Default)]
struct Told {
    /// Lines by which it is seen that the log is followed.
    probes: u64,
    /// Failing lines, those that were only counted included.
    failures: u64,
    /// How often each that was told in full.
    paths: BTreeMap<String, u32>,
    /// The states of the agent's disk, in order: none is well.
    disk: Vec<String>,
}

impl Told {
    fn read(dir: &Path) -> Result<Self, String> {
        let mut told = Self::default();
        let read = why502::journal::read(&dir.join("store/journal"), &mut |entry| {
            let record = v1::JournalRecord::decode(entry.payload).unwrap_or_default();
            if let Some(v1::journal_record::Kind::Report(report)) = record.kind {
                told.add(report.report.unwrap_or_default());
            }
        });
        read.map(|_| told).map_err(|error| error.to_string())
    }

    fn add(&mut self, report: v1::Report) {
        let states = report.samplers.into_iter().filter(|status| status.name == "spool");
        self.disk.extend(states.map(|status| status.why));
        for event in report.events {
            let Some(v1::event::Kind::Failure(failure)) = event.kind else { continue };
            if failure.path == "/probe" {
                self.probes += 1;
            } else {
                self.failures += 1 + u64::from(failure.repeats);
                *self.paths.entry(failure.path).or_default() += 1;
            }
        }
    }

    /// Every line was told and none twice.
    fn check(&self, written: u64) -> Result<(), String> {
        if let Some((path, times)) = self.paths.iter().find(|(_, times)| **times > 1) {
            return Err(format!("{path} was told {times} times"));
        }
        match self.failures == written {
            true => Ok(()),
            false => Err(format!("{} of {written} failing lines were told", self.failures)),
        }
    }
}

/// A collector, and an agent that follows a gateway's log.
struct Scene {
    dir: tempfile::TempDir,
    collector: Option<Collector>,
    ports: (u16, u16),
    agent: Option<Child>,
    /// How often those before it had connected.
    before: usize,
    /// Its state is kept on a disk of its own, which is small.
    small_disk: bool,
}

impl Scene {
    /// Both run, and the log is followed.
    fn start(small_disk: bool) -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let collector = Collector::start(dir.path(), (0, 0))?;
        let (ingest, place) = (&collector.ingest, dir.path().display());
        let config = format!(
            "collector = [\"{ingest}\"]\nhost = \"lb-1\"\ninterval = \"1s\"\nstate_dir = \"{place}/state\"\n\
             [[service]]\nname = \"none\"\nlisten = [\"127.0.0.1:1\"]\n\
             [[gateway]]\nname = \"edge\"\nkind = \"nginx\"\naccess_log = \"{place}/access.log\"\n\
             format = '$remote_addr [$time_iso8601] \"$request\" $status $upstream_addr $upstream_status \
             $upstream_connect_time $upstream_header_time $upstream_response_time'\n"
        );
        fs::write(dir.path().join("agent.toml"), config).map_err(|error| error.to_string())?;
        fs::create_dir_all(dir.path().join("state")).map_err(|error| error.to_string())?;
        let ports = collector.ports();
        let mut scene = Self { dir, collector: Some(collector), ports, agent: None, before: 0, small_disk };
        let mut log = scene.log()?;
        scene.start_agent()?;
        wait_for("the log is followed", LIMIT, || {
            // It is read from its end, wherever that is when the agent first looks.
            log.write_all(line("/probe").as_bytes()).ok()?;
            thread::sleep(LOOK);
            let told = Told::read(scene.dir.path()).ok()?;
            (told.probes > 0).then_some(())
        })?;
        Ok(scene)
    }

    fn log(&self) -> Result<File, String> {
        let path = self.dir.path().join("access.log");
        OpenOptions::new().create(true).append(true).open(path).map_err(|error| error.to_string())
    }

    fn start_agent(&mut self) -> Result<(), String> {
        self.before = self.connections();
        let log = OpenOptions::new().create(true).append(true).open(self.dir.path().join("agent.log"));
        let mut command = programs::mortal(if self.small_disk { "unshare".into() } else { programs::agent() });
        if self.small_disk {
            let script = format!("mount -t tmpfs -o size={DISK_KIB}k tmpfs \"$1\" && shift && exec \"$@\"");
            command
                .args(["--mount", "sh", "-c", &script, "sh"])
                .arg(self.dir.path().join("state"))
                .arg(programs::agent());
        }
        command.arg("run").arg("--config").arg(self.dir.path().join("agent.toml"));
        command.stdout(Stdio::null()).stderr(log.map_err(|error| error.to_string())?);
        self.agent = Some(command.spawn().map_err(|error| format!("start the agent: {error}"))?);
        Ok(())
    }

    fn end_agent(&mut self, how: Signal) {
        if let Some(mut agent) = self.agent.take() {
            // It may have ended by itself.
            let _ = signal(Pid::from_raw(agent.id() as i32), how);
            let _ = agent.wait();
        }
    }

    /// Waits until so many lines were told, ends both parts, and gives all that was told.
    fn end(mut self, written: u64) -> Result<Told, String> {
        let mut told = 0;
        // An agent that had no time to read has much to tell: it is waited for as long as it goes on.
        while told < written {
            told = wait_for("more lines are told", LIMIT, || {
                thread::sleep(LOOK);
                Told::read(self.dir.path()).ok().map(|now| now.failures).filter(|now| *now > told)
            })
            .map_err(|why| format!("{why}; of {written} {}", self.last_words()))?;
        }
        self.end_agent(Signal::SIGTERM);
        if let Some(collector) = self.collector.take() {
            collector.kill();
        }
        Told::read(self.dir.path())
    }

    /// How often an agent has connected.
    fn connections(&self) -> usize {
        let log = fs::read_to_string(self.dir.path().join("agent.log")).unwrap_or_default();
        log.lines().filter(|line| line.contains("connected collector")).count()
    }

    fn last_words(&self) -> String {
        let told = Told::read(self.dir.path()).map(|told| told.failures).unwrap_or(0);
        let log = fs::read_to_string(self.dir.path().join("agent.log")).unwrap_or_default();
        format!("{told} were; the agent says: {}", log.lines().last().unwrap_or_default())
    }

    /// The folder of the agent's state, as the agent sees it.
    fn state(&self) -> Result<PathBuf, String> {
        let agent = self.agent.as_ref().ok_or("no agent runs")?;
        let inside = self.dir.path().join("state");
        Ok(Path::new("/proc")
            .join(agent.id().to_string())
            .join("root")
            .join(inside.strip_prefix("/").unwrap_or(&inside)))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.end_agent(Signal::SIGKILL);
    }
}

/// What came of the kills of one agent, or of several.
#[derive(Default)]
struct Killed {
    kills: u64,
    connected: u64,
    written: u64,
    in_full: usize,
}

/// Kills agents again and again while their logs grow: several beside each other, since most of the time is waiting.
pub fn kill(size: Size) -> Outcome {
    let (agents, kills) = size.pick((1, 10), (5, 200));
    let all = thread::scope(|scope| {
        let scenes: Vec<_> = (0..agents).map(|seed| scope.spawn(move || killed(kills, Dice::new(5 + seed)))).collect();
        scenes.into_iter().try_fold(Killed::default(), |all, scene| {
            let one = scene.join().map_err(|_| "a scene broke off".to_owned())??;
            Ok::<_, String>(Killed {
                kills: all.kills + one.kills,
                connected: all.connected + one.connected,
                written: all.written + one.written,
                in_full: all.in_full + one.in_full,
            })
        })
    })?;
    let Killed { kills, connected, written, in_full } = all;
    Ok(format!(
        "{kills} kills, {connected} of them while it sent, and {written} failing lines: {in_full} told in full, 0 lost, 0 twice"
    ))
}

/// Kills one agent so often.
fn killed(kills: u64, mut dice: Dice) -> Result<Killed, String> {
    let mut scene = Scene::start(false)?;
    let writer = Writer::start(scene.log()?);
    let mut connected = 0;
    for _ in 0..kills {
        // Some are killed while they start, most while they read and send.
        if dice.below(5) > 0 {
            wait_for("the agent connects", LIMIT, || (scene.connections() > scene.before).then_some(()))?;
            connected += 1;
        }
        thread::sleep(Duration::from_millis(dice.below(LIFE_MS)));
        scene.end_agent(Signal::SIGKILL);
        scene.start_agent()?;
    }
    let written = writer.end();
    let told = scene.end(written)?;
    told.check(written)?;
    Ok(Killed { kills, connected, written, in_full: told.paths.len() })
}

/// Takes the space from the agent's disk while the collector is away, and gives it back.
pub fn disk_full(_: Size) -> Outcome {
    if !nix::unistd::geteuid().is_root() {
        return Ok("SKIPPED, since only root can make a small disk".to_owned());
    }
    let mut scene = Scene::start(true)?;
    let ballast = scene.state()?.join("ballast");
    let filled = fs::write(&ballast, vec![0; DISK_KIB * 1024]);
    if filled.is_ok() {
        return Err("the disk does not fill".to_owned());
    }
    let (dir, ports) = (scene.dir.path().to_owned(), scene.ports);
    if let Some(collector) = scene.collector.take() {
        collector.kill();
    }
    let writer = Writer::start(scene.log()?);
    wait_for("lines without a collector", LIMIT, || (writer.lines.load(SeqCst) > 200).then_some(()))?;
    scene.collector = Some(Collector::start(&dir, ports)?);
    let disk = |is: fn(&str) -> bool| {
        thread::sleep(LOOK);
        Told::read(&dir).ok()?.disk.last().filter(|why| is(why)).cloned()
    };
    let said = wait_for("it says that there is no space", LIMIT, || disk(|why| why.contains("make room")))?;
    let freed = Instant::now();
    fs::remove_file(&ballast).map_err(|error| error.to_string())?;
    wait_for("it is back on the disk", LIMIT, || disk(str::is_empty))?;
    let back = freed.elapsed();
    let written = writer.end();
    let told = scene.end(written)?;
    told.check(written)?;
    if back > Duration::from_secs(5) {
        return Err(format!("it was back on the disk only after {:.1} s", back.as_secs_f64()));
    }
    let said = said.split(": ").skip(1).collect::<Vec<_>>().join(": ");
    Ok(format!("{written} failing lines, 0 lost, 0 twice; it said \"{said}\"; back after {:.1} s", back.as_secs_f64()))
}
