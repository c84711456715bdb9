//! Asking the collector over its public HTTP address.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use super::{Doing, Done};

/// Where the collector answers, seen from the story.
pub const API: &str = "127.0.0.1:5021";

/// One document.
pub fn get(path: &str) -> Done<Value> {
    let mut stream = TcpStream::connect(API).doing("connect to the collector")?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).doing("timeout")?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {API}\r\n\r\n").doing("ask the collector")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).doing("read the collector's answer")?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").ok_or("the collector's answer has no end of header")?;
    serde_json::from_str(body).doing(&format!("{path}: {}", head.lines().next().unwrap_or_default()))
}

/// All incidents, newest first.
pub fn incidents() -> Done<Vec<Value>> {
    match get("/v1/incidents?state=all")?["incidents"].take() {
        Value::Array(incidents) => Ok(incidents),
        other => Err(format!("no list of incidents but {other}")),
    }
}
