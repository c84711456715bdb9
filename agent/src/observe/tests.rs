//! Stories with real children of this test program: it runs itself again as a small server.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use regex::Regex;
use v1::event::Kind;
use v1::process_exited::Source;

use super::*;
use crate::config::{Listen, Matcher, Service as Configured};

const PATIENCE: Duration = Duration::from_secs(20);

/// Not a test: the server that the stories start. It listens, says where, and obeys its standard input.
#[test]
#[ignore = "run by the stories"]
#[allow(clippy::exit)] // its exit code is what a story asks for
fn child_server() {
    let Ok(group) = std::env::var("WHY502_TEST_GROUP") else { return };
    if !group.is_empty() {
        std::fs::write(Path::new(&group).join("cgroup.procs"), "0").unwrap();
    }
    let listener = TcpListener::bind(std::env::var("WHY502_TEST_LISTEN").unwrap()).unwrap();
    println!("\nport {}", listener.local_addr().unwrap().port());
    let order = std::io::stdin().lines().next().unwrap().unwrap();
    let mut held: Vec<Vec<u8>> = Vec::new();
    // More than the limit of its group, so that it never comes to the end of this.
    let grow_mib = if order == "grow" { 4096 } else { 0 };
    for _ in 0..grow_mib {
        held.push(vec![1; 1 << 20]);
    }
    std::process::exit(order.parse().unwrap());
}

struct Server {
    child: Child,
    stdin: ChildStdin,
    address: SocketAddr,
}

impl Server {
    fn start(marker: &str, listen: &str, group: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "--nocapture", "observe::tests::child_server", marker]);
        command.env("WHY502_TEST_LISTEN", listen).env("WHY502_TEST_GROUP", group);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port =
            lines.find_map(|line| line.unwrap().strip_prefix("port ").map(|p| p.parse::<u16>().unwrap())).unwrap();
        // The pipe stays open behind the reader, so that the child may go on printing.
        std::thread::spawn(move || lines.for_each(drop));
        Self { stdin: child.stdin.take().unwrap(), child, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    fn tell(&mut self, what: &str) {
        writeln!(self.stdin, "{what}").unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn marker(story: &str) -> String {
    format!("why502-{story}-{}", std::process::id())
}

fn config(services: Vec<Configured>) -> Arc<Config> {
    Arc::new(Config {
        collectors: Vec::new(),
        host: "app-1".into(),
        interval: Duration::from_secs(60),
        state_dir: PathBuf::new(),
        spool_bytes: 1 << 20,
        insecure: false,
        identity: crate::identity::Identity::default(),
        services,
        gateways: Vec::new(),
    })
}

fn service(cmdline: &str) -> Configured {
    let cmdline = (!cmdline.is_empty()).then(|| Regex::new(cmdline).unwrap());
    let matcher = Matcher { cmdline, ..Matcher::default() };
    Configured { name: "api".into(), listen: Vec::new(), matcher, health: None, logs: Vec::new(), role: None }
}

/// Runs a story beside the observer, on one thread.
fn story<F: Future<Output = ()>>(config: Arc<Config>, tell: impl FnOnce(mpsc::Receiver<Observed>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (out, seen) = mpsc::channel(64);
        tokio::select! {
            () = run(config, out, Budget::default(), Units::default()) => panic!("the observer ended"),
            () = tell(seen) => {}
        }
    });
}

/// The next value that fits; what comes before it is passed over.
async fn next<T>(seen: &mut mpsc::Receiver<Observed>, what: &str, fits: impl Fn(&Observed) -> Option<T>) -> T {
    let mut passed = Vec::new();
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            let observed = seen.recv().await.expect("the observer runs");
            if let Some(found) = fits(&observed) {
                return found;
            }
            passed.push(observed);
        }
    });
    found.await.unwrap_or_else(|_| panic!("no {what}; seen: {passed:#?}"))
}

macro_rules! event {
    ($seen:expr, $kind:ident) => {
        next($seen, stringify!($kind), |observed| match observed {
            Observed::Event(v1::Event { kind: Some(Kind::$kind(event)), .. }) => Some(event.clone()),
            _ => None,
        })
        .await
    };
}

async fn sample(
    seen: &mut mpsc::Receiver<Observed>,
    what: &str,
    fits: impl Fn(&v1::InstanceSample) -> bool,
) -> v1::InstanceSample {
    next(seen, what, |observed| match observed {
        Observed::Instance(sample) if fits(sample) => Some((**sample).clone()),
        _ => None,
    })
    .await
}

#[test]
fn a_killed_process_and_its_successor() {
    let marker = marker("kill");
    let mut server = Server::start(&marker, "127.0.0.1:0", "");
    let address = server.address.to_string();
    story(config(vec![service(&marker)]), |mut seen| async move {
        let first = event!(&mut seen, ProcessStarted);
        assert!(first.already_running && first.leader && first.pid == server.child.id(), "{first:?}");
        sample(&mut seen, "listener", |s| s.process_count == 1 && s.listeners.iter().any(|l| l.address == address))
            .await;
        server.signal(Signal::SIGKILL);
        let exited = event!(&mut seen, ProcessExited);
        assert_eq!((exited.signal, exited.exit_code, exited.source()), (Some(9), None, Source::Pidfd));
        assert_eq!(
            (exited.remaining, exited.still_listening, exited.served, exited.leader),
            (0, Some(false), true, true)
        );
        assert!(exited.last_rss_bytes > 0 && exited.parent_pid == std::process::id());
        let gone = event!(&mut seen, ListenChanged);
        assert_eq!((gone.address.as_str(), gone.listening), (address.as_str(), false));
        sample(&mut seen, "empty sample", |s| s.process_count == 0 && s.listeners.is_empty()).await;
        server.child.wait().unwrap();
        let again = Server::start(&marker, &address, "");
        let second = event!(&mut seen, ProcessStarted);
        assert!(!second.already_running && second.pid == again.child.id(), "{second:?}");
        assert_eq!((&second.fingerprint, &second.version_hint), (&first.fingerprint, &first.version_hint));
        let back = event!(&mut seen, ListenChanged);
        assert!(back.listening && back.address == address);
    });
}

#[test]
fn what_is_started_alike_in_place_of_one_that_ended_is_told_though_it_listens_elsewhere() {
    let marker = marker("elsewhere");
    let mut server = Server::start(&marker, "127.0.0.1:0", "");
    let watched = Configured { listen: vec![Listen::Address(server.address)], ..service("") };
    story(config(vec![watched]), |mut seen| async move {
        assert_eq!(event!(&mut seen, ProcessStarted).pid, server.child.id());
        server.signal(Signal::SIGKILL);
        event!(&mut seen, ProcessExited);
        server.child.wait().unwrap();
        let _another_program = Server::start("another", "127.0.0.1:0", "");
        let again = Server::start(&marker, "127.0.0.1:0", "");
        let second = event!(&mut seen, ProcessStarted);
        assert_eq!((second.service.as_str(), second.pid), ("api", again.child.id()));
        sample(&mut seen, "it runs", |s| s.process_count == 1).await;
    });
}

#[test]
fn an_exit_code_is_told_of_one_that_nobody_reaps() {
    let marker = marker("code");
    let mut server = Server::start(&marker, "127.0.0.1:0", "");
    story(config(vec![service(&marker)]), |mut seen| async move {
        event!(&mut seen, ProcessStarted);
        server.tell("3");
        let exited = event!(&mut seen, ProcessExited);
        assert_eq!((exited.exit_code, exited.signal, exited.source()), (Some(3), None, Source::Pidfd));
        let after = sample(&mut seen, "sample", |s| s.process_count == 0).await;
        assert!(after.processes.is_empty(), "a zombie does not count");
    });
}

/// Nobody can promise the first of a loop: one that lives for less than the pause between two cheap looks may pass unseen. From
/// the first that is seen on, none is missed.
#[test]
fn once_one_is_seen_quick_restarts_are_all_seen() {
    let marker = marker("loop");
    let word = marker.replace('-', "_");
    // Each child, which has a child of its own, ends with its number.
    let script =
        format!("i=0; while :; do i=$((i % 100 + 1)); sh -c \"sleep 0.1; exit $i\"; sleep 0.05; done; read {word}");
    let mut supervisor = Command::new("sh").args(["-c", &script]).spawn().unwrap();
    story(config(vec![service(&word)]), |mut seen| async move {
        event!(&mut seen, ProcessStarted);
        let (mut last, mut in_a_row) = (0, 0);
        while in_a_row < 5 {
            let exited = event!(&mut seen, ProcessExited);
            if exited.name == "sh" && exited.remaining > 0 && !exited.leader {
                let number = exited.exit_code.unwrap_or(0);
                in_a_row = if number == last % 100 + 1 { in_a_row + 1 } else { 1 };
                last = number;
            }
        }
    });
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
}

#[test]
fn a_stopped_process_and_a_growing_queue_are_told_between_intervals() {
    let marker = marker("stop");
    let server = Server::start(&marker, "127.0.0.1:0", "");
    story(config(vec![service(&marker)]), |mut seen| async move {
        sample(&mut seen, "first sample", |s| s.process_count == 1).await;
        let waits: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(server.address).unwrap()).collect();
        let queued = sample(&mut seen, "queue", |s| s.listeners.iter().any(|l| l.queue == 3)).await;
        let listener = &queued.listeners[0];
        assert!(queued.listeners_known && listener.queue_limit >= 3 && listener.pid == server.child.id());
        assert_eq!(listener.established, Some(3));
        assert!(!queued.processes[0].thread_states.is_empty(), "it looks stuck, so its threads are told");
        server.signal(Signal::SIGSTOP);
        let stopped = sample(&mut seen, "stop", |s| s.processes.iter().any(|p| p.state == "T")).await;
        assert!(stopped.processes[0].thread_states.starts_with("T:"));
        drop(waits);
    });
}

#[test]
fn without_services_what_listens_is_found_and_named() {
    let marker = marker("found");
    let server = Server::start(&marker, "127.0.0.1:0", "");
    let (address, pid) = (server.address.to_string(), server.child.id());
    story(config(Vec::new()), |mut seen| async move {
        let ours = |s: &v1::InstanceSample| s.listeners.iter().any(|l| l.address == address && l.pid == pid);
        let found = sample(&mut seen, "found service", ours).await;
        // Beside other listeners of this name its port is added.
        let comm = std::fs::read_to_string("/proc/self/comm").unwrap();
        assert!(found.service.starts_with(comm.trim()) || !found.unit.is_empty(), "{}", found.service);
        server.signal(Signal::SIGKILL);
        let gone = sample(&mut seen, "its end", |s| s.service == found.service && s.process_count == 0).await;
        assert!(gone.listeners.is_empty());
    });
}

#[test]
fn a_service_without_a_rule_is_who_holds_its_port() {
    let server = Server::start("x", "127.0.0.1:0", "");
    let by_port = Configured { listen: vec![Listen::Port(server.address.port())], ..service("") };
    story(config(vec![by_port]), |mut seen| async move {
        let started = event!(&mut seen, ProcessStarted);
        assert_eq!((started.pid, started.service.as_str()), (server.child.id(), "api"));
    });
}

#[test]
fn one_look_needs_no_collector() {
    let marker = marker("look");
    let server = Server::start(&marker, "127.0.0.1:0", "");
    let absent = Configured { name: "absent".into(), ..service("no process has such a command line [x]y") };
    let look = look(&config(vec![service(&marker), absent]));
    let [api, absent] = look.instances.as_slice() else { panic!("{:?}", look.instances) };
    assert_eq!((api.process_count, api.listeners[0].address.as_str()), (1, server.address.to_string().as_str()));
    assert!(api.processes[0].cpu_ratio.is_some() && api.processes[0].fds.is_some());
    assert_eq!((absent.service.as_str(), absent.process_count), ("absent", 0));
    assert!(look.host.cpu_busy_ratio.is_some() && !look.host.mounts.is_empty());
    let names: Vec<&str> = look.statuses.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["cgroup", "exit", "host", "kernel_log", "link", "oom", "process", "socket"]);
}

/// A memory group of this test's own with a limit; None where this user may not make one.
fn small_group(name: &str) -> Option<PathBuf> {
    use crate::kernel::cgroup;
    let proc = Path::new("/proc");
    let mounts = mount::of_process(proc, std::process::id()).ok()?;
    let own = cgroup::locate(&cgroup::memberships(proc, std::process::id()).ok()?, &cgroup::hierarchies(&mounts));
    let place = own.memory?;
    let dir = place.dir.join(name);
    std::fs::create_dir(&dir).ok()?;
    let limit = if place.unified { "memory.max" } else { "memory.limit_in_bytes" };
    if std::fs::write(dir.join(limit), "67108864").is_err() {
        std::fs::remove_dir(&dir).unwrap();
        return None;
    }
    Some(dir)
}

#[test]
fn a_kill_for_lack_of_memory_names_its_victim() {
    let marker = marker("oom");
    let Some(group) = small_group(&marker) else { return };
    let mut server = Server::start(&marker, "127.0.0.1:0", group.to_str().unwrap());
    let name = marker.clone();
    story(config(vec![service(&marker)]), |mut seen| async move {
        event!(&mut seen, ProcessStarted);
        server.tell("grow");
        let exited = event!(&mut seen, ProcessExited);
        assert_eq!(exited.signal, Some(9));
        let kill = loop {
            let kill = event!(&mut seen, OomKill);
            if kill.from_counter {
                break kill;
            }
        };
        assert_eq!((kill.service.as_str(), kill.pid, kill.kills), ("api", exited.pid, 1));
        assert_eq!(kill.limit_bytes, 67_108_864);
        assert!(kill.cgroup.ends_with(&name) && kill.rss_bytes > 0, "{kill:?}");
    });
    std::fs::remove_dir(&group).unwrap();
}

#[test]
fn a_kill_is_read_in_the_kernel_log_too() {
    let marker = marker("log");
    let log = KernelLog::open(Path::new("/dev/kmsg"));
    let (true, Some(group)) = (log.readable_at_all(), small_group(&marker)) else { return };
    let mut server = Server::start(&marker, "127.0.0.1:0", group.to_str().unwrap());
    story(config(vec![service(&marker)]), |mut seen| async move {
        event!(&mut seen, ProcessStarted);
        server.tell("grow");
        let kill = loop {
            let kill = event!(&mut seen, OomKill);
            if !kill.from_counter && kill.cgroup.ends_with(&marker) {
                break kill;
            }
        };
        assert_eq!(kill.service, "api");
        assert!(kill.rss_bytes > 30_000_000 && !kill.name.is_empty(), "{kill:?}");
    });
    std::fs::remove_dir(&group).unwrap();
}

/// The kernel shows an ending process at the root of its hierarchies of version 1, for as long as it gives its memory back.
#[test]
fn one_that_ends_keeps_the_home_it_lived_in() {
    const EXITING: u32 = 0x4;
    let proc = tempfile::tempdir().unwrap();
    let folder = proc.path().join("7");
    std::fs::create_dir(&folder).unwrap();
    let shown = |cgroup: &str, flags: u32| {
        std::fs::write(folder.join("cgroup"), cgroup).unwrap();
        let stat = format!("7 (api) R 1 7 7 0 -1 {flags} 0 0 0 0 1 1 0 0 20 0 1 0 100 0 50");
        std::fs::write(folder.join("stat"), stat).unwrap();
    };
    let mut observer = Observer::new(config(Vec::new()), Roots { proc: proc.path().into(), ..Roots::default() });
    let mut home = || {
        observer.find_home(7);
        observer.homes.get(&7).map(|home| home.group.path.clone()).unwrap()
    };
    shown("1:memory:/\n", 0);
    assert_eq!(home(), "/", "it has not moved yet");
    shown("1:memory:/shop\n", 0);
    assert_eq!(home(), "/shop");
    shown("1:memory:/\n", EXITING);
    assert_eq!(home(), "/shop");
    shown("0::/system.slice/api.service\n", EXITING);
    assert_eq!(home(), "/system.slice/api.service", "version 2 shows the truth to the end");
}

#[test]
fn a_hunt_slows_down_and_ends() {
    let start = Instant::now();
    let hunt = Hunt::new(start);
    let pause = |age_ms| {
        hunt.after(start + Duration::from_millis(age_ms)).map(|h| h.next - (start + Duration::from_millis(age_ms)))
    };
    assert_eq!(pause(100), Some(Duration::from_millis(25)));
    assert_eq!(pause(5000), Some(Duration::from_millis(100)));
    assert_eq!(pause(10_000), None);
}
