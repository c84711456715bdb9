//! POST, and nothing else: one connection a request, HTTP/1.1, TLS where the address asks for it, no redirects, and of the
//! answer's body only a beginning. Everything together has one time limit.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::settings::Target;

/// How long a request may take, all in all.
const LIMIT: Duration = Duration::from_secs(10);
/// How long an answer's body is waited for, once its status is there.
const BODY_WAIT: Duration = Duration::from_secs(1);
/// Longest body of an answer that is looked at, bytes.
const BODY_MAX: usize = 16 << 10;

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body; empty where it is too long, too late, or breaks off.
    pub body: Vec<u8>,
}

/// Posts to the targets of one sink.
#[derive(Clone)]
pub struct Client {
    /// None: no target speaks TLS.
    tls: Option<TlsConnector>,
}

impl Client {
    /// A client that trusts the roots in `ca_file`, else the system's.
    pub fn new(needs_tls: bool, ca_file: Option<&Path>) -> Result<Self, String> {
        if !needs_tls {
            return Ok(Self { tls: None });
        }
        let mut roots = RootCertStore::empty();
        match ca_file {
            Some(path) => {
                let bad = |why: String| format!("ca_file {}: {why}", path.display());
                for root in CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))? {
                    let root = root.map_err(|error| bad(error.to_string()))?;
                    roots.add(root).map_err(|error| bad(error.to_string()))?;
                }
            }
            None => {
                // Of a system's store some certificates may be too old for this library: the others serve.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if roots.is_empty() {
            return Err("no root certificates: install ca-certificates or name a ca_file".to_owned());
        }
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| format!("tls: {error}"))?.with_root_certificates(roots);
        Ok(Self { tls: Some(TlsConnector::from(Arc::new(config.with_no_client_auth()))) })
    }

    /// Posts; gives the answer. What went wrong is told without the address, whose path may be a secret.
    pub async fn post(&self, target: &Target, headers: &[(String, String)], body: Vec<u8>) -> Result<Answer, String> {
        let limited = tokio::time::timeout(LIMIT, self.connect_and_post(target, headers, body)).await;
        limited.unwrap_or_else(|_| Err(format!("{}: no answer in {} s", target.shown(), LIMIT.as_secs())))
    }

    async fn connect_and_post(
        &self,
        target: &Target,
        headers: &[(String, String)],
        body: Vec<u8>,
    ) -> Result<Answer, String> {
        let failed = |what: &str, error: &dyn std::error::Error| format!("{}: {what}: {error}", target.shown());
        let request = request(target, headers, body)?;
        let stream = TcpStream::connect((target.host.as_str(), target.port)).await;
        let stream = stream.map_err(|error| failed("connect", &error))?;
        if !target.tls {
            return exchange(stream, request).await.map_err(|error| failed("http", &error));
        }
        let tls = self.tls.as_ref().ok_or_else(|| format!("{}: no TLS is set up", target.shown()))?;
        let name = ServerName::try_from(target.host.clone()).map_err(|error| failed("its name", &error))?;
        let stream = tls.connect(name, stream).await.map_err(|error| failed("tls", &error))?;
        exchange(stream, request).await.map_err(|error| failed("http", &error))
    }
}

fn request(target: &Target, headers: &[(String, String)], body: Vec<u8>) -> Result<Request<Full<Bytes>>, String> {
    let path = target.uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = target.uri.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let mut request = Request::post(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("why502/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(Full::new(Bytes::from(body))).map_err(|error| format!("{}: its headers: {error}", target.shown()))
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut answer = pin!(async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = tokio::time::timeout(BODY_WAIT, Limited::new(body, BODY_MAX).collect()).await;
        let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes().to_vec());
        Ok(Answer { status: head.status, body: body.unwrap_or_default() })
    });
    tokio::select! {
        answer = &mut answer => answer,
        // The connection may end with the answer's last byte, before the answer is looked at.
        _ = connection => answer.await,
    }
}
