use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};
use why502_proto::v1::ingest_server::{Ingest, IngestServer};

use super::*;
use crate::identity::Identity;
use crate::tail::{FilePosition, Mark, Position};

/// What a collector of the tests does with the reports that it gets.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Manner {
    /// Acknowledges each, asking for this pause.
    Acknowledge { pause: Duration },
    /// Acknowledges each, and says at each hello that it missed what came before.
    Missed,
    /// Takes them and says nothing.
    Silent,
    /// Acknowledges one report, takes three more and ends the stream.
    Break,
}

#[derive(Debug, Default)]
struct Heard {
    hellos: Vec<v1::Hello>,
    reports: Vec<v1::Report>,
}

#[derive(Clone)]
struct Collector {
    heard: Arc<Mutex<Heard>>,
    manner: Arc<Mutex<Manner>>,
}

#[tonic::async_trait]
impl Ingest for Collector {
    type StreamStream = ReceiverStream<Result<v1::CollectorMessage, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let (answers, stream) = mpsc::channel(64);
        let mut messages = request.into_inner();
        let Collector { heard, manner } = self.clone();
        tokio::spawn(async move {
            let mut reports = 0;
            while let Ok(Some(message)) = messages.message().await {
                let kind = message.kind.unwrap();
                let greets = matches!(kind, v1::agent_message::Kind::Hello(_));
                let (seq, at_unix_us) = match kind {
                    v1::agent_message::Kind::Hello(hello) => {
                        let told = (hello.next_seq - 1, hello.at_unix_us);
                        heard.lock().unwrap().hellos.push(hello);
                        told
                    }
                    v1::agent_message::Kind::Report(report) => {
                        reports += 1;
                        let told = (report.seq, report.at_unix_us);
                        heard.lock().unwrap().reports.push(report);
                        told
                    }
                    v1::agent_message::Kind::Packed(_) => panic!("this collector takes no packed reports"),
                };
                let manner = *manner.lock().unwrap();
                let pause = match manner {
                    Manner::Acknowledge { pause } => pause,
                    Manner::Missed => Duration::ZERO,
                    Manner::Break if reports <= 1 => Duration::ZERO,
                    Manner::Break if reports >= 4 => return,
                    _ => continue,
                };
                let ack = v1::Ack {
                    up_to_seq: seq,
                    at_unix_us: unix_now_us() + 3_600_000_000,
                    pause_us: pause.as_micros() as u64,
                    echo_unix_us: at_unix_us,
                    takes_packed: false,
                    missed_some: greets && manner == Manner::Missed,
                };
                let _ = answers.send(Ok(v1::CollectorMessage { ack: Some(ack) })).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

impl Collector {
    fn new(manner: Manner) -> Self {
        Self { heard: Arc::default(), manner: Arc::new(Mutex::new(manner)) }
    }

    /// Serves; the task ends with the test's runtime, or with `abort`.
    fn serve(&self, listener: TcpListener) -> tokio::task::JoinHandle<()> {
        let server = tonic::transport::Server::builder().add_service(IngestServer::new(self.clone()));
        tokio::spawn(async move { server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap() })
    }

    async fn start(manner: Manner) -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let collector = Self::new(manner);
        collector.serve(listener);
        (collector, url)
    }

    fn seqs(&self) -> Vec<u64> {
        self.heard.lock().unwrap().reports.iter().map(|report| report.seq).collect()
    }

    async fn until(&self, what: &str, holds: impl Fn(&Heard) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !holds(&self.heard.lock().unwrap()) {
            assert!(Instant::now() < deadline, "{what} never came: {:?}", self.heard.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

fn settings(collectors: Vec<String>) -> Settings {
    let hello = v1::Hello { host: "app-1".into(), epoch: 5, ..Default::default() };
    let (_, changes) = tokio::sync::watch::channel(());
    let identity = Watched { identity: Identity::default(), changes };
    Settings { collectors, hello, identity }
}

fn report(at_unix_us: i64) -> Sealed {
    Sealed { report: v1::Report { at_unix_us, ..Default::default() }, marks: Vec::new() }
}

struct Agent {
    reports: mpsc::Sender<Vec<Sealed>>,
    state: tempfile::TempDir,
    task: tokio::task::JoinHandle<Ended>,
}

impl Agent {
    fn start(collectors: Vec<String>) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), collectors)
    }

    fn start_in(state: tempfile::TempDir, collectors: Vec<String>) -> Self {
        let (sender, reports) = mpsc::channel(8);
        let (positions, _) = Positions::load(state.path());
        let numbering = spool::Numbering { boot_id: "boot".into(), epoch: 5 };
        let (spool, _) = Spool::open(state.path(), numbering, 1 << 20);
        let task = tokio::task::spawn_local(run(settings(collectors), spool, reports, positions));
        Self { reports: sender, state, task }
    }

    async fn stop(self) -> Ended {
        self.stop_with_state().await.0
    }

    async fn stop_with_state(self) -> (Ended, tempfile::TempDir) {
        drop(self.reports);
        (self.task.await.unwrap(), self.state)
    }
}

fn story(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, story);
}

const AT_ONCE: Manner = Manner::Acknowledge { pause: Duration::ZERO };

#[test]
fn the_first_report_is_acknowledged_at_once_and_the_place_in_the_log_is_kept() {
    story(async {
        let (collector, url) = Collector::start(AT_ONCE).await;
        let began = Instant::now();
        let agent = Agent::start(vec![url]);
        let file = FilePosition { device: 1, inode: 2, offset_bytes: 3, start: Default::default(), seen_ns: 4 };
        let mark = Mark { log: "/a.log".into(), position: Position { files: vec![file] } };
        agent.reports.send(vec![Sealed { marks: vec![mark.clone()], ..report(1) }]).await.unwrap();
        collector.until("a report", |heard| heard.reports.len() == 1).await;
        assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
        // Those that left before the first acknowledgement came can't tell the offset yet.
        let mut offset = None;
        for at in 2.. {
            agent.reports.send(vec![report(at)]).await.unwrap();
            collector.until("the next", |heard| heard.reports.len() == at as usize).await;
            offset = collector.heard.lock().unwrap().reports.last().and_then(|report| report.collector_offset_us);
            if offset.is_some() || began.elapsed() > Duration::from_secs(20) {
                break;
            }
        }
        let hello = collector.heard.lock().unwrap().hellos[0].clone();
        assert_eq!((hello.host.as_str(), hello.epoch, hello.next_seq), ("app-1", 5, 1));
        let offset = offset.unwrap();
        assert!((offset - 3_600_000_000).abs() < 1_000_000, "{offset}");
        let (ended, state) = agent.stop_with_state().await;
        assert_eq!(ended.undelivered_reports, 0);
        assert_eq!(Positions::load(state.path()).0.get(&mark.log), Some(mark.position));
    });
}

#[test]
fn what_is_not_acknowledged_is_sent_again_after_a_break() {
    story(async {
        let (collector, url) = Collector::start(Manner::Break).await;
        let agent = Agent::start(vec![url]);
        for at in 1..=4 {
            agent.reports.send(vec![report(at)]).await.unwrap();
        }
        collector.until("the break", |heard| heard.reports.len() == 4).await;
        *collector.manner.lock().unwrap() = AT_ONCE;
        let broken = Instant::now();
        collector.until("the rest again", |heard| heard.reports.len() == 7).await;
        assert!(broken.elapsed() < Duration::from_millis(1_500), "the first try again is within 500 ms");
        assert_eq!(collector.seqs(), [1, 2, 3, 4, 2, 3, 4]);
        let heard = collector.heard.lock().unwrap().hellos.iter().map(|hello| hello.next_seq).collect::<Vec<_>>();
        assert_eq!(heard, [1, 2]);
        assert_eq!(agent.stop().await.undelivered_reports, 0);
    });
}

#[test]
fn a_collector_that_missed_some_is_told_of_the_gateways_again() {
    story(async {
        let (collector, url) = Collector::start(Manner::Break).await;
        let agent = Agent::start(vec![url]);
        let gateway =
            |kind: &str| v1::GatewayConfig { gateway: "edge".into(), kind: kind.into(), ..Default::default() };
        for kind in ["nginx", "envoy", "envoy", "envoy"] {
            let report = v1::Report { gateways: vec![gateway(kind)], ..Default::default() };
            agent.reports.send(vec![Sealed { report, marks: Vec::new() }]).await.unwrap();
        }
        collector.until("the break", |heard| heard.reports.len() == 4).await;
        *collector.manner.lock().unwrap() = Manner::Missed;
        collector.until("the rest and the gateways again", |heard| heard.reports.len() == 8).await;
        let last = collector.heard.lock().unwrap().reports.last().cloned().unwrap();
        assert_eq!((last.seq, last.gateways), (5, vec![gateway("envoy")]), "as they are now");
        assert_eq!(agent.stop().await.undelivered_reports, 0);
    });
}

#[test]
fn reports_wait_for_a_collector_that_comes_later_and_the_next_one_is_tried() {
    story(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let nobody = "http://127.0.0.1:1".to_owned();
        let agent = Agent::start(vec![nobody, format!("http://{address}"), "https://127.0.0.1:1".into()]);
        for at in 1..=50 {
            agent.reports.send(vec![report(at)]).await.unwrap();
        }
        let collector = Collector::new(AT_ONCE);
        collector.serve(TcpListener::bind(address).await.unwrap());
        collector.until("all", |heard| heard.reports.len() == 50).await;
        assert_eq!(collector.seqs(), (1..=50).collect::<Vec<_>>());
        assert_eq!(agent.stop().await.undelivered_reports, 0);
    });
}

#[test]
fn a_pause_is_honoured_until_the_end_comes() {
    story(async {
        let (collector, url) = Collector::start(Manner::Acknowledge { pause: Duration::from_secs(30) }).await;
        let agent = Agent::start(vec![url]);
        collector.until("the hello", |heard| heard.hellos.len() == 1).await;
        for at in 1..=20 {
            agent.reports.send(vec![report(at)]).await.unwrap();
        }
        tokio::time::timeout(Duration::from_millis(300), collector.until("all", |heard| heard.reports.len() == 20))
            .await
            .expect_err("they are held back");
        assert_eq!(agent.stop().await.undelivered_reports, 0);
        assert_eq!(collector.seqs(), (1..=20).collect::<Vec<_>>());
    });
}

#[test]
fn the_end_does_not_wait_for_ever() {
    story(async {
        let (collector, url) = Collector::start(Manner::Silent).await;
        let agent = Agent::start(vec![url]);
        agent.reports.send(vec![report(1)]).await.unwrap();
        collector.until("a report", |heard| heard.reports.len() == 1).await;
        let began = Instant::now();
        assert_eq!(agent.stop().await.undelivered_reports, 1);
        assert!(began.elapsed() < DRAIN_LIMIT * 2, "{:?}", began.elapsed());
    });
}

#[test]
fn what_was_given_up_is_told_after_the_reconnect() {
    story(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let agent = Agent::start(vec![format!("http://{address}")]);
        let line = "x".repeat(10_000);
        let kind = v1::event::Kind::LogMatch(v1::LogMatch { line, ..Default::default() });
        for at in 1..=400 {
            let mut big = report(at);
            big.report.events = vec![v1::Event { at_unix_us: at, kind: Some(kind.clone()) }];
            agent.reports.send(vec![big]).await.unwrap();
        }
        let collector = Collector::new(AT_ONCE);
        collector.serve(TcpListener::bind(address).await.unwrap());
        collector.until("the confession", |heard| heard.reports.iter().any(|report| !report.samplers.is_empty())).await;
        let heard = collector.heard.lock().unwrap();
        let events: usize = heard.reports.iter().map(|report| report.events.len()).sum();
        let why =
            heard.reports.iter().flat_map(|report| &report.samplers).map(|status| status.why.clone()).next().unwrap();
        assert!(why.contains(&format!("{} events", 400 - events)), "{why}");
        let seqs: Vec<u64> = heard.reports.iter().map(|report| report.seq).collect();
        assert!(seqs.windows(2).all(|two| two[1] == two[0] + 1), "{seqs:?}");
    });
}

#[test]
fn a_disk_that_takes_nothing_is_told_and_so_is_its_return() {
    story(async {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("spool");
        std::fs::write(&folder, "in the way").unwrap();
        let states = |heard: &Heard| {
            let all = heard.reports.iter().flat_map(|report| &report.samplers).filter(|status| status.name == "spool");
            all.map(|status| status.why.clone()).collect::<Vec<_>>()
        };
        let (collector, url) = Collector::start(AT_ONCE).await;
        let agent = Agent::start_in(state, vec![url]);
        collector.until("the trouble", |heard| states(heard).len() == 1).await;
        for at in 1..=3 {
            agent.reports.send(vec![report(at)]).await.unwrap();
        }
        collector.until("the reports all the same", |heard| heard.reports.len() == 4).await;
        std::fs::remove_file(&folder).unwrap();
        collector.until("the return", |heard| states(heard).len() == 2).await;
        let (ended, state) = agent.stop_with_state().await;
        assert_eq!(ended.undelivered_reports, 0);
        assert!(state.path().join("spool").is_dir());
        let heard = collector.heard.lock().unwrap();
        let [trouble, well] = &states(&heard)[..] else { panic!("{:?}", states(&heard)) };
        assert!(trouble.contains("reports wait in memory meanwhile") && well.is_empty(), "{trouble} {well}");
    });
}

#[test]
fn what_an_earlier_run_left_goes_first_on_a_connection_of_its_own() {
    story(async {
        let state = tempfile::tempdir().unwrap();
        let run_of = |epoch| spool::Numbering { boot_id: format!("boot-{epoch}"), epoch };
        let (mut left, _) = Spool::open(state.path(), run_of(4), 1 << 20);
        (1..=3).for_each(|at| left.push(vec![report(at)]));
        left.flush();
        drop(left);
        let (collector, url) = Collector::start(AT_ONCE).await;
        let (spool, _) = Spool::open(state.path(), run_of(5), 1 << 20);
        let (sender, reports) = mpsc::channel(8);
        let (positions, _) = Positions::load(state.path());
        let task = tokio::task::spawn_local(run(settings(vec![url]), spool, reports, positions));
        sender.send(vec![report(10)]).await.unwrap();
        collector.until("all", |heard| heard.reports.len() == 4).await;
        drop(sender);
        assert_eq!(task.await.unwrap().undelivered_reports, 0);
        let heard = collector.heard.lock().unwrap();
        let hellos: Vec<_> = heard.hellos.iter().map(|one| (one.boot_id.as_str(), one.epoch, one.next_seq)).collect();
        assert_eq!(hellos, [("boot-4", 4, 1), ("boot-5", 5, 1)]);
        let told: Vec<_> = heard.reports.iter().map(|report| (report.seq, report.at_unix_us)).collect();
        assert_eq!(told, [(1, 1), (2, 2), (3, 3), (1, 10)]);
    });
}
