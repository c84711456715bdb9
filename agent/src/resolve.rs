//! Names to addresses without the C library: its plug-ins can't be loaded by a static program, and its call would block
//! the one thread. Reads /etc/hosts and /etc/resolv.conf at each lookup, as they are then, and asks the name servers
//! over UDP, over TCP where an answer was cut off. Sources: resolv.conf(5), hosts(5), RFC 1035.

mod files;
mod message;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use files::Settings;
use message::Answer;

/// Most addresses that a lookup gives.
const MOST_ADDRESSES: usize = 16;
/// Most bytes of a file that is read.
const FILE_LIMIT_BYTES: u64 = 1 << 20;
/// Longest datagram that is read, bytes.
const DATAGRAM_BYTES: usize = 4096;

/// Looks up names as this host is set up to.
#[derive(Debug, Clone)]
pub struct Resolver {
    hosts: PathBuf,
    settings: PathBuf,
    port: u16,
}

impl Default for Resolver {
    fn default() -> Self {
        Self { hosts: PathBuf::from("/etc/hosts"), settings: PathBuf::from("/etc/resolv.conf"), port: 53 }
    }
}

impl Resolver {
    /// The addresses of a name; of an address, itself. The error says who was asked and what came back.
    pub async fn lookup(&self, name: &str, limit: Duration) -> Result<Vec<IpAddr>, String> {
        if let Ok(address) = name.trim_start_matches('[').trim_end_matches(']').parse() {
            return Ok(vec![address]);
        }
        let lower = name.trim_end_matches('.').to_ascii_lowercase();
        let listed = files::addresses(&read(&self.hosts), &lower);
        if !listed.is_empty() {
            return Ok(listed);
        }
        if lower == "localhost" || lower.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let settings = files::settings(&read(&self.settings), self.port);
        match timeout(limit, ask_all(&settings, name)).await {
            Ok(found) => found,
            Err(_) => Err(format!("no answer from {} within {limit:?}", shown(&settings.servers))),
        }
    }
}

/// A file that can't be read is an empty one, as the C library takes it.
fn read(path: &std::path::Path) -> String {
    let small = std::fs::metadata(path).is_ok_and(|data| data.len() <= FILE_LIMIT_BYTES);
    let bytes = if small { std::fs::read(path).unwrap_or_default() } else { Vec::new() };
    String::from_utf8_lossy(&bytes).into_owned()
}

fn shown(servers: &[SocketAddr]) -> String {
    servers.iter().map(|server| server.ip().to_string()).collect::<Vec<_>>().join(", ")
}

/// Tries the names that the search list makes of one, in order, until one has addresses.
async fn ask_all(settings: &Settings, name: &str) -> Result<Vec<IpAddr>, String> {
    let mut first_error = None;
    for candidate in settings.candidates(name) {
        match ask_servers(settings, &candidate).await {
            Ok(found) if !found.is_empty() => return Ok(found),
            Ok(_) => {
                first_error.get_or_insert(format!("{} knows no address of {candidate}", shown(&settings.servers)));
            }
            Err(why) => {
                first_error.get_or_insert(why);
            }
        }
    }
    Err(first_error.unwrap_or_else(|| format!("{} is no name", name.escape_debug())))
}

/// Asks the servers in turn, each for addresses of both families.
async fn ask_servers(settings: &Settings, name: &str) -> Result<Vec<IpAddr>, String> {
    let mut why = "no name server is configured".to_owned();
    for _ in 0..settings.attempts {
        for server in &settings.servers {
            let both = async { tokio::join!(ask(*server, name, message::A), ask(*server, name, message::AAAA)) };
            match timeout(settings.timeout, both).await {
                Err(_) => why = format!("no answer from {} within {:?}", server.ip(), settings.timeout),
                // One family is enough: a server that fails for the other is common.
                Ok((Err(error), Err(_))) => why = format!("{}: {error}", server.ip()),
                Ok((v4, v6)) => return settled(server, name, [v4, v6]),
            }
        }
    }
    Err(why)
}

/// Joins the answers for both families; a server that says the name is not there has the last word.
fn settled(server: &SocketAddr, name: &str, answers: [Result<Answer, String>; 2]) -> Result<Vec<IpAddr>, String> {
    let mut found: Vec<IpAddr> = Vec::new();
    let mut refused = None;
    for answer in answers {
        match answer {
            Ok(answer) if answer.code == 0 => found.extend(answer.addresses),
            Ok(answer) => refused = Some(message::code(answer.code)),
            Err(error) => refused = Some(error),
        }
    }
    found.truncate(MOST_ADDRESSES);
    match refused {
        Some(why) if found.is_empty() => Err(format!("{} says {why} for {name}", server.ip())),
        _ => Ok(found),
    }
}

async fn ask(server: SocketAddr, name: &str, kind: u16) -> Result<Answer, String> {
    // Unpredictable, so that nobody off the path can answer first.
    let id = (RandomState::new().build_hasher().finish() & 0xffff) as u16;
    let query = message::query(id, name, kind).ok_or_else(|| format!("{} is no name", name.escape_debug()))?;
    let failed = |error: std::io::Error| error.to_string();
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await.map_err(failed)?;
    socket.connect(server).await.map_err(failed)?;
    socket.send(&query).await.map_err(failed)?;
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(failed)?;
        // What does not answer this question is passed over: a late or a forged answer.
        match message::answer(buffer.get(..length).unwrap_or(&[]), &query, kind) {
            Some(answer) if answer.cut_off => return ask_by_tcp(server, &query, kind).await.map_err(failed),
            Some(answer) => return Ok(answer),
            None => {}
        }
    }
}

async fn ask_by_tcp(server: SocketAddr, query: &[u8], kind: u16) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).unwrap_or(u16::MAX);
    stream.write_all(&[&length.to_be_bytes(), query].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    message::answer(&answer, query, kind).ok_or_else(|| std::io::Error::other("an answer that can't be read"))
}

#[cfg(test)]
mod tests;
