//! Processes that stand for a host's ordinary load: they hold threads, listen, and hold connections, and do nothing else but
//! answer whoever asks for their health.
//!
//! A crowd is one process that forks the others of it, so that 20,000 of them fit into a small machine.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{ForkResult, fork, pause};

use crate::lab::{Doing, Done};

/// What one crowd is.
#[derive(Debug, Clone, Default)]
pub struct Crowd {
    /// Its name among the arguments, by which an agent may match it.
    pub name: String,
    /// Its processes, the first one counted.
    pub processes: usize,
    /// Threads of each.
    pub threads: usize,
    /// Where each of its listeners listens, on loopback.
    pub ports: Vec<u16>,
    /// Connections to each listener; both ends are held by the first process.
    pub connections: usize,
}

/// A thread that only waits needs no more.
const STACK_BYTES: usize = 32 * 1024;

impl Crowd {
    /// Starts it and waits until it stands.
    pub fn start(&self) -> Done<Child> {
        let ports: Vec<String> = self.ports.iter().map(u16::to_string).collect();
        let own = std::env::current_exe().doing("own path")?;
        let mut child = Command::new(own)
            .args(["--crowd", &self.name, &self.processes.to_string(), &self.threads.to_string()])
            .args([ports.join(","), self.connections.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .doing("start a crowd")?;
        let mut ready = [0u8];
        let out = child.stdout.as_mut().ok_or("no pipe to the crowd")?;
        out.read_exact(&mut ready).doing(&format!("crowd {}", self.name))?;
        Ok(child)
    }
}

/// Is a crowd, for ever: the arguments are those that `start` gives.
pub fn serve(arguments: &[String]) -> Done<ExitCode> {
    let [_name, processes, threads, ports, connections] = arguments else { return Err("--crowd: five values".into()) };
    let number = |text: &str| text.parse::<usize>().doing(text);
    let (processes, threads, connections) = (number(processes)?, number(threads)?, number(connections)?);
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).doing("RLIMIT_NOFILE")?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).doing("RLIMIT_NOFILE")?;
    let listeners = ports
        .split(',')
        .filter(|port| !port.is_empty())
        .map(|port| TcpListener::bind(("127.0.0.1", port.parse().doing(port)?)).doing(port))
        .collect::<Done<Vec<TcpListener>>>()?;
    for _ in 1..processes {
        // SAFETY: this process has one thread here, so the child may do whatever it likes.
        #[allow(unsafe_code)]
        let forked = unsafe { fork() }.doing("fork")?;
        if matches!(forked, ForkResult::Child) {
            wait_in(threads);
        }
    }
    let mut held = Vec::with_capacity(2 * connections * listeners.len());
    for listener in &listeners {
        let at = listener.local_addr().doing("own address")?;
        for _ in 0..connections {
            held.push(TcpStream::connect(at).doing("connect")?);
            held.push(listener.accept().doing("accept")?.0);
        }
    }
    let answering = listeners.len().min(threads.saturating_sub(1));
    for listener in listeners.into_iter().take(answering) {
        thread::Builder::new().stack_size(STACK_BYTES).spawn(move || answer(&listener)).doing("thread")?;
    }
    std::io::stdout().write_all(b"!").and_then(|()| std::io::stdout().flush()).doing("say ready")?;
    wait_in(threads.saturating_sub(answering))
}

/// Waits for ever in so many threads.
fn wait_in(threads: usize) -> ! {
    for _ in 1..threads {
        // A thread less is no matter for a process that does nothing.
        let _ = thread::Builder::new().stack_size(STACK_BYTES).spawn(|| {
            loop {
                pause()
            }
        });
    }
    loop {
        pause();
    }
}

/// Says to each request that all is well.
fn answer(listener: &TcpListener) {
    for connection in listener.incoming() {
        let Ok(mut connection) = connection else { continue };
        let mut request = [0u8; 4096];
        // Who hangs up early gets no answer.
        let _ = connection
            .read(&mut request)
            .and_then(|_| connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"));
    }
}
