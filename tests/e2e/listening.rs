//! A gateway that sends its log to the agent instead of writing files: real HAProxy, real nginx, a push by hand.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::parts::{Parts, free_port, until};

/// The agent listens; nothing listens on the upstream's port.
pub struct Listening {
    parts: Parts,
    /// The gateway's own files.
    dir: tempfile::TempDir,
    /// As in agent.toml.
    listen: String,
    /// The gateway's own port.
    port: u16,
    upstream: String,
}

impl Listening {
    /// Collector and agent, the agent listening for a gateway of this kind, whose configuration `conf` makes of the gateway's
    /// port, the upstream, the address to send logs to, and the folder.
    fn start(kind: &str, scheme: &str, conf: impl Fn(u16, &str, &str, &str) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().display().to_string();
        let listen = match scheme {
            "unixgram" => format!("unixgram://{folder}/log.sock"),
            _ => format!("{scheme}://127.0.0.1:{}", free_port()),
        };
        let (port, upstream) = (free_port(), format!("127.0.0.1:{}", free_port()));
        let address = listen.split_once("://").map_or("", |(_, address)| address);
        std::fs::write(dir.path().join("gateway.conf"), conf(port, &upstream, address, &folder)).unwrap();
        let parts = Parts::start_with_gateway(&format!(
            "name = \"edge\"\nkind = \"{kind}\"\nlisten = \"{listen}\"\nconfig = \"{folder}/gateway.conf\"\n"
        ));
        Self { parts, dir, listen, port, upstream }
    }

    fn run(mut self, program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).arg(self.dir.path().join("gateway.conf"));
        self.parts.keep_running(command, "gateway");
        self
    }

    /// HAProxy, which logs to the agent's socket.
    pub fn haproxy(scheme: &str) -> Self {
        let conf = |port: u16, upstream: &str, log: &str, _: &str| {
            format!(
                "global\n log {log} local0\ndefaults\n mode http\n log global\n option httplog\n timeout connect 1s\n timeout client 5s\n \
                 timeout server 5s\n retries 0\nfrontend edge\n bind 127.0.0.1:{port}\n default_backend api\nbackend api\n server one {upstream}\n"
            )
        };
        Self::start("haproxy", scheme, conf).run("haproxy", &["-db", "-f"])
    }

    /// nginx, which sends both its logs to the agent's socket.
    pub fn nginx() -> Self {
        let conf = |port: u16, upstream: &str, log: &str, dir: &str| {
            format!(
                "daemon off;\nmaster_process off;\npid {dir}/nginx.pid;\nerror_log syslog:server={log} error;\nevents {{}}\nhttp {{\n \
                 log_format up '$remote_addr [$time_iso8601] \"$request\" $status $upstream_addr $upstream_status $upstream_connect_time $upstream_header_time $upstream_response_time';\n \
                 access_log syslog:server={log} up;\n client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi; \
                 uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;\n server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{upstream}; }} }}\n}}\n"
            )
        };
        Self::start("nginx", "udp", conf).run("nginx", &["-e", "stderr", "-c"])
    }

    /// A gateway whose JSON lines are pushed by hand.
    pub fn pushing() -> Self {
        Self::start("envoy", "http", |_, _, _, _| String::new())
    }

    /// Requests that fail, until they are an incident.
    pub fn fail_until_incident(&self) -> Value {
        until("an incident opens", || {
            request(self.port, "GET / HTTP/1.0\r\n\r\n");
            self.incident()
        })
    }

    /// The upstream's incident.
    pub fn incident(&self) -> Option<Value> {
        self.parts.incident_of(&self.upstream)
    }

    /// Pushes a line of Envoy's about the upstream; the status of the answer.
    pub fn push_failure(&self) -> String {
        let now = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S.000Z"]).output().unwrap().stdout;
        let line = serde_json::json!({
            "start_time": String::from_utf8(now).unwrap().trim(),
            "method": "GET",
            "path": "/",
            "response_code": 503,
            "response_flags": "UF",
            "upstream_host": self.upstream,
            "upstream_transport_failure_reason": "delayed_connect_error:_Connection_refused",
        })
        .to_string();
        let (_, port) = self.listen.rsplit_once(':').unwrap();
        let request_text =
            format!("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{line}", line.len());
        let answer = until("the agent listens", || request(port.parse().unwrap(), &request_text));
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    }

    /// What `why502 gateways` says of the socket.
    pub fn source(&self) -> Value {
        until("the source is told", || {
            let answer: Value = serde_json::from_str(&self.parts.ask(&["gateways", "--json"])).ok()?;
            let sources = answer["gateways"].as_array()?.iter().find(|one| one["name"] == "edge")?["sources"].clone();
            sources
                .as_array()?
                .iter()
                .find(|one| one["source"] == self.listen && one["failures"].as_u64() > Some(0))
                .cloned()
        })
    }
}

/// The answer to a request, where somebody answers.
fn request(port: u16, text: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(text.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
