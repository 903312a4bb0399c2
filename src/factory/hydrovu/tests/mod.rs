//! Runs against a service on loopback, into a store that checks what it is given.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::{Array, Float64Array, RecordBatch, TimestampSecondArray};
use datafusion::arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use parking_lot::Mutex;
use tinyfs::{Definition, Shape};

use super::device::Ending;
use super::http::HttpOptions;
use super::merge::Rows;
use super::model::Location;
use super::retry::Retry;
use super::run::{DeviceResult, Run, RunOptions};
use super::settings::{Devices, Settings};
use super::store::Store;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Progress, RunOptions as PondRunOptions};
use crate::{OpenOptions, Pond, SessionOptions, StatementResult};

#[path = "../../../../tests/support/hydrovu_service.rs"]
mod service;

mod faults;

use service::{Answer, BEGIN, CLIENT_ID, Device, Paging, SECRET, Service, device, hourly, noyo};

/// What is stored of a device: by time, by column.
type Series = BTreeMap<i64, BTreeMap<String, f64>>;

/// A store that refuses rows which are not later than all before.
#[derive(Debug, Default)]
struct Kept {
    series: Mutex<BTreeMap<String, Series>>,
    versions: AtomicUsize,
    locations: Mutex<Vec<Location>>,
}

impl Kept {
    fn of(&self, device: &str) -> Series {
        self.series.lock().get(device).cloned().unwrap_or_default()
    }
}

#[async_trait]
impl Store for Kept {
    async fn series_end(&self, device: &str) -> Result<Option<i64>> {
        Ok(self.of(device).keys().next_back().copied())
    }

    async fn append(&self, device: &Location, rows: Rows) -> Result<()> {
        let names: Vec<String> = rows.schema().fields().iter().skip(1).map(|field| field.name().clone()).collect();
        let mut kept = self.series.lock();
        let series = kept.entry(device.id.clone()).or_default();
        for batch in rows {
            let batch = batch.map_err(|error| Error::new(ErrorKind::Execution, error.to_string()))?;
            let times = batch.column(0).as_any().downcast_ref::<TimestampSecondArray>().unwrap();
            for row in 0..batch.num_rows() {
                let time = times.value(row);
                assert!(series.keys().next_back().is_none_or(|last| *last < time), "{time} comes late");
                let mut values = BTreeMap::new();
                for (name, column) in names.iter().zip(&batch.columns()[1..]) {
                    let column = column.as_any().downcast_ref::<Float64Array>().unwrap();
                    if column.is_valid(row) {
                        let _ = values.insert(name.clone(), column.value(row));
                    }
                }
                assert!(!values.is_empty());
                let _ = series.insert(time, values);
            }
        }
        let _ = self.versions.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn keep_locations(&self, locations: &[Location]) -> Result<()> {
        *self.locations.lock() = locations.to_vec();
        Ok(())
    }

    fn progress(&self, _device: &str, _pages: u64, _rows: u64, _held: usize) {}
}

/// What the service has of a device, as it should be stored.
fn expected(device: &Device) -> Series {
    let names =
        BTreeMap::from([("1", "Temperature.C"), ("2", "Pressure.psi"), ("4", "Salinity.psu"), ("20", "DO.mg/L")]);
    let mut series = Series::new();
    for parameter in &device.parameters {
        for (index, (time, value)) in parameter.readings.iter().enumerate() {
            if !parameter.odd.contains_key(&index) {
                let _ = series.entry(*time).or_default().insert(names[parameter.id].to_owned(), *value);
            }
        }
    }
    series
}

fn settings(service: &Service) -> Settings {
    let options = [("client_id", CLIENT_ID), ("client_secret", "env:UNUSED"), ("allow_private", "true")];
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (factory, location) = ("hydrovu".to_owned(), Some(service.url()));
    Settings::parse(&Definition { factory, shape: Shape::StoredDirectory, location, options }).unwrap()
}

fn options() -> RunOptions {
    let retry = Retry { first: Duration::from_micros(10), longest: Duration::from_micros(100), ..Retry::default() };
    RunOptions { http: HttpOptions { retry, ..HttpOptions::default() }, ..RunOptions::default() }
}

async fn run(settings: Settings, options: RunOptions, kept: &Kept) -> Result<Vec<DeviceResult>> {
    Run::try_new(settings, options, &secret())?.run(kept).await
}

fn secret() -> tinyfs::Secret {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), SECRET).unwrap();
    tinyfs::SecretSource::File(file.path().to_owned()).resolve().unwrap()
}

fn small(id: &'static str) -> Device {
    device(id, "Small", vec![hourly("1", "1", 1, 0..100), hourly("20", "117", 2, 0..100)])
}

/// The text of the error that each device of a run, or the run itself, ended with.
fn failure(result: Result<Vec<DeviceResult>>) -> String {
    result.unwrap_err().to_string()
}

#[tokio::test]
async fn all_that_the_service_has_is_stored_once() {
    let devices = noyo();
    let service = Service::start(devices.clone());
    let kept = Kept::default();
    let results = run(settings(&service), options(), &kept).await.unwrap();
    assert_eq!(results.len(), 7);
    for device in &devices {
        assert!(kept.of(device.id) == expected(device), "{}", device.name);
        let result = results.iter().find(|result| result.id == device.id).unwrap();
        assert_eq!(result.name.as_deref(), Some(device.name.as_str()));
        assert_eq!(result.outcome.rows as usize, expected(device).len());
        assert!(matches!(result.outcome.ending, Ending::Complete));
        let skips = if device.name == "PrincessAT500" {
            "1 reading skipped: 1 before the start (1970-01-01T00:00:07Z)"
        } else {
            ""
        };
        assert_eq!(result.outcome.skips.to_string(), skips);
    }
    let times = |id: &str| kept.of(id).into_keys().collect::<Vec<_>>();
    let (at500, vulink) = (times("6154708427603968"), times("4990594334457856"));
    assert_eq!((at500.len(), vulink.len()), (11_400, 10_000));
    assert_eq!(vulink.iter().filter(|time| at500.binary_search(time).is_err()).count(), 269);
    assert_eq!(kept.locations.lock().len(), 7);
    assert_eq!((service.count("/oauth/token"), service.count("/list"), service.count("/friendlynames")), (1, 3, 2));

    // Again, and nothing is added: one request a device.
    let before = service.count("/data");
    let results = run(settings(&service), options(), &kept).await.unwrap();
    assert_eq!(service.count("/data") - before, 7);
    assert!(results.iter().all(|result| result.outcome.rows == 0 && result.outcome.skips.total() == 0));
    assert_eq!(kept.versions.load(Ordering::SeqCst), 7);
}

#[tokio::test]
async fn every_way_to_cut_pages_and_runs_loses_nothing() {
    let mut devices = noyo();
    devices.truncate(2);
    for device in &mut devices {
        for parameter in &mut device.parameters {
            parameter.readings.truncate(70);
        }
    }
    let service = Service::start(devices.clone());
    for paging in [Paging::Uneven(8), Paging::OneAfterTheOther(16), Paging::OneAfterTheOther(1_000)] {
        for (page_limit, readings) in
            [(Some(1), 500_000), (Some(3), 500_000), (None, 12), (None, 50), (Some(2), 20), (None, 500_000)]
        {
            service.page_by(paging);
            let kept = Kept::default();
            let settings = Settings { page_limit, ..settings(&service) };
            let mut runs = 0;
            loop {
                let results = run(settings.clone(), RunOptions { readings, ..options() }, &kept).await.unwrap();
                runs += 1;
                assert!(results.iter().all(|result| result.failure().is_none()));
                if results.iter().all(|result| matches!(result.outcome.ending, Ending::Complete)) {
                    break;
                }
                assert!(results.iter().any(|result| result.outcome.rows > 0), "no run is in vain");
            }
            assert!(page_limit.is_some() || runs == 1);
            for device in &devices {
                assert!(
                    kept.of(device.id) == expected(device),
                    "{paging:?}, {page_limit:?}, {readings}, {}",
                    device.name
                );
            }
        }
    }
}

#[tokio::test]
async fn new_readings_and_new_parameters_are_added() {
    let service = Service::start(vec![small("1")]);
    let kept = Kept::default();
    let _ = run(settings(&service), options(), &kept).await.unwrap();
    assert_eq!(kept.of("1").len(), 100);
    service.change(|devices| {
        devices[0].parameters[0] = hourly("1", "1", 1, 0..150);
        devices[0].parameters.push(hourly("4", "97", 3, 120..150));
    });
    let results = run(settings(&service), options(), &kept).await.unwrap();
    assert_eq!(
        (results[0].outcome.rows, results[0].outcome.times),
        (50, Some((BEGIN + 100 * 3_600, BEGIN + 149 * 3_600)))
    );
    let series = kept.of("1");
    assert_eq!(series.len(), 150);
    assert_eq!(series[&(BEGIN + 120 * 3_600)].keys().collect::<Vec<_>>(), ["Salinity.psu", "Temperature.C"]);
    let last = service.requests().into_iter().rfind(|request| request.path.ends_with("/data")).unwrap();
    assert_eq!(last.query["startTime"], (BEGIN + 99 * 3_600 + 1).to_string());
}

#[tokio::test]
async fn devices_and_a_start_can_be_named() {
    let service = Service::start(vec![small("1"), small("2"), small("30")]);
    let kept = Kept::default();
    let start = BEGIN + 40 * 3_600;
    let these = Devices::These(["2".to_owned(), "99".to_owned()].into());
    let results = run(Settings { devices: these, start, ..settings(&service) }, options(), &kept).await.unwrap();
    let rows: Vec<_> = results.iter().map(|result| (result.id.as_str(), result.outcome.rows)).collect();
    assert_eq!(rows, [("2", 60), ("99", 0)]);
    assert_eq!(results[1].failure().unwrap().to_string(), "the service lists no device 99");
    assert_eq!(kept.series.lock().keys().collect::<Vec<_>>(), ["2"]);
    let these = Devices::These(["98".to_owned(), "99".to_owned()].into());
    let error = failure(run(Settings { devices: these, ..settings(&service) }, options(), &kept).await);
    assert_eq!(error, "all 2 devices failed; the first: the service lists no device 98");
}

#[tokio::test]
async fn a_reading_of_the_future_waits_for_a_later_run() {
    let now = chrono::Utc::now().timestamp();
    let mut ahead = small("1");
    for (time, value) in [(now - 60, 1.0), (now + 3_600, 2.0), (now + 25 * 3_600, 3.0)] {
        ahead.parameters[0].readings.push((time, value));
    }
    let service = Service::start(vec![ahead]);
    let kept = Kept::default();
    let results = run(settings(&service), options(), &kept).await.unwrap();
    assert_eq!(kept.of("1").keys().next_back(), Some(&(now - 60)));
    assert_eq!(results[0].outcome.skips.total(), 2);
    let skipped = results[0].outcome.skips.to_string();
    assert!(skipped.starts_with("2 readings skipped: 2 in the future ("), "{skipped}");
    // What comes between is asked for, and stored.
    service.change(|devices| devices[0].parameters[0].readings.insert(101, (now - 30, 4.0)));
    let _ = run(settings(&service), options(), &kept).await.unwrap();
    assert_eq!(kept.of("1").keys().next_back(), Some(&(now - 30)));
}

#[tokio::test]
async fn readings_that_are_none_are_counted() {
    let mut odd = small("1");
    for (index, text) in [
        (3, r#"{"timestamp":7,"value":1}"#),
        (4, r#"{"timestamp":99999999999,"value":1}"#),
        (5, r#"{"timestamp":1704085200,"value":"NaN"}"#),
        (6, r#"{"value":1}"#),
        (7, r#"{"timestamp":1704067200,"value":1}"#),
    ] {
        let _ = odd.parameters[0].odd.insert(index, text);
    }
    odd.parameters.push(hourly("99", "1", 1, 0..2));
    odd.parameters.push(hourly("1", "99", 1, 0..3));
    let service = Service::start(vec![odd.clone()]);
    let kept = Kept::default();
    let results = run(settings(&service), options(), &kept).await.unwrap();
    odd.parameters.truncate(2);
    assert_eq!(kept.of("1"), expected(&odd));
    assert_eq!(
        results[0].outcome.skips.to_string(),
        "10 readings skipped: 1 before the start (1970-01-01T00:00:07Z), 1 in the future (5138-11-16T09:46:39Z), 1 without a time, \
         1 without a number, 2 of an unknown parameter (99), 3 of an unknown unit (99), 1 at a time that has one"
    );
}

#[tokio::test]
async fn out_of_order_is_no_loss() {
    let service = Service::start(vec![small("1")]);
    let body = |times: &[i64]| {
        let readings: Vec<String> =
            times.iter().map(|time| format!(r#"{{"timestamp": {time}, "value": {time}}}"#)).collect();
        format!(
            r#"{{"locationId": "1", "parameters": [{{"parameterId": 1, "unitId": 1, "readings": [{}]}}]}}"#,
            readings.join(",")
        )
    };
    let body = body(&[BEGIN + 5, BEGIN, BEGIN + 9, BEGIN + 2]);
    service.hook(move |request| request.path.ends_with("/data").then(|| Answer::json(body.clone())));
    let kept = Kept::default();
    let _ = run(settings(&service), options(), &kept).await.unwrap();
    assert_eq!(kept.of("1").into_keys().collect::<Vec<_>>(), [BEGIN, BEGIN + 2, BEGIN + 5, BEGIN + 9]);
}

#[tokio::test]
async fn requests_are_few_at_a_time() {
    let names = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let service = Service::start(names.map(small).to_vec());
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    // Each waits until a second one is there, so that there are two at a time, and never three.
    let gate = Arc::new(std::sync::Barrier::new(2));
    let (seen, peak) = (Arc::clone(&now), Arc::clone(&most));
    service.hook(move |request| {
        if request.path.ends_with("/data") && !request.path.ends_with("/9/data") {
            let _ = peak.fetch_max(seen.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let _ = gate.wait();
            let _ = seen.fetch_sub(1, Ordering::SeqCst);
        }
        None
    });
    let mut options = RunOptions { devices: 9, ..options() };
    options.http.parallel = 2;
    let kept = Kept::default();
    let _ = run(settings(&service), options, &kept).await.unwrap();
    assert_eq!(kept.series.lock().len(), 9);
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

/// A pond with the entry `/hydrovu`.
async fn pond_of(service: &Service) -> (Pond, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), SECRET).unwrap();
    let pond = Pond::open("memory:", OpenOptions::default()).await.unwrap();
    let sql = format!(
        "CREATE EXTERNAL TABLE '/hydrovu' STORED AS HYDROVU LOCATION '{}' \
         OPTIONS ('client_id' '{CLIENT_ID}', 'client_secret' 'file:{}', 'allow_private' 'true')",
        service.url(),
        file.path().display()
    );
    drop(pond.session(SessionOptions::default()).unwrap().execute(&sql).await.unwrap());
    (pond, file)
}

async fn query(pond: &Pond, sql: &str) -> String {
    let mut session = pond.session(SessionOptions::default()).unwrap();
    let StatementResult::Rows(rows) = session.execute(sql).await.unwrap() else { panic!("no rows") };
    let batches: Vec<RecordBatch> = rows.try_collect().await.unwrap();
    pretty_format_batches(&batches).unwrap().to_string()
}

#[tokio::test]
async fn a_run_tells_how_far_it_is() {
    let service = Service::start(vec![small("1")]);
    service.page_by(Paging::Even(50));
    let (pond, _secret) = pond_of(&service).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let progress = {
        let told = Arc::clone(&told);
        Progress::new(move |line| told.lock().push(line.to_owned()))
    };
    let _ = pond.run("/hydrovu", PondRunOptions { progress, ..PondRunOptions::default() }).await.unwrap();
    assert_eq!(
        *told.lock(),
        [
            "Small: 1 pages, 0 rows written, 100 readings to write",
            "Small: 2 pages, 0 rows written, 200 readings to write"
        ]
    );
}

#[tokio::test]
async fn two_runs_at_once_double_nothing() {
    let service = Service::start(vec![small("1")]);
    let (pond, _secret) = pond_of(&service).await;
    let (arrived, arrival) = tokio::sync::oneshot::channel();
    let (release, released) = std::sync::mpsc::channel();
    let (arrived, released) = (Mutex::new(Some(arrived)), Mutex::new(released));
    service.hook(move |request| {
        let arrived = if request.path.ends_with("/data") { arrived.lock().take() } else { None };
        if let Some(arrived) = arrived {
            arrived.send(()).unwrap();
            released.lock().recv().unwrap();
        }
        None
    });
    let first = tokio::spawn({
        let pond = pond.clone();
        async move { pond.run("/hydrovu", PondRunOptions::default()).await }
    });
    arrival.await.unwrap();
    let second = pond.run("/hydrovu", PondRunOptions::default()).await.unwrap();
    assert_eq!(second.num_rows(), 1);
    release.send(()).unwrap();
    let error = first.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let sql = "SELECT count(*) AS n, count(DISTINCT timestamp) AS times FROM '/hydrovu/devices/1/Small.series'";
    assert!(query(&pond, sql).await.contains("| 100 | 100   |"));
}

#[tokio::test]
async fn runs_at_once_agree_on_the_locations() {
    let service = Service::start(vec![small("7")]);
    let (pond, _secret) = pond_of(&service).await;
    // The service takes the newest token alone; this one takes any.
    service.hook(|request| {
        let body = match request.path.rsplit('/').next() {
            Some("token") => r#"{"access_token": "any", "expires_in": 3600}"#,
            Some("list") => r#"[{"id": 7, "name": "Idle"}]"#,
            Some("data") => r#"{"locationId": 7, "parameters": []}"#,
            _ => r#"{"parameters": {"1": "Temperature"}, "units": {"1": "C"}}"#,
        };
        Some(Answer::json(body))
    });
    let runs = (0..8).map(|_| pond.run("/hydrovu", PondRunOptions::default()));
    for done in futures::future::join_all(runs).await {
        assert_eq!(done.unwrap().num_rows(), 1);
    }
    let sql = "SELECT versions, rows FROM pond_ls('/hydrovu/locations')";
    assert!(query(&pond, sql).await.contains("| 1        | 1    |"));
}

#[tokio::test]
async fn a_series_goes_on_under_a_new_name_with_a_new_column() {
    let service = Service::start(vec![small("1")]);
    let (pond, _secret) = pond_of(&service).await;
    let _ = pond.run("/hydrovu", PondRunOptions::default()).await.unwrap();
    service.change(|devices| {
        devices[0].parameters[0] = hourly("1", "1", 1, 0..120);
        devices[0].parameters.push(hourly("4", "97", 3, 110..120));
    });
    let _ = pond.run("/hydrovu", PondRunOptions::default()).await.unwrap();
    service.change(|devices| {
        devices[0].name = "New / Name".to_owned();
        devices[0].parameters[0] = hourly("1", "1", 1, 0..130);
    });
    let rows = pond.run("/hydrovu", PondRunOptions::default()).await.unwrap();
    let rows = pretty_format_batches(&[rows]).unwrap().to_string();
    assert!(rows.contains("| 1      | New / Name | 10   | 2024-01-06T00:00:00Z | 2024-01-06T09:00:00Z |"), "{rows}");
    let sql = "SELECT path, versions, rows FROM pond_ls('/hydrovu/**') WHERE kind = 'file' ORDER BY path";
    let listed = query(&pond, sql).await;
    for line in [
        "| /hydrovu/devices/1/New _ Name.series | 1        | 10   |",
        "| /hydrovu/devices/1/Small.series      | 2        | 120  |",
        "| /hydrovu/locations                   | 2        | 1    |",
    ] {
        assert!(listed.contains(line), "{listed}");
    }
    let sql = "SELECT count(*) AS n, count(\"Temperature.C\") AS t, count(\"DO.mg/L\") AS o, count(\"Salinity.psu\") AS s \
               FROM pond('/hydrovu/devices/1/*')";
    assert!(query(&pond, sql).await.contains("| 130 | 130 | 100 | 10 |"));
    let sql = "SELECT arrow_typeof(timestamp) AS t FROM '/hydrovu/devices/1/Small.series' LIMIT 1";
    assert!(query(&pond, sql).await.contains("Timestamp(s, \"+00:00\")"), "{}", query(&pond, sql).await);
}
