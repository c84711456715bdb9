//! A collector that guards its doors, and who knocks at them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper_util::rt::TokioIo;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status, Streaming};
use tower::service_fn;
use why502::config::Config;
use why502::identity::Role;
use why502::identity::authority::{Authority, HostKey};
use why502::identity::registry::first_token;
use why502_proto::v1;
use why502_proto::v1::create_token_request::For;

/// Nothing takes longer, or it has failed.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// What a token that is not good is told.
pub const TOKEN_REFUSED: &str = "the token is not known";

pub fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// A collector in this process with a CA of its own.
pub struct Guarded {
    dir: tempfile::TempDir,
    pub ingest: std::net::SocketAddr,
    api: std::net::SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Guarded {
    /// Starts it with further lines in `[tls]`.
    pub async fn start(tls: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "[ingest]\nlisten = \"127.0.0.1:0\"\n[api]\nlisten = \"127.0.0.1:0\"\n[store]\ndir = {:?}\n[tls]\n{tls}\n",
            dir.path()
        );
        let config = Config::parse(&text, "test").unwrap();
        std::fs::create_dir_all(config.store.identity_dir()).unwrap();
        Authority::create(&config.store.identity_dir()).unwrap();
        first_token(&config.store.identity_dir(), now_s()).unwrap();
        let bound = why502::bind(&config).await.unwrap();
        let (ingest, api) = (bound.ingest_addr, bound.api_addr);
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(bound.serve(async move {
            let _ = stopped.await;
        }));
        Self { dir, ingest, api, _stop: stop }
    }

    pub fn identity_dir(&self) -> PathBuf {
        self.dir.path().join("identity")
    }

    pub fn authority(&self) -> Authority {
        Authority::load(&self.identity_dir()).unwrap().unwrap()
    }

    pub fn admin_token(&self) -> String {
        std::fs::read_to_string(self.identity_dir().join("admin.token")).unwrap().trim().to_owned()
    }

    /// A connection to the agents' door without a certificate.
    pub async fn anonymous(&self) -> Channel {
        Host::without_certificate("nobody").channel(self).await.unwrap()
    }

    async fn api(&self, host: Option<&Host>) -> Result<Channel, String> {
        let nobody = Host::without_certificate("nobody");
        host.unwrap_or(&nobody).reach(self, self.api).await
    }

    pub async fn token(&self, by: &str, r#for: For) -> Result<String, Status> {
        let mut client = v1::access_client::AccessClient::new(self.api(None).await.unwrap());
        let request = v1::CreateTokenRequest { r#for: Some(r#for), ..Default::default() };
        Ok(client.create_token(with(request, Some(by.to_owned()))).await?.into_inner().token)
    }

    pub async fn token_for(&self, host: &str) -> String {
        self.token(&self.admin_token(), For::Host(host.to_owned())).await.unwrap()
    }

    /// A host that has enrolled.
    pub async fn enrolled(&self, name: &str) -> Host {
        Host::enroll(self.anonymous().await, &self.token_for(name).await, name).await.unwrap()
    }

    /// Enrols until the collector has seen its new root, which then signs.
    pub async fn enrolled_by_new_root(&self, name: &str) -> Host {
        let all = tokio::time::timeout(DEADLINE, async {
            loop {
                let host = self.enrolled(name).await;
                if host.roots_pem.matches("BEGIN CERTIFICATE").count() == 2 {
                    return host;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        all.await.expect("the collector never saw its new root")
    }

    pub async fn until_refused(&self, host: &Host) {
        let refused = async {
            while host.report_once(self).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(DEADLINE, refused).await.expect("it is let in for ever");
    }

    pub async fn revoke(&self, host: &str) {
        let mut client = v1::access_client::AccessClient::new(self.api(None).await.unwrap());
        let request = v1::RevokeRequest { host: host.to_owned() };
        client.revoke(with(request, Some(self.admin_token()))).await.unwrap();
    }

    pub async fn ask(&self, token: Option<String>, host: Option<&Host>) -> Result<String, Status> {
        document("status", self.api(host).await.unwrap(), token).await
    }

    pub async fn mark(&self, token: Option<String>) -> Result<(), Status> {
        mark(self.api(None).await.unwrap(), token).await
    }

    /// Everything that changes something, tried by whoever has this token.
    pub async fn changes(&self, token: Option<&str>) -> Vec<(&'static str, Result<(), Code>)> {
        let (channel, by) = (self.api(None).await.unwrap(), token.map(str::to_owned));
        let mut query = v1::query_client::QueryClient::new(channel.clone());
        let mut access = v1::access_client::AccessClient::new(channel.clone());
        let silence = v1::SilenceRequest {
            only: Some(v1::SilenceOnly { service: "api".into(), ..Default::default() }),
            lasts_us: 60_000_000,
            ..Default::default()
        };
        let create = v1::CreateTokenRequest { r#for: Some(For::Host("app-9".into())), ..Default::default() };
        let revoke = v1::RevokeRequest { host: "app-9".into() };
        let token = v1::RevokeTokenRequest { id: "0123456789ab".into() };
        let tried = [
            ("a mark", mark(channel, by.clone()).await),
            ("a silence", query.silence(with(silence, by.clone())).await.map(drop)),
            ("its end", query.expire_silence(with(v1::ExpireSilenceRequest::default(), by.clone())).await.map(drop)),
            ("a test of a sink", query.test_sink(with(v1::TestSinkRequest::default(), by.clone())).await.map(drop)),
            ("a token", access.create_token(with(create, by.clone())).await.map(drop)),
            ("the list of tokens", access.list_tokens(with(v1::ListTokensRequest {}, by.clone())).await.map(drop)),
            ("a token's end", access.revoke_token(with(token, by.clone())).await.map(drop)),
            ("a host's end", access.revoke(with(revoke, by)).await.map(drop)),
        ];
        tried.map(|(what, told)| (what, told.map_err(|status| status.code()))).into()
    }

    pub async fn tokens(&self, by: &str) -> Vec<v1::Token> {
        let mut client = v1::access_client::AccessClient::new(self.api(None).await.unwrap());
        let listed = client.list_tokens(with(v1::ListTokensRequest {}, Some(by.to_owned()))).await.unwrap();
        listed.into_inner().tokens
    }

    pub async fn take_back(&self, by: &str, id: &str) -> bool {
        let mut client = v1::access_client::AccessClient::new(self.api(None).await.unwrap());
        let request = v1::RevokeTokenRequest { id: id.to_owned() };
        client.revoke_token(with(request, Some(by.to_owned()))).await.unwrap().into_inner().found
    }

    /// What the api address answers in plain text: to a question, to a mark.
    pub async fn plain(&self, token: Option<String>) -> (Result<(), Code>, Result<(), Code>) {
        let channel = Endpoint::from_shared(format!("http://{}", self.api)).unwrap().connect().await.unwrap();
        let asked = document("status", channel.clone(), token.clone()).await;
        let marked = mark(channel, token).await;
        (asked.map(drop).map_err(|status| status.code()), marked.map_err(|status| status.code()))
    }

    pub async fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.ask(Some(self.admin_token()), None).await.unwrap()).unwrap()
    }

    pub async fn hosts(&self) -> serde_json::Value {
        let answer = document("hosts", self.api(None).await.unwrap(), Some(self.admin_token())).await;
        serde_json::from_str(&answer.unwrap()).unwrap()
    }

    /// Whether whoever speaks this version of TLS and no other comes to an end of the handshake.
    pub async fn speaks(&self, version: &'static SupportedProtocolVersion) -> bool {
        let roots = Host::without_certificate("app-1").roots(self);
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connection = TcpStream::connect(self.ingest).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, connection).await.is_ok()
    }
}

async fn document(name: &str, channel: Channel, token: Option<String>) -> Result<String, Status> {
    let request = v1::AskRequest { document: name.to_owned(), ..Default::default() };
    Ok(v1::query_client::QueryClient::new(channel).ask(with(request, token)).await?.into_inner().json)
}

async fn mark(channel: Channel, token: Option<String>) -> Result<(), Status> {
    let request = v1::MarkRequest { kind: "deploy".into(), service: "api".into(), ..Default::default() };
    v1::query_client::QueryClient::new(channel).mark(with(request, token)).await.map(drop)
}

fn with<T>(message: T, token: Option<String>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

/// A machine with a key, and what it has of a certificate.
#[derive(Clone)]
pub struct Host {
    name: String,
    key: Vec<u8>,
    certificate_pem: String,
    /// The roots that it was told to trust; empty: those of the collector's files.
    roots_pem: String,
}

impl Host {
    pub fn without_certificate(name: &str) -> Self {
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).unwrap();
        let (certificate_pem, roots_pem) = (String::new(), String::new());
        Self { name: name.to_owned(), key: key.as_ref().to_vec(), certificate_pem, roots_pem }
    }

    pub fn signed_by(authority: &Authority, name: &str, from_s: i64, life: Duration) -> Self {
        let host = Self::without_certificate(name);
        let key = HostKey::new(host.pair().public_key().as_ref().to_vec()).unwrap();
        Self { certificate_pem: authority.host(name, &key, from_s, life).unwrap(), ..host }
    }

    pub fn person(authority: &Authority, name: &str, role: Role) -> Self {
        let (certificate_pem, key) = authority.person(name, role, now_s(), 1).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap().secret_der().to_vec();
        Self { name: name.to_owned(), key, certificate_pem, roots_pem: String::new() }
    }

    pub async fn enroll(channel: Channel, token: &str, name: &str) -> Result<Self, Status> {
        let mut host = Self::without_certificate(name);
        let (public_key, proof) = host.proof();
        let request = v1::EnrollRequest { token: token.to_owned(), host: name.to_owned(), public_key, proof };
        host.take(v1::enrolment_client::EnrolmentClient::new(channel).enroll(request).await?.into_inner());
        Ok(host)
    }

    pub async fn renew(&self, guarded: &Guarded) -> Result<Self, String> {
        let (public_key, proof) = self.proof();
        let channel = self.channel(guarded).await?;
        let mut client = v1::enrolment_client::EnrolmentClient::new(channel);
        let signed = client.renew(v1::RenewRequest { public_key, proof }).await;
        let mut renewed = self.clone();
        renewed.take(signed.map_err(|status| status.message().to_owned())?.into_inner());
        Ok(renewed)
    }

    fn take(&mut self, signed: v1::HostCertificate) {
        self.roots_pem = signed.roots_pem;
        self.certificate_pem = signed.certificate_pem;
    }

    fn pair(&self) -> EcdsaKeyPair {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &self.key, &SystemRandom::new()).unwrap()
    }

    fn proof(&self) -> (Vec<u8>, Vec<u8>) {
        let pair = self.pair();
        let signed = [b"why502 enrolment\0", self.name.as_bytes()].concat();
        let proof = pair.sign(&SystemRandom::new(), &signed).unwrap();
        (pair.public_key().as_ref().to_vec(), proof.as_ref().to_vec())
    }

    /// Connects to the agents' door.
    pub async fn channel(&self, guarded: &Guarded) -> Result<Channel, String> {
        self.reach(guarded, guarded.ingest).await
    }

    async fn reach(&self, guarded: &Guarded, address: std::net::SocketAddr) -> Result<Channel, String> {
        let config = self.tls(guarded);
        let connector = service_fn(move |_: Uri| {
            let config = config.clone();
            async move {
                let stream = TcpStream::connect(address).await?;
                let name = ServerName::try_from("localhost").unwrap();
                TlsConnector::from(config).connect(name, stream).await.map(TokioIo::new)
            }
        });
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        endpoint.connect_with_connector(connector).await.map_err(|error| format!("{error:?}"))
    }

    /// The roots that it trusts.
    fn roots(&self, guarded: &Guarded) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let pem = match self.roots_pem.is_empty() {
            true => std::fs::read_to_string(guarded.identity_dir().join("ca.pem")).unwrap(),
            false => self.roots_pem.clone(),
        };
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem.as_bytes()).flatten());
        roots
    }

    /// How it speaks TLS: it trusts the collector's CA and shows what it has.
    pub fn tls(&self, guarded: &Guarded) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots(guarded));
        let chain: Vec<_> = CertificateDer::pem_slice_iter(self.certificate_pem.as_bytes()).flatten().collect();
        let mut config = match chain.is_empty() {
            true => builder.with_no_client_auth(),
            false => {
                let key = PrivatePkcs8KeyDer::from(self.key.clone()).into();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    /// Connects, says hello, and has one report acknowledged; else tells why not.
    pub async fn report_once(&self, guarded: &Guarded) -> Result<(), String> {
        let channel = self.channel(guarded).await?;
        let stream = open(channel, hello(&self.name, 1)).await;
        let mut stream = stream.map_err(|status| status.message().to_owned())?;
        stream.send(report(1)).await;
        stream.acked(1).await.map_err(|status| status.message().to_owned())
    }
}

pub fn hello(host: &str, next_seq: u64) -> v1::Hello {
    let (host, boot_id) = (host.to_owned(), "boot-1".to_owned());
    v1::Hello { host, boot_id, epoch: 7, next_seq, interval_us: 1_000_000, ..Default::default() }
}

pub fn report(seq: u64) -> v1::Report {
    v1::Report { seq, at_unix_us: now_s() * 1_000_000, ..Default::default() }
}

/// An agent's stream whose hello was answered.
pub struct Stream {
    messages: mpsc::Sender<v1::AgentMessage>,
    acks: Streaming<v1::CollectorMessage>,
}

pub async fn open(channel: Channel, hello: v1::Hello) -> Result<Stream, Status> {
    let mut client = v1::ingest_client::IngestClient::new(channel);
    let (messages, outgoing) = mpsc::channel(64);
    let first = v1::AgentMessage { kind: Some(v1::agent_message::Kind::Hello(hello)) };
    messages.send(first).await.unwrap();
    let acks = client.stream(ReceiverStream::new(outgoing)).await?.into_inner();
    let mut stream = Stream { messages, acks };
    stream.next().await.map(|_| stream)
}

impl Stream {
    async fn next(&mut self) -> Result<u64, Status> {
        let message = tokio::time::timeout(DEADLINE, self.acks.message()).await.unwrap()?;
        Ok(message.ok_or_else(|| Status::unavailable("the stream ended"))?.ack.unwrap().up_to_seq)
    }

    pub async fn send(&self, report: v1::Report) {
        let message = v1::AgentMessage { kind: Some(v1::agent_message::Kind::Report(report)) };
        self.messages.send(message).await.unwrap();
    }

    pub async fn acked(&mut self, seq: u64) -> Result<(), Status> {
        while self.next().await? < seq {}
        Ok(())
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> Status {
        loop {
            if let Err(status) = self.next().await {
                return status;
            }
        }
    }
}
