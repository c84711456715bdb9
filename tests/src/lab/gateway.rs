//! The gateways that a story may stand behind, each set up as its people would: what differs between them stands here and
//! nowhere else, so that one story can be told of any of them.

use std::path::Path;

use super::conf;
use super::plan::{CERTIFICATES, Gateway, Kind};

mod apache;
mod caddy;
mod envoy;
mod haproxy;
mod nginx;
mod varnish;

/// Where clients reach the gateway.
pub const PORT: u16 = 8080;

/// How a gateway is run with one configuration.
#[derive(Debug, Clone)]
pub struct SetUp {
    /// Its configuration file's name in the host's folder, which the agent reads too.
    pub file: &'static str,
    /// That file.
    pub text: String,
    /// Its command line.
    pub argv: Vec<String>,
    /// Where its standard output goes.
    pub out: &'static str,
    /// Its logs, as agent.toml names them: the key and the file in the host's folder.
    pub logs: Vec<(&'static str, &'static str)>,
    /// How it takes a changed file.
    pub reload: Reload,
}

/// How a gateway takes a changed configuration.
#[derive(Debug, Clone)]
pub enum Reload {
    /// By a signal.
    Signal(&'static str),
    /// By a command.
    Command(String),
    /// Not at all: it is started again.
    Restart,
}

/// The set-up of a gateway in its host's folder.
pub fn set_up(gateway: &Gateway, members: &[String], dir: &Path) -> SetUp {
    match gateway.kind {
        Kind::Nginx => nginx::set_up(gateway, members, dir),
        Kind::Haproxy => haproxy::set_up(gateway, members, dir),
        Kind::Envoy => envoy::set_up(gateway, members, dir),
        Kind::Apache => apache::set_up(gateway, members, dir),
        Kind::Caddy => caddy::set_up(gateway, members, dir),
        Kind::Varnish => varnish::set_up(gateway, members, dir),
    }
}

/// The certificate that a gateway trusts where it speaks TLS to its members: the first that they had.
fn trusted(dir: &Path) -> String {
    conf::certificate(dir, CERTIFICATES[0])
}

/// The words of a command line.
fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}
