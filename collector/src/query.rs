//! The gRPC side of questions: a thin shell over [`crate::view`] and the engine's handle. It keeps nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use why502_proto::v1;

use crate::capsule::{self, Capsules};
use crate::doors::Doors;
use crate::engine::{Handle, Refusal};
use crate::view::{self, Document, Question, View, WatchDoc};
use crate::wire;

/// Lines that may wait for a watcher; one that does not read them is left behind and cut off.
const WATCH_QUEUE: usize = 256;
/// A watcher hears so often at least, also when nothing happens.
const WATCH_BEAT: Duration = Duration::from_secs(5);

/// Somebody asks for a sample to be sent to a sink.
pub struct SinkTest {
    /// The sink's name.
    pub sink: String,
    /// Why it did not arrive.
    pub reply: oneshot::Sender<Result<(), String>>,
}

/// The query service.
pub struct Query {
    engine: Handle,
    doors: Arc<Doors>,
    capsules: Arc<Capsules>,
    sink_tests: mpsc::Sender<SinkTest>,
    closing: watch::Receiver<bool>,
}

impl Query {
    /// A service that answers from the engine's views until `closing` turns true, gives capsules, and hands tests of sinks on.
    pub fn new(
        engine: Handle,
        doors: Arc<Doors>,
        capsules: Arc<Capsules>,
        sink_tests: mpsc::Sender<SinkTest>,
        closing: watch::Receiver<bool>,
    ) -> Self {
        Self { engine, doors, capsules, sink_tests, closing }
    }
}

/// What the engine's refusal of a person's record means.
fn refused(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::Full => Status::resource_exhausted(refusal.to_string()),
        _ => Status::unavailable(refusal.to_string()),
    }
}

fn unix_now_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

#[tonic::async_trait]
impl v1::query_server::Query for Query {
    async fn ask(&self, request: Request<v1::AskRequest>) -> Result<Response<v1::AskResponse>, Status> {
        let request = request.into_inner();
        let filters: BTreeMap<String, String> = request.filters.into_iter().collect();
        let invalid = |bad: view::BadQuestion| Status::invalid_argument(bad.to_string());
        let document = Document::parse(&request.document).map_err(invalid)?;
        let question = Question::parse(document, filters).map_err(invalid)?;
        let answered = self.engine.answer(&question, |view| self.doors.answer(view, &question)).await;
        let answer = answered.map_err(invalid)?;
        Ok(Response::new(v1::AskResponse { json: answer.json, found: answer.found }))
    }

    type WatchStream = ReceiverStream<Result<v1::WatchResponse, Status>>;

    async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (lines, out) = mpsc::channel(WATCH_QUEUE);
        tokio::spawn(tell(self.engine.views(), self.closing.clone(), lines));
        Ok(Response::new(ReceiverStream::new(out)))
    }

    async fn mark(&self, request: Request<v1::MarkRequest>) -> Result<Response<v1::MarkResponse>, Status> {
        let v1::MarkRequest { kind, service, version, host } = request.into_inner();
        let mark = wire::mark(kind, service, version, host);
        let mark = mark.map_err(|refused| Status::invalid_argument(refused.to_string()))?;
        let taken = self.engine.take(mark).await.map_err(|refusal| refused(&refusal))?;
        Ok(Response::new(v1::MarkResponse { at_unix_us: taken.received_us }))
    }

    async fn silence(&self, request: Request<v1::SilenceRequest>) -> Result<Response<v1::SilenceResponse>, Status> {
        let asked = request.into_inner();
        let now_us = unix_now_us();
        // Nobody types more than one silence in a microsecond.
        let (id, until_unix_us) = (format!("s{now_us:x}"), now_us.saturating_add_unsigned(asked.lasts_us));
        let silence = wire::silence(asked, id.clone(), now_us);
        let silence = silence.map_err(|refused| Status::invalid_argument(refused.to_string()))?;
        self.engine.take(silence).await.map_err(|refusal| refused(&refusal))?;
        Ok(Response::new(v1::SilenceResponse { id, until_unix_us }))
    }

    async fn expire_silence(
        &self,
        request: Request<v1::ExpireSilenceRequest>,
    ) -> Result<Response<v1::ExpireSilenceResponse>, Status> {
        let id = request.into_inner().id;
        let view = self.engine.view();
        let found = view.book.silences().any(|one| one.id == id && one.until_us > view.at_us);
        if found {
            self.engine.take(wire::silence_expired(id)).await.map_err(|refusal| refused(&refusal))?;
        }
        Ok(Response::new(v1::ExpireSilenceResponse { found }))
    }

    async fn test_sink(&self, request: Request<v1::TestSinkRequest>) -> Result<Response<v1::TestSinkResponse>, Status> {
        let (reply, answer) = oneshot::channel();
        let test = SinkTest { sink: request.into_inner().sink, reply };
        let busy = |_| Status::resource_exhausted("sinks are being tested already: try again in some seconds");
        self.sink_tests.try_send(test).map_err(busy)?;
        let answer = answer.await.map_err(|_| Status::unavailable("the collector is stopping"))?;
        Ok(Response::new(v1::TestSinkResponse { fault: answer.err().unwrap_or_default() }))
    }

    async fn export(&self, request: Request<v1::ExportRequest>) -> Result<Response<v1::ExportResponse>, Status> {
        let capsule = self.capsules.get(&request.into_inner().incident).await;
        let capsule = capsule.map_err(|fault| match fault {
            capsule::Fault::Unknown(_) => Status::not_found(fault.to_string()),
            capsule::Fault::Failed(why) => Status::unavailable(why),
        })?;
        Ok(Response::new(v1::ExportResponse { capsule }))
    }
}

/// Tells a watcher of the open incidents, then of every change, until it goes, falls behind, or the collector stops.
async fn tell(
    mut views: watch::Receiver<Arc<View>>,
    mut closing: watch::Receiver<bool>,
    lines: mpsc::Sender<Result<v1::WatchResponse, Status>>,
) {
    let mut before = Arc::new(View::default());
    let mut rate = None;
    loop {
        let after = views.borrow_and_update().clone();
        let first = before.hosts.is_empty() && before.at_us == 0;
        let changes = view::changes(&before, &after);
        let open = |doc: &WatchDoc| !matches!(doc, WatchDoc::Incident(told) if told.incident.state != "open");
        let mut told: Vec<WatchDoc> = changes.into_iter().filter(|doc| !first || open(doc)).collect();
        let now = view::rate_doc(&after);
        if rate.as_ref() != Some(&now.1) {
            told.insert(0, now.0);
            rate = Some(now.1);
        }
        before = after;
        for doc in told {
            let json = serde_json::to_string(&doc).unwrap_or_default();
            // A full channel means that nobody reads: holding more for it would have no bound.
            if lines.try_send(Ok(v1::WatchResponse { json })).is_err() {
                return;
            }
        }
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(WATCH_BEAT) => {}
            () = lines.closed() => return,
            _ = closing.wait_for(|closing| *closing) => return,
        }
    }
}
