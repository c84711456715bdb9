use super::*;

use std::net::SocketAddr;

use nix::sys::socket::{getsockopt, sockopt::TcpMaxSeg};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use why502_proto::v1::ProbeResult;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A server on loopback that gives each request the same answer and closes after the silence given.
async fn server(answer: &'static [u8], silence: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1024];
                while let Ok(Ok(1..)) = tokio::time::timeout(silence, stream.read(&mut request)).await {
                    let _ = stream.write_all(answer).await;
                }
            });
        }
    });
    address
}

fn request(address: impl ToString) -> ProbeRequest {
    ProbeRequest {
        gateway: "edge".to_owned(),
        upstream: "10.0.0.2:3000".to_owned(),
        address: address.to_string(),
        scheme: "http".to_owned(),
        get_path: Some("/orders".to_owned()),
        ..ProbeRequest::default()
    }
}

/// A prober with its two channels.
fn prober() -> (mpsc::Sender<ProbeRequest>, mpsc::Receiver<Observed>) {
    let (requests, rx) = mpsc::channel(8);
    let (out, results) = mpsc::channel(8);
    tokio::spawn(Prober::default().run(rx, out));
    (requests, results)
}

async fn next(results: &mut mpsc::Receiver<Observed>) -> ProbeResult {
    loop {
        if let Observed::Event(event) = results.recv().await.expect("the prober ended") {
            let Some(Kind::Probe(result)) = event.kind else { panic!("no result") };
            return result;
        }
    }
}

async fn probe(request: ProbeRequest) -> ProbeResult {
    let (requests, mut results) = prober();
    requests.send(request).await.unwrap();
    next(&mut results).await
}

#[tokio::test]
async fn a_working_upstream_shows_four_connects_and_an_answer() {
    let result = probe(request(server(ANSWER, Duration::from_secs(5)).await)).await;
    assert_eq!((result.gateway.as_str(), result.upstream.as_str()), ("edge", "10.0.0.2:3000"));
    assert_eq!(result.connects.iter().map(|one| one.outcome.as_str()).collect::<Vec<_>>(), ["connected"; 4]);
    let route = result.route.unwrap();
    assert_eq!((route.found, route.interface.as_str(), route.via.as_str()), (true, "lo", ""));
    let http = result.http.unwrap();
    assert_eq!((http.request.as_str(), http.status, http.signal.as_str()), ("GET /orders", 200, "ok"));
    assert_eq!(http.header_bytes, 38);
    assert_eq!((result.other_port, result.echo_answered, result.lookup, result.tls), (None, None, None, None));
    assert_eq!(result.small_packets, None);
}

#[tokio::test]
async fn a_refused_port_is_refused_each_time() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let result = probe(request(free)).await;
    assert!(result.connects.iter().all(|one| one.outcome == "connect_refused" && one.errno == 111), "{result:?}");
    assert_eq!((result.connects.len(), result.http, result.other_port), (4, None, None));
}

#[tokio::test]
async fn where_nothing_answers_another_port_is_tried() {
    // A listener whose queue is full answers no SYN any more; its host does.
    let full = tokio::net::TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = full.listen(0).unwrap();
    let address = full.local_addr().unwrap();
    let limit = Duration::from_millis(100);
    let mut waiting = Vec::new();
    while let Ok(stream) = crate::dial::connect(&crate::dial::Target::Tcp(address), limit).await.0 {
        waiting.push(stream);
    }
    let open = server(ANSWER, Duration::from_secs(5)).await;
    let began = Instant::now();
    let result = probe(ProbeRequest { other_ports: vec![open.port()], ..request(address) }).await;
    assert!(began.elapsed() < Duration::from_millis(2500), "a verdict waits for the first probe");
    assert!(result.connects.iter().all(|one| one.outcome == "connect_timeout"), "{result:?}");
    let other = result.other_port.unwrap();
    assert!(matches!(other.outcome.as_str(), "connected" | "connect_refused"), "{other:?}");
    assert_ne!(result.echo_answered, Some(false));
}

#[tokio::test]
async fn a_reset_upstream_has_its_idle_time_measured_once() {
    let address = server(ANSWER, Duration::from_millis(700)).await;
    let (requests, mut results) = prober();
    let request = ProbeRequest { signal: Signal::ResetBeforeHeaders, ..request(address) };
    requests.send(request.clone()).await.unwrap();
    assert_eq!(next(&mut results).await.http.unwrap().status, 200);
    let idle = next(&mut results).await;
    let closed_us = idle.idle_close_us.unwrap();
    assert!((600_000..5_000_000).contains(&closed_us), "{closed_us}");
    assert_eq!((idle.idle_kept_us, idle.connects.len(), idle.upstream.as_str()), (None, 0, "10.0.0.2:3000"));
}

#[tokio::test]
async fn a_unix_socket_is_told_in_its_own_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let result = probe(request(format!("unix:{}", path.display()))).await;
    assert!(result.connects.iter().all(|one| one.outcome == "socket_missing"), "{result:?}");
    assert_eq!((result.route, result.other_port), (None, None));
}

#[tokio::test]
async fn a_name_is_looked_up_and_forbidden_addresses_are_not_tried() {
    let port = server(ANSWER, Duration::from_secs(5)).await.port();
    let result = probe(request(format!("localhost:{port}"))).await;
    assert_eq!(result.lookup.unwrap().name, "localhost");
    assert!(result.connects.iter().any(|one| one.outcome == "connected"));
    for address in ["169.254.169.254:80", "[::ffff:169.254.169.254]:80", "[fe80::1]:80", "0.0.0.0:80"] {
        let result = probe(request(address)).await;
        assert_eq!((result.connects.len(), result.route, result.http), (0, None, None), "{address}");
    }
}

/// A way on which packets of more than 1,000 bytes get lost, as far as a server can stand for it: it sends its answer, or that part
/// of it, only to those who take nothing larger.
async fn narrow(head: &'static [u8], body_bytes: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 1024]).await;
                let segment_bytes = getsockopt(&stream, TcpMaxSeg).unwrap();
                let small = segment_bytes <= 1000;
                if small || head.ends_with(b"\r\n\r\n") {
                    let _ = stream.write_all(head).await;
                }
                if small {
                    let rest = if head.ends_with(b"\r\n\r\n") { &b""[..] } else { b"\r\n\r\n" };
                    let _ = stream.write_all(&[rest, &vec![b'a'; body_bytes]].concat()).await;
                }
                let _ = stream.read(&mut [0; 1]).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn what_answers_by_small_packets_only_is_noticed() {
    let unanswered = probe(request(narrow(b"HTTP/1.1 200 OK\r\nContent-Length: 3000", 3000).await)).await;
    let (http, small) = (unanswered.http.unwrap(), unanswered.small_packets.unwrap());
    assert_eq!((http.status, http.signal.as_str(), http.received_bytes), (0, "read_timeout", 0));
    assert_eq!((small.request.as_str(), small.status, small.signal.as_str()), ("GET /orders", 200, "ok"));
    assert!(small.received_bytes > 1000, "{small:?}");
    let stalled = probe(request(narrow(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", 900).await)).await;
    let (http, small) = (stalled.http.unwrap(), stalled.small_packets.unwrap());
    assert_eq!((http.status, http.signal.as_str(), http.received_bytes), (200, "body_timeout", 40));
    assert_eq!((small.status, small.signal.as_str(), small.received_bytes), (200, "ok", 940));
}

#[tokio::test]
async fn who_never_answers_does_not_answer_small_packets_either() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let began = Instant::now();
    let result = probe(request(listener.local_addr().unwrap())).await;
    assert!(began.elapsed() < Duration::from_secs(2), "a verdict waits for the first probe");
    for http in [result.http, result.small_packets] {
        assert!(http.as_ref().is_some_and(|http| http.signal == "read_timeout" && http.status == 0), "{http:?}");
    }
}

#[tokio::test]
async fn plain_text_where_tls_is_spoken_to_is_noticed() {
    let address = server(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", Duration::from_secs(5)).await;
    let result = probe(ProbeRequest { scheme: "https".to_owned(), ..request(address) }).await;
    let tls = result.tls.unwrap();
    assert!(!tls.ok && tls.plain_answer, "{tls:?}");
    assert_eq!(result.http, None);
}

#[tokio::test]
async fn who_closes_on_a_plain_request_is_tried_by_tls() {
    let acceptor = crate::dial::acceptor("expired.pem");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut first = [0];
                // Anything but a handshake is not worth a word, as with Node.js.
                if stream.peek(&mut first).await.is_ok() && first == [22] {
                    let _ = acceptor.accept(stream).await;
                }
            });
        }
    });
    let result = probe(request(address)).await;
    assert!(result.tls.is_some_and(|tls| tls.ok), "{:?}", result.http);
    let closes = server(b"", Duration::ZERO).await;
    assert_eq!(probe(request(closes)).await.tls, None);
}

#[tokio::test]
async fn failures_beyond_the_rate_are_not_probed() {
    let address = server(ANSWER, Duration::from_secs(5)).await;
    let (requests, mut results) = prober();
    for _ in 0..50 {
        requests.send(request(address)).await.unwrap();
    }
    next(&mut results).await;
    drop(requests);
    assert_eq!(results.recv().await, None);
}

#[test]
fn a_slow_request_is_not_repeated_where_the_health_path_will_do() {
    let request = ProbeRequest { health_path: Some("/health".to_owned()), ..request("10.0.0.2:3000") };
    assert_eq!(request.path(), Some("/orders"));
    assert_eq!(ProbeRequest { signal: Signal::ReadTimeout, ..request.clone() }.path(), Some("/health"));
    assert_eq!(ProbeRequest { signal: Signal::NoLiveUpstream, ..request.clone() }.path(), Some("/health"));
    assert_eq!(ProbeRequest { get_path: Some("/a b".to_owned()), ..request }.path(), None);
}
