//! Names of incidents and groups: the same records give the same names.

use crate::case::{CaseKey, Made};
use crate::model::{Cause, Family, Incident};

/// Crockford's base 32, as ULIDs use it.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A ULID (github.com/ulid/spec): 48 bits of time, then 80 bits that a digest of the case's key fills instead of chance.
pub fn incident_id(key: &CaseKey, first_us: i64) -> String {
    let made = match key.made {
        Made::ByGateway => "gateway",
        Made::ByApplication => "application",
        Made::ByClients => "clients",
    };
    let upstream = key.upstream.as_deref().unwrap_or("");
    let text = format!("{}\n{}\n{upstream}\n{made}\n{first_us}", key.gateway.host, key.gateway.name);
    let millis = u128::from(u64::try_from(first_us / 1000).unwrap_or(0) & 0xffff_ffff_ffff);
    let digest =
        (u128::from(fnv1a(text.as_bytes(), 0)) << 64 | u128::from(fnv1a(text.as_bytes(), 1))) & ((1 << 80) - 1);
    let value = millis << 80 | digest;
    (0..26).rev().map(|digit| char::from(ALPHABET[(value >> (digit * 5) & 31) as usize])).collect()
}

/// FNV-1a, 64 bits (draft-eastlake-fnv): stable over versions, unlike the standard library's hasher.
fn fnv1a(bytes: &[u8], seed: u64) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What a cause is about: incidents with the same cause about the same subject are one group. None: it stands alone.
pub fn subject(incident: &Incident) -> Option<String> {
    let cause = incident.verdict.cause;
    let host = incident.host.as_deref();
    let about = match cause {
        Cause::Unknown => return None,
        Cause::HostDown | Cause::LinkDown | Cause::HostRebooted | Cause::ConntrackFull | Cause::PathUnreachable => {
            host?.to_owned()
        }
        Cause::EphemeralPortsExhausted | Cause::GatewayResource | Cause::DnsFailure => gateway(incident),
        // What many instances share: a rollout, a cache.
        Cause::Deploying | Cause::AppCacheFailure if incident.service.is_some() => {
            incident.service.clone().unwrap_or_default()
        }
        _ if cause.family() == Family::Gateway && host.is_none() => gateway(incident),
        _ => match host {
            Some(host) => format!("{host}/{}", incident.service.as_deref().unwrap_or("")),
            None => incident.upstream.clone()?,
        },
    };
    Some(format!("{}:{about}", cause.id()))
}

fn gateway(incident: &Incident) -> String {
    format!("{}/{}", incident.gateway.host, incident.gateway.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_are_stable() {
        let key =
            CaseKey { gateway: Default::default(), upstream: Some("10.0.0.2:3000".into()), made: Made::ByGateway };
        let (early, late) = (incident_id(&key, 1_700_000_000_000_000), incident_id(&key, 1_700_000_000_001_000));
        assert_eq!(early.len(), 26);
        assert!(early < late);
        assert_eq!(early, incident_id(&key, 1_700_000_000_000_000));
    }
}
