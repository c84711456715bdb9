use super::*;

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::dial::{Ask, Target, connect, get};

const LIMIT: Duration = Duration::from_secs(5);

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls").join(name)
}

/// The TLS side of a server with one of the certificates in `fixtures/tls`.
pub(crate) fn acceptor(certificate: &str) -> TlsAcceptor {
    let chain: Vec<_> = CertificateDer::pem_file_iter(fixture(certificate)).unwrap().collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// A TLS server on loopback with this certificate, which answers every request.
async fn server(certificate: &str) -> Target {
    let acceptor = acceptor(certificate);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::Tcp(listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        }
    });
    target
}

async fn shake(certificate: &str, ask: &TlsAsk) -> Result<Secured, NoHandshake> {
    handshake(connect(&server(certificate).await, LIMIT).await.0.unwrap(), ask, LIMIT).await
}

fn verified(name: &str) -> TlsAsk {
    TlsAsk { verify: true, ca_file: Some(fixture("ca.pem")), name: name.to_owned(), ..TlsAsk::default() }
}

#[tokio::test]
async fn a_certificate_that_is_trusted_holds_and_is_read() {
    for name in ["api.internal", "a.api.internal", "127.0.0.1", "::1"] {
        let secured =
            shake("server.pem", &verified(name)).await.unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
        let expected = Certificate {
            not_before_unix_s: 1_577_836_800,
            not_after_unix_s: 4_733_510_400,
            names: ["api.internal", "*.api.internal", "127.0.0.1", "::1"].map(str::to_owned).to_vec(),
        };
        assert_eq!(secured.certificate, Some(expected));
        let ask = Ask { path: "/", host: name, keep_alive: false, body_limit_bytes: 8, limit: LIMIT };
        assert_eq!(get(secured.stream, &ask).await.unwrap().status, 204);
    }
}

#[tokio::test]
async fn a_refused_certificate_is_read_all_the_same() {
    let expired = shake("expired.pem", &verified("api.internal")).await.err().unwrap();
    assert_eq!((expired.signal, expired.certificate.unwrap().not_after_unix_s), (Signal::TlsVerify, 1_609_459_200));
    assert!(expired.says.contains("expired"), "{}", expired.says);
    let other = shake("server.pem", &verified("web.internal")).await.err().unwrap();
    assert_eq!((other.signal, other.certificate.unwrap().names.len()), (Signal::TlsVerify, 4));
    let untrusted = TlsAsk { ca_file: Some(fixture("expired.pem")), ..verified("api.internal") };
    assert_eq!(shake("server.pem", &untrusted).await.err().unwrap().signal, Signal::TlsVerify);
}

/// As OpenSSL and Go judge it: nginx, HAProxy and Envoy take such a certificate where it stands in their CA file.
#[tokio::test]
async fn a_certificate_that_signed_itself_holds_where_it_is_trusted() {
    let trusted = |name| TlsAsk { ca_file: Some(fixture("self.pem")), ..verified(name) };
    assert!(shake("self.pem", &trusted("api.internal")).await.is_ok());
    let other = shake("self.pem", &trusted("web.internal")).await.err().unwrap();
    assert_eq!(other.signal, Signal::TlsVerify);
    assert!(shake("self.pem", &TlsAsk { any_name: true, ..trusted("web.internal") }).await.is_ok());
    let untrusted = shake("self.pem", &verified("api.internal")).await.err().unwrap();
    assert_eq!(untrusted.signal, Signal::TlsVerify);
}

#[tokio::test]
async fn a_gateway_that_asks_for_no_name_takes_any_but_no_stranger() {
    let any = TlsAsk { any_name: true, ..verified("web.internal") };
    assert!(shake("server.pem", &any).await.is_ok());
    assert_eq!(shake("expired.pem", &any).await.err().unwrap().signal, Signal::TlsVerify);
    let strange = TlsAsk { ca_file: Some(fixture("self.pem")), ..any };
    assert_eq!(shake("server.pem", &strange).await.err().unwrap().signal, Signal::TlsVerify);
}

#[tokio::test]
async fn without_verification_anything_holds() {
    let ask = TlsAsk {
        name: "web.internal".to_owned(),
        send_name: true,
        protocols: "TLSv1.2".to_owned(),
        ..TlsAsk::default()
    };
    assert!(shake("expired.pem", &ask).await.is_ok());
}

#[tokio::test]
async fn settings_that_cannot_work_are_told() {
    let missing = TlsAsk { ca_file: Some(PathBuf::from("/nonexistent/ca.pem")), ..verified("api.internal") };
    let failure = shake("server.pem", &missing).await.err().unwrap();
    assert_eq!(failure.signal, Signal::TlsHandshake);
    assert!(failure.says.starts_with("/nonexistent/ca.pem: No such file"), "{}", failure.says);
    let nameless = TlsAsk { name: "no name".to_owned(), ..TlsAsk::default() };
    assert!(shake("server.pem", &nameless).await.err().unwrap().says.contains("no name"));
}

#[tokio::test]
async fn no_cut_of_a_certificate_makes_its_reader_panic() {
    let der = CertificateDer::from_pem_file(fixture("server.pem")).unwrap();
    assert!(Certificate::parse(&der).is_some());
    for end in 0..der.len() {
        Certificate::parse(&der[..end]);
        for value in [0, 0x7f, 0x80, 0x84, 0xff] {
            let mut changed = der.to_vec();
            changed[end] = value;
            Certificate::parse(&changed);
        }
    }
}

#[tokio::test]
async fn plain_text_to_a_tls_port_shows_as_tls() {
    let stream = connect(&server("server.pem").await, LIMIT).await.0.unwrap();
    let ask = Ask { path: "/", host: "api", keep_alive: false, body_limit_bytes: 8, limit: LIMIT };
    assert!(get(stream, &ask).await.unwrap_err().speaks_tls);
}
