//! One that is told by webhooks: keeps what it is sent and answers as it is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// What it was sent.
#[derive(Debug, Clone)]
pub struct Request {
    headers: Vec<(String, String)>,
    body: Value,
}

impl Request {
    /// The document.
    pub fn body(&self) -> &Value {
        &self.body
    }

    /// A header's value; empty where it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(is, _)| is == name).map_or("", |(_, value)| value)
    }
}

/// The listener; it ends with the test.
pub struct Hook {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Hook {
    /// Listens, and answers each POST with `status`.
    pub fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let hook = Self { address, status: Arc::new(AtomicU16::new(status)), requests: Arc::default() };
        let (status, requests) = (hook.status.clone(), hook.requests.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                // Who breaks off has sent nothing.
                let Some(request) = take(&stream) else { continue };
                // Kept before it is answered: whoever saw the answer may look for it here at once.
                requests.lock().unwrap().push(request);
                answer(&stream, status.load(Ordering::Relaxed));
            }
        });
        hook
    }

    /// Where to post to.
    pub fn url(&self) -> String {
        format!("http://{}/hook?key=hidden", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on it answers so.
    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// All it was sent.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The documents it was sent.
    pub fn bodies(&self) -> Vec<Value> {
        self.requests().into_iter().map(|request| request.body).collect()
    }
}

fn take(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { headers, body: serde_json::from_slice(&body).ok()? })
}

/// Who doesn't wait for the answer has not confirmed anything either.
fn answer(mut stream: &TcpStream, status: u16) {
    let _ = write!(stream, "HTTP/1.1 {status} As Told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}
