//! The collector: keeps the state of the fleet, names the cause of each failing upstream, answers queries.
//! This is where its parts are wired: bind both addresses, read the journal, start the engine, serve until told to
//! stop or until the engine fails, drain with a deadline, say how it ended.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, oneshot, watch};
use tonic::service::Routes;
use tonic::transport::Server;
use tower::util::MapRequestLayer;
use tracing::{info, warn};
use why502_proto::v1;

pub mod alert;
pub mod book;
pub mod capsule;
pub mod case;
pub mod classify;
pub mod cli;
pub mod config;
pub mod core;
pub mod doors;
pub mod engine;
pub mod fleet;
pub mod identity;
pub mod incident;
pub mod ingest;
pub mod journal;
mod listen;
pub mod model;
pub mod query;
pub mod render;
mod tarball;
pub mod view;
pub mod web;
pub mod wire;

use alert::Alerter;
use capsule::Capsules;
use config::Config;
use doors::{Door, Doors};
use engine::Engine;
use identity::Identity;
use listen::Places;

/// Largest message of whoever is not an agent that reports, bytes.
const SMALL_MAX: usize = 64 << 10;
/// What an agent may have under way on a stream before it is read, bytes; twice that on a connection. As large as a message,
/// so that the memory of a connection that sends without sense stays near what one that makes sense costs.
const STREAM_WINDOW: u32 = ingest::MESSAGE_MAX as u32;
/// Tests of sinks that may wait for the one under way.
const SINK_TESTS: usize = 4;
/// Connections that may wait in the kernel to be accepted: a fleet comes back all at once.
const BACKLOG: u32 = 4_096;
/// How long open streams may take to end.
const DRAIN: Duration = Duration::from_secs(5);
/// A connection is closed after this long, so that agents spread over collectors again.
const CONNECTION_AGE: Duration = Duration::from_secs(2 * 3600);

/// Why the collector did not start or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address could not be had.
    #[error("listen on {0}: {1}")]
    Bind(SocketAddr, io::Error),
    /// An address would be open in a way that was not asked for, or its certificates do not hold.
    #[error("{0}")]
    Door(String),
    /// The journal could not be opened.
    #[error("journal: {0}")]
    Open(#[from] journal::OpenError),
    /// The engine's thread could not be started.
    #[error("start the engine: {0}")]
    Spawn(io::Error),
    /// The engine ended by itself: nothing is acknowledged any more.
    #[error("engine: {0}")]
    Engine(String),
    /// A sink of alerts can't be used.
    #[error("alerts: {0}")]
    Alerts(String),
    /// A listener failed.
    #[error("serve: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// A collector whose addresses are bound and whose journal is open.
pub struct Bound {
    /// Where agents connect.
    pub ingest_addr: SocketAddr,
    /// Where questions come in.
    pub api_addr: SocketAddr,
    ingest: TcpListener,
    api: TcpListener,
    engine: Engine,
    alerter: Arc<Alerter>,
    doors: Arc<Doors>,
    store: config::Store,
}

/// Serves until `shutdown` is done.
pub async fn serve(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    bind(&config).await?.serve(shutdown).await
}

/// Binds both addresses and reads the journal.
pub async fn bind(config: &Config) -> Result<Bound, ServeError> {
    let (ingest_door, api_door) = open_doors(config)?;
    let (ingest, ingest_addr) = listen_on(config.ingest.listen)?;
    let (api, api_addr) = listen_on(config.api.listen)?;
    let alerter = Alerter::new(&config.alerts).map_err(ServeError::Alerts)?;
    let mut engine = Engine::open(&config.store.journal_dir(), config.store.journal_options())?;
    engine.name_sinks(alerter.infos());
    info!("ingest listening on {}://{ingest_addr}", ingest_door.scheme());
    info!("api listening on {}://{api_addr}", api_door.scheme());
    let doors = Arc::new(Doors::new((ingest_door, ingest_addr), (api_door, api_addr)));
    let store = config.store.clone();
    Ok(Bound { ingest_addr, api_addr, ingest, api, engine, alerter: Arc::new(alerter), doors, store })
}

/// How both addresses take connections.
fn open_doors(config: &Config) -> Result<(Door, Door), ServeError> {
    if config.must_found_a_ca() {
        let founded = identity::founding::found(&config.store.identity_dir()).map_err(ServeError::Door)?;
        info!("made this collector's own CA; the administrator's token is in {}", founded.token.display());
        info!("agents pin {}; a host is let in by: why502 token create --host HOST", founded.pin);
    }
    let settings = config.identity().map_err(|error| ServeError::Door(error.to_string()))?;
    let identity = settings.map(Identity::open).transpose().map_err(ServeError::Door)?.map(Arc::new);
    let door = |section, listen, insecure| Door::of(section, listen, insecure, identity.as_ref());
    let ingest = door("ingest", config.ingest.listen, config.ingest.insecure).map_err(ServeError::Door)?;
    let api = door("api", config.api.listen, config.api.insecure).map_err(ServeError::Door)?;
    Ok((ingest, api))
}

impl Bound {
    /// Serves until `shutdown` is done or the engine fails.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let (engine, mut ended) = self.engine.spawn().map_err(ServeError::Spawn)?;
        let (close, closing) = watch::channel(false);
        let places = Places::at_hand();
        let agents = serve_agents((self.ingest, places.agents), engine.clone(), self.doors.clone(), closing.clone());
        let (sink_tests, asked) = mpsc::channel(SINK_TESTS);
        let capsules = Capsules::new(self.store.capsules_dir(), self.store.capsules_limits(), engine.clone());
        let capsules = Arc::new(capsules);
        tokio::spawn(capsules.clone().keep(closing.clone()));
        let pages = web::routes(engine.clone(), self.doors.clone(), capsules.clone());
        let query = query::Query::new(engine.clone(), self.doors.clone(), capsules, sink_tests, closing.clone());
        let askers = serve_askers((self.api, places.askers), query, pages, self.doors.clone(), closing.clone());
        tokio::spawn(test_sinks(self.alerter.clone(), asked));
        let (alerter, handle) = (self.alerter, engine.clone());
        let alerts = tokio::spawn(async move { alerter.run(handle, closing).await });
        let kept = self.doors.ingest.identity().map(|identity| tokio::spawn(identity.clone().keep_current()));
        let servers = async { tokio::try_join!(agents, askers).map(|_| ()) };
        tokio::pin!(servers);
        let outcome = tokio::select! {
            () = shutdown => Ok(()),
            end = &mut ended => return Err(ServeError::Engine(how_it_ended(end))),
            served = &mut servers => served.map_err(ServeError::from),
        };
        info!("stopping");
        if let Some(kept) = kept {
            kept.abort();
        }
        close.send_replace(true);
        if tokio::time::timeout(DRAIN, servers).await.is_err() {
            warn!("some streams did not end in {} s and were cut", DRAIN.as_secs());
        }
        // What a sink is just confirming must be recorded, or it would be told again.
        if tokio::time::timeout(DRAIN, alerts).await.is_err() {
            warn!("a sink of alerts did not answer in {} s and was left", DRAIN.as_secs());
        }
        engine.stop().await;
        match ended.await {
            Ok(Ok(())) => outcome,
            end => Err(ServeError::Engine(how_it_ended(end))),
        }
    }
}

/// Sends samples to sinks, one after the other, for those who ask.
async fn test_sinks(alerter: Arc<Alerter>, mut asked: mpsc::Receiver<query::SinkTest>) {
    while let Some(test) = asked.recv().await {
        // Who asked may be gone.
        let _ = test.reply.send(alerter.test(&test.sink).await);
    }
}

fn how_it_ended(end: Result<Result<(), String>, oneshot::error::RecvError>) -> String {
    match end {
        Ok(Ok(())) => "ended by itself".to_owned(),
        Ok(Err(why)) => why,
        Err(_) => "died".to_owned(),
    }
}

fn listen_on(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |error| ServeError::Bind(address, error);
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
    // A collector that starts again takes its address over from connections that are still closing.
    socket.set_reuseaddr(true).and_then(|()| socket.bind(address)).map_err(failed)?;
    let listener = socket.listen(BACKLOG).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

async fn serve_agents(
    (listener, places): (TcpListener, usize),
    engine: engine::Handle,
    doors: Arc<Doors>,
    closing: watch::Receiver<bool>,
) -> Result<(), tonic::transport::Error> {
    let ingest = ingest::Ingest::new(engine, doors.notices.clone(), closing.clone());
    let service = v1::ingest_server::IngestServer::new(ingest).max_decoding_message_size(ingest::MESSAGE_MAX);
    let enrolment = identity::enrolment::Enrolment::new(doors.ingest.identity().cloned(), doors.notices.clone());
    let enrolment = v1::enrolment_server::EnrolmentServer::new(enrolment).max_decoding_message_size(SMALL_MAX);
    let incoming = listen::accept(listener, places, doors.ingest.clone(), Some(doors.notices.clone()));
    Server::builder()
        .layer(MapRequestLayer::new(ingest::paced))
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(2 * STREAM_WINDOW)
        .max_concurrent_streams(4)
        .max_connection_age(CONNECTION_AGE)
        .add_service(service)
        .add_service(enrolment)
        .serve_with_incoming_shutdown(incoming, closed(closing))
        .await
}

async fn serve_askers(
    (listener, places): (TcpListener, usize),
    query: query::Query,
    pages: axum::Router,
    doors: Arc<Doors>,
    closing: watch::Receiver<bool>,
) -> Result<(), tonic::transport::Error> {
    let query = v1::query_server::QueryServer::new(query);
    let access = identity::access::Access::new(doors.api.identity().cloned(), doors.ingest_addr);
    let access = v1::access_server::AccessServer::new(access).max_decoding_message_size(SMALL_MAX);
    let grpc = Routes::new(query.max_decoding_message_size(SMALL_MAX)).add_service(access).into_axum_router();
    let routes = grpc.merge(pages).fallback(web::not_found);
    let routes = routes.layer(axum::middleware::from_fn(identity::gate::gate));
    Server::builder()
        .accept_http1(true)
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_concurrent_streams(32)
        .add_routes(Routes::from(routes))
        .serve_with_incoming_shutdown(listen::accept(listener, places, doors.api.clone(), None), closed(closing))
        .await
}

async fn closed(mut closing: watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}
