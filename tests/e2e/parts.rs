//! A collector and an agent on loopback, and the files that they look at.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use why502_tests::programs;

/// The upstream that fails: a documentation address, where nothing ever answers.
pub const UPSTREAM: &str = "192.0.2.77:3000";

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// Both programs, and their folder.
pub struct Parts {
    dir: tempfile::TempDir,
    api: String,
    agent_config: String,
    programs: Vec<Child>,
}

/// A program with an ugly name, watched as a service.
pub struct Hostile {
    child: Child,
    port: u16,
}

impl Hostile {
    /// Its part of agent.toml, with a log.
    pub fn configuration(&self) -> String {
        let port = self.port;
        format!(
            "[[service]]\nname = \"evil\"\nlisten = [\"{port}\"]\nmatch = {{ cmdline = \"owned\" }}\nlogs = [\"DIR/app.log\"]\n"
        )
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// Starts a program whose arguments and name are full of control characters.
pub fn hostile_service() -> Hostile {
    let port = free_port();
    let child = Command::new("sleep").arg0("\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}").arg("600").spawn().unwrap();
    Hostile { child, port }
}

/// A program that is started with an argument that nobody may see.
pub struct Secretive(Child);

impl Drop for Secretive {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

/// Starts a program under the name "holds-secrets" with an argument.
pub fn hold_secrets(argument: &str) -> Secretive {
    let mut program = Command::new("sh");
    program.arg0("holds-secrets").args(["-c", "read _", argument]).stdin(Stdio::piped());
    Secretive(program.spawn().unwrap())
}

impl Drop for Parts {
    fn drop(&mut self) {
        for program in &mut self.programs {
            let _ = (program.kill(), program.wait());
        }
        if std::thread::panicking() {
            for log in ["agent.log", "collector.log", "gateway.log"] {
                eprintln!("--- {log}\n{}", fs::read_to_string(self.dir.path().join(log)).unwrap_or_default());
            }
        }
    }
}

impl Parts {
    /// Starts both; `services` is a further part of agent.toml.
    pub fn start(services: &str) -> Self {
        let mut parts = Self::prepare(services, "");
        parts.create_logs();
        parts.start_agent();
        parts
    }

    /// Starts both; `alerts` is a further part of collector.toml.
    pub fn start_with_alerts(alerts: &str) -> Self {
        let mut parts = Self::prepare("", alerts);
        parts.create_logs();
        parts.start_agent();
        parts
    }

    /// Starts both while the logs are not there.
    pub fn start_before_logs() -> Self {
        let mut parts = Self::prepare("", "");
        parts.start_agent();
        parts
    }

    /// Starts both with another gateway: its part of agent.toml.
    pub fn start_with_gateway(gateway: &str) -> Self {
        let mut parts = Self::prepare_with("", gateway, "");
        parts.start_agent();
        parts
    }

    /// Starts both with a service, a gateway and files beside them.
    pub fn start_with(services: &str, gateway: &str, files: &[(&str, &str)]) -> Self {
        let mut parts = Self::prepare_with(services, gateway, "");
        parts.create_logs();
        files.iter().for_each(|(name, text)| fs::write(parts.file(name), text).unwrap());
        parts.start_agent();
        parts
    }

    fn prepare(services: &str, alerts: &str) -> Self {
        let gateway =
            "name = \"edge\"\nkind = \"nginx\"\naccess_log = \"DIR/access.log\"\nerror_log = \"DIR/error.log\"\n";
        Self::prepare_with(services, gateway, alerts)
    }

    fn prepare_with(services: &str, gateway: &str, alerts: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (ingest, api) = (free_port(), free_port());
        let place = dir.path().display();
        let collector = format!(
            "[ingest]\nlisten = \"127.0.0.1:{ingest}\"\n[api]\nlisten = \"127.0.0.1:{api}\"\n[store]\ndir = \"{place}/store\"\n{alerts}"
        );
        fs::write(dir.path().join("collector.toml"), collector).unwrap();
        let agent = format!(
            "collector = [\"http://127.0.0.1:{ingest}\"]\nhost = \"lb-1\"\ninterval = \"1s\"\nstate_dir = \"{place}/state\"\n\
             {services}\n[[gateway]]\n{gateway}"
        )
        .replace("DIR", &place.to_string());
        let agent_config = dir.path().join("agent.toml");
        fs::write(&agent_config, agent).unwrap();
        let mut parts = Self {
            api: format!("http://127.0.0.1:{api}"),
            agent_config: agent_config.display().to_string(),
            programs: Vec::new(),
            dir,
        };
        parts.start_collector();
        parts
    }

    fn start_collector(&mut self) {
        self.spawn(&programs::why502(), "serve", "collector");
        until("the collector answers", || (self.try_ask(&["status"]).0 == 0).then_some(()));
    }

    /// Kills the collector without a word and starts it again on the same store.
    pub fn restart_collector(&mut self) {
        let mut collector = self.programs.remove(0);
        collector.kill().unwrap();
        collector.wait().unwrap();
        self.start_collector();
        let started = self.programs.pop().unwrap();
        self.programs.insert(0, started);
    }

    fn spawn(&mut self, program: &Path, verb: &str, name: &str) {
        let config = self.file(&format!("{name}.toml"));
        let mut command = Command::new(program);
        command.arg(verb).arg("--config").arg(config);
        self.keep_running(command, name);
    }

    /// Starts a program that ends with the test; what it says goes to a file.
    pub fn keep_running(&mut self, mut command: Command, name: &str) {
        let log = File::create(self.file(&format!("{name}.log"))).unwrap();
        let command = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.programs.push(command.spawn().unwrap_or_else(|fault| panic!("{name}: {fault}: see tests/run.sh")));
    }

    fn start_agent(&mut self) {
        self.spawn(&programs::agent(), "run", "agent");
        until("the agent reports", || {
            let answer: Value = serde_json::from_str(&self.try_ask(&["hosts", "--json"]).1).unwrap_or_default();
            (answer["hosts"][0]["state"] == "up").then_some(())
        });
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where the collector answers questions: address and port.
    pub fn api(&self) -> &str {
        self.api.trim_start_matches("http://")
    }

    /// The agent's configuration file.
    pub fn agent_config(&self) -> &str {
        &self.agent_config
    }

    /// Makes the gateway's and the application's logs, empty.
    pub fn create_logs(&self) {
        for log in ["access.log", "error.log", "app.log"] {
            File::create(self.file(log)).unwrap();
        }
    }

    fn append(&self, log: &str, line: &str) {
        let mut file = OpenOptions::new().append(true).open(self.file(log)).unwrap();
        writeln!(file, "{line}").unwrap();
    }

    /// The application's log gets a line.
    pub fn application_says(&self, line: &str) {
        self.append("app.log", line);
    }

    /// So many requests are refused by the upstream, as nginx logs it with its own format.
    pub fn refused(&self, count: usize) {
        self.refused_with(count, "/", "curl/8.0");
    }

    /// The same with a path and a user agent that the client chose, logged as they came (nginx's `escape=none`).
    pub fn refused_with(&self, count: usize, path: &str, user_agent: &str) {
        let now =
            Command::new("date").args(["-u", "+%d/%b/%Y:%H:%M:%S +0000|%Y/%m/%d %H:%M:%S"]).env("LC_ALL", "C").output();
        let now = String::from_utf8(now.unwrap().stdout).unwrap();
        let (access, error) = now.trim().split_once('|').unwrap();
        for number in 0..count {
            self.append(
                "error.log",
                &format!(
                    "{error} [error] 31#31: *{number} connect() failed (111: Connection refused) while connecting to upstream, \
                     client: 198.51.100.7, server: , request: \"GET {path} HTTP/1.1\", upstream: \"http://{UPSTREAM}{path}\", \
                     host: \"shop.example\""
                ),
            );
            self.append(
                "access.log",
                &format!("198.51.100.7 - - [{access}] \"GET {path} HTTP/1.1\" 502 157 \"-\" \"{user_agent}\""),
            );
        }
    }

    /// What the command line prints.
    pub fn ask(&self, arguments: &[&str]) -> String {
        let (code, out, fault) = self.try_ask(arguments);
        assert!(code <= 1, "why502 {arguments:?}: {fault}");
        out
    }

    fn try_ask(&self, arguments: &[&str]) -> (i32, String, String) {
        run(&programs::why502(), &[&["--collector", &self.api], arguments].concat())
    }

    /// The incident of the upstream, once it counts what was logged.
    pub fn incident(&self, count: usize) -> Value {
        until("an incident opens and counts all", || {
            self.incident_of(UPSTREAM).filter(|found| found["count"].as_u64() >= Some(count as u64))
        })
    }

    /// The incident of an upstream, where there is one.
    pub fn incident_of(&self, upstream: &str) -> Option<Value> {
        let answer: Value = serde_json::from_str(&self.ask(&["incidents", "--json"])).ok()?;
        answer["incidents"].as_array()?.iter().find(|one| one["upstream"] == upstream).cloned()
    }
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Runs a program to its end: code, standard output, standard error.
pub fn run(program: &Path, arguments: &[&str]) -> (i32, String, String) {
    let out = Command::new(program).args(arguments).output().unwrap_or_else(|fault| {
        panic!("{}: {fault}: build it first with cargo build --workspace --bins", program.display())
    });
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (out.status.code().unwrap_or(-1), text(out.stdout), text(out.stderr))
}

/// Looks until it holds or the deadline is over.
pub fn until<T>(what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = holds() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(50));
    }
}
