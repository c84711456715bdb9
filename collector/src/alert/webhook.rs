//! A webhook: one POST a message. The signature covers the moment and the document, so that who receives it can tell that
//! it is ours and not an old one sent again.

use std::fs;
use std::path::PathBuf;

use axum::http::StatusCode;
use ring::hmac;

use super::Failed;
use super::headers::Headers;
use super::http::Client;
use super::message::Message;
use super::settings::{Target, Webhook};
use super::template::Template;

/// A webhook that is ready to be told.
pub struct Hook {
    client: Client,
    target: Target,
    template: Template,
    secret_file: Option<PathBuf>,
    headers: Headers,
    content_type: String,
}

impl Hook {
    /// Reads the template and the key.
    pub fn new(webhook: &Webhook, client: Client) -> Result<Self, String> {
        let hook = Self {
            client,
            target: webhook.target.clone(),
            template: Template::new(webhook.template.as_ref(), &webhook.values)?,
            secret_file: webhook.secret_file.clone(),
            headers: Headers::new(&webhook.headers, &webhook.header_files)?,
            content_type: webhook.content_type.clone(),
        };
        hook.key()?;
        Ok(hook)
    }

    /// Posts a message written at `at_us`; done once the other side has confirmed it.
    pub async fn deliver(&self, message: &Message, at_us: i64) -> Result<(), Failed> {
        let document = self.template.document(message).map_err(Failed::hopeless)?;
        let mut headers = self.headers.current().map_err(Failed::message)?;
        headers.push(("Content-Type".to_owned(), self.content_type.clone()));
        headers.push(("X-Why502-Delivery".to_owned(), message.delivery.clone()));
        // Read for each message: a key that was changed holds at once.
        if let Some(key) = self.key().map_err(Failed::message)? {
            headers.push(("X-Why502-Signature".to_owned(), signature(&key, at_us / 1_000_000, &document)));
        }
        let answer = self.client.post(&self.target, &headers, document).await.map_err(Failed::sink)?;
        judge(&self.target, answer.status)
    }

    fn key(&self) -> Result<Option<hmac::Key>, String> {
        let Some(path) = &self.secret_file else { return Ok(None) };
        let bytes = fs::read(path).map_err(|error| format!("secret_file {}: {error}", path.display()))?;
        let secret = bytes.trim_ascii();
        if secret.len() < 16 {
            return Err(format!("secret_file {}: a key has at least 16 bytes", path.display()));
        }
        Ok(Some(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }
}

/// "t=SECONDS,v1=HEX": HMAC-SHA256 of "SECONDS.DOCUMENT".
fn signature(key: &hmac::Key, at_s: i64, document: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(format!("{at_s}.").as_bytes());
    context.update(document);
    let hex: String = context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={at_s},v1={hex}")
}

/// What a status means for the message and for the sink.
pub fn judge(target: &Target, status: StatusCode) -> Result<(), Failed> {
    let why = format!("{}: answered {status}", target.shown());
    match status.as_u16() {
        200..=299 => Ok(()),
        // The document is what it does not like: it will not like it better later.
        400 | 413 | 415 | 422 => Err(Failed::hopeless(why)),
        // It is busy, or stands before something that is not there.
        408 | 425 | 429 | 500..=599 => Err(Failed::sink(why)),
        _ => Err(Failed::message(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_hmac_sha256_of_moment_and_document() {
        // As `printf '1700000000.{}' | openssl dgst -sha256 -hmac 0123456789abcdef` prints it.
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef");
        assert_eq!(
            signature(&key, 1_700_000_000, b"{}"),
            "t=1700000000,v1=e4f8e2ecae2295b2ddb2f0b5584c8275e226c0ebe9b3b819e70156bb67122e3e"
        );
    }

    #[test]
    fn only_a_document_that_is_refused_is_hopeless() {
        let target: Target = Target { uri: "http://a/".parse().unwrap(), tls: false, host: "a".to_owned(), port: 80 };
        let hopeless = |status: u16| judge(&target, StatusCode::from_u16(status).unwrap()).unwrap_err().hopeless;
        assert!(judge(&target, StatusCode::NO_CONTENT).is_ok());
        assert!(hopeless(422) && !hopeless(301) && !hopeless(401) && !hopeless(404) && !hopeless(503));
    }
}
