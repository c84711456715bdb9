//! A steady client: requests at a rate, each on a connection of its own, each answer kept with its time.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Most requests under way at once.
const UNDER_WAY: usize = 128;
/// Requests to one gateway before the next is asked.
const IN_A_ROW: usize = 7;

/// What the client asks for; may change while it runs.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// "GET" or "POST".
    pub method: &'static str,
    /// Asked for in turn.
    pub paths: Vec<&'static str>,
    /// Time between two requests.
    pub every: Duration,
    /// Requests sent together each time.
    pub burst: usize,
    /// How long the client waits for an answer.
    pub patience: Duration,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            method: "GET",
            paths: vec!["/", "/items/7", "/items/8"],
            every: Duration::from_millis(50),
            burst: 1,
            patience: Duration::from_secs(20),
        }
    }
}

/// One answer.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// When it came.
    pub at: Instant,
    /// Its status. None: none came.
    pub status: Option<u16>,
}

impl Answer {
    /// It is what a user wants.
    pub fn is_ok(&self) -> bool {
        self.status.is_some_and(|status| status < 400)
    }

    /// Somebody served it, though there may be no such page.
    pub fn is_served(&self) -> bool {
        self.status.is_some_and(|status| status < 500)
    }
}

/// A client that runs until it is dropped.
pub struct Client {
    traffic: Arc<Mutex<Traffic>>,
    answers: Arc<Mutex<Vec<Answer>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Client {
    /// Starts asking each of `gateways` in turn.
    pub fn start(gateways: Vec<SocketAddr>, traffic: Traffic) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let client = Self { traffic: Arc::new(Mutex::new(traffic)), answers: Arc::default(), _runtime: runtime };
        let (traffic, answers) = (client.traffic.clone(), client.answers.clone());
        client._runtime.spawn(async move {
            let slots = Arc::new(Semaphore::new(UNDER_WAY));
            for number in 0usize.. {
                let now = traffic.lock().unwrap_or_else(PoisonError::into_inner).clone();
                for _ in 0..now.burst {
                    let Ok(slot) = slots.clone().try_acquire_owned() else { continue };
                    let (method, path, answers) = (now.method, now.paths[number % now.paths.len()], answers.clone());
                    // Some in a row each, so that no path is asked of one alone.
                    let gateway = gateways[number / IN_A_ROW % gateways.len()];
                    tokio::spawn(async move {
                        let status = tokio::time::timeout(now.patience, ask(gateway, method, path)).await;
                        let answer = Answer { at: Instant::now(), status: status.ok().flatten() };
                        answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
                        drop(slot);
                    });
                }
                tokio::time::sleep(now.every).await;
            }
        });
        Ok(client)
    }

    /// Changes what is asked for.
    pub fn change(&self, change: impl FnOnce(&mut Traffic)) {
        change(&mut self.traffic.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Asks nothing more, and gives back what was asked for until now.
    pub fn pause(&self) -> Traffic {
        let mut traffic = self.traffic.lock().unwrap_or_else(PoisonError::into_inner);
        let before = traffic.clone();
        traffic.burst = 0;
        before
    }

    /// The answers since a time.
    pub fn since(&self, from: Instant) -> Vec<Answer> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.iter().filter(|answer| answer.at >= from).copied().collect()
    }
}

async fn ask(gateway: SocketAddr, method: &str, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(gateway).await.ok()?;
    let body = if method == "POST" { "Content-Length: 2\r\n\r\n{}" } else { "\r\n" };
    let request = format!("{method} {path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n{body}");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    // A body cut short is still an answer: its status tells.
    let _ = stream.read_to_end(&mut answer).await;
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}
