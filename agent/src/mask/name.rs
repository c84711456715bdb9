//! Whether a name (of a variable, a key, a header, a flag, a query parameter) says that its value is secret.

/// How sure a name makes it that its value is secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrecy {
    /// Ordinary.
    None,
    /// Secret where the value looks like it: the word stands in ordinary sentences too.
    Likely,
    /// Secret.
    Certain,
}

/// Parts of a word that make it secret, whatever stands around them ("PGPASSWORD", "mysecret").
const CERTAIN_PARTS: [&str; 18] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "passwort",
    "secret",
    "apikey",
    "accesskey",
    "privatekey",
    "accountkey",
    "signingkey",
    "encryptionkey",
    "masterkey",
    "credential",
    "phpsessid",
    "jsessionid",
    "authkey",
    "authtoken",
];

/// Words that are secret by themselves.
const CERTAIN_WORDS: [&str; 16] = [
    "pwd",
    "pass",
    "passw",
    "pw",
    "jwt",
    "psk",
    "otp",
    "totp",
    "csrf",
    "xsrf",
    "csrftoken",
    "sessid",
    "sessionid",
    "sid",
    "requirepass",
    "masterauth",
];

/// Words that are secret where the value looks like it.
const LIKELY_WORDS: [&str; 16] = [
    "token",
    "tokens",
    "auth",
    "authorization",
    "cookie",
    "cookies",
    "session",
    "signature",
    "sig",
    "bearer",
    "pin",
    "nonce",
    "salt",
    "pat",
    "assertion",
    "ticket",
];

/// Words that make a "key" behind them a secret one.
const KEY_OWNERS: [&str; 30] = [
    "api",
    "access",
    "private",
    "priv",
    "secret",
    "encryption",
    "encrypt",
    "signing",
    "sign",
    "master",
    "account",
    "auth",
    "shared",
    "ssh",
    "aws",
    "license",
    "licence",
    "client",
    "storage",
    "service",
    "app",
    "application",
    "consumer",
    "hmac",
    "admin",
    "deploy",
    "subscription",
    "functions",
    "crypto",
    "rails",
];

/// Words behind a secret one that make the value ordinary again: a file's name, a count, a setting.
const ORDINARY_ENDS: [&str; 44] = [
    "file",
    "path",
    "dir",
    "directory",
    "type",
    "ttl",
    "timeout",
    "expires",
    "expiry",
    "expiration",
    "expired",
    "count",
    "size",
    "length",
    "len",
    "limit",
    "max",
    "min",
    "enabled",
    "disabled",
    "required",
    "policy",
    "name",
    "names",
    "endpoint",
    "age",
    "version",
    "format",
    "algorithm",
    "alg",
    "usage",
    "bucket",
    "rotation",
    "authority",
    "provider",
    "method",
    "mode",
    "domain",
    "samesite",
    "issuer",
    "audience",
    "budget",
    "scheme",
    "lifetime",
];

/// Names of query parameters that carry secrets though the words are ordinary elsewhere.
const QUERY_NAMES: [&str; 12] = [
    "key",
    "code",
    "sig",
    "auth",
    "ticket",
    "assertion",
    "samlresponse",
    "samlrequest",
    "hmac",
    "hash",
    "state",
    "token",
];

/// What a name says of its value.
pub(super) fn secrecy(name: &str) -> Secrecy {
    let words = words(name);
    let Some(last) = (0..words.len()).rev().find(|at| word_secrecy(&words, *at) != Secrecy::None) else {
        return Secrecy::None;
    };
    if words.iter().skip(last + 1).any(|word| ORDINARY_ENDS.contains(&word.as_str())) {
        return Secrecy::None;
    }
    let counts = words.iter().take(last).any(|word| matches!(word.as_str(), "max" | "min" | "num" | "no" | "total"));
    if counts {
        return Secrecy::None;
    }
    // A compound ("csrf_token", "X-Auth-Token") is a variable's name, a single word may be one of a sentence.
    match word_secrecy(&words, last) {
        Secrecy::Likely if words.len() > 1 => Secrecy::Certain,
        found => found,
    }
}

/// Whether a query parameter of this name carries a secret.
pub(super) fn secret_in_query(name: &str) -> bool {
    secrecy(name) != Secrecy::None || QUERY_NAMES.contains(&name.to_ascii_lowercase().as_str())
}

fn word_secrecy(words: &[String], at: usize) -> Secrecy {
    let Some(word) = words.get(at).map(String::as_str) else { return Secrecy::None };
    let before = at.checked_sub(1).and_then(|before| words.get(before)).map_or("", String::as_str);
    let certain = CERTAIN_WORDS.contains(&word)
        || CERTAIN_PARTS.iter().any(|part| word.contains(part)) && !word.starts_with("secretar")
        || (word == "key" || word == "keys") && KEY_OWNERS.contains(&before)
        || word.len() > 5 && (word.ends_with("token") || word.ends_with("pwd"));
    match certain {
        true => Secrecy::Certain,
        false if LIKELY_WORDS.contains(&word) => Secrecy::Likely,
        false => Secrecy::None,
    }
}

/// A name's words in small letters: parted by what is no letter or digit, and where a capital follows a small letter.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut small_before = false;
    for letter in name.chars() {
        let begins = !letter.is_ascii_alphanumeric() || (letter.is_ascii_uppercase() && small_before);
        if begins && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if let (true, Some(word)) = (letter.is_ascii_alphanumeric(), words.last_mut()) {
            word.push(letter.to_ascii_lowercase());
        }
        small_before = letter.is_ascii_lowercase() || letter.is_ascii_digit();
    }
    words.retain(|word| !word.is_empty());
    words
}
