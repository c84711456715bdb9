use super::*;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const LIMIT: Duration = Duration::from_secs(5);

/// What a scripted server does with the request it read.
#[derive(Clone, Copy)]
enum Act {
    Say(&'static [u8]),
    SayAndHold(&'static [u8]),
    Close,
    Reset,
    Hold,
}

/// A server on loopback that does the same with every connection.
async fn server(act: Act) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let read = if matches!(act, Act::Reset) { 1 } else { request.len() };
            let _ = stream.read(&mut request[..read]).await;
            match act {
                Act::Say(words) => stream.write_all(words).await.unwrap(),
                Act::SayAndHold(words) => {
                    stream.write_all(words).await.unwrap();
                    held.push(stream);
                }
                // What it did not read makes the kernel send a reset.
                Act::Close | Act::Reset => drop(stream),
                Act::Hold => held.push(stream),
            }
        }
    });
    Target::Tcp(address)
}

async fn ask(act: Act, limit: Duration) -> Result<Answer, NoAnswer> {
    let stream = connect(&server(act).await, LIMIT).await.0.unwrap();
    get(stream, &Ask { path: "/health?a=b", host: "api", keep_alive: false, body_limit_bytes: 8, limit }).await
}

#[tokio::test]
async fn an_answer_is_read_with_the_beginning_of_its_body() {
    let answer =
        ask(Act::Say(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 12\r\nX-A: b\r\n\r\nnot a leader"), LIMIT)
            .await;
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (503, b"not a le".as_slice()));
    assert_eq!(answer.header_bytes, 64);
    assert!(answer.idle.is_none());
}

#[tokio::test]
async fn an_answer_whose_body_breaks_off_is_an_answer() {
    let answer = ask(Act::Say(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nnot"), LIMIT).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"not".as_slice()));
    let stalled =
        ask(Act::SayAndHold(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nnot"), Duration::from_millis(200)).await;
    assert_eq!(stalled.unwrap().status, 200);
}

#[tokio::test]
async fn each_way_to_fail_has_its_signal() {
    let signal = async |act| ask(act, Duration::from_millis(300)).await.unwrap_err().signal;
    assert_eq!(signal(Act::Close).await, Signal::ClosedBeforeHeaders);
    assert_eq!(signal(Act::Reset).await, Signal::ResetBeforeHeaders);
    assert_eq!(signal(Act::Hold).await, Signal::ReadTimeout);
    assert_eq!(signal(Act::Say(b"HTTP/1.1 200 OK\r\nX-A:")).await, Signal::ClosedBeforeHeaders);
    assert_eq!(signal(Act::Say(b"HTTP/1.1 200 OK\r\n\x01bad\r\n\r\n")).await, Signal::HeaderInvalid);
    assert_eq!(signal(Act::Say(b"SSH-2.0-OpenSSH_9.6\r\n")).await, Signal::ResponseInvalid);
}

#[tokio::test]
async fn a_header_beyond_all_bounds_is_told_as_too_big() {
    let mut words = b"HTTP/1.1 200 OK\r\nX-A: ".to_vec();
    words.resize(1 << 20, b'a');
    let failure = ask(Act::SayAndHold(words.leak()), LIMIT).await.unwrap_err();
    assert_eq!(failure.signal, Signal::HeaderTooBig, "{}", failure.says);
}

#[tokio::test]
async fn a_tls_alert_to_plain_text_is_noticed() {
    let failure = ask(Act::Say(b"\x15\x03\x01\x00\x02\x02\x46"), LIMIT).await.unwrap_err();
    assert!(failure.speaks_tls);
}

#[tokio::test]
async fn a_kept_connection_tells_when_the_peer_closes_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::Tcp(listener.local_addr().unwrap());
    let (close, closing) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        closing.await.unwrap();
    });
    let stream = connect(&target, LIMIT).await.0.unwrap();
    let ask = Ask { path: "/", host: "api", keep_alive: true, body_limit_bytes: 64, limit: LIMIT };
    let idle = get(stream, &ask).await.unwrap().idle.expect("it is kept");
    let closed = idle.closed();
    tokio::pin!(closed);
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut closed).await.is_err(), "it is still open");
    close.send(()).unwrap();
    tokio::time::timeout(LIMIT, closed).await.expect("it was closed");
}

#[tokio::test]
async fn connecting_tells_refused_from_silent() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = connect(&Target::Tcp(free), LIMIT).await.0.err().unwrap();
    assert_eq!((refused.signal, refused.errno), (Signal::ConnectRefused, Errno::ECONNREFUSED as i32));
    // A listener whose queue is full answers no SYN any more.
    let full = tokio::net::TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = full.listen(0).unwrap();
    let target = Target::Tcp(full.local_addr().unwrap());
    let mut waiting = Vec::new();
    let silent = loop {
        match connect(&target, Duration::from_millis(200)).await.0 {
            Ok(stream) => waiting.push(stream),
            Err(silent) => break silent,
        }
        assert!(waiting.len() < 16);
    };
    assert_eq!((silent.signal, silent.errno), (Signal::ConnectTimeout, 0));
}

#[tokio::test]
async fn unix_sockets_fail_in_their_own_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let signal = async |path: &std::path::Path| match connect(&Target::Unix(path.to_owned()), LIMIT).await.0 {
        Ok(_) => Signal::Ok,
        Err(refused) => refused.signal,
    };
    assert_eq!(signal(&path).await, Signal::SocketMissing);
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    assert_eq!(signal(&path).await, Signal::Ok);
    drop(listener);
    assert_eq!(signal(&path).await, Signal::ConnectRefused);
    let full = std::os::unix::net::UnixListener::bind(folder.path().join("b.sock")).unwrap();
    nix::sys::socket::listen(&full, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let mut waiting = Vec::new();
    let refused = loop {
        match connect(&Target::Unix(folder.path().join("b.sock")), LIMIT).await.0 {
            Ok(stream) => waiting.push(stream),
            Err(refused) => break refused,
        }
        assert!(waiting.len() < 16);
    };
    assert_eq!(refused.signal, Signal::SocketBacklogFull);
}

#[test]
fn the_kernels_errors_have_their_signals() {
    for (errno, signal) in [
        (Errno::EHOSTUNREACH, Signal::ConnectUnreachable),
        (Errno::ENETUNREACH, Signal::ConnectUnreachable),
        (Errno::EACCES, Signal::ConnectUnreachable),
        (Errno::ETIMEDOUT, Signal::ConnectTimeout),
        (Errno::EADDRNOTAVAIL, Signal::LocalPortExhausted),
        (Errno::EMFILE, Signal::GatewayResource),
        (Errno::EPERM, Signal::ConnectFailed),
    ] {
        assert_eq!(tcp_signal(errno), signal, "{errno}");
    }
    assert_eq!(unix_signal(Errno::EACCES), Signal::SocketPermission);
}
