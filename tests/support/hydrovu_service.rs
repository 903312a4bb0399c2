//! A service that speaks the HydroVu API on this machine's loopback: OAuth with client credentials, pages that cut parameters unevenly,
//! and whatever else a test makes it answer. Its data is computed from a seed. It ends when it is dropped.
//!
//! Written over plain sockets: a library for servers would turn on features of the client's libraries, and DataFusion be built twice.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Who may sign in.
pub(crate) const CLIENT_ID: &str = "noyo";
/// With this.
pub(crate) const SECRET: &str = "hunter2-Zq9vX";
/// The two, as HTTP sends them.
pub(crate) const CREDENTIALS: &str = "bm95bzpodW50ZXIyLVpxOXZY";
/// Midnight of 2024-01-01, when the data begins.
pub(crate) const BEGIN: i64 = 1_704_067_200;

/// A device and its readings.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    pub(crate) id: &'static str,
    pub(crate) name: String,
    pub(crate) parameters: Vec<Parameter>,
}

/// The readings of a parameter, in the order of their times.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub(crate) id: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) readings: Vec<(i64, f64)>,
    /// What is sent instead of the reading of this number.
    pub(crate) odd: BTreeMap<usize, &'static str>,
}

/// How an answer's readings are cut into pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paging {
    /// Of each parameter another number, sometimes none.
    Uneven(usize),
    /// The same number of each.
    Even(usize),
    /// All of a parameter before the next one.
    OneAfterTheOther(usize),
}

/// What came in.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    /// By names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// How many requests of this path there were before.
    pub(crate) number: usize,
}

/// What goes out.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// A status, headers, and a body.
    Whole(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// The first part of a body that says it is longer, then the end of the connection.
    Half(Vec<u8>),
    /// Nothing until the client goes away.
    Silence,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self::Whole(status, Vec::new(), Vec::new())
    }

    pub(crate) fn json(body: impl Into<Vec<u8>>) -> Self {
        Self::Whole(200, vec![("content-type", "application/json".to_owned())], body.into())
    }

    pub(crate) fn html(body: &str) -> Self {
        Self::Whole(200, vec![("content-type", "text/html; charset=utf-8".to_owned())], body.into())
    }

    pub(crate) fn too_many(after: &str) -> Self {
        Self::Whole(429, vec![("retry-after", after.to_owned())], Vec::new())
    }

    pub(crate) fn redirect(to: &str) -> Self {
        Self::Whole(302, vec![("location", to.to_owned())], Vec::new())
    }
}

/// Answers a request instead of the service, where it returns one.
pub(crate) type Hook = dyn Fn(&Request) -> Option<Answer> + Send + Sync;

/// A running service.
pub(crate) struct Service {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    stopped: AtomicBool,
    devices: Mutex<Vec<Device>>,
    paging: Mutex<Paging>,
    hook: Mutex<Option<Arc<Hook>>>,
    requests: Mutex<Vec<Request>>,
    tokens: AtomicUsize,
    /// How many requests a token is good for.
    token_life: AtomicUsize,
    used: AtomicUsize,
    connections: Mutex<Vec<TcpStream>>,
}

impl Service {
    /// Starts one with these devices.
    pub(crate) fn start(devices: Vec<Device>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            stopped: AtomicBool::new(false),
            devices: Mutex::new(devices),
            paging: Mutex::new(Paging::Uneven(500)),
            hook: Mutex::new(None),
            requests: Mutex::default(),
            tokens: AtomicUsize::new(0),
            token_life: AtomicUsize::new(usize::MAX),
            used: AtomicUsize::new(0),
            connections: Mutex::default(),
        });
        let acceptor = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for stream in listener.incoming() {
                    if shared.stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    shared.connections.lock().unwrap().extend(stream.try_clone());
                    let shared = Arc::clone(&shared);
                    let _ = std::thread::spawn(move || serve(&shared, stream));
                }
            }
        });
        Self { shared, address, acceptor: Some(acceptor) }
    }

    /// The `LOCATION`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets `hook` answer first.
    pub(crate) fn hook(&self, hook: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static) {
        *self.shared.hook.lock().unwrap() = Some(Arc::new(hook));
    }

    /// The service answers by itself again.
    pub(crate) fn unhook(&self) {
        *self.shared.hook.lock().unwrap() = None;
    }

    pub(crate) fn page_by(&self, paging: Paging) {
        *self.shared.paging.lock().unwrap() = paging;
    }

    /// A token ends after so many requests.
    pub(crate) fn token_life(&self, requests: usize) {
        self.shared.token_life.store(requests, Ordering::SeqCst);
    }

    /// Changes the data.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Vec<Device>)) {
        change(&mut self.shared.devices.lock().unwrap());
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How many requests of a path there were so far.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.shared.requests.lock().unwrap().iter().filter(|request| request.path.ends_with(path)).count()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // The acceptor wakes up and sees it.
        drop(TcpStream::connect(self.address));
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// Answers one connection's requests until it ends.
fn serve(shared: &Shared, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(shared, &mut reader) {
        let hook = shared.hook.lock().unwrap().clone();
        let answer = hook.and_then(|hook| hook(&request)).unwrap_or_else(|| answer(shared, &request));
        let sent = match answer {
            Answer::Whole(status, headers, body) => {
                let mut head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    let _ = write!(head, "{name}: {value}\r\n");
                }
                writer.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| writer.write_all(&body))
            }
            Answer::Half(body) => {
                let head = format!(
                    "HTTP/1.1 200 x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len() + 1
                );
                let _ = writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(&body));
                let _ = writer.shutdown(Shutdown::Both);
                return;
            }
            Answer::Silence => {
                let _ = reader.read(&mut [0]);
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

fn read(shared: &Shared, reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    let _ = reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = query.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        let _ = reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let _ = headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    reader.read_exact(&mut vec![0; length]).ok()?;
    let mut requests = shared.requests.lock().unwrap();
    let number = requests.iter().filter(|request| request.path == path).count();
    let request = Request { method, path: path.to_owned(), query, headers, number };
    requests.push(request.clone());
    Some(request)
}

fn answer(shared: &Shared, request: &Request) -> Answer {
    let path = request.path.strip_prefix("/public-api/").unwrap_or_default();
    let authorization = request.headers.get("authorization").map(String::as_str).unwrap_or_default();
    if path == "oauth/token" {
        if request.method != "POST" || authorization != format!("Basic {CREDENTIALS}") {
            return Answer::Whole(401, Vec::new(), format!("bad credentials: {authorization}").into());
        }
        let token = shared.tokens.fetch_add(1, Ordering::SeqCst) + 1;
        shared.used.store(0, Ordering::SeqCst);
        return Answer::json(format!(
            r#"{{"access_token": "token-{token}", "token_type": "bearer", "expires_in": 36000}}"#
        ));
    }
    let token = format!("Bearer token-{}", shared.tokens.load(Ordering::SeqCst));
    if authorization != token || shared.used.fetch_add(1, Ordering::SeqCst) >= shared.token_life.load(Ordering::SeqCst)
    {
        return Answer::status(401);
    }
    let page = request.headers.get("x-isi-start-page").map(String::as_str);
    let devices = shared.devices.lock().unwrap();
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["v1", "sispec", "friendlynames"] => Answer::json(NAMES),
        ["v1", "locations", "list"] => locations(&devices, page),
        ["v1", "locations", id, "data"] => match devices.iter().find(|device| device.id == *id) {
            Some(device) => data(device, request, page, *shared.paging.lock().unwrap()),
            None => Answer::status(404),
        },
        _ => Answer::status(404),
    }
}

const NAMES: &str = r#"{"parameters": {"1": "Temperature", "2": "Pressure", "4": "Salinity", "20": "DO"}, "units": {"1": "C", "17": "psi", "97": "psu", "117": "mg/L"}}"#;

fn locations(devices: &[Device], page: Option<&str>) -> Answer {
    const PAGE: usize = 3;
    let begin = page.map_or(0, |page| page.parse().unwrap());
    let list: Vec<String> = devices
        .iter()
        .skip(begin)
        .take(PAGE)
        .map(|device| {
            format!(
                r#"{{"id": {}, "name": "{}", "description": "{} of the test", "gps": {{"latitude": 39.3, "longitude": -123.8}}}}"#,
                device.id, device.name, device.name
            )
        })
        .collect();
    paged(format!("[{}]", list.join(", ")), (begin + PAGE < devices.len()).then(|| (begin + PAGE).to_string()))
}

fn data(device: &Device, request: &Request, page: Option<&str>, paging: Paging) -> Answer {
    let bound = |name: &str| request.query.get(name).map(|text| text.parse::<i64>().unwrap());
    let (start, end) = (bound("startTime").unwrap_or(i64::MIN), bound("endTime").unwrap_or(i64::MAX));
    let ranges = device.parameters.iter().map(|parameter| {
        let at = |time: i64| parameter.readings.partition_point(|(reading, _)| *reading < time);
        at(start)..at(end)
    });
    // A page's name: its number, and where each parameter goes on.
    let mut words = page.into_iter().flat_map(|page| page.split('-')).map(|word| word.parse::<usize>().unwrap());
    let number = if page.is_none() { 0 } else { words.next().unwrap() };
    let begins: Vec<usize> = words.collect();
    let mut next = format!("{}", number + 1);
    let mut more = false;
    let mut full = false;
    let mut json = format!(r#"{{"locationId": {}, "parameters": ["#, device.id);
    for (index, (parameter, range)) in device.parameters.iter().zip(ranges).enumerate() {
        let begin = begins.get(index).copied().unwrap_or(range.start);
        let count = match paging {
            Paging::Uneven(size) => size * ((number + index) % 3) / 2 + usize::from(index == 0),
            Paging::OneAfterTheOther(_) if full => 0,
            Paging::Even(size) | Paging::OneAfterTheOther(size) => size,
        };
        let until = range.end.min(begin + count);
        full |= until > begin;
        more |= until < range.end;
        let _ = write!(next, "-{until}");
        if until == begin {
            continue;
        }
        let separator = if json.ends_with('[') { "" } else { ", " };
        let _ = write!(
            json,
            r#"{separator}{{"customParameter": false, "parameterId": "{}", "unitId": "{}", "readings": ["#,
            parameter.id, parameter.unit
        );
        for at in begin..until {
            let separator = if at == begin { "" } else { "," };
            let (time, value) = parameter.readings[at];
            let _ = match parameter.odd.get(&at) {
                Some(odd) => write!(json, "{separator}{odd}"),
                None => write!(json, r#"{separator}{{"timestamp":{time},"value":{value}}}"#),
            };
        }
        json.push_str("]}");
    }
    json.push_str("]}");
    paged(json, more.then_some(next))
}

fn paged(json: String, next: Option<String>) -> Answer {
    let mut headers = vec![("content-type", "application/json".to_owned())];
    headers.extend(next.map(|next| ("x-isi-next-page", next)));
    Answer::Whole(200, headers, json.into_bytes())
}

/// A parameter with a reading in each of these hours after [`BEGIN`]; values have two decimals, and come from a seed.
pub(crate) fn hourly(id: &'static str, unit: &'static str, seed: u64, hours: impl Iterator<Item = i64>) -> Parameter {
    let value = |hour: i64| {
        // splitmix64: the same everywhere, and from one version of a library to the next.
        let mut bits = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (hour as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) % 3_000) as f64 / 100.0
    };
    let readings = hours.map(|hour| (BEGIN + hour * 3_600, value(hour))).collect();
    Parameter { id, unit, readings, odd: BTreeMap::new() }
}

pub(crate) fn device(id: &'static str, name: &str, parameters: Vec<Parameter>) -> Device {
    Device { id, name: name.to_owned(), parameters }
}

/// The seven instruments of the Noyo harbour. BDock's two have 11,669 different times together: 269 of the Vulink's are not the AT500's.
/// BDockAT500 gains a parameter half way, SilverVulink1 dies, and PrincessAT500 once sends a time of 1970.
pub(crate) fn noyo() -> Vec<Device> {
    // It came 200 hours later, and slept for 69.
    let at500 = || (200..11_669).filter(|hour| !(5_000..5_069).contains(hour));
    let mut lost = hourly("1", "1", 12, 0..2_000);
    let _ = lost.odd.insert(700, r#"{"timestamp":7,"value":3.5}"#);
    vec![
        device(
            "6154708427603968",
            "BDockAT500",
            vec![
                hourly("1", "1", 1, at500()),
                hourly("20", "117", 2, at500()),
                hourly("4", "97", 3, at500().filter(|hour| *hour >= 6_000)),
            ],
        ),
        device(
            "4990594334457856",
            "BDockVulink",
            vec![hourly("1", "1", 4, 0..10_000), hourly("2", "17", 5, 0..10_000)],
        ),
        device("6582334615060480", "SilverVulink1", vec![hourly("1", "1", 6, 0..3_600)]),
        device("6417476404772864", "SilverVulink2", vec![hourly("1", "1", 7, 4_896..8_000)]),
        device(
            "5859376846209024",
            "SilverAT500",
            vec![hourly("1", "1", 8, 0..8_000), hourly("20", "117", 9, 0..8_000)],
        ),
        device("5877040213786624", "PrincessVulink", vec![hourly("1", "1", 10, 0..2_000)]),
        device("6187749627789312", "PrincessAT500", vec![hourly("20", "117", 11, 0..2_000), lost]),
    ]
}
