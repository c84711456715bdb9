//! How hosts come in: in plain text, or over TLS with a certificate that the collector's own CA signed, each from an address
//! of its own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper_util::rt::TokioIo;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;
use why502::identity::authority::{Authority, HostKey, certificates};

/// How long a certificate is good.
const LIFE: Duration = Duration::from_secs(86_400);

/// A connection, whatever is below it.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Where a collector lets agents in.
#[derive(Clone)]
pub struct Entrance {
    address: SocketAddr,
    /// Who signs certificates. None: nobody needs any.
    authority: Option<Arc<Authority>>,
}

/// How one host comes in.
#[derive(Clone)]
pub struct Way {
    from: Option<Ipv4Addr>,
    to: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
}

impl Entrance {
    /// In plain text.
    pub fn plain(url: &str) -> Result<Self, String> {
        Ok(Self { address: resolve(url.trim_start_matches("http://"))?, authority: None })
    }

    /// As the collector at `url` says, whose CA is in `identity`.
    pub fn at(url: &str, identity: &Path) -> Result<Self, String> {
        let Some(address) = url.strip_prefix("https://") else { return Self::plain(url) };
        let address = resolve(address)?;
        let authority = Authority::load(identity)?.ok_or("the collector has no CA")?;
        Ok(Self { address, authority: Some(Arc::new(authority)) })
    }

    /// The way in of a host, with a certificate where one is needed, from the address of its number.
    pub fn way(&self, host: &str, number: usize) -> Result<Way, String> {
        let tls = match &self.authority {
            Some(authority) => Some(known(authority, host)?),
            None => None,
        };
        Ok(self.from(number, tls))
    }

    /// The way in of somebody who is not known.
    pub fn stranger(&self, number: usize) -> Result<Way, String> {
        let tls = self.authority.as_ref().map(|authority| unknown(authority)).transpose()?;
        Ok(self.from(number, tls))
    }

    fn from(&self, number: usize, tls: Option<Arc<ClientConfig>>) -> Way {
        let part = |shift: usize| u8::try_from(number >> shift & 255).unwrap_or(0);
        let own = Ipv4Addr::new(127, part(16).wrapping_add(1), part(8), part(0));
        // What is elsewhere is not reached from an address of loopback.
        let near = self.address.is_ipv4() && self.address.ip().is_loopback();
        Way { from: near.then_some(own), to: self.address, tls }
    }
}

impl Way {
    /// The same host from the address of another number.
    pub fn moved(&self, entrance: &Entrance, number: usize) -> Self {
        entrance.from(number, self.tls.clone())
    }

    /// A bare connection.
    pub async fn tcp(&self) -> io::Result<TcpStream> {
        let socket = if self.to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(from) = self.from {
            socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
        }
        let stream = socket.connect(self.to).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A connection on which both know who the other is, where that is asked for.
    pub async fn open(&self) -> io::Result<Box<dyn Io>> {
        let stream = self.tcp().await?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        Ok(Box::new(TlsConnector::from(tls.clone()).connect(name, stream).await?))
    }

    /// A gRPC connection.
    pub async fn connect(&self) -> Result<Channel, String> {
        let way = self.clone();
        let connector = service_fn(move |_: Uri| {
            let way = way.clone();
            async move { way.open().await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_shared(format!("http://{}", self.to)).map_err(|error| error.to_string())?;
        endpoint.connect_with_connector(connector).await.map_err(|error| format!("{error:?}"))
    }
}

fn resolve(address: &str) -> Result<SocketAddr, String> {
    let found = address.to_socket_addrs().map_err(|error| format!("{address}: {error}"))?.next();
    found.ok_or_else(|| format!("{address}: no such address"))
}

/// How a host speaks TLS that the CA knows.
fn known(authority: &Authority, host: &str) -> Result<Arc<ClientConfig>, String> {
    let random = SystemRandom::new();
    let no_key = |_| "a key could not be made".to_owned();
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).map_err(no_key)?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.as_ref(), &random);
    let pair = pair.map_err(|error| error.to_string())?;
    let public = HostKey::new(pair.public_key().as_ref().to_vec()).ok_or("the key is no point of P-256")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let from_s = i64::try_from(now).unwrap_or(i64::MAX) - 10;
    let chain = certificates(&authority.host(host, &public, from_s, LIFE)?)?;
    let key = PrivatePkcs8KeyDer::from(key.as_ref().to_vec()).into();
    let config = trusting(authority)?.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?;
    Ok(speaking_h2(config))
}

fn unknown(authority: &Authority) -> Result<Arc<ClientConfig>, String> {
    Ok(speaking_h2(trusting(authority)?.with_no_client_auth()))
}

type Trusting = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn trusting(authority: &Authority) -> Result<Trusting, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(authority.roots_pem())?);
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots))
}

fn speaking_h2(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A storm of ten thousand must not be spared the handshakes.
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}
