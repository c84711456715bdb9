use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, UnixDatagram};

use super::*;
use crate::tail::MAX_LINE_BYTES;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(10);

fn story(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, story);
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Listens; done once the socket is open.
async fn listening(listen: LogListen) -> Inbox {
    let inbox = Inbox::default();
    inbox.set_fault(Some("not begun".to_owned()));
    tokio::task::spawn_local(run(listen, inbox.clone()));
    until("it listens", || inbox.fault().is_none().then_some(())).await;
    inbox
}

async fn until<T>(what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = holds() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn taken(inbox: &Inbox) -> Vec<String> {
    let mut lines = Vec::new();
    while inbox.take(1 << 20, &mut |line| lines.push(String::from_utf8_lossy(line).into_owned())) {}
    lines
}

/// The lines that came, once there are so many.
async fn lines(inbox: &Inbox, count: usize) -> Vec<String> {
    let mut got = Vec::new();
    until("all lines come", || {
        got.extend(taken(inbox));
        (got.len() >= count).then_some(())
    })
    .await;
    got
}

#[test]
fn each_datagram_is_a_message() {
    story(async {
        let address = free_address();
        let inbox = listening(LogListen::Udp(address)).await;
        let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for text in ["<134>Nov 22 06:43:09 haproxy[1]: one\n", "two\nforged"] {
            sender.send_to(text.as_bytes(), address).await.unwrap();
        }
        assert_eq!(lines(&inbox, 2).await, ["<134>Nov 22 06:43:09 haproxy[1]: one", "two\nforged"]);
        assert_eq!(inbox.counts(), Counts::default());
    });
}

#[test]
fn a_path_left_by_an_agent_before_is_taken_over_and_another_programs_is_not() {
    story(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.sock");
        drop(UnixDatagram::bind(&path).unwrap());
        let inbox = listening(LogListen::Unixgram(path.clone())).await;
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(b"one", &path).await.unwrap();
        assert_eq!(lines(&inbox, 1).await, ["one"]);

        let second = fault_of(LogListen::Unixgram(path)).await;
        assert!(second.contains("another program listens there"), "{second}");
        let file = dir.path().join("file");
        std::fs::write(&file, "kept").unwrap();
        let fault = fault_of(LogListen::Unixgram(file.clone())).await;
        assert!(fault.contains("no socket") && std::fs::read_to_string(&file).unwrap() == "kept", "{fault}");
        let nowhere = fault_of(LogListen::Unixgram(Path::new("/nonexistent/log.sock").into())).await;
        assert!(nowhere.contains("No such file"), "{nowhere}");
    });
}

async fn fault_of(listen: LogListen) -> String {
    let inbox = Inbox::default();
    tokio::task::spawn_local(run(listen, inbox.clone()));
    until("a fault", || inbox.fault()).await
}

#[test]
fn what_finds_no_room_is_left_out_and_counted() {
    let inbox = Inbox::default();
    let line = vec![b'x'; MAX_LINE_BYTES + 1];
    (0..100).for_each(|_| inbox.offer(&line));
    let kept = taken(&inbox);
    let counts = inbox.counts();
    assert_eq!(kept.len() as u64 + counts.lost_lines, 100);
    assert!(counts.lost_lines > 0 && kept.len() * MAX_LINE_BYTES <= 4 << 20);
    assert!(kept.iter().all(|line| line.len() == MAX_LINE_BYTES) && counts.cut_lines == kept.len() as u64);
}

#[test]
fn a_stream_waits_for_room_and_loses_nothing() {
    story(async {
        let address = free_address();
        let inbox = listening(LogListen::Tcp(address)).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let sender = tokio::task::spawn_local(async move {
            for number in 0..20_000 {
                let message = format!("<13>{number} {}", "x".repeat(1_000));
                let framed =
                    if number % 2 == 0 { format!("{} {message}", message.len()) } else { format!("{message}\n") };
                stream.write_all(framed.as_bytes()).await.unwrap();
            }
        });
        let got = lines(&inbox, 20_000).await;
        sender.await.unwrap();
        for (number, line) in got.iter().enumerate() {
            assert!(line.starts_with(&format!("<13>{number} ")), "{number}: {}", &line[..20]);
        }
        assert_eq!((got.len(), inbox.counts()), (20_000, Counts::default()));
    });
}

#[test]
fn connections_are_bounded_and_those_beyond_are_closed_at_once() {
    story(async {
        let address = free_address();
        let inbox = listening(LogListen::Tcp(address)).await;
        let mut held = Vec::new();
        for _ in 0..64 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"held\n").await.unwrap();
            held.push(stream);
        }
        lines(&inbox, 64).await;
        let mut beyond = TcpStream::connect(address).await.unwrap();
        // Closed or reset: either way nothing is read.
        assert_eq!(beyond.read(&mut [0; 8]).await.unwrap_or(0), 0);
        assert_eq!(inbox.counts().cut_senders, 1);
        held.pop();
        let again = async {
            loop {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let _ = stream.write_all(b"after\n").await;
                if until_some(&inbox).await {
                    return;
                }
            }
        };
        tokio::time::timeout(DEADLINE, again).await.expect("a place is free again");
    });
}

/// Whether a line comes soon.
async fn until_some(inbox: &Inbox) -> bool {
    for _ in 0..100 {
        if !taken(inbox).is_empty() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    false
}

/// The status of a request that is sent as it stands.
async fn pushed(address: SocketAddr, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{head}\r\nhost: a\r\nconnection: close\r\n\r\n");
    let sent = stream.write_all(&[head.as_bytes(), body].concat()).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer).await;
    let status = String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_default().to_owned();
    assert!(!status.is_empty(), "no answer: {sent:?} {read:?}");
    status
}

async fn post(address: SocketAddr, headers: &str, body: &[u8]) -> String {
    pushed(address, &format!("POST /logs HTTP/1.1\r\ncontent-length: {}{headers}", body.len()), body).await
}

#[test]
fn json_is_taken_by_line_as_an_array_and_packed() {
    story(async {
        let address = free_address();
        let inbox = listening(LogListen::Http(address)).await;
        assert_eq!(post(address, "", b"{\"a\": 1}\r\n\n {\"a\":2}").await, "204");
        assert_eq!(post(address, "", b" [{\"a\": [3]},\n {\"a\": 4} ]\n").await, "204");
        let packed = gzip::tests::pack(b"{\"a\":5}\n");
        assert_eq!(post(address, "\r\ncontent-encoding: gzip", &packed).await, "204");
        let chunked = "PUT / HTTP/1.1\r\ntransfer-encoding: chunked";
        assert_eq!(pushed(address, chunked, b"4\r\n{\"a\"\r\n3\r\n:6}\r\n0\r\n\r\n").await, "204");
        let wanted = ["{\"a\": 1}", "{\"a\":2}", "{\"a\": [3]}", "{\"a\": 4}", "{\"a\":5}", "{\"a\":6}"];
        assert_eq!(lines(&inbox, 6).await, wanted);
        assert_eq!(inbox.counts(), Counts::default());
    });
}

#[test]
fn what_is_not_taken_is_told_by_the_status_and_counted() {
    story(async {
        let address = free_address();
        let inbox = listening(LogListen::Http(address)).await;
        let bomb = gzip::tests::pack(&vec![b'\n'; 64 << 20]);
        assert_eq!(pushed(address, "GET / HTTP/1.1", b"").await, "405");
        assert_eq!(post(address, "\r\ncontent-encoding: br", b"{}").await, "415");
        assert_eq!(post(address, "", b"[{\"a\":1}, {").await, "400");
        assert_eq!(post(address, "\r\ncontent-encoding: gzip", b"{\"a\":1}").await, "400");
        assert_eq!(post(address, "\r\ncontent-encoding: gzip", &bomb).await, "413");
        assert_eq!(post(address, "", &b"{}\n".repeat(20_001)).await, "413");
        assert_eq!(post(address, "", &vec![b'x'; (1 << 20) + 1]).await, "413");
        assert_eq!(inbox.counts().cut_senders, 7);
        assert_eq!(taken(&inbox).len(), 0, "nothing of it is taken");
    });
}

#[test]
fn a_push_that_finds_no_room_is_to_be_tried_again() {
    story(async {
        let address = free_address();
        let inbox = listening(LogListen::Http(address)).await;
        let body = [&b"{\"a\":\""[..], &vec![b'x'; 60_000], b"\"}\n"].concat().repeat(16);
        let mut taken_pushes = 0;
        while post(address, "", &body).await == "204" {
            taken_pushes += 1;
            assert!(taken_pushes < 10, "it is never full");
        }
        assert!(taken_pushes > 1);
        assert_eq!(taken(&inbox).len(), taken_pushes * 16, "all of a push or nothing");
        assert_eq!(post(address, "", &body).await, "204");
    });
}
