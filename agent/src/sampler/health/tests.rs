use super::*;

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A server on loopback that gives every request the same answer.
async fn server(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

fn config(service: &str) -> Config {
    let text = format!("collector = [\"http://127.0.0.1:1\"]\n[[service]]\nname = \"api\"\n{service}");
    crate::config::parse("agent.toml", &text).unwrap().config
}

/// The first result for a configuration, and the status before it.
async fn first(config: Config) -> (why502_proto::v1::SamplerStatus, HealthResult) {
    let (out, mut results) = mpsc::channel(8);
    let task = tokio::spawn(run(Arc::new(config), out));
    let Some(Observed::Status(status)) = results.recv().await else { panic!("no status") };
    let result = loop {
        let Some(Observed::Event(event)) = results.recv().await else { panic!("no event") };
        match event.kind {
            Some(Kind::Health(result)) => break result,
            Some(Kind::LogMatch(told)) => {
                assert_eq!((told.kind.as_str(), told.service.as_str()), ("not_leader", "api"))
            }
            other => panic!("{other:?}"),
        }
    };
    task.abort();
    (status, result)
}

#[tokio::test]
async fn an_unhealthy_answer_is_kept_masked() {
    let address = server("HTTP/1.1 503 No\r\nContent-Length: 33\r\n\r\nnot leader, password=hunter2 now ").await;
    let config =
        config(&format!("listen = [\"{address}\"]\nhealth = {{ path = \"/health?key=x\", timeout = \"2s\" }}\n"));
    let (status, result) = first(config).await;
    assert_eq!(status, Status::Active.message("health"));
    assert_eq!(result.url, format!("http://{address}/health"));
    assert_eq!((result.status, result.signal.as_str(), result.timeout_us), (503, "", 2_000_000));
    assert_eq!(result.body, "not leader, password=*** now ");
    assert!(result.connect_us.is_some() && result.first_byte_us.is_some() && !result.connect_only);
}

#[tokio::test]
async fn without_a_path_a_connect_is_all() {
    let address = server("").await;
    let (_, result) = first(config(&format!("listen = [{}]\n", address.port()))).await;
    assert_eq!(result.url, format!("tcp://127.0.0.1:{}", address.port()));
    assert!(result.connect_only && result.signal.is_empty() && result.connect_us.is_some());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (_, result) = first(config(&format!("listen = [\"{free}\"]\n"))).await;
    assert_eq!((result.signal.as_str(), result.connect_us), ("connect_refused", None));
}

#[tokio::test]
async fn a_port_means_any_local_address() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else { return };
    let port = listener.local_addr().unwrap().port();
    let (_, result) = first(config(&format!("listen = [{port}]\n"))).await;
    assert_eq!(result.signal, "", "{}", result.error);
}

#[tokio::test]
async fn tls_is_told_apart_by_trying() {
    let acceptor = crate::dial::acceptor("expired.pem");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    let (_, result) = first(config(&format!("listen = [\"{address}\"]\nhealth = {{ path = \"/h\" }}\n"))).await;
    assert_eq!((result.url, result.status), (format!("https://{address}/h"), 200));
}

#[tokio::test]
async fn a_silent_service_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_, result) =
        first(config(&format!("health = {{ path = \"/\", timeout = \"200ms\" }}\nlisten = [\"{address}\"]\n"))).await;
    assert_eq!((result.status, result.signal.as_str()), (0, "read_timeout"));
    assert!(result.connect_us.is_some());
}

#[tokio::test]
async fn health_without_an_address_is_told() {
    let (out, mut results) = mpsc::channel(8);
    let config = config("match = { exe = \"node\" }\nhealth = { path = \"/health\" }\n");
    run(Arc::new(config), out).await;
    let Some(Observed::Status(status)) = results.recv().await else { panic!("no status") };
    assert_eq!(status.why, "no address to ask api at: give listen, or port in health");
    assert_eq!(results.recv().await, None);
}

#[test]
fn the_body_of_a_503_is_as_good_as_a_log_line() {
    let told = |status, body: &str| {
        let result = HealthResult { status, body: body.to_owned(), ..HealthResult::default() };
        said(&result).map(|told| told.kind)
    };
    assert_eq!(told(503, "task timed out").as_deref(), Some("task_timeout"));
    assert_eq!((told(500, "task timed out"), told(503, "no")), (None, None));
}

#[test]
fn the_port_of_health_stands_before_that_of_listen() {
    let target = |text: &str| check::target(&config(text).services[0]).map(|target| target.to_string());
    assert_eq!(
        target("listen = [\"10.0.0.2:3000\"]\nhealth = { path = \"/\", port = 9000 }\n").as_deref(),
        Some("10.0.0.2:9000")
    );
    assert_eq!(target("listen = [3000]\nhealth = { path = \"/\", port = 9000 }\n").as_deref(), Some("127.0.0.1:9000"));
    assert_eq!(target("listen = [\"/run/a.sock\"]\nhealth = { path = \"/\" }\n").as_deref(), Some("unix:/run/a.sock"));
}

#[test]
fn after_a_failure_it_asks_each_second_for_a_while() {
    let seconds = |failures| pause(failures, Duration::from_secs(10)).as_secs();
    assert_eq!([0, 1, 30, 31].map(seconds), [10, 1, 1, 10]);
    assert_eq!(pause(1, Duration::from_millis(200)), Duration::from_millis(200));
}

#[test]
fn checks_keep_to_beats_and_apart_from_each_other() {
    let (second, now) = (Duration::from_secs(1), Instant::now());
    let close = |one: Instant, other: Instant| one.max(other) - one.min(other) < Duration::from_millis(20);
    let beat = beat::nearest(now + 10 * second, 10 * second);
    assert!(close(next_check(beat, 10 * second, Duration::ZERO), beat + 10 * second));
    assert!(close(next_check(beat + SPREAD, 10 * second, SPREAD), beat + SPREAD + 10 * second));
    assert!(close(next_check(beat + second / 4, second, SPREAD), beat + SPREAD + second));
    let next = next_check(now, 10 * second, 9 * SPREAD);
    assert!(next >= now + 5 * second - second / 10 && next <= now + 15 * second + second / 10, "{:?}", next - now);
}

#[test]
fn all_addresses_are_asked_once() {
    let config = config("listen = [3000, 3001]\nhealth = { path = \"/\", interval = \"3s\" }\n");
    let checks = checks(&config.services[0]);
    assert_eq!(checks.len(), 2);
    assert!(checks.iter().all(|(_, interval)| *interval == Duration::from_secs(3)));
}
