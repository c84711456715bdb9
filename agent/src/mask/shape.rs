//! Secrets that are told by their own shape, whatever stands around them: private keys, user names and passwords in
//! URLs, authorization and cookie headers, and the tokens whose makers gave them a prefix.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::pattern;

/// Patterns with their replacements, in order.
const RULES: &[(&str, &str)] = &[
    // PEM (RFC 7468), also with its line ends written as \n; cut off ones go to the end.
    (r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----.*?(-----END [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----|$)", "***"),
    (r"PuTTY-User-Key-File-[\s\S]*", "***"),
    // Digest credentials are a list with quotes: they reach to the end of the line.
    (
        r#"(?i)\b((?:proxy-)?authorization\\*["']?\s*[:=]\s*\\*["']?)(?:digest|oauth|hawk|aws4-hmac-sha256|aws)\s[^\r\n]*"#,
        "$1***",
    ),
    (r#"(?i)\b((?:proxy-)?authorization\\*["']?\s*(?:[:=]|=>)\s*\\*["'])[^"'\\\r\n]*"#, "$1***"),
    (r#"(?i)\b((?:proxy-)?authorization\s*[:=]\s*)[^"'\\\r\n]+"#, "$1***"),
    // Cookie: a=1; b=2 and Set-Cookie: a=1; Path=/
    (r#"(?i)\b((?:set-)?cookie2?\\*["']?\s*(?:[:=]|=>)\s*\\*["'])[^"'\\\r\n]*"#, "$1***"),
    (r#"(?i)\b((?:set-)?cookie2?\s*[:=]\s*)[^\s"'=;]+=[^"'\\\r\n]*"#, "$1***"),
    // JSON web tokens (RFC 7519), and their first two parts alone.
    (r"\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*(\.[A-Za-z0-9_-]*){0,3}", "***"),
    // AWS access key ids.
    (r"\b(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{12,}\b", "***"),
    // GitHub, GitLab, npm, PyPI, Slack, Stripe, OpenAI and Anthropic, Google, SendGrid, Shopify, Vault, DigitalOcean,
    // Docker, Hugging Face, Square, age, New Relic, Linear, Databricks, Doppler, Atlassian, Grafana, Sentry.
    (
        r"\bgh[pousr]_[A-Za-z0-9]{16,}|\bgithub_pat_[A-Za-z0-9_]{16,}|\bgl(?:pat|dt|rt|cbt|ptt|ft|soat)-[A-Za-z0-9_-]{16,}",
        "***",
    ),
    (r"\bnpm_[A-Za-z0-9]{20,}|\bpypi-[A-Za-z0-9_-]{20,}|\bdckr_[a-z]+_[A-Za-z0-9_-]{16,}|\bhf_[A-Za-z0-9]{20,}", "***"),
    (
        r"\bxox[a-z]-[A-Za-z0-9-]{8,}|\bxapp-[A-Za-z0-9-]{8,}|\b[srpw]k_(?:live|test)_[A-Za-z0-9]{8,}|\bwhsec_[A-Za-z0-9+/=]{8,}",
        "***",
    ),
    (r"\bsk-[A-Za-z0-9_-]{20,}|\bAIza[A-Za-z0-9_-]{30,}|\bya29\.[A-Za-z0-9_-]{10,}|\bGOCSPX-[A-Za-z0-9_-]{16,}", "***"),
    (
        r"\bSG\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}|\bshp(?:at|ca|pa|ss)_[A-Fa-f0-9]{16,}|\bhv[sbr]\.[A-Za-z0-9_-]{16,}",
        "***",
    ),
    (
        r"\bdo[opr]_v1_[a-f0-9]{16,}|\bsq0[a-z]{3}-[A-Za-z0-9_-]{16,}|\bEAAA[A-Za-z0-9_-]{40,}|\bAGE-SECRET-KEY-1[A-Z0-9]{16,}",
        "***",
    ),
    (
        r"\bNRAK-[A-Z0-9]{16,}|\blin_api_[A-Za-z0-9]{16,}|\bdapi[a-f0-9]{32}|\bdp\.[a-z]+\.[A-Za-z0-9]{20,}|\bATATT[A-Za-z0-9_=-]{20,}",
        "***",
    ),
    (
        r"\bglsa_[A-Za-z0-9_]{20,}|\bglc_[A-Za-z0-9+/=]{20,}|\bsntrys_[A-Za-z0-9_=+/-]{20,}|\bPMAK-[a-f0-9-]{20,}|\bkey-[a-f0-9]{32}\b",
        "***",
    ),
    (r"\bSK[a-f0-9]{32}\b|\b[0-9]{8,10}:AA[A-Za-z0-9_-]{30,}", "***"),
    // Webhooks whose path is the secret.
    (r"(hooks\.slack\.com/(?:services|workflows|triggers)/)[A-Za-z0-9/_-]+", "$1***"),
    (r"(discord(?:app)?\.com/api/(?:v[0-9]+/)?webhooks/[0-9]+/)[A-Za-z0-9_-]+", "$1***"),
    // SQL and Redis.
    (r#"(?i)(\bidentified\s+(?:with\s+\S+\s+)?(?:by|as)\s+(?:password\s+)?)('[^']*'?|"[^"]*"?|[^\s;]+)"#, "$1***"),
    (r#"(?i)(\b(?:encrypted\s+)?password\s+)('[^']*'?|"[^"]*"?)"#, "$1***"),
    (r#"(^|[\s>"'])(AUTH\s+)(?:[^\s"':]+\s+)?[^\s"':]+"#, "$1$2***"),
    (r"(?i)(\b(?:requirepass|masterauth)\s+)\S+", "$1***"),
    (r"(?i)(\bmachine\s+\S+\s+login\s+\S+\s+password\s+)\S+", "$1***"),
    // openssl's pass phrase argument.
    (r"(\bpass:)[^\s:][^\s]*", "$1***"),
];

static COMPILED: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| super::compile(RULES));
static USERINFO: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern::compile(r#"(://|%3[aA]%2[fF]%2[fF])([^\s'"<>,;()]*)"#));
static SCHEME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern::compile(r"(?i)\b(bearer|basic|token|negotiate|apikey|ntlm)(\s+)([A-Za-z0-9._~+/=-]{6,})")
});
static GO_DSN: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern::compile(r#"([^\s:@/'"=]+):([^\s'"]+)@(tcp|unix|udp)\("#));

#[cfg(test)]
pub(super) const RULE_COUNT: usize = RULES.len();

/// Rules that compiled, with the three that are functions.
#[cfg(test)]
pub(super) fn rules() -> usize {
    assert!(USERINFO.is_some() && SCHEME.is_some() && GO_DSN.is_some());
    COMPILED.len()
}

/// Masks what has the shape of a secret.
pub(super) fn mask(text: &str) -> String {
    let masked = super::replace_all(text, &COMPILED);
    let masked = with(&USERINFO, &masked, |found| match userinfo_end(&found[2]) {
        Some(end) => format!("{}***{}", &found[1], found[2].get(end..).unwrap_or("")),
        None => found[0].to_owned(),
    });
    let masked = with(&SCHEME, &masked, |found| match looks_secret(&found[3]) {
        true => format!("{}{}***", &found[1], &found[2]),
        false => found[0].to_owned(),
    });
    with(&GO_DSN, &masked, |found| format!("{}:***@{}(", &found[1], &found[3]))
}

fn with(pattern: &Option<Regex>, text: &str, replace: impl Fn(&Captures<'_>) -> String) -> String {
    pattern.as_ref().map_or_else(|| text.to_owned(), |pattern| pattern.replace_all(text, replace).into_owned())
}

/// Where the part before "@" ends in what follows "://", if there is one that may be secret. A password may hold any
/// sign, so the last "@" counts; but "host:port/path?mail=a@b" has none.
fn userinfo_end(rest: &str) -> Option<usize> {
    let at = rest.rfind('@').or_else(|| rest.find("%40"))?;
    let before = rest.get(..at)?;
    let authority_end = before.find(['/', '?', '#']).unwrap_or(before.len());
    let (user, password) = before.split_once(':').or_else(|| before.split_once("%3A")).unwrap_or((before, ""));
    if authority_end == before.len() {
        let lone_name = password.is_empty() && user.len() < 16 && !before.contains(':');
        return (!lone_name).then_some(at);
    }
    // A slash stands before the "@": a path, unless a password holds it. A port is all digits.
    let first = password.split(['/', '?', '#']).next().unwrap_or("");
    let is_port = first.len() <= 5 && first.bytes().all(|byte| byte.is_ascii_digit());
    let is_host = user.contains(['/', '?', '#', ']']) || user.starts_with('[');
    (!is_host && !is_port && !password.is_empty()).then_some(at)
}

/// Whether a word looks made by a machine or chosen as a password: not a plain word of a sentence.
pub(super) fn looks_secret(value: &str) -> bool {
    let word = value.trim_end_matches(['.', ',', ';', ':', '!', '?', ')']);
    let digits = word.bytes().any(|byte| byte.is_ascii_digit());
    let tail_capital = word.chars().skip(1).any(char::is_uppercase) && word.chars().any(char::is_lowercase);
    let signs = word.chars().any(|c| !c.is_alphanumeric() && !matches!(c, '-' | '_' | '\'' | '.' | '/'));
    digits || tail_capital || signs || word.len() >= 24
}
