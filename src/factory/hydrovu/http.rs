//! [`Http`]: requests that are repeated where that may help, few at a time, with answers of bounded size.

use std::error::Error as StdError;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode, Url};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::address::{Guard, RefusedAddress};
use super::retry::{Retry, retry_after};
use crate::error::{Error, ErrorKind, Result};

/// The header that asks for a page.
pub(super) const START_PAGE: &str = "x-isi-start-page";
/// The header of an answer that names the page after it.
pub(super) const NEXT_PAGE: &str = "x-isi-next-page";
/// How often one answer may send a request on.
const MAX_REDIRECTS: usize = 5;

/// How requests are made.
#[derive(Debug, Clone)]
pub(super) struct HttpOptions {
    pub(super) connect_timeout: Duration,
    /// From the request to the last byte of its answer.
    pub(super) timeout: Duration,
    pub(super) retry: Retry,
    /// The largest body of an answer, in bytes.
    pub(super) max_body: usize,
    /// How many requests are on their way at a time. All go to one host.
    pub(super) parallel: usize,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(60),
            retry: Retry::default(),
            max_body: 8 << 20,
            parallel: 4,
        }
    }
}

/// A client of one service.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    guard: Guard,
    options: HttpOptions,
    places: Semaphore,
    /// When the service, having said that it is asked too often, may be asked again.
    resume: Mutex<Option<Instant>>,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) url: Url,
    pub(super) authorization: HeaderValue,
    pub(super) kind: RequestKind,
}

#[derive(Debug, Clone)]
pub(super) enum RequestKind {
    /// A page: the first, or the one that the page before named.
    Get { start_page: Option<HeaderValue> },
    /// A form, already encoded.
    Post { form: &'static str },
}

impl Request {
    /// What an error calls the place that was asked: where the service sent the request on to, its host alone. The rest of that URL is of
    /// the service's making, and may repeat what it was told.
    fn shown_at(&self, url: &Url) -> String {
        if *url == self.url {
            return shown(url);
        }
        format!("{}, which sent the request on to {},", shown(&self.url), url.origin().ascii_serialization())
    }
}

/// What came back, whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) next_page: Option<HeaderValue>,
    pub(super) content_type: Option<String>,
    pub(super) body: Bytes,
}

impl Http {
    pub(super) fn try_new(guard: Guard, options: HttpOptions) -> Result<Self> {
        let client = Client::builder()
            // A proxy would look names up by itself, and see addresses that the guard does not.
            .no_proxy()
            .dns_resolver(std::sync::Arc::new(guard))
            .redirect(Policy::none())
            .connect_timeout(options.connect_timeout)
            .timeout(options.timeout)
            .user_agent(concat!("pondsql/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::new(ErrorKind::Io, "no HTTP client can be made").with_source(plain(error)))?;
        let places = Semaphore::new(options.parallel);
        Ok(Self { client, guard, options, places, resume: Mutex::new(None) })
    }

    /// The answer to a request: of any status below 500 but 429, which are tried again as [`Retry`] says.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io) when no such answer came; [`Limit`](ErrorKind::Limit) for one that is too large. No error holds
    /// headers, bodies or the query of a URL.
    pub(super) async fn fetch(&self, request: &Request) -> Result<Answer> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            self.wait_to_resume().await;
            let outcome = {
                let _place = self.places.acquire().await.map_err(|_| Error::new(ErrorKind::Cancelled, "cancelled"))?;
                self.attempt(request).await
            };
            let (error, asked) = match outcome {
                Ok(response) => return Ok(response),
                Err(Attempt::Final(error)) => return Err(error),
                Err(Attempt::Again { error, after }) => (error, after),
            };
            let Some(delay) = self.options.retry.delay(attempt, asked) else {
                return Err(match (attempt, asked) {
                    (1, _) => error,
                    (_, Some(asked)) if asked > self.options.retry.longest_wait => error,
                    _ => Error::new(error.kind(), format!("{error} (tried {attempt} times)")),
                });
            };
            tracing::debug!(%error, ?delay, "a request is tried again");
            match asked {
                // All that ask the service wait, not only who was told so.
                Some(_) => {
                    let mut resume = self.resume.lock();
                    *resume = (*resume).max(Some(Instant::now() + delay));
                }
                None => tokio::time::sleep(delay).await,
            }
        }
    }

    async fn wait_to_resume(&self) {
        loop {
            let resume = *self.resume.lock();
            match resume {
                Some(at) if at > Instant::now() => tokio::time::sleep_until(at).await,
                _ => return,
            }
        }
    }

    async fn attempt(&self, request: &Request) -> std::result::Result<Answer, Attempt> {
        let mut url = request.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(request, &url).await?;
            let status = response.status();
            if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
                let error = Error::new(ErrorKind::Io, format!("{} answers {status}", request.shown_at(&url)));
                return Err(Attempt::Again { error, after: retry_after(response.headers()) });
            }
            match status.as_u16() {
                301 | 302 | 303 | 307 | 308 => url = self.redirected(request, &url, &response)?,
                _ => return self.read(request.shown_at(&url), response).await,
            }
        }
        Err(Attempt::Final(Error::new(ErrorKind::Io, format!("{} redirects in a circle", shown(&request.url)))))
    }

    async fn send(&self, request: &Request, url: &Url) -> std::result::Result<Response, Attempt> {
        self.guard.check(url).map_err(|error| refused(&request.shown_at(url), &error))?;
        let mut headers = HeaderMap::new();
        // Another host is told nothing.
        if url.origin() == request.url.origin() {
            let _ = headers.insert(AUTHORIZATION, request.authorization.clone());
        }
        let builder = match &request.kind {
            RequestKind::Get { start_page } => {
                if let Some(page) = start_page {
                    let _ = headers.insert(START_PAGE, page.clone());
                }
                self.client.request(Method::GET, url.clone())
            }
            RequestKind::Post { form } => {
                let _ = headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
                self.client.request(Method::POST, url.clone()).body(*form)
            }
        };
        builder.headers(headers).send().await.map_err(|error| failed(&request.shown_at(url), error))
    }

    /// Where an answer sends the request on to.
    fn redirected(&self, request: &Request, from: &Url, response: &Response) -> std::result::Result<Url, Attempt> {
        let refuse = |why: String| {
            Attempt::Final(Error::new(ErrorKind::Io, format!("{} redirects {why}", request.shown_at(from))))
        };
        let to = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let to = to.and_then(|to| from.join(to).ok()).ok_or_else(|| refuse("to nowhere".to_owned()))?;
        if !matches!(to.scheme(), "https" | "http") || (from.scheme() == "https" && to.scheme() == "http") {
            return Err(refuse(format!("from {} to {}, which is refused", from.scheme(), to.scheme())));
        }
        self.guard.check(&to).map_err(|error| refuse(format!("to a place that is refused: {error}")))?;
        // The form would have to be sent again, and the secret with it.
        if matches!(request.kind, RequestKind::Post { .. }) {
            return Err(refuse(
                "the sign-in elsewhere, which is refused: LOCATION is to be the place itself".to_owned(),
            ));
        }
        Ok(to)
    }

    async fn read(&self, place: String, mut response: Response) -> std::result::Result<Answer, Attempt> {
        let limit = self.options.max_body;
        let too_large =
            || Attempt::Final(Error::new(ErrorKind::Limit, format!("{place} answers with more than {limit} bytes")));
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(&place, error))? {
            if body.len() + chunk.len() > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        let header = |name: &str| response.headers().get(name).cloned();
        Ok(Answer {
            status: response.status(),
            next_page: header(NEXT_PAGE).filter(|page| !page.is_empty()),
            content_type: header(CONTENT_TYPE.as_str()).and_then(|value| value.to_str().ok().map(str::to_owned)),
            body: body.freeze(),
        })
    }
}

/// Why an attempt brought no answer.
enum Attempt {
    /// Another one would end the same way.
    Final(Error),
    /// Another one may do better, after the time that the service asks for.
    Again { error: Error, after: Option<Duration> },
}

/// A URL in an error: without its query.
pub(super) fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

fn refused(place: &str, error: &RefusedAddress) -> Attempt {
    Attempt::Final(Error::new(ErrorKind::Io, format!("{place} is refused: {error}")))
}

/// A request without an answer. An address that is refused stays so; all else may pass.
fn failed(place: &str, error: reqwest::Error) -> Attempt {
    if let Some(address) = RefusedAddress::within(&error) {
        return refused(place, address);
    }
    let what = match &error {
        error if error.is_timeout() => "does not answer in time",
        error if error.is_connect() => "cannot be reached",
        error if error.is_body() || error.is_decode() => "breaks its answer off",
        _ => "does not answer",
    };
    let error = Error::new(ErrorKind::Io, format!("{place} {what}")).with_source(plain(error));
    Attempt::Again { error, after: None }
}

/// The innermost cause, as a text: those around it repeat the URL, with its query.
fn plain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn StdError = &error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_query() {
        let url = Url::parse("https://me:hunter2@a.example:8443/x/y?key=hunter2#hunter2").unwrap();
        assert_eq!(shown(&url), "https://a.example:8443/x/y");
    }
}
