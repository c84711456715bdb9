use super::*;

/// A name server on loopback that answers each query by a function, and a resolver that asks it.
async fn server(reply: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> (Resolver, tempfile::TempDir) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("resolv.conf");
    std::fs::write(&settings, "nameserver 127.0.0.1\nsearch example\noptions attempts:1 timeout:1\n").unwrap();
    let hosts = folder.path().join("hosts");
    std::fs::write(&hosts, "10.9.9.9 listed\n").unwrap();
    let resolver = Resolver { hosts, settings, port: socket.local_addr().unwrap().port() };
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            if let Some(answer) = reply(&buffer[..length]) {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    });
    (resolver, folder)
}

/// The query as an answer with this code.
fn coded(query: &[u8], code: u8) -> Vec<u8> {
    let mut answer = query.to_vec();
    answer[2..4].copy_from_slice(&[0x81, 0x80 | code]);
    answer
}

const LIMIT: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_short_name_is_found_by_the_search_list() {
    let (resolver, _folder) = server(|query| {
        if !query[12..].starts_with(b"\x03api\x07example\x00") {
            return Some(coded(query, 3));
        }
        let mut answer = coded(query, 0);
        if query.ends_with(&[0, 1, 0, 1]) {
            answer[7] = 1;
            answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 2]);
        }
        Some(answer)
    })
    .await;
    assert_eq!(resolver.lookup("api", LIMIT).await.unwrap(), ["10.0.0.2".parse::<IpAddr>().unwrap()]);
    assert_eq!(resolver.lookup("listed", LIMIT).await.unwrap(), ["10.9.9.9".parse::<IpAddr>().unwrap()]);
    assert_eq!(resolver.lookup("::1", LIMIT).await.unwrap(), ["::1".parse::<IpAddr>().unwrap()]);
    let missing = resolver.lookup("gone.example.", LIMIT).await.unwrap_err();
    assert_eq!(missing, "127.0.0.1 says NXDOMAIN for gone.example");
}

#[tokio::test]
async fn a_silent_server_is_told_of() {
    let (resolver, _folder) = server(|_| None).await;
    let error = resolver.lookup("api.", Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(error, "no answer from 127.0.0.1 within 200ms");
}
