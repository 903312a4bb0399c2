//! [`Tokens`]: signing in, and again when the token ends.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use reqwest::header::HeaderValue;
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use tinyfs::Secret;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::form_urlencoded::byte_serialize;

use super::http::{Http, Request, RequestKind, shown};
use super::model::{MAX_TOKEN_BYTES, parse};
use crate::error::{Error, ErrorKind, Result};

/// OAuth 2.0's client credentials, with what the readings need.
const FORM: &str = "grant_type=client_credentials&scope=read%3Alocations+read%3Adata";
/// A token is not renewed more often, whatever the service says of its life.
const SHORTEST_LIFE: Duration = Duration::from_secs(1);
/// A longer life than this is as good as none.
const LONGEST_LIFE: u64 = 365 * 24 * 3600;

/// The token of the moment. All requests of a run share it.
#[derive(Debug)]
pub(super) struct Tokens {
    url: Url,
    credentials: HeaderValue,
    client_id: String,
    current: Mutex<Option<Token>>,
}

#[derive(Debug, Clone)]
struct Token {
    header: HeaderValue,
    /// When to ask for another one; `None` where the service does not say how long it lives.
    renew_at: Option<Instant>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    #[serde(default)]
    expires_in: Option<f64>,
}

impl Tokens {
    pub(super) fn try_new(url: Url, client_id: &str, secret: &Secret) -> Result<Self> {
        let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", encoded(client_id), encoded(secret.expose()));
        let credentials = sensitive(&format!("Basic {}", BASE64_STANDARD.encode(pair)))
            .ok_or_else(|| Error::new(ErrorKind::Usage, "'client_id' and its secret cannot be sent"))?;
        Ok(Self { url, credentials, client_id: client_id.to_owned(), current: Mutex::new(None) })
    }

    /// The `Authorization` of a request, signing in first if there is no token, or it is about to end. Who comes meanwhile waits
    /// for the same token.
    pub(super) async fn header(&self, http: &Http) -> Result<HeaderValue> {
        let mut current = self.current.lock().await;
        if let Some(token) = current.as_ref().filter(|token| token.renew_at.is_none_or(|at| Instant::now() < at)) {
            return Ok(token.header.clone());
        }
        let token = self.sign_in(http).await?;
        let header = token.header.clone();
        *current = Some(token);
        Ok(header)
    }

    /// Forgets the token that a request was refused with, unless there is a newer one already.
    pub(super) async fn refused(&self, header: &HeaderValue) {
        let mut current = self.current.lock().await;
        if current.as_ref().is_some_and(|token| token.header == *header) {
            *current = None;
        }
    }

    async fn sign_in(&self, http: &Http) -> Result<Token> {
        let request = Request {
            url: self.url.clone(),
            authorization: self.credentials.clone(),
            kind: RequestKind::Post { form: FORM },
        };
        let asked = Instant::now();
        let answer = http.fetch(&request).await?;
        if !answer.status.is_success() {
            let place = shown(&self.url);
            let client = &self.client_id;
            return Err(match answer.status {
                StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::new(
                    ErrorKind::Usage,
                    format!("{place} refuses client_id '{client}' with this client_secret: {}", answer.status),
                ),
                status => Error::new(ErrorKind::Io, format!("{place} answers {status}")),
            });
        }
        let parsed: TokenAnswer = parse(&self.url, &answer)?;
        let header = Some(parsed.access_token)
            .filter(|token| (1..=MAX_TOKEN_BYTES).contains(&token.len()))
            .and_then(|token| sensitive(&format!("Bearer {token}")))
            .ok_or_else(|| {
                Error::new(ErrorKind::Io, format!("{} gives no token that can be sent", shown(&self.url)))
            })?;
        let life = parsed.expires_in.filter(|seconds| seconds.is_finite()).map(|seconds| {
            // Early enough that a request which is slow to arrive still has it.
            let life = Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_LIFE as f64));
            (life - (life / 10).min(Duration::from_secs(60))).max(SHORTEST_LIFE)
        });
        Ok(Token { header, renew_at: life.map(|life| asked + life) })
    }
}

/// A header that the HTTP client's own logs do not show.
fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_the_secret() {
        let url = Url::parse("https://a.example/token").unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2").unwrap();
        let secret = tinyfs::SecretSource::File(file.path().to_owned()).resolve().unwrap();
        let tokens = Tokens::try_new(url, "me", &secret).unwrap();
        let shown = format!("{tokens:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("aHVud") && !shown.contains("bWU6"), "{shown}");
    }
}
