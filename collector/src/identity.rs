//! Who may come in. Hosts come with certificates that name them; people and programs with certificates or tokens that carry
//! a role. The certificates are the collector's own CA's (`why502 ca init`) or those of a CA that it was given. What lies in
//! files is read again when it changes; a change that does not hold is told and the old goes on. Only `ingest`, `query` and
//! `web` stand behind the doors that this guards; nothing of it reaches the engine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::ServerConfig;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::{info, warn};

pub mod access;
pub mod authority;
pub mod certificate;
pub mod client;
pub mod enrolment;
pub mod files;
pub mod founding;
pub mod gate;
pub mod origin;
pub mod registry;
pub mod stay;
mod tls;

use authority::{Authority, OWN_DAYS};
use files::Stamp;
use registry::{Created, Grant, Listed, Registry};
pub use tls::MinVersion;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What somebody who asks may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Ask.
    Read,
    /// Ask, mark, silence, make tokens, revoke.
    Admin,
}

impl Role {
    /// Its name.
    pub fn id(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }

    /// From its name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Read, Self::Admin].into_iter().find(|role| role.id() == name)
    }
}

/// Where certificates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The collector's own CA, in the identity's folder; its certificate bears these names beside the machine's own.
    Own(Vec<String>),
    /// Files of somebody else's CA.
    Given {
        /// Roots that sign hosts' and people's certificates.
        ca: PathBuf,
        /// The collector's certificate and what stands between it and a root.
        cert: PathBuf,
        /// Its key.
        key: PathBuf,
    },
}

/// How the doors are guarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The identity's folder.
    pub dir: PathBuf,
    /// Where certificates come from.
    pub source: Source,
    /// The oldest version of TLS that is spoken.
    pub min_version: MinVersion,
    /// How long a host's certificate is good.
    pub host_life: Duration,
}

/// What is read from files, as of one moment.
struct Current {
    tls: Arc<ServerConfig>,
    authority: Option<Arc<Authority>>,
    made_s: i64,
    stamps: Vec<Stamp>,
}

/// Guards the doors.
pub struct Identity {
    settings: Settings,
    current: RwLock<Current>,
    registry: Registry,
    revocations: watch::Sender<u64>,
}

impl Identity {
    /// Reads everything.
    pub fn open(settings: Settings) -> Result<Self, String> {
        let current = Current::read(&settings)?;
        let registry = Registry::open(settings.dir.join(files::REGISTRY))?;
        Ok(Self { settings, current: RwLock::new(current), registry, revocations: watch::Sender::new(0) })
    }

    /// How TLS is spoken now.
    pub fn tls(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).tls.clone()
    }

    /// The collector's own CA, where it has one.
    pub fn authority(&self) -> Option<Arc<Authority>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).authority.clone()
    }

    /// Reads the files again whenever they change, and renews the collector's own certificate, until it is dropped.
    pub async fn keep_current(self: Arc<Self>) {
        let mut failing = false;
        loop {
            tokio::time::sleep(LOOK).await;
            if !self.is_stale(now_s()) {
                continue;
            }
            match Current::read(&self.settings) {
                Ok(fresh) => {
                    info!("certificates, keys and roots were read again");
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
                    failing = false;
                }
                // Told once: files that are being replaced one by one hold again in a moment.
                Err(why) if !std::mem::replace(&mut failing, true) => {
                    warn!("certificates, keys or roots changed and do not hold, the old ones are used: {why}");
                }
                Err(_) => {}
            }
        }
    }

    fn is_stale(&self, now_s: i64) -> bool {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let old = current.authority.is_some() && now_s - current.made_s > OWN_DAYS * 86_400 * 2 / 3;
        old || current.stamps != self.settings.stamps()
    }

    /// Under which address hosts reach a door that listens at `listen`: at a name of the configuration, at the address itself,
    /// else by the machine's name. The collector's certificate bears all of them.
    pub fn reached_at(&self, listen: SocketAddr) -> String {
        let named = match &self.settings.source {
            Source::Own(names) => names.first().cloned(),
            Source::Given { .. } => None,
        };
        let host = match named.or_else(tls::machine_name) {
            Some(name) if listen.ip().is_unspecified() => name,
            _ => return format!("https://{listen}"),
        };
        format!("https://{host}:{}", listen.port())
    }

    /// Every token that is good for something yet.
    fn tokens(&self) -> Vec<Listed> {
        self.registry.list(now_s())
    }

    /// Takes a token back; false where there is none of this id.
    async fn revoke_token(self: &Arc<Self>, id: String) -> Result<bool, String> {
        self.with_registry(move |registry| registry.revoke_token(&id)).await
    }

    /// How long a host's certificate is good.
    pub fn host_life(&self) -> Duration {
        self.settings.host_life
    }

    /// Makes a token.
    pub async fn create_token(self: &Arc<Self>, grant: Grant, ttl_s: i64, uses: u32) -> Result<Created, String> {
        self.with_registry(move |registry| registry.create(grant, ttl_s, uses, now_s())).await
    }

    /// Uses an enrolment token.
    async fn spend(self: &Arc<Self>, token: String, host: String) -> Result<(), String> {
        self.with_registry(move |registry| registry.spend(&token, &host, now_s())).await
    }

    /// Refuses what a host has until now and cuts its streams.
    pub async fn revoke(self: &Arc<Self>, host: String) -> Result<(), String> {
        let named = host.clone();
        self.with_registry(move |registry| registry.revoke(&named, now_s())).await?;
        warn!("host {host:?} was revoked");
        self.revocations.send_modify(|count| *count += 1);
        Ok(())
    }

    /// From which unix second on certificates of a host are good.
    fn good_from_s(&self, host: &str) -> i64 {
        self.registry.good_from_s(host)
    }

    /// The role that a token gives.
    fn token_role(&self, token: &str) -> Option<Role> {
        self.registry.role(token, now_s())
    }

    /// Changes to the registry wait for the disk, so they are made off the runtime's threads.
    async fn with_registry<T: Send + 'static>(
        self: &Arc<Self>,
        change: impl FnOnce(&Registry) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let own = self.clone();
        let changed = tokio::task::spawn_blocking(move || change(&own.registry));
        changed.await.map_err(|error| error.to_string())?
    }
}

impl Settings {
    fn stamps(&self) -> Vec<Stamp> {
        match &self.source {
            Source::Own(_) => [files::ROOTS, files::ROOT_KEY, files::OLD_ROOT_KEY]
                .map(|name| files::stamp(&self.dir.join(name)))
                .to_vec(),
            Source::Given { ca, cert, key } => [ca, cert, key].map(|path| files::stamp(path)).to_vec(),
        }
    }
}

impl Current {
    fn read(settings: &Settings) -> Result<Self, String> {
        // First: what changes while it is read is read again.
        let stamps = settings.stamps();
        let made_s = now_s();
        let (roots, own, authority) = match &settings.source {
            Source::Own(names) => {
                let none = || format!("{} holds no CA: why502 ca init makes one", settings.dir.display());
                let authority = Authority::load(&settings.dir)?.ok_or_else(none)?;
                let roots = authority::certificates(authority.roots_pem())?;
                let own = authority.own(&tls::own_names(names), made_s)?;
                (roots, own, Some(Arc::new(authority)))
            }
            Source::Given { ca, cert, key } => {
                let certificates = |path: &PathBuf| {
                    let told = |why: String| format!("{}: {why}", path.display());
                    authority::certificates(&files::read(path)?).map_err(told)
                };
                (certificates(ca)?, (certificates(cert)?, tls::private_key(key)?), None)
            }
        };
        let tls = tls::server_config(roots, own, settings.min_version)?;
        Ok(Self { tls, authority, made_s, stamps })
    }
}

/// Unix seconds.
fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Whether it is a name that a certificate is made for.
pub fn is_host_name(name: &str) -> bool {
    (1..=253).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}
