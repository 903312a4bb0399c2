//! [`DeviceSync`]: the readings of one device, from where its series ends.

use reqwest::header::HeaderValue;

use super::merge::{Believed, Merge};
use super::model::{Location, Names};
use super::service::{PageTurns, Service, Window};
use super::skips::Skips;
use super::store::Store;
use crate::error::{Error, ErrorKind, Result};

/// So many pages without one reading that is kept, and the service is taken to go in circles.
const MAX_QUIET_PAGES: u64 = 1_000;

/// How much is read before it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The most pages of one device in one run; `None`: all.
    pub(super) pages: Option<u64>,
    /// The most readings that are held, which take 16 bytes each.
    pub(super) readings: usize,
}

/// What was done for a device.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) rows: u64,
    /// The first second and the last of these rows.
    pub(super) times: Option<(i64, i64)>,
    pub(super) pages: u64,
    pub(super) skips: Skips,
    pub(super) ending: Ending,
}

/// How it ended.
#[derive(Debug, Default)]
pub(super) enum Ending {
    /// Everything is there.
    #[default]
    Complete,
    /// The limit of pages was reached: there is more.
    Limited,
    /// What was written before stays.
    Failed(Error),
}

/// One device of a run.
pub(super) struct DeviceSync<'a> {
    pub(super) service: &'a Service,
    pub(super) names: &'a Names,
    pub(super) store: &'a dyn Store,
    pub(super) device: &'a Location,
    pub(super) limits: Limits,
    /// Readings of a later second are yet to come.
    pub(super) latest: i64,
    pub(super) outcome: Outcome,
}

/// What came of reading an answer's pages.
enum Read {
    /// There was no page after the last one.
    Whole(Merge),
    Cut(Merge, Cut),
}

/// Why an answer was not read to its end.
enum Cut {
    Pages,
    Readings,
    Failed(Error),
}

impl DeviceSync<'_> {
    /// Reads and writes what there is from the second `from` on.
    ///
    /// A service may cut the parameters of a device into pages as it likes: what a page has of one tells nothing of the others. So
    /// rows are written only where an answer was read to its last page. Where that is not to be, for it is too long or failed half
    /// way, a part that is sure to have something is asked for again, with an end.
    pub(super) async fn run(mut self, mut from: i64) -> Outcome {
        self.outcome.ending = loop {
            let (merge, cut) = match self.read(Window { from, to: None }, self.limits).await {
                Read::Whole(merge) => break self.write(merge).await.map_or_else(Ending::Failed, |_| Ending::Complete),
                Read::Cut(merge, cut) => (merge, cut),
            };
            let span = merge.span();
            drop(merge);
            let written = match span {
                Some((first, until)) => self.window(from, first, until).await.map(Some),
                None => Ok(None),
            };
            match (cut, written) {
                (Cut::Failed(error), _) | (Cut::Pages | Cut::Readings, Err(error)) => break Ending::Failed(error),
                (Cut::Readings, Ok(Some(until))) => from = until.saturating_add(1),
                (Cut::Pages | Cut::Readings, Ok(_)) => break Ending::Limited,
            }
        };
        self.outcome
    }

    /// Writes something of what there is up to the second `until`, and tells up to which second all is written. Something is there: a
    /// reading at `first`, and one at `until`.
    async fn window(&mut self, mut from: i64, mut first: i64, until: i64) -> Result<i64> {
        let limits = Limits {
            pages: self.limits.pages.map(|pages| pages.saturating_mul(2).saturating_add(2)),
            readings: self.limits.readings.saturating_mul(2),
        };
        let mut to = until;
        loop {
            match self.read(Window { from, to: Some(to) }, limits).await {
                Read::Whole(merge) if merge.held() > 0 => return self.write(merge).await.map(|()| to),
                // What there is, is later.
                Read::Whole(_) if to < until => {
                    from = to.saturating_add(1);
                    to = until;
                }
                Read::Whole(_) => {
                    let message = "the service gives other readings for the same time when it is asked again";
                    return Err(Error::new(ErrorKind::Corrupt, message));
                }
                Read::Cut(_, Cut::Failed(error)) => return Err(error),
                // Half of it; by what has been seen, for most of the time before may be empty.
                Read::Cut(merge, Cut::Pages | Cut::Readings) => {
                    first = merge.span().map_or(first, |(seen, _)| seen.min(first)).max(from);
                    to = match () {
                        () if to > first => first + (to - first) / 2,
                        () if to > from => from + (to - from) / 2,
                        () => {
                            let message = "one second has more readings than a run holds";
                            return Err(Error::new(ErrorKind::Limit, message));
                        }
                    };
                }
            }
        }
    }

    async fn read(&mut self, window: Window, limits: Limits) -> Read {
        let mut merge = Merge::new(Believed { from: window.from, to: window.to, latest: self.latest });
        let mut turns = PageTurns::default();
        let mut next: Option<HeaderValue> = None;
        let (mut pages, mut quiet) = (0, 0);
        loop {
            let page = self.service.readings(&self.device.id, window, next, &mut turns).await;
            let (page, after) = match page {
                Ok(page) => page,
                Err(error) => return Read::Cut(merge, Cut::Failed(error)),
            };
            self.outcome.pages += 1;
            pages += 1;
            let before = merge.held();
            merge.add(page, self.names);
            quiet = if merge.held() > before { 0 } else { quiet + 1 };
            self.store.progress(&self.device.name, self.outcome.pages, self.outcome.rows, merge.held());
            next = match after {
                None => return Read::Whole(merge),
                Some(_) if quiet >= MAX_QUIET_PAGES => {
                    let message =
                        format!("the service gave {MAX_QUIET_PAGES} pages without a reading, and names one more");
                    return Read::Cut(merge, Cut::Failed(Error::new(ErrorKind::Corrupt, message)));
                }
                // A run that found nothing would find nothing the next time either.
                Some(_) if merge.held() > 0 && limits.pages.is_some_and(|limit| pages >= limit) => {
                    return Read::Cut(merge, Cut::Pages);
                }
                Some(_) if merge.held() > limits.readings => return Read::Cut(merge, Cut::Readings),
                after => after,
            };
        }
    }

    async fn write(&mut self, merge: Merge) -> Result<()> {
        let (rows, skips) = merge.finish();
        self.outcome.skips.add(skips);
        let Some((first, last)) = rows.times() else { return Ok(()) };
        let count = rows.row_count();
        self.store.append(self.device, rows).await?;
        self.outcome.rows += count;
        let begun = self.outcome.times.map_or(first, |(begun, _)| begun);
        self.outcome.times = Some((begun, last));
        Ok(())
    }
}
