//! [`Run`]: all devices of an entry, some at a time.

use chrono::Utc;
use futures::{StreamExt, stream};
use tinyfs::Secret;

use super::device::{DeviceSync, Ending, Limits, Outcome};
use super::http::HttpOptions;
use super::model::{Location, Names};
use super::service::Service;
use super::settings::{Devices, Settings};
use super::store::Store;
use crate::error::{Error, ErrorKind, Result};

/// How a run goes about it.
#[derive(Debug, Clone)]
pub(super) struct RunOptions {
    pub(super) http: HttpOptions,
    /// How many devices are read at a time, each of which holds readings.
    pub(super) devices: usize,
    /// The most readings of a device that are held.
    pub(super) readings: usize,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { http: HttpOptions::default(), devices: 4, readings: 500_000 }
    }
}

/// What a run did for a device.
#[derive(Debug)]
pub(super) struct DeviceResult {
    pub(super) id: String,
    /// `None` for a device that the service does not list.
    pub(super) name: Option<String>,
    pub(super) outcome: Outcome,
}

/// One run of an entry.
#[derive(Debug)]
pub(super) struct Run {
    settings: Settings,
    options: RunOptions,
    service: Service,
}

impl Run {
    /// Asks nothing yet.
    pub(super) fn try_new(settings: Settings, options: RunOptions, secret: &Secret) -> Result<Self> {
        let service = Service::try_new(&settings, options.http.clone(), secret)?;
        Ok(Self { settings, options, service })
    }

    /// Fetches what is new, for each device by itself.
    ///
    /// # Errors
    /// When the service does not let in, or tells neither names nor devices; and when each and every device failed.
    pub(super) async fn run(&self, store: &dyn Store) -> Result<Vec<DeviceResult>> {
        let (names, locations) = futures::try_join!(self.service.names(), self.service.locations())?;
        store.keep_locations(&locations).await?;
        let results: Vec<DeviceResult> = stream::iter(self.devices(locations))
            .map(|device| self.device(device, &names, store))
            .buffered(self.options.devices)
            .collect()
            .await;
        let failures: Vec<&Error> = results.iter().filter_map(|result| result.failure()).collect();
        match failures.as_slice() {
            [first, ..] if failures.len() == results.len() => {
                let message = match failures.len() {
                    1 => first.to_string(),
                    count => format!("all {count} devices failed; the first: {first}"),
                };
                Err(Error::new(first.kind(), message))
            }
            _ => Ok(results),
        }
    }

    /// The devices of the entry, in the order of their ids; an id that the service does not list stands alone.
    fn devices(&self, mut locations: Vec<Location>) -> Vec<std::result::Result<Location, String>> {
        locations.sort_by(|left, right| (left.id.len(), &left.id).cmp(&(right.id.len(), &right.id)));
        match &self.settings.devices {
            Devices::All => locations.into_iter().map(Ok).collect(),
            Devices::These(ids) => ids
                .iter()
                .map(|id| locations.iter().find(|location| location.id == *id).cloned().ok_or_else(|| id.clone()))
                .collect(),
        }
    }

    async fn device(
        &self,
        device: std::result::Result<Location, String>,
        names: &Names,
        store: &dyn Store,
    ) -> DeviceResult {
        let device = match device {
            Ok(device) => device,
            Err(id) => {
                let error = Error::new(ErrorKind::NotFound, format!("the service lists no device {id}"));
                let outcome = Outcome { ending: Ending::Failed(error), ..Outcome::default() };
                return DeviceResult { id, name: None, outcome };
            }
        };
        let outcome = match store.series_end(&device.id).await {
            Ok(end) => {
                let from = end.map_or(self.settings.start, |end| end.saturating_add(1).max(self.settings.start));
                let sync = DeviceSync {
                    service: &self.service,
                    names,
                    store,
                    device: &device,
                    limits: Limits { pages: self.settings.page_limit, readings: self.options.readings },
                    // A reading of a second that is yet to come would be the end of the series, and those of the time up to it would never be
                    // asked for. A later run finds it.
                    latest: Utc::now().timestamp(),
                    outcome: Outcome::default(),
                };
                sync.run(from).await
            }
            Err(error) => Outcome { ending: Ending::Failed(error), ..Outcome::default() },
        };
        DeviceResult { id: device.id, name: Some(device.name), outcome }
    }
}

impl DeviceResult {
    /// Why it failed, if it did.
    pub(super) fn failure(&self) -> Option<&Error> {
        match &self.outcome.ending {
            Ending::Failed(error) => Some(error),
            Ending::Complete | Ending::Limited => None,
        }
    }
}
