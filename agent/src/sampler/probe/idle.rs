//! How long an instance keeps an idle connection: one request, then silence, until it closes or 80 s have passed. What
//! it outlived is told after 20 s already, for most gateways keep theirs for about a minute.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::timeout;
use why502_proto::v1::ProbeResult;
use why502_proto::v1::event::Kind;

use super::{Observed, ProbeRequest};
use crate::clock::unix_now_us;
use crate::dial::{self, Ask, Target, TlsAsk};

/// When the interim result is told.
const INTERIM: Duration = Duration::from_secs(20);
/// When the measurement ends.
const LIMIT: Duration = Duration::from_secs(80);
/// For connecting, the handshake and the request, each.
const STEP_LIMIT: Duration = Duration::from_secs(5);

/// How the probe before got its answer.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) target: Target,
    pub(super) tls: Option<TlsAsk>,
    pub(super) path: String,
    pub(super) host: String,
}

/// Measures, and tells the results.
pub(super) async fn measure(request: &ProbeRequest, way: Way, out: &mpsc::Sender<Observed>) {
    let Some(idle) = open(&way).await else { return };
    let began = Instant::now();
    let closed = idle.closed();
    tokio::pin!(closed);
    if timeout(INTERIM, &mut closed).await.is_err() {
        tell(request, out, None, Some(INTERIM)).await;
        if timeout(LIMIT.saturating_sub(began.elapsed()), &mut closed).await.is_err() {
            return tell(request, out, None, Some(LIMIT)).await;
        }
    }
    tell(request, out, Some(began.elapsed()), None).await;
}

async fn open(way: &Way) -> Option<dial::Idle> {
    let mut stream = dial::connect(&way.target, STEP_LIMIT).await.0.ok()?;
    if let Some(tls) = &way.tls {
        stream = dial::handshake(stream, tls, STEP_LIMIT).await.ok()?.stream;
    }
    let ask = Ask { path: &way.path, host: &way.host, keep_alive: true, body_limit_bytes: 1 << 16, limit: STEP_LIMIT };
    dial::get(stream, &ask).await.ok()?.idle
}

async fn tell(request: &ProbeRequest, out: &mpsc::Sender<Observed>, closed: Option<Duration>, kept: Option<Duration>) {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let result = ProbeResult {
        gateway: request.gateway.clone(),
        upstream: request.upstream.clone(),
        idle_close_us: closed.map(micros),
        idle_kept_us: kept.map(micros),
        ..ProbeResult::default()
    };
    // A receiver that is gone ends the whole run.
    let _ = out.send(Observed::event(unix_now_us(), Kind::Probe(result))).await;
}
