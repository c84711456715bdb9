//! Tokens and revoked hosts, kept in one file that is replaced whole and synced before anything is granted: a use of a
//! token that a crash follows is a use. Only hashes of tokens are kept; they are 256 random bits, so that a plain SHA-256
//! can't be guessed back. Written by the running collector alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::{Role, files};

/// Tokens kept at once; expired and used ones are not kept.
const TOKENS_MAX: usize = 4_096;
/// Revoked hosts kept. Certificates of hosts whose revocation is older than any certificate's life are expired anyway.
const REVOKED_MAX: usize = 50_000;
/// What every token begins with, so that a scanner for secrets knows one.
const TOKEN_PREFIX: &str = "why502_";
/// Digits of a token's id.
const ID_DIGITS: usize = 12;
/// Longest time a token may be good, seconds.
const TTL_MAX_S: i64 = 366 * 86_400;

/// What a token is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// Enrols the host of this name.
    Host(String),
    /// Enrols hosts whose names fit; `*` stands for any run of characters.
    Pattern(String),
    /// Lets a person or a program ask.
    Role(Role),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Token {
    grant: Grant,
    expires_s: i64,
    uses: u32,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    /// By hash, hexadecimal.
    tokens: BTreeMap<String, Token>,
    /// Hosts, each with the unix second from which on certificates are good again.
    revoked: BTreeMap<String, i64>,
}

/// Tokens and revoked hosts. Who reads never waits for the disk.
pub struct Registry {
    path: PathBuf,
    kept: RwLock<Arc<Kept>>,
    /// Held while a change is made durable: one after the other.
    changing: Mutex<()>,
}

/// A new token and until when it is good, unix seconds.
pub struct Created {
    /// By which it is listed and taken back.
    pub id: String,
    /// The only copy of its text.
    pub token: String,
    /// Its last second.
    pub expires_s: i64,
}

/// A token that waits to be used, without its text.
pub struct Listed {
    /// By which it is taken back.
    pub id: String,
    /// What it is good for.
    pub grant: Grant,
    /// Its last second, unix.
    pub expires_s: i64,
    /// How many hosts it still enrols.
    pub uses: u32,
}

impl Registry {
    /// Reads the file; none is an empty registry.
    pub fn open(path: PathBuf) -> Result<Self, String> {
        let kept = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Kept::default(),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        Ok(Self { path, kept: RwLock::new(Arc::new(kept)), changing: Mutex::new(()) })
    }

    /// Makes a token.
    pub fn create(&self, grant: Grant, ttl_s: i64, uses: u32, now_s: i64) -> Result<Created, String> {
        if !(1..=TTL_MAX_S).contains(&ttl_s) {
            return Err(format!("a token is good for 1 second to {} days", TTL_MAX_S / 86_400));
        }
        let expires_s = now_s + ttl_s;
        let token = random_token()?;
        self.change(|kept| {
            kept.tokens.retain(|_, token| token.expires_s > now_s);
            if kept.tokens.len() >= TOKENS_MAX {
                return Err(format!("{TOKENS_MAX} tokens are waiting to be used: let some expire first"));
            }
            kept.tokens.insert(hash(&token), Token { grant, expires_s, uses });
            Ok(())
        })?;
        Ok(Created { id: id_of(&hash(&token)), token, expires_s })
    }

    /// Uses an enrolment token for a host once.
    pub fn spend(&self, token: &str, host: &str, now_s: i64) -> Result<(), String> {
        let hash = hash(token);
        self.change(|kept| {
            let known = kept.tokens.get_mut(&hash).filter(|known| known.expires_s > now_s);
            let known = known.ok_or("the token is not known: it was used, it expired, or it is another collector's")?;
            match &known.grant {
                Grant::Host(name) if name == host => {}
                Grant::Pattern(pattern) if fits(pattern, host) => {}
                Grant::Role(_) => return Err("the token is a person's: it enrols no host".to_owned()),
                Grant::Host(_) | Grant::Pattern(_) => return Err("the token is for another host".to_owned()),
            }
            known.uses = known.uses.saturating_sub(1);
            kept.tokens.retain(|_, token| token.uses > 0 && token.expires_s > now_s);
            Ok(())
        })
    }

    /// Every token that is good for something yet, the one that expires first first.
    pub fn list(&self, now_s: i64) -> Vec<Listed> {
        let kept = self.kept();
        let good = kept.tokens.iter().filter(|(_, token)| token.expires_s > now_s);
        let listed = good.map(|(hash, Token { grant, expires_s, uses })| Listed {
            id: id_of(hash),
            grant: grant.clone(),
            expires_s: *expires_s,
            uses: *uses,
        });
        let mut listed: Vec<_> = listed.collect();
        listed.sort_by_key(|token| token.expires_s);
        listed
    }

    /// Takes a token back; false where there is none of this id.
    pub fn revoke_token(&self, id: &str) -> Result<bool, String> {
        if !self.kept().tokens.keys().any(|hash| id_of(hash) == id) {
            return Ok(false);
        }
        self.change(|kept| {
            kept.tokens.retain(|hash, _| id_of(hash) != id);
            Ok(())
        })?;
        Ok(true)
    }

    /// The role that a token gives.
    pub fn role(&self, token: &str, now_s: i64) -> Option<Role> {
        match self.kept().tokens.get(&hash(token)) {
            Some(Token { grant: Grant::Role(role), expires_s, .. }) if *expires_s > now_s => Some(*role),
            _ => None,
        }
    }

    /// Refuses what a host has until now: its certificates, and tokens in its name.
    pub fn revoke(&self, host: &str, now_s: i64) -> Result<(), String> {
        self.change(|kept| {
            if kept.revoked.len() >= REVOKED_MAX && !kept.revoked.contains_key(host) {
                return Err(format!("{REVOKED_MAX} hosts are revoked already"));
            }
            kept.tokens.retain(|_, token| token.grant != Grant::Host(host.to_owned()));
            kept.revoked.insert(host.to_owned(), now_s + 1);
            Ok(())
        })
    }

    /// The unix second from which on certificates of a host are good; those made before are not.
    pub fn good_from_s(&self, host: &str) -> i64 {
        self.kept().revoked.get(host).copied().unwrap_or(i64::MIN)
    }

    fn kept(&self) -> Arc<Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is kept; nothing is changed where it could not be made durable.
    fn change(&self, change: impl FnOnce(&mut Kept) -> Result<(), String>) -> Result<(), String> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = Kept::clone(&self.kept());
        change(&mut kept)?;
        let text = serde_json::to_vec(&kept).map_err(|error| error.to_string())?;
        files::replace(&self.path, &text).map_err(|error| format!("{}: {error}", self.path.display()))?;
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(kept);
        Ok(())
    }
}

/// Whether a pattern fits a name: `*` stands for any run of characters, everything else for itself.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn random_token() -> Result<String, String> {
    let mut secret = [0; 32];
    SystemRandom::new().fill(&mut secret).map_err(|_| "the kernel gives no random bytes".to_owned())?;
    Ok(format!("{TOKEN_PREFIX}{}", hex(&secret)))
}

fn hash(token: &str) -> String {
    hex(digest(&SHA256, token.trim().as_bytes()).as_ref())
}

/// By which a token is named without telling it: the beginning of its hash.
fn id_of(hash: &str) -> String {
    hash.chars().take(ID_DIGITS).collect()
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The administrator's first token, written where only the collector's user reads it.
pub fn first_token(dir: &Path, now_s: i64) -> Result<PathBuf, String> {
    let registry = Registry::open(dir.join(files::REGISTRY))?;
    let created = registry.create(Grant::Role(Role::Admin), TTL_MAX_S, 1, now_s)?;
    let path = dir.join(files::ADMIN_TOKEN);
    files::replace(&path, format!("{}\n", created.token).as_bytes())
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> (tempfile::TempDir, Registry) {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(dir.path().join("registry.json")).unwrap();
        (dir, registry)
    }

    #[test]
    fn a_token_works_as_often_as_it_may_and_until_it_expires() {
        let (_dir, registry) = registry();
        let once = registry.create(Grant::Host("app-1".into()), 60, 1, 100).unwrap().token;
        assert!(registry.spend(&once, "app-2", 101).unwrap_err().contains("another host"));
        registry.spend(&once, "app-1", 101).unwrap();
        assert!(registry.spend(&once, "app-1", 101).is_err());
        let twice = registry.create(Grant::Pattern("app-*".into()), 60, 2, 100).unwrap().token;
        registry.spend(&twice, "app-1", 101).unwrap();
        assert!(registry.spend(&twice, "app-2", 160).is_err(), "expired");
        registry.spend(&twice, "app-2", 159).unwrap();
        assert!(registry.spend(&twice, "app-3", 101).is_err());
    }

    #[test]
    fn a_token_is_listed_and_taken_back_by_its_id() {
        let (_dir, registry) = registry();
        let created = registry.create(Grant::Host("app-1".into()), 60, 1, 100).unwrap();
        let other = registry.create(Grant::Role(Role::Read), 30, 1, 100).unwrap();
        let listed: Vec<_> = registry.list(101).into_iter().map(|one| one.id).collect();
        assert_eq!(listed, [other.id.clone(), created.id.clone()]);
        assert_eq!(registry.list(130).len(), 1, "an expired one is good for nothing");
        assert!(registry.revoke_token(&created.id).unwrap());
        assert!(!registry.revoke_token(&created.id).unwrap());
        assert!(registry.spend(&created.token, "app-1", 101).is_err());
        assert_eq!(registry.role(&other.token, 101), Some(Role::Read));
    }

    #[test]
    fn what_is_kept_survives_and_holds_no_token() {
        let (dir, registry) = registry();
        let token = registry.create(Grant::Role(Role::Read), 60, 1, 100).unwrap().token;
        registry.revoke("app-1", 100).unwrap();
        let text = fs::read_to_string(dir.path().join("registry.json")).unwrap();
        assert!(!text.contains(token.strip_prefix(TOKEN_PREFIX).unwrap()));
        let again = Registry::open(dir.path().join("registry.json")).unwrap();
        assert_eq!(again.role(&token, 101), Some(Role::Read));
        assert_eq!(again.role(&token, 160), None);
        assert_eq!(again.good_from_s("app-1"), 101);
        assert!(again.good_from_s("app-2") < 0);
    }

    #[test]
    fn a_use_that_can_not_be_kept_is_not_granted() {
        let (dir, registry) = registry();
        let token = registry.create(Grant::Host("app-1".into()), 60, 1, 100).unwrap().token;
        let path = dir.path().to_owned();
        drop(dir);
        assert!(registry.spend(&token, "app-1", 101).is_err(), "{} is gone", path.display());
    }

    #[test]
    fn patterns_fit_whole_names() {
        for (pattern, name, fitting) in [
            ("app-*", "app-1", true),
            ("app-*", "app-", true),
            ("app-*", "xapp-1", false),
            ("*", "anything", true),
            ("app-1", "app-1", true),
            ("app-1", "app-11", false),
            ("*-eu-*.example", "app-eu-1.example", true),
            ("*-eu-*.example", "app-us-1.example", false),
            ("a*a", "a", false),
            ("", "", true),
        ] {
            assert_eq!(fits(pattern, name), fitting, "{pattern} {name}");
        }
    }
}
