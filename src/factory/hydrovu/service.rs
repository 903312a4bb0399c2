//! [`Service`]: the requests of the HydroVu API.

use std::collections::HashSet;

use reqwest::header::HeaderValue;
use reqwest::{StatusCode, Url};
use serde::de::DeserializeOwned;
use tinyfs::Secret;

use super::http::{Answer, Http, HttpOptions, Request, RequestKind, shown};
use super::model::{Location, Names, ReadingsPage, parse};
use super::settings::{Settings, is_id};
use super::token::Tokens;
use crate::error::{Error, ErrorKind, Result};

/// The most pages of names, and of locations.
const MAX_PAGES: usize = 10_000;

/// A service that is asked with one identity.
#[derive(Debug)]
pub(super) struct Service {
    http: Http,
    tokens: Tokens,
    root: Url,
}

/// Which readings of a device are asked for, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: i64,
    /// The last second; `None`: all that there is.
    pub(super) to: Option<i64>,
}

impl Service {
    /// Asks nothing yet.
    pub(super) fn try_new(settings: &Settings, options: HttpOptions, secret: &Secret) -> Result<Self> {
        let http = Http::try_new(settings.addresses.guard(), options)?;
        let tokens = Tokens::try_new(join(&settings.root, "oauth/token")?, &settings.client_id, secret)?;
        Ok(Self { http, tokens, root: settings.root.clone() })
    }

    /// Signs in, which tells whether the service is there and knows the client.
    pub(super) async fn sign_in(&self) -> Result<()> {
        let _ = self.tokens.header(&self.http).await?;
        Ok(())
    }

    /// The words for all ids.
    pub(super) async fn names(&self) -> Result<Names> {
        let mut names = Names::default();
        for page in self.all_pages::<Names>("v1/sispec/friendlynames").await? {
            names.parameters.extend(page.parameters);
            names.units.extend(page.units);
        }
        Ok(names.distinct())
    }

    /// All devices that the client may see.
    pub(super) async fn locations(&self) -> Result<Vec<Location>> {
        let path = "v1/locations/list";
        let mut seen = HashSet::new();
        let mut locations = Vec::new();
        for location in self.all_pages::<Vec<Location>>(path).await?.into_iter().flatten() {
            if !is_id(&location.id) {
                let message = format!("{} names a device whose id is none", shown(&join(&self.root, path)?));
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
            // What moves from one page to the next meanwhile is on both.
            if seen.insert(location.id.clone()) {
                locations.push(location);
            }
        }
        Ok(locations)
    }

    /// A page of readings, and what names the page after it.
    pub(super) async fn readings(
        &self,
        device: &str,
        window: Window,
        page: Option<HeaderValue>,
        turns: &mut PageTurns,
    ) -> Result<(ReadingsPage, Option<HeaderValue>)> {
        let mut url = join(&self.root, &format!("v1/locations/{device}/data"))?;
        let mut query = format!("startTime={}", window.from);
        if let Some(to) = window.to {
            // Whether the end belongs to it is not said: one second more, which the reader leaves out.
            query.push_str(&format!("&endTime={}", to.saturating_add(1)));
        }
        url.set_query(Some(&query));
        let (readings, next): (ReadingsPage, _) = self.page(&url, page).await?;
        match readings.location_id.as_deref() {
            Some(other) if other != device => {
                let message = format!("{} answers with the readings of another device", shown(&url));
                Err(Error::new(ErrorKind::Corrupt, message))
            }
            _ => Ok((readings, next.map(|next| turns.turn(&url, next)).transpose()?)),
        }
    }

    async fn all_pages<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>> {
        let url = join(&self.root, path)?;
        let mut pages = Vec::new();
        let mut turns = PageTurns::default();
        let mut next = None;
        loop {
            let (page, after) = self.page(&url, next).await?;
            pages.push(page);
            next = match after {
                Some(after) if pages.len() < MAX_PAGES => Some(turns.turn(&url, after)?),
                Some(_) => return Err(Error::new(ErrorKind::Limit, format!("{} has too many pages", shown(&url)))),
                None => return Ok(pages),
            };
        }
    }

    async fn page<T: DeserializeOwned>(
        &self,
        url: &Url,
        start_page: Option<HeaderValue>,
    ) -> Result<(T, Option<HeaderValue>)> {
        let mut answer = self.get(url, start_page).await?;
        let next = answer.next_page.take();
        Ok((parse(url, &answer)?, next))
    }

    /// Asks with a token, and once more with a new one if the service does not take it any longer.
    async fn get(&self, url: &Url, start_page: Option<HeaderValue>) -> Result<Answer> {
        let mut request = Request {
            url: url.clone(),
            authorization: self.tokens.header(&self.http).await?,
            kind: RequestKind::Get { start_page },
        };
        let mut answer = self.http.fetch(&request).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            self.tokens.refused(&request.authorization).await;
            request.authorization = self.tokens.header(&self.http).await?;
            answer = self.http.fetch(&request).await?;
        }
        match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(Error::new(ErrorKind::Io, format!("{} refuses the token: {}", shown(url), answer.status)))
            }
            StatusCode::NOT_FOUND => Err(Error::new(ErrorKind::NotFound, format!("{} is not there", shown(url)))),
            _ => Ok(answer),
        }
    }
}

/// The pages that an answer had so far: one that comes again would go on forever.
#[derive(Debug, Default)]
pub(super) struct PageTurns(HashSet<[u8; 32]>);

impl PageTurns {
    /// The page that comes next.
    pub(super) fn turn(&mut self, url: &Url, next: HeaderValue) -> Result<HeaderValue> {
        match self.0.insert(*blake3::hash(next.as_bytes()).as_bytes()) {
            true => Ok(next),
            false => Err(Error::new(ErrorKind::Corrupt, format!("{} names a page as its own next", shown(url)))),
        }
    }
}

fn join(root: &Url, path: &str) -> Result<Url> {
    root.join(&format!("public-api/{path}"))
        .map_err(|error| Error::new(ErrorKind::Usage, format!("no URL of the service: {error}")))
}
