//! A story's world: hosts, gateway, applications, agents, collector and client, and the faults that can be done to them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cgroup::{Groups, Limits};
use super::client::Client;
use super::enter::HOST;
use super::gateway;
use super::host::{Host, MANAGEMENT, Network, SERVICE, ip, run, tail};
use super::plan::{
    App, BESIDE, BESIDE_HOST, CERTIFICATES, GATEWAY, GATEWAY_HOST, INNER, INNER_HOST, PORT, Plan, Runtime, SOCKET,
};
use super::{Doing, Done, ask, conf, wait_for};
use crate::programs;

mod acts;
mod agents;
mod gateways;

/// How long anything may take to come up.
const UP_LIMIT: Duration = Duration::from_secs(45);

/// The programs under test and where the applications are.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `why502-agent`.
    pub agent: PathBuf,
    /// `why502`.
    pub collector: PathBuf,
    /// `tests/apps`.
    pub apps: PathBuf,
}

impl Programs {
    /// From the environment, else beside this program.
    pub fn find() -> Done<Self> {
        let full = |path: PathBuf| fs::canonicalize(&path).doing(&path.display().to_string());
        let apps = Path::new(env!("CARGO_MANIFEST_DIR")).join("apps");
        Ok(Self { agent: full(programs::agent())?, collector: full(programs::why502())?, apps })
    }
}

/// A world that runs.
pub struct World {
    /// As planned.
    pub plan: Plan,
    /// Its folder.
    pub dir: PathBuf,
    programs: Programs,
    groups: Option<Groups>,
    hosts: Vec<Host>,
    collector: Option<Child>,
    client: Option<Client>,
}

impl World {
    /// Builds and starts all of a plan, and waits until a client is served.
    pub fn start(plan: Plan, dir: &Path, programs: &Programs, groups: Option<Groups>) -> Done<Self> {
        let mut world = Self {
            plan,
            dir: dir.to_owned(),
            programs: programs.clone(),
            groups,
            hosts: Vec::new(),
            collector: None,
            client: None,
        };
        ip("link set lo up")?;
        SERVICE.make()?;
        if world.plan.ipv6() {
            ip(&format!("addr add {} dev {} nodad", SERVICE.address_v6(1), SERVICE.bridge))?;
        }
        if world.plan.management {
            MANAGEMENT.make()?;
        }
        world.copy_apps()?;
        if world.plan.gateway.tls || world.plan.apps.iter().any(|app| !app.certificate.is_empty()) {
            world.make_certificates()?;
        }
        world.start_collector()?;
        if world.plan.apps.iter().any(|app| app.socket) {
            // Hosts begin with the mounts that the story has, so this is a folder of all of them.
            run("mount -t tmpfs shop-sockets /srv")?;
        }
        for app in world.plan.apps.clone() {
            world.boot(app.host, app.number)?;
            if app.starts {
                world.start_app(app.host)?;
            }
            if app.has_agent && app.host != GATEWAY_HOST {
                world.start_agent(app.host, &conf::app_agent(&app, &world.plan, &world.dir_of(app.host)))?;
            }
        }
        for app in world.plan.apps.iter().filter(|app| app.starts) {
            world.wait_served(app.host)?;
        }
        if world.host(GATEWAY_HOST).is_err() {
            world.boot(GATEWAY_HOST, GATEWAY)?;
        }
        if world.plan.inner.is_some() {
            world.boot(INNER_HOST, INNER)?;
            world.start_gateway(INNER_HOST)?;
        }
        if world.plan.beside.is_some() {
            world.boot(BESIDE_HOST, BESIDE)?;
            world.start_gateway(BESIDE_HOST)?;
        }
        if world.plan.gateway.by_name {
            world.start_names()?;
        }
        world.start_gateway(GATEWAY_HOST)?;
        world.wait_for_agents()?;
        world.start_client()?;
        Ok(world)
    }

    /// Applications run from the world's own folder, so that recorded journals name no other place of the machine.
    fn copy_apps(&mut self) -> Done {
        let copy = self.dir.join("apps");
        const FILES: [&str; 7] = [
            "node/server.js",
            "python/app.py",
            "python/asgi.py",
            "python/names.py",
            "php/index.php",
            "ruby/config.ru",
            "ruby/puma.rb",
        ];
        for file in FILES {
            let to = copy.join(file);
            fs::create_dir_all(to.parent().unwrap_or(&copy)).doing("application folder")?;
            fs::copy(self.programs.apps.join(file), to).doing("application")?;
        }
        self.programs.apps = copy;
        Ok(())
    }

    /// Certificates that sign themselves, each in one file with its key.
    pub fn make_certificates(&self) -> Done {
        fs::create_dir_all(self.dir.join("certificates")).doing("certificates")?;
        for name in CERTIFICATES {
            let file = conf::certificate(&self.dir_of("lb-1"), name);
            let command = format!(
                "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj \
                 /CN=shop.example -addext subjectAltName=DNS:shop.example -keyout {file}.key -out {file}"
            );
            let words: Vec<&str> = command.split(' ').collect();
            let out = Command::new(words[0]).args(&words[1..]).output().doing("openssl")?;
            let key = fs::read(format!("{file}.key")).doing(&String::from_utf8_lossy(&out.stderr))?;
            let whole = [fs::read(&file).doing(&file)?, key].concat();
            fs::write(&file, whole).doing(&file)?;
        }
        Ok(())
    }

    /// A host's folder.
    pub fn dir_of(&self, host: &str) -> PathBuf {
        self.dir.join(host)
    }

    fn boot(&mut self, name: &str, number: u8) -> Done {
        self.boot_as(HOST, name, number)
    }

    fn boot_as(&mut self, role: &str, name: &str, number: u8) -> Done {
        let networks: &[&Network] = if self.plan.management { &[&SERVICE, &MANAGEMENT] } else { &[&SERVICE] };
        let mut host = Host::boot(name, number, &self.dir_of(name), networks, self.groups.as_ref(), role)?;
        if self.plan.ipv6() {
            host.address_v6(number)?;
        }
        if let Some(kib) = self.app(name).ok().and_then(|app| app.disk_kib) {
            let disk = self.dir_of(name).join("disk");
            fs::create_dir_all(&disk).doing("disk")?;
            host.run(&format!("mount -t tmpfs -o size={kib}k shop-disk {}", disk.display()))?;
        }
        if let Some(ahead_s) = self.plan.clock(name) {
            self.step_clock(name, ahead_s)?;
        }
        self.hosts.retain(|other| other.name != name);
        self.hosts.push(host);
        Ok(())
    }

    /// A host by name.
    pub fn host(&mut self, name: &str) -> Done<&mut Host> {
        self.hosts.iter_mut().find(|host| host.name == name).ok_or(format!("no host {name}"))
    }

    /// A planned application by its host.
    pub fn app(&self, host: &str) -> Done<App> {
        self.plan.apps.iter().find(|app| app.host == host).cloned().ok_or(format!("no application on {host}"))
    }

    /// Changes a planned application; it counts from its next start.
    pub fn change_app(&mut self, host: &str, change: impl FnOnce(&mut App)) -> Done {
        let app = self.plan.apps.iter_mut().find(|app| app.host == host).ok_or(format!("no application on {host}"))?;
        change(app);
        Ok(())
    }

    fn start_collector(&mut self) -> Done {
        let dir = self.dir.join("collector");
        fs::create_dir_all(&dir).doing("collector folder")?;
        let config = dir.join("collector.toml");
        fs::write(&config, conf::collector(&dir.join("store"))).doing("collector.toml")?;
        let log = fs::File::create(dir.join("collector.log")).doing("collector.log")?;
        let mut command = Command::new(&self.programs.collector);
        command.args(["serve", "--config"]).arg(&config).stdout(log.try_clone().doing("log")?).stderr(log);
        self.collector = Some(command.spawn().doing("start the collector")?);
        wait_for("the collector answers", UP_LIMIT, || ask::incidents().ok()).map(drop)
    }

    /// Ends the collector so that its journal is whole.
    pub fn stop_collector(&mut self) -> Done {
        let Some(mut child) = self.collector.take() else { return Ok(()) };
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).doing("pid")?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).doing("stop the collector")?;
        wait_for("the collector ends", UP_LIMIT, || child.try_wait().ok().flatten()).map(drop)
    }

    fn start_client(&mut self) -> Done {
        let gateways = [GATEWAY].into_iter().chain(self.plan.beside.as_ref().map(|_| BESIDE));
        let gateways = gateways.map(gateway_address).collect();
        let client = Client::start(gateways, self.plan.traffic.clone()).doing("start the client")?;
        let (from, wanted) = (Instant::now(), 20);
        let client = self.client.insert(client);
        wait_for("a client is served", UP_LIMIT, || {
            (client.since(from).iter().filter(|answer| answer.is_ok()).count() >= wanted).then_some(())
        })
    }

    /// The client.
    pub fn client(&self) -> Done<&Client> {
        self.client.as_ref().ok_or("no client".to_owned())
    }

    /// Starts an application.
    pub fn start_app(&mut self, host: &str) -> Done {
        let app = self.app(host)?;
        let dir = self.dir_of(host);
        if !app.release.is_empty() {
            let script = conf::release(&app, &dir);
            fs::create_dir_all(script.parent().unwrap_or(&dir)).doing("release folder")?;
            fs::copy(self.programs.apps.join("node/server.js"), script).doing("release")?;
        }
        if app.runtime == Runtime::PhpFpm {
            fs::write(dir.join(conf::PHP_FPM), conf::php_fpm(&app, &dir)).doing("settings of PHP-FPM")?;
        }
        let (argv, env) = conf::app_command(&app, &self.programs.apps, &dir);
        let env: serde_json::Map<String, Value> = env.into_iter().map(|(key, value)| (key, value.into())).collect();
        let argv = self.under_clock(host, argv);
        let groups = self.groups_of(host, "shop", app.limits)?;
        self.host(host)?
            .ask(&json!({
                "op": "start", "name": "shop", "argv": argv, "env": env, "out": dir.join("app.log"), "groups": groups,
                "nofile": app.nofile, "restart_ms": app.restart_ms, "cwd": dir,
            }))
            .map(drop)
    }

    /// The control groups of a program. None where there are none.
    fn groups_of(&self, host: &str, name: &str, limits: Limits) -> Done<Vec<PathBuf>> {
        self.groups.as_ref().map_or(Ok(Vec::new()), |groups| groups.group(host, name, limits))
    }

    /// Stops an application as a service manager does.
    pub fn stop_app(&mut self, host: &str) -> Done {
        self.host(host)?.ask(&json!({ "op": "stop", "name": "shop" })).map(drop)
    }

    /// Waits until a host's application accepts connections.
    pub fn wait_served(&self, host: &str) -> Done {
        let app = self.app(host)?;
        if app.socket {
            let connects = || std::os::unix::net::UnixStream::connect(SOCKET).ok();
            return wait_for("the application accepts", UP_LIMIT, connects).map(drop);
        }
        let address = app.address().parse().doing("address")?;
        wait_for("the application accepts", UP_LIMIT, || {
            std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok()
        })
        .map(drop)
    }

    /// Waits until an application has logged a text so often.
    pub fn wait_logged(&self, host: &str, text: &str, times: usize) -> Done {
        let log = self.dir_of(host).join("app.log");
        wait_for("the application's log", UP_LIMIT, || {
            (fs::read_to_string(&log).ok()?.matches(text).count() >= times).then_some(())
        })
    }

    /// Runs the command line of the collector and returns what it printed.
    pub fn ask(&self, arguments: &[&str]) -> Done<String> {
        let out = Command::new(&self.programs.collector).args(arguments).output().doing("why502")?;
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }
}

/// What every part of a world last said, for a person who looks for a fault.
pub fn tails(world: &Path) -> String {
    let mut text = String::new();
    let logs =
        ["collector.log", "agent.log", "gateway.err", "error.log", "access.log", "haproxy.log", "app.log", "run.log"];
    let mut folders: Vec<PathBuf> = fs::read_dir(world).into_iter().flatten().flatten().map(|one| one.path()).collect();
    folders.sort();
    for file in folders.iter().flat_map(|folder| logs.map(|log| folder.join(log))) {
        let end = tail(&file, 12);
        if !end.is_empty() {
            let name = file.strip_prefix(world).unwrap_or(&file).display();
            text.push_str(&format!("--- {name}\n{end}\n"));
        }
    }
    text
}

/// Where clients reach a gateway by its host's number.
fn gateway_address(number: u8) -> std::net::SocketAddr {
    std::net::SocketAddr::from(([10, 50, 0, number], gateway::PORT))
}

/// Where the outer gateway reaches the one between.
pub fn inner_address() -> String {
    format!("{}.{INNER}:{}", SERVICE.prefix, gateway::PORT)
}

/// The address of an application by its host's number.
pub fn upstream(number: u8) -> String {
    format!("{}.{number}:{PORT}", SERVICE.prefix)
}
