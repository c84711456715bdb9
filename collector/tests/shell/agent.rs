//! A collector and an agent for stories: the collector in this process or as the real program, the agent as the
//! schema's client.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use why502::config::Config;
use why502_proto::v1;

/// Nothing in a story takes longer, or it has failed.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub async fn channel(url: &str) -> Channel {
    Channel::from_shared(url.to_owned()).unwrap().connect().await.unwrap()
}

/// A collector in this process.
pub struct Collector {
    pub ingest: String,
    pub api: String,
    stop: Option<oneshot::Sender<()>>,
    ended: tokio::task::JoinHandle<Result<(), why502::ServeError>>,
}

pub fn config(dir: &Path) -> Config {
    let text = format!(
        "[ingest]\nlisten = \"127.0.0.1:0\"\n[api]\nlisten = \"127.0.0.1:0\"\n[store]\ndir = {:?}\n",
        dir.to_str().unwrap()
    );
    Config::parse(&text, "test").unwrap()
}

impl Collector {
    pub async fn start(dir: &Path) -> Self {
        let bound = why502::bind(&config(dir)).await.unwrap();
        let (ingest, api) = (format!("http://{}", bound.ingest_addr), format!("http://{}", bound.api_addr));
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(bound.serve(async move {
            let _ = stopped.await;
        }));
        Self { ingest, api, stop: Some(stop), ended }
    }

    pub async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(DEADLINE, self.ended).await.unwrap().unwrap().unwrap();
    }

    pub async fn ask(&self, document: &str, filters: &[(&str, &str)]) -> Result<(serde_json::Value, bool), Status> {
        let mut client = v1::query_client::QueryClient::new(channel(&self.api).await);
        let filters = filters.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let answer = client.ask(v1::AskRequest { document: document.to_owned(), filters }).await?.into_inner();
        Ok((serde_json::from_str(&answer.json).unwrap(), answer.found))
    }

    /// Asks until the document is as wanted.
    pub async fn until(
        &self,
        document: &str,
        filters: &[(&str, &str)],
        wanted: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let mut last = serde_json::Value::Null;
        let seen = tokio::time::timeout(DEADLINE, async {
            loop {
                last = self.ask(document, filters).await.unwrap().0;
                if wanted(&last) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let seen = seen.await;
        assert!(seen.is_ok(), "{document} never became as wanted: {last}");
        last
    }
}

/// An agent's open stream.
pub struct Agent {
    messages: mpsc::Sender<v1::AgentMessage>,
    pub acks: Streaming<v1::CollectorMessage>,
}

pub fn now_us() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64
}

pub fn hello(host: &str, next_seq: u64) -> v1::Hello {
    let (host, boot_id, agent_version) = (host.to_owned(), "boot-1".to_owned(), "0.1.0".to_owned());
    let interval_us = 1_000_000;
    v1::Hello {
        host,
        boot_id,
        epoch: 7,
        agent_version,
        next_seq,
        at_unix_us: now_us(),
        interval_us,
        ..Default::default()
    }
}

pub fn report(seq: u64, events: Vec<v1::Event>) -> v1::Report {
    v1::Report { seq, at_unix_us: now_us(), events, ..Default::default() }
}

impl Agent {
    /// Opens a stream and waits for the answer to its hello; gives the number up to which reports were taken.
    pub async fn connect(ingest: &str, hello: v1::Hello) -> (Self, u64) {
        let mut agent = Self::open(ingest, v1::agent_message::Kind::Hello(hello)).await;
        let up_to = agent.next_ack().await.unwrap();
        (agent, up_to)
    }

    pub async fn open(ingest: &str, first: v1::agent_message::Kind) -> Self {
        let mut client = v1::ingest_client::IngestClient::new(channel(ingest).await);
        let (messages, outgoing) = mpsc::channel(64);
        messages.send(v1::AgentMessage { kind: Some(first) }).await.unwrap();
        let acks = client.stream(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
        Self { messages, acks }
    }

    /// Sends a message as it is.
    pub async fn say(&self, message: v1::AgentMessage) {
        self.messages.send(message).await.unwrap();
    }

    /// False: the stream has ended.
    pub async fn send(&self, report: v1::Report) -> bool {
        let message = v1::AgentMessage { kind: Some(v1::agent_message::Kind::Report(report)) };
        self.messages.send(message).await.is_ok()
    }

    pub async fn next_ack(&mut self) -> Result<u64, Status> {
        let message = tokio::time::timeout(DEADLINE, self.acks.message()).await.unwrap()?;
        Ok(message.ok_or_else(|| Status::unavailable("the stream ended"))?.ack.unwrap().up_to_seq)
    }

    pub async fn acked(&mut self, seq: u64) {
        while self.next_ack().await.unwrap() < seq {}
    }

    /// Reads until the stream ends; gives the status it ended with.
    pub async fn refused(&mut self) -> Status {
        loop {
            if let Err(status) = self.next_ack().await {
                return status;
            }
        }
    }
}

/// The real program.
pub struct Program {
    child: Child,
    pub ingest: String,
}

impl Program {
    /// Starts it and waits until it has said both addresses.
    pub fn start(dir: &Path) -> Self {
        let path = dir.join("collector.toml");
        let text = "[ingest]\nlisten = \"127.0.0.1:0\"\n[api]\nlisten = \"127.0.0.1:0\"\n[store]\ndir = ";
        std::fs::write(&path, format!("{text}{:?}\n", dir.join("store"))).unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_why502"));
        program.arg("serve").arg("--config").arg(&path).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = program.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = |what: &str| loop {
            let line = lines.next().expect("it ended before it listened").unwrap();
            if let Some((_, address)) = line.split_once(what) {
                return address.to_owned();
            }
        };
        let ingest = said("ingest listening on ");
        said("api listening on ");
        // Its later lines must go somewhere, or it would stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, ingest }
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Runs the command line; gives its exit code, standard output and standard error.
pub fn why502(api: &str, args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_why502")).env("WHY502_COLLECTOR", api).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}
