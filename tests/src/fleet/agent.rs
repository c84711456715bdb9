//! One host's side of its stream: greets, reports in time and at once what happens, keeps what is not acknowledged and
//! sends it again after a broken connection.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use why502_proto::v1;

use super::entrance::Way;
use super::figures::Figures;
use super::messages::{Host, now_us};
use super::{POOL, Wanted};

/// Reports that may wait for their acknowledgement.
const UNACKED_MAX: usize = 64;
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(20);

/// Something that happens to a host.
#[derive(Debug)]
pub enum Happening {
    /// It reports these at once; from then on its application's main process is this one, 0 where it is down.
    Events(Vec<v1::Event>, u32),
    /// Its gateway's log told of these.
    Log(Vec<v1::Event>, Vec<v1::UpstreamSample>),
}

/// A host that reports.
pub struct Agent {
    /// Whose it is.
    pub host: Host,
    /// What happens to it.
    pub happenings: mpsc::Sender<Happening>,
}

impl Agent {
    /// Lets a host report from now on.
    pub fn spawn(host: Host, wanted: &Wanted, way: Way, opening: Arc<Semaphore>, figures: Arc<Figures>) -> Self {
        let (happenings, happen) = mpsc::channel(16);
        let life = Life {
            host: host.clone(),
            hosts: wanted.hosts,
            interval: wanted.interval,
            epoch: now_us().unsigned_abs(),
            next_seq: 1,
            tick: 0,
            pid: 4000,
            unacked: VecDeque::new(),
            figures,
        };
        tokio::spawn(life.live(way, opening, happen));
        Self { host, happenings }
    }
}

struct Life {
    host: Host,
    hosts: usize,
    interval: Duration,
    epoch: u64,
    next_seq: u64,
    tick: u64,
    pid: u32,
    unacked: VecDeque<(Instant, v1::Report)>,
    figures: Arc<Figures>,
}

struct Stream {
    out: mpsc::Sender<v1::AgentMessage>,
    acks: Streaming<v1::CollectorMessage>,
}

impl Life {
    async fn live(mut self, way: Way, opening: Arc<Semaphore>, mut happen: mpsc::Receiver<Happening>) {
        // Hosts report at different moments of the interval.
        let phase = self.interval.mul_f64((self.host.number * 7919 % 1000) as f64 / 1000.0);
        let mut timer = tokio::time::interval_at(tokio::time::Instant::now() + phase, self.interval);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tries = 0u32;
        loop {
            let opened = {
                let _turn = opening.acquire().await;
                self.open(&way).await
            };
            if let Some(mut stream) = opened {
                tries = 0;
                self.figures.connected(1);
                let over = self.report(&mut stream, &mut timer, &mut happen).await;
                self.figures.connected(-1);
                if over {
                    return;
                }
            }
            self.figures.reconnecting();
            tries += 1;
            let pause =
                Duration::from_millis(100 << tries.min(5)) + Duration::from_millis(self.host.number as u64 % 97);
            tokio::time::sleep(pause).await;
        }
    }

    async fn open(&mut self, way: &Way) -> Option<Stream> {
        let channel = tokio::time::timeout(CONNECT, way.connect()).await.ok()?.ok()?;
        let (out, messages) = mpsc::channel(UNACKED_MAX + 2);
        let next_seq = self.unacked.front().map_or(self.next_seq, |(_, report)| report.seq);
        let hello = self.host.hello(self.epoch, next_seq, self.interval);
        out.send(v1::AgentMessage { kind: Some(v1::agent_message::Kind::Hello(hello)) }).await.ok()?;
        let mut client = v1::ingest_client::IngestClient::new(channel);
        let answered = tokio::time::timeout(CONNECT, client.stream(ReceiverStream::new(messages))).await.ok()?;
        let mut acks = answered.ok()?.into_inner();
        let greeted = tokio::time::timeout(CONNECT, acks.message()).await.ok()?.ok()??;
        self.acked(greeted.ack?.up_to_seq);
        let mut stream = Stream { out, acks };
        for (_, report) in self.unacked.clone() {
            self.put(&mut stream, report).await.then_some(())?;
        }
        if self.host.is_gateway() && self.next_seq == 1 {
            let config = self.host.configuration(self.hosts);
            let report = v1::Report { at_unix_us: now_us(), gateways: vec![config], ..Default::default() };
            self.send(&mut stream, report).await.then_some(())?;
        }
        Some(stream)
    }

    /// Reports until the stream ends; true: nothing can happen to this host any more.
    async fn report(
        &mut self,
        stream: &mut Stream,
        timer: &mut tokio::time::Interval,
        happen: &mut mpsc::Receiver<Happening>,
    ) -> bool {
        loop {
            let room = self.unacked.len() < UNACKED_MAX;
            let report = tokio::select! {
                ack = stream.acks.message() => {
                    let Ok(Some(v1::CollectorMessage { ack: Some(ack) })) = ack else { return false };
                    self.acked(ack.up_to_seq);
                    continue;
                }
                happening = happen.recv(), if room => match happening {
                    Some(Happening::Events(events, pid)) => {
                        self.pid = pid;
                        v1::Report { events, ..self.host.sample(self.tick, self.interval, self.pid) }
                    }
                    Some(Happening::Log(events, upstreams)) => {
                        v1::Report { at_unix_us: now_us(), events, upstreams, ..Default::default() }
                    }
                    None => return true,
                },
                _ = timer.tick(), if room => {
                    self.tick += 1;
                    self.host.sample(self.tick, self.interval, self.pid)
                }
            };
            if !self.send(stream, report).await {
                return false;
            }
        }
    }

    async fn send(&mut self, stream: &mut Stream, report: v1::Report) -> bool {
        let report = v1::Report { seq: self.next_seq, collector_offset_us: Some(0), ..report };
        self.next_seq += 1;
        self.figures.sent();
        self.unacked.push_back((Instant::now(), report.clone()));
        self.put(stream, report).await
    }

    async fn put(&mut self, stream: &mut Stream, report: v1::Report) -> bool {
        let message = v1::AgentMessage { kind: Some(v1::agent_message::Kind::Report(report)) };
        stream.out.send(message).await.is_ok()
    }

    fn acked(&mut self, up_to: u64) {
        while let Some((sent, _)) = self.unacked.front().filter(|(_, report)| report.seq <= up_to) {
            self.figures.acknowledged(sent.elapsed());
            self.unacked.pop_front();
        }
    }
}

/// The number of the gateway's host that a host is behind.
pub fn gateway_of(number: usize) -> usize {
    number - number % POOL
}
