//! A host's first certificate: the key is made here, the token is used once, and what comes back is kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use why502_proto::v1;
use why502_proto::v1::enrolment_client::EnrolmentClient;

use super::keep::unix_now_s;
use super::key::Key;
use super::pinned::{Pin, Pinned};
use super::reach::{CONNECT_LIMIT, connect, is_plain, refusal};
use super::{COLLECTOR, DIR, Identity, files, own_files, tls};

/// What an enrolment needs.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// The collector.
    pub collector: String,
    /// The file with the token.
    pub token_file: PathBuf,
    /// The hash of the collector's root, as an administrator passed it on.
    pub ca_pin: String,
    /// The host's name.
    pub host: String,
    /// Where the identity is kept.
    pub state_dir: PathBuf,
}

/// Whether this host has a certificate already that this collector gave it, in its name, and that is still good.
pub fn is_enrolled(Enrolment { collector, host, state_dir, .. }: &Enrolment) -> bool {
    let kept = Identity::in_state_dir(state_dir);
    let certificate = kept.pair.as_ref().and_then(|pair| files::certificate(&pair.cert));
    kept.enrolled_with().is_ok_and(|with| with == *collector)
        && certificate.is_some_and(|it| it.names.contains(host) && it.not_after_unix_s > unix_now_s())
}

/// Enrols this host; gives the folder of its identity.
pub async fn enroll(enrolment: &Enrolment) -> Result<PathBuf, String> {
    let Enrolment { collector, token_file, ca_pin, host, state_dir } = enrolment;
    if is_plain(collector) {
        return Err(format!("{collector}: certificates are given over https:// only"));
    }
    let token = String::from_utf8(files::read(token_file)?);
    let token = token.map_err(|_| format!("{}: holds no token", token_file.display()))?.trim().to_owned();
    let pinned = tls::config_with(Arc::new(Pinned::new(Pin::parse(ca_pin)?)))?;
    let key = Key::generate()?;
    let request = v1::EnrollRequest { token, host: host.clone(), public_key: key.public(), proof: key.proof(host)? };
    let asked = async {
        let channel = connect(collector, Some(pinned)).await?;
        let answer = EnrolmentClient::new(channel).enroll(request).await;
        Ok::<_, String>(answer.map_err(|status| refusal(&status))?.into_inner())
    };
    let answered = tokio::time::timeout(2 * CONNECT_LIMIT, asked).await;
    let signed = answered.map_err(|_| format!("no answer within {} s", 2 * CONNECT_LIMIT.as_secs())).flatten();
    keep(state_dir, &key, collector, &signed.map_err(|why| format!("{collector}: {why}"))?)
}

fn keep(state_dir: &Path, key: &Key, collector: &str, signed: &v1::HostCertificate) -> Result<PathBuf, String> {
    let (ca, pair) = own_files(state_dir);
    let (dir, pem) = (state_dir.join(DIR), key.pem());
    let kept = [
        (pair.key, pem.as_bytes()),
        (pair.cert, signed.certificate_pem.as_bytes()),
        (ca, signed.roots_pem.as_bytes()),
        (dir.join(COLLECTOR), collector.as_bytes()),
    ];
    for (path, text) in &kept {
        files::replace(path, text)?;
    }
    // Root enrols the host, and the agent that renews the certificate is another user.
    let owner = fs::metadata(state_dir).map_err(|error| format!("{}: {error}", state_dir.display()))?;
    for path in kept.iter().map(|(path, _)| path).chain([&dir]) {
        files::give_to(path, &owner)?;
    }
    Ok(dir)
}
