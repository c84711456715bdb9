//! The other end of a door: how the command line reaches a collector, over TLS with the roots, the certificate and the token
//! that it was given.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::{authority, files, tls};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(3);
/// Where the distributions keep the roots that they trust.
const SYSTEM_ROOTS: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];
/// Where a collector on this machine keeps its roots and its administrator's token, unless told otherwise.
const LOCAL_DIR: &str = "/var/lib/why502/identity";

/// How somebody who asks shows who it is, and whom it trusts.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Credentials {
    /// Roots to trust in a collector's https:// address; default: this machine's collector's, else the system's
    #[arg(long, global = true, value_name = "FILE", env = "WHY502_CA")]
    pub ca: Option<PathBuf>,
    /// A person's certificate
    #[arg(long, global = true, value_name = "FILE", env = "WHY502_CERT", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its key
    #[arg(long, global = true, value_name = "FILE", env = "WHY502_KEY", requires = "cert")]
    pub key: Option<PathBuf>,
    /// A file with a token; default: the administrator's of this machine's collector, where it can be read
    #[arg(long, global = true, value_name = "FILE", env = "WHY502_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum NoClient {
    /// What was given does not hold.
    Usage(String),
    /// The collector can't be reached.
    Unreachable(String),
}

impl Credentials {
    /// Connects to a collector.
    pub async fn connect(&self, url: &str) -> Result<Channel, NoClient> {
        let usage = || NoClient::Usage(format!("{url:?} is not a collector's address such as http://127.0.0.1:5021"));
        let uri: Uri = url.parse().map_err(|_| usage())?;
        let endpoint = Endpoint::from(uri.clone()).connect_timeout(CONNECT);
        let connected = match uri.scheme_str() {
            Some("http") => endpoint.connect().await,
            Some("https") => {
                let config = self.tls().map_err(NoClient::Usage)?;
                let host = uri.host().ok_or_else(usage)?.trim_matches(['[', ']']).to_owned();
                let address = (host.clone(), uri.port_u16().unwrap_or(5021));
                let name = ServerName::try_from(host).map_err(|_| usage())?;
                let reach = service_fn(move |_: Uri| reach(address.clone(), name.clone(), config.clone()));
                endpoint.connect_with_connector(reach).await
            }
            _ => return Err(usage()),
        };
        connected
            .map_err(|error| NoClient::Unreachable(format!("collector {url} is out of reach: {}", in_words(&error))))
    }

    /// The header that carries the token. A token is told nobody in plain text beyond this machine.
    pub fn authorization(&self, url: &str) -> Result<Option<MetadataValue<Ascii>>, NoClient> {
        let text = match &self.token_file {
            Some(path) => Some(files::read(path).map_err(NoClient::Usage)?),
            None if self.cert.is_none() && is_here(url) => {
                files::read(&Path::new(LOCAL_DIR).join(files::ADMIN_TOKEN)).ok()
            }
            None => None,
        };
        let Some(text) = text else { return Ok(None) };
        if url.starts_with("http://") && !is_here(url) {
            return Err(NoClient::Usage("a token is not sent in plain text: use an https:// address".to_owned()));
        }
        let bad = |_| NoClient::Usage("the token's file holds no token".to_owned());
        format!("Bearer {}", text.trim()).parse().map(Some).map_err(bad)
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        let mut trusted = RootCertStore::empty();
        let path = self.roots()?;
        let roots =
            authority::certificates(&files::read(&path)?).map_err(|why| format!("{}: {why}", path.display()))?;
        trusted.add_parsable_certificates(roots);
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(trusted);
        let mut config = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let chain = authority::certificates(&files::read(cert)?);
                let chain = chain.map_err(|why| format!("{}: {why}", cert.display()))?;
                let with = builder.with_client_auth_cert(chain, tls::private_key(key)?);
                with.map_err(|error| format!("{}: {error}", cert.display()))?
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<PathBuf, String> {
        let local = Path::new(LOCAL_DIR).join(files::ROOTS);
        let known = || std::iter::once(local).chain(SYSTEM_ROOTS.map(PathBuf::from)).find(|path| path.exists());
        let none = || "no roots to trust: name the collector's ca.pem with --ca".to_owned();
        self.ca.clone().or_else(known).ok_or_else(none)
    }
}

/// Why there is no connection: the innermost cause, and what to do where that is known.
fn in_words(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    let why = innermost.to_string();
    const KNOWN: [(&str, &str); 7] = [
        (
            "Connection refused",
            "nothing listens there: is it started, or is it another one (--collector, WHY502_COLLECTOR)?",
        ),
        ("deadline has elapsed", "no answer within 3 s: is the address right, and does a firewall let it through?"),
        ("failed to lookup", "its name does not resolve"),
        ("InvalidContentType", "it speaks plain text there: http:// instead of https://"),
        ("UnknownIssuer", "its certificate is of a CA that is not trusted here: give the collector's ca.pem by --ca"),
        ("not valid for name", "its certificate is not for that name: add it to names below [tls] of collector.toml"),
        ("http2 error", "what answers there is no collector, or it wants https://"),
    ];
    let known = KNOWN.iter().find(|(words, _)| why.contains(words));
    known.map_or(why.clone(), |(_, says)| (*says).to_owned())
}

/// Whether a collector's address is on this machine.
fn is_here(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

async fn reach(
    address: (String, u16),
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
) -> std::io::Result<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(TlsConnector::from(config).connect(name, stream).await?))
}
