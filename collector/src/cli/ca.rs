//! The collector's own CA, made and kept on the collector's machine; a running collector reads what changes.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{CaCommand, EXIT_OK, Fault, print};
use crate::config::Config;
use crate::identity::authority::Authority;
use crate::identity::founding::{found, give_to_owner};
use crate::identity::{Role, files};

/// Runs a command about the CA.
pub fn run(what: CaCommand, config: Option<&Path>) -> Result<u8, Fault> {
    let config = config.map(Config::load).transpose().map_err(|error| Fault::Usage(error.to_string()))?;
    let config = config.unwrap_or_default();
    let dir = config.store.identity_dir();
    let failed = Fault::Failed;
    match what {
        CaCommand::Init => {
            let answer = init(&dir).map_err(failed)?;
            print(&answer)?;
        }
        CaCommand::Pin => print(&format!("{}\n", authority(&dir).map_err(failed)?.pin()))?,
        CaCommand::Rotate => {
            Authority::rotate(&dir).and_then(|()| give_to_owner(&dir)).map_err(failed)?;
            print("two roots are trusted now; once every host has renewed its certificate: why502 ca retire\n")?;
        }
        CaCommand::Retire => {
            Authority::retire(&dir).and_then(|()| give_to_owner(&dir)).map_err(failed)?;
            print(&format!("the old root is not trusted any more; pin: {}\n", authority(&dir).map_err(failed)?.pin()))?;
        }
        CaCommand::Issue { person, role, days, out } => {
            let role = Role::parse(&role).ok_or_else(|| Fault::Usage(format!("{role:?} is no role: read or admin")))?;
            print(&issue(&dir, &person, role, days, &out).map_err(failed)?)?;
        }
    }
    Ok(EXIT_OK)
}

fn authority(dir: &Path) -> Result<Authority, String> {
    Authority::load(dir)?.ok_or_else(|| format!("{} holds no CA: why502 ca init makes one", dir.display()))
}

fn init(dir: &Path) -> Result<String, String> {
    let made = found(dir)?;
    Ok(format!(
        "made the CA in {}; agents pin {}\nthe administrator's token is in {}\n\n\
         restart the collector, then for each host: why502 token create --host HOST\n",
        dir.display(),
        made.pin,
        made.token.display(),
    ))
}

fn issue(dir: &Path, person: &str, role: Role, days: i64, out: &Path) -> Result<String, String> {
    let plain =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_@".contains(&b));
    if !plain(person) {
        return Err(format!("{person:?} is no name: letters, digits, \".\", \"-\", \"_\" and \"@\""));
    }
    let (certificate, key) = authority(dir)?.person(person, role, now_s(), days)?;
    let (cert_path, key_path) = (out.join(format!("{person}.pem")), out.join(format!("{person}.key")));
    for (path, text) in [(&key_path, key), (&cert_path, certificate)] {
        files::replace(path, text.as_bytes()).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(format!("made {} and {}\n", cert_path.display(), key_path.display()))
}

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
