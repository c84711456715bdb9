//! The way to a collector. Its name is looked up here: the C library's own lookup loads plug-ins, which a static program can't.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::{ENROLLED, Identity, tls};
use crate::dial::Stream;
use crate::resolve::Resolver;

/// Most time to connect and to be let in.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// A collector that does not answer for this plus `KEEPALIVE_LIMIT` is taken for gone.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// Time to answer a keepalive ping.
const KEEPALIVE_LIMIT: Duration = Duration::from_secs(10);

/// Connects to the first address of a collector that answers: in plain text to `http://`, else as this host.
pub async fn reach(collector: &str, identity: &Identity) -> Result<Channel, String> {
    let enrolled = if collector == ENROLLED { Some(identity.enrolled_with()?) } else { None };
    let collector = enrolled.as_deref().unwrap_or(collector);
    let config = if is_plain(collector) { None } else { Some(tls::config(identity)?) };
    connect(collector, config).await
}

/// Whether a collector is spoken to in plain text.
pub fn is_plain(collector: &str) -> bool {
    !collector.starts_with("https://") && collector != ENROLLED
}

/// Connects, under TLS where a configuration is given.
pub async fn connect(collector: &str, config: Option<Arc<ClientConfig>>) -> Result<Channel, String> {
    let origin: Uri = collector.parse().map_err(|error| format!("{collector}: {error}"))?;
    let host = origin.host().ok_or_else(|| format!("{collector} names no host"))?;
    let port = origin.port_u16().unwrap_or(if config.is_some() { 443 } else { 80 });
    let addresses = Resolver::default().lookup(host, CONNECT_LIMIT).await?;
    let name =
        ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|_| format!("{host} is no name"))?;
    let security = config.map(|config| (name, config));
    let mut failed = format!("{host} has no address");
    for address in addresses.into_iter().map(|address| SocketAddr::new(address, port)) {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| chain(&error))?
            .origin(origin.clone())
            .connect_timeout(CONNECT_LIMIT)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_LIMIT)
            .keep_alive_while_idle(true);
        let security = security.clone();
        // Not the transport's own connector: it would bring the C library's lookup with it, a tenth of a megabyte.
        let dial = service_fn(move |_: Uri| dial(address, security.clone()));
        match endpoint.connect_with_connector(dial).await {
            Ok(channel) => return Ok(channel),
            Err(error) => failed = chain(&error),
        }
    }
    Err(failed)
}

/// A connection to an address, under TLS where a name and a configuration are given.
async fn dial(
    address: SocketAddr,
    security: Option<(ServerName<'static>, Arc<ClientConfig>)>,
) -> io::Result<TokioIo<Stream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(match security {
        Some((name, config)) => Box::new(TlsConnector::from(config).connect(name, stream).await?),
        None => Box::new(stream),
    }))
}

/// An error with its causes after colons.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Some layers repeat the words of the one below.
        let says = error.to_string();
        if !text.ends_with(&says) {
            text = format!("{text}: {says}");
        }
        cause = error.source();
    }
    text
}

/// What a collector answers instead of what was asked for.
pub fn refusal(status: &tonic::Status) -> String {
    use std::error::Error;
    let cause = status.source().map(|cause| format!(": {}", chain(cause))).unwrap_or_default();
    format!("{} ({}){cause}", status.message(), status.code())
}
