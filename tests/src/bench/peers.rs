//! The programs that people run today for a part of what the agent does, set to the same interval.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::host;
use crate::lab::{Doing, Done};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A peer: its name, and how it is started.
pub struct Peer {
    /// The program's name.
    pub name: &'static str,
    /// Where it is asked at each interval: port and path. None: it works by itself.
    pub asked: Option<(u16, String)>,
    child: Child,
    binary: PathBuf,
}

impl Peer {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The size of its program, without libraries.
    pub fn binary_bytes(&self) -> u64 {
        fs::metadata(&self.binary).map_or(0, |meta| meta.len())
    }

    /// Asks it once, as its collector would. It may not listen yet.
    pub fn ask(&self) {
        let Some((port, path)) = &self.asked else { return };
        // One that does not listen yet, or takes longer than anybody waits, costs what it costs.
        let _ = TcpStream::connect(("127.0.0.1", *port)).and_then(|mut peer| {
            peer.set_read_timeout(Some(PATIENCE))?;
            write!(peer, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
            peer.read_to_end(&mut Vec::new())
        });
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// Starts those that are installed; the others are named.
pub fn start(dir: &Path, interval_s: u64) -> Done<(Vec<Peer>, Vec<&'static str>)> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for (name, program) in [
        ("node-exporter", "/usr/bin/prometheus-node-exporter"),
        ("process-exporter", "/usr/bin/prometheus-process-exporter"),
        ("blackbox-exporter", "/usr/bin/prometheus-blackbox-exporter"),
        ("collectd", "/usr/sbin/collectd"),
        ("netdata", "/usr/sbin/netdata"),
    ] {
        if Path::new(program).is_file() {
            found.push(one(name, program, dir, interval_s)?);
        } else {
            missing.push(name);
        }
    }
    Ok((found, missing))
}

fn one(name: &'static str, program: &str, dir: &Path, interval_s: u64) -> Done<Peer> {
    let config = dir.join(format!("{name}.conf"));
    let (text, arguments, asked) = setting(name, dir, &config.display().to_string(), interval_s);
    fs::write(&config, text).doing("a peer's configuration")?;
    let log = fs::File::create(dir.join(format!("{name}.log"))).doing("a peer's log")?;
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().doing("a peer's log")?)
        .stderr(log)
        .spawn()
        .doing(program)?;
    Ok(Peer { name, asked, child, binary: program.into() })
}

/// Its configuration, its arguments, and where it is asked.
fn setting(name: &str, dir: &Path, config: &str, interval_s: u64) -> (String, Vec<String>, Option<(u16, String)>) {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let metrics = |port| Some((port, "/metrics".to_owned()));
    match name {
        "node-exporter" => (String::new(), words("--web.listen-address=127.0.0.1:9100"), metrics(9100)),
        "process-exporter" => (
            "process_names:\n  - name: \"{{.Comm}}\"\n    cmdline:\n    - '.+'\n".to_owned(),
            words(&format!("--web.listen-address=127.0.0.1:9256 --config.path={config}")),
            metrics(9256),
        ),
        "blackbox-exporter" => (
            "modules:\n  http_2xx:\n    prober: http\n".to_owned(),
            words(&format!("--web.listen-address=127.0.0.1:9115 --config.file={config}")),
            Some((9115, format!("/probe?module=http_2xx&target=http://127.0.0.1:{}/health", host::port(0)))),
        ),
        "collectd" => (collectd(dir, interval_s), words(&format!("-f -C {config}")), None),
        _ => (netdata(dir, interval_s), words(&format!("-D -c {config}")), None),
    }
}

/// The host, its processes, its connections, and the gateway's log counted.
fn collectd(dir: &Path, interval_s: u64) -> String {
    let place = dir.display();
    let plugins = ["cpu", "load", "memory", "interface", "disk", "df", "processes", "tcpconns", "tail", "csv"];
    let loads: String = plugins.iter().map(|plugin| format!("LoadPlugin {plugin}\n")).collect();
    format!(
        "Interval {interval_s}\nBaseDir \"{place}\"\nPIDFile \"{place}/collectd.pid\"\n{loads}\
         <Plugin processes>\n  ProcessMatch \"api\" \"--crowd api\"\n</Plugin>\n\
         <Plugin tail>\n  <File \"{place}/access.log\">\n    Instance \"edge\"\n    <Match>\n      Regex \" 5[0-9][0-9] \"\n      \
         DSType CounterInc\n      Type counter\n    </Match>\n  </File>\n</Plugin>\n\
         <Plugin csv>\n  DataDir \"{place}/csv\"\n</Plugin>\n"
    )
}

/// As it comes, but for its folders, its port, and calls home.
fn netdata(dir: &Path, interval_s: u64) -> String {
    let place = dir.display();
    format!(
        "[global]\n  update every = {interval_s}\n  memory mode = ram\n  run as user = root\n  cache directory = {place}\n  \
         lib directory = {place}\n  log directory = {place}\n[web]\n  bind to = 127.0.0.1:19999\n[registry]\n  enabled = no\n\
         [statsd]\n  enabled = no\n"
    )
}
