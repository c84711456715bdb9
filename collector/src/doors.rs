//! How the front doors are open, and what they have to tell: who was not let in and why, which name two machines use. Kept in
//! memory, bounded, shown by `why502 status`.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::identity::Identity;
use crate::view::{self, Answer, BadQuestion, DoorsDoc, NoticeDoc, Question, View, stamp};

/// Notices that are kept; the oldest goes first.
const NOTICES_MAX: usize = 50;
/// Longest host name in a notice, characters.
const HOST_MAX: usize = 253;

/// How one address takes connections.
#[derive(Clone)]
pub enum Door {
    /// Plain text, from anybody.
    Plain,
    /// TLS only.
    Tls(Arc<Identity>),
    /// Both, told apart by the first byte.
    Either(Arc<Identity>),
}

impl Door {
    /// The door that a section of the configuration asks for; else what is wrong with it.
    pub fn of(
        section: &str,
        listen: SocketAddr,
        insecure: bool,
        identity: Option<&Arc<Identity>>,
    ) -> Result<Self, String> {
        // Whoever is on this machine asks as before; a report needs a certificate wherever it comes from.
        let asks_here = section == "api" && listen.ip().is_loopback();
        match identity {
            Some(identity) if insecure || asks_here => Ok(Self::Either(identity.clone())),
            Some(identity) => Ok(Self::Tls(identity.clone())),
            None if insecure || listen.ip().is_loopback() => Ok(Self::Plain),
            None => Err(format!(
                "[{section}] listen = \"{listen}\" would be plain text beyond this machine: run why502 ca init for TLS, \
                 or write insecure = true where that network is trusted"
            )),
        }
    }

    /// Its name.
    fn id(&self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Tls(_) => "tls",
            Self::Either(_) => "plain and tls",
        }
    }

    /// Who guards it.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        match self {
            Self::Plain => None,
            Self::Tls(identity) | Self::Either(identity) => Some(identity),
        }
    }

    /// The scheme under which it is reached.
    pub fn scheme(&self) -> &'static str {
        if matches!(self, Self::Plain) { "http" } else { "https" }
    }
}

/// Both doors, and what they have to tell.
pub struct Doors {
    /// The agents'.
    pub ingest: Door,
    /// Where they come in.
    pub ingest_addr: SocketAddr,
    /// The askers'.
    pub api: Door,
    /// Addresses that take plain text from beyond this machine.
    exposed: Vec<String>,
    /// What there is to tell.
    pub notices: Arc<Notices>,
}

impl Doors {
    /// Doors as they are open at these addresses.
    pub fn new(ingest: (Door, SocketAddr), api: (Door, SocketAddr)) -> Self {
        let exposed = [("ingest", &ingest), ("api", &api)]
            .into_iter()
            .filter(|(_, (door, address))| !matches!(door, Door::Tls(_)) && !address.ip().is_loopback());
        let exposed = exposed.map(|(name, (_, address))| format!("{name} on {address}")).collect();
        Self { ingest: ingest.0, ingest_addr: ingest.1, api: api.0, exposed, notices: Arc::default() }
    }

    /// Answers a question; `status` tells of the doors too.
    pub fn answer(&self, view: &View, question: &Question) -> Result<Answer, BadQuestion> {
        let doors = DoorsDoc {
            ingest: self.ingest.id().to_owned(),
            api: self.api.id().to_owned(),
            exposed: self.exposed.clone(),
            notices: self.notices.docs(),
        };
        view::answer_with(view, &doors, question)
    }
}

/// What the doors have to tell, each once with how often.
#[derive(Default)]
pub struct Notices(Mutex<VecDeque<NoticeDoc>>);

impl Notices {
    /// Tells something about a host.
    pub fn tell(&self, host: &str, says: String) {
        let host: String = host.chars().take(HOST_MAX).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = stamp(i64::try_from(now.as_micros()).unwrap_or(i64::MAX));
        let mut notices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = notices.iter().position(|one| one.host == host && one.says == says);
        let count = before.and_then(|at| notices.remove(at)).map_or(0, |one| one.count) + 1;
        notices.push_back(NoticeDoc { at, host, says, count });
        if notices.len() > NOTICES_MAX {
            let alike = |one: &NoticeDoc| notices.iter().filter(|other| other.says == one.says).count();
            // Of what is told of the most hosts the oldest goes: a thousand that do one thing hide nobody who does another.
            let most = notices.iter().map(alike).max();
            let oldest = notices.iter().position(|one| Some(alike(one)) == most).unwrap_or(0);
            notices.remove(oldest);
        }
    }

    /// Newest first.
    fn docs(&self) -> Vec<NoticeDoc> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_that_do_one_thing_hide_nobody_who_does_another() {
        let notices = Notices::default();
        notices.tell("app-1", "sent a bomb".to_owned());
        for number in 0..1_000 {
            notices.tell(&format!("app-{number}"), "was too slow".to_owned());
        }
        notices.tell("app-2", "sent a bomb".to_owned());
        let told = notices.docs();
        let hosts =
            |says: &str| told.iter().filter(|one| one.says == says).map(|one| one.host.as_str()).collect::<Vec<_>>();
        assert_eq!((told.len(), hosts("sent a bomb")), (NOTICES_MAX, vec!["app-2", "app-1"]));
        assert_eq!(hosts("was too slow")[0], "app-999");
    }
}
