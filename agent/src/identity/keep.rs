//! Keeps an identity current: renews the certificate at two thirds of its life, over the agents' own address and with the
//! certificate before it, and tells whenever the files changed, whoever changed them.

use std::future::pending;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use why502_proto::v1;
use why502_proto::v1::enrolment_client::EnrolmentClient;

use super::files::{self, Stamp};
use super::key::Key;
use super::reach::{CONNECT_LIMIT, is_plain, reach, refusal};
use super::{Identity, Pair};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// The longest wait between two tries to renew, seconds.
const RETRY_MAX_S: i64 = 600;

/// Runs until it is dropped. Where no collector is spoken to over TLS there is nothing to keep.
pub async fn keep(identity: Identity, collectors: Vec<String>, host: String, changes: watch::Sender<()>) {
    let secure: Vec<String> = collectors.into_iter().filter(|collector| !is_plain(collector)).collect();
    if secure.is_empty() {
        return pending().await;
    }
    let (mut seen, mut retry_s) = (stamps(&identity), 0);
    loop {
        tokio::time::sleep(LOOK).await;
        if let Some(pair) = identity.pair.as_ref().filter(|_| identity.own) {
            renew_if_due(&identity, pair, &secure, &host, &mut retry_s).await;
        }
        let now = stamps(&identity);
        if now != seen {
            seen = now;
            changes.send_replace(());
        }
    }
}

fn stamps(identity: &Identity) -> [Option<Stamp>; 3] {
    let pair = identity.pair.as_ref();
    [identity.ca.as_ref(), pair.map(|pair| &pair.cert), pair.map(|pair| &pair.key)].map(|path| files::stamp(path?))
}

async fn renew_if_due(identity: &Identity, pair: &Pair, collectors: &[String], host: &str, retry_s: &mut i64) {
    let now_s = unix_now_s();
    let Some(life) = Life::of(&pair.cert).filter(|life| life.is_due(now_s) && now_s >= *retry_s) else { return };
    match renew(identity, pair, collectors, host).await {
        Ok(()) => tracing::info!("the certificate was renewed"),
        Err(why) => {
            *retry_s = now_s + life.retry_s();
            tracing::warn!("the certificate could not be renewed, good for {} s more: {why}", life.left_s(now_s));
        }
    }
}

/// From when to when a certificate is good, unix seconds.
struct Life {
    from_s: i64,
    to_s: i64,
}

impl Life {
    fn of(cert: &Path) -> Option<Self> {
        let read = files::certificate(cert)?;
        Some(Self { from_s: read.not_before_unix_s, to_s: read.not_after_unix_s })
    }

    fn is_due(&self, now_s: i64) -> bool {
        (now_s - self.from_s) * 3 >= (self.to_s - self.from_s) * 2
    }

    fn left_s(&self, now_s: i64) -> i64 {
        (self.to_s - now_s).max(0)
    }

    /// Some ten tries fit into the third that is left.
    fn retry_s(&self) -> i64 {
        ((self.to_s - self.from_s) / 30).clamp(1, RETRY_MAX_S)
    }
}

/// Asks each collector in turn.
async fn renew(identity: &Identity, pair: &Pair, collectors: &[String], host: &str) -> Result<(), String> {
    let key = Key::from_pem(&files::read(&pair.key)?)?;
    let mut failed = String::new();
    for collector in collectors {
        let request = v1::RenewRequest { public_key: key.public(), proof: key.proof(host)? };
        let asked = async {
            let channel = reach(collector, identity).await?;
            let answer = EnrolmentClient::new(channel).renew(request).await;
            Ok::<_, String>(answer.map_err(|status| refusal(&status))?.into_inner())
        };
        match tokio::time::timeout(2 * CONNECT_LIMIT, asked).await {
            Ok(Ok(signed)) => {
                if let Some(ca) = &identity.ca {
                    // First: the next connection may need a root that is new.
                    files::replace(ca, signed.roots_pem.as_bytes())?;
                }
                return files::replace(&pair.cert, signed.certificate_pem.as_bytes());
            }
            Ok(Err(why)) => failed = format!("{collector}: {why}"),
            Err(_) => failed = format!("{collector}: no answer"),
        }
    }
    Err(failed)
}

/// This moment, unix seconds.
pub(super) fn unix_now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_life() {
        let life = Life { from_s: 1_000, to_s: 1_300 };
        assert!(!life.is_due(1_199));
        assert!(life.is_due(1_200));
        assert!(life.is_due(9_999));
        assert_eq!((life.left_s(1_250), life.left_s(1_400), life.retry_s()), (50, 0, 10));
        assert_eq!(Life { from_s: 0, to_s: 604_800 }.retry_s(), 600);
    }
}
