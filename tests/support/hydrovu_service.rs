//! A service that speaks the HydroVu API on this machine's loopback: OAuth with client credentials, pages that cut parameters unevenly,
//! and whatever else a test makes it answer. Its data is computed from a seed. It ends when it is dropped.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{self, Extension, Path, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

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
    /// The JSON that is sent instead of the reading of this number.
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
    /// Without the query.
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) headers: HeaderMap,
    /// How many requests of this path there were before.
    pub(crate) number: usize,
}

/// What goes out where a hook answers.
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

    async fn response(self) -> Response {
        match self {
            Self::Whole(status, headers, body) => {
                (StatusCode::from_u16(status).unwrap(), AppendHeaders(headers), Body::from(body)).into_response()
            }
            Self::Half(body) => {
                let headers = [(CONTENT_LENGTH, (body.len() + 1).to_string()), (CONTENT_TYPE, JSON.to_owned())];
                // What is written is sent when the stream has nothing for a moment; an error at once would end the connection before.
                let end = stream::once(async {
                    tokio::task::yield_now().await;
                    Err("the connection ends here")
                });
                (headers, Body::from_stream(stream::iter([Ok(body)]).chain(end))).into_response()
            }
            Self::Silence => std::future::pending().await,
        }
    }
}

/// Answers a request instead of the service, where it returns one.
pub(crate) type Hook = dyn Fn(&Request) -> Option<Answer> + Send + Sync;

/// A running service.
pub(crate) struct Service {
    shared: Shared,
    address: SocketAddr,
    /// Its own: many tests have none, and others wait in theirs. `None` when it ends.
    runtime: Option<Runtime>,
}

type Shared = Arc<Mutex<Inner>>;

struct Inner {
    devices: Vec<Device>,
    paging: Paging,
    hook: Option<Arc<Hook>>,
    requests: Vec<Request>,
    /// How many tokens were given out. The last one is good.
    tokens: usize,
    /// How many requests a token is good for, and how many the last one was used for.
    token_life: usize,
    token_used: usize,
    /// For how long it says that it is good.
    token_seconds: u64,
}

impl Inner {
    fn keep(&mut self, mut request: Request) -> (Request, Option<Arc<Hook>>) {
        request.number = self.requests.iter().filter(|earlier| earlier.path == request.path).count();
        self.requests.push(request.clone());
        (request, self.hook.clone())
    }

    fn is_good(&mut self, token: Option<&HeaderValue>) -> bool {
        let good = token.is_some_and(|token| *token == format!("Bearer token-{}", self.tokens));
        self.token_used += usize::from(good);
        good && self.token_used <= self.token_life
    }
}

impl Service {
    /// Starts one with these devices.
    pub(crate) fn start(devices: Vec<Device>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Inner {
            devices,
            paging: Paging::Uneven(500),
            hook: None,
            requests: Vec::new(),
            tokens: 0,
            token_life: usize::MAX,
            token_used: 0,
            token_seconds: 36_000,
        }));
        let router = router(&shared);
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        drop(runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener.tap_io(|stream| drop(stream.set_nodelay(true))), router).await
        }));
        Self { shared, address, runtime: Some(runtime) }
    }

    /// The `LOCATION`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets `hook` answer first. It may wait.
    pub(crate) fn hook(&self, hook: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static) {
        self.shared.lock().hook = Some(Arc::new(hook));
    }

    /// The service answers by itself again.
    pub(crate) fn unhook(&self) {
        self.shared.lock().hook = None;
    }

    pub(crate) fn page_by(&self, paging: Paging) {
        self.shared.lock().paging = paging;
    }

    /// A token ends after so many requests.
    pub(crate) fn token_life(&self, requests: usize) {
        self.shared.lock().token_life = requests;
    }

    /// A token says that it ends after so many seconds.
    pub(crate) fn token_seconds(&self, seconds: u64) {
        self.shared.lock().token_seconds = seconds;
    }

    /// Changes the data.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Vec<Device>)) {
        change(&mut self.shared.lock().devices);
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }

    /// How many requests of a path there were so far.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.shared.lock().requests.iter().filter(|request| request.path.ends_with(path)).count()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Ends the connections, silent ones too, where a graceful shutdown would wait for their clients; and waits for no hook.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

const JSON: &str = "application/json";
/// In pages.
const NAMES: [&str; 2] = [
    r#"{"parameters": {"1": "Temperature", "2": "Pressure"}, "units": {"1": "C", "17": "psi", "97": "psu"}}"#,
    r#"{"parameters": {"4": "Salinity", "20": "DO"}, "units": {"117": "mg/L"}}"#,
];

fn router(shared: &Shared) -> axum::Router {
    axum::Router::new()
        .route("/public-api/v1/sispec/friendlynames", get(names))
        .route("/public-api/v1/locations/list", get(locations))
        .route("/public-api/v1/locations/{id}/data", get(data))
        .route_layer(from_fn_with_state(Arc::clone(shared), check_token))
        .route("/public-api/oauth/token", post(token))
        .layer(from_fn_with_state(Arc::clone(shared), observe))
        .with_state(Arc::clone(shared))
}

/// Keeps what came in, and lets the hook answer first.
async fn observe(State(shared): State<Shared>, request: extract::Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    // A connection is used again only when all that came over it is read.
    let _ = to_bytes(body, usize::MAX).await;
    let path = parts.uri.path().to_owned();
    let query = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let (request, hook) = shared.lock().keep(Request { path, query, headers: parts.headers.clone(), number: 0 });
    let _ = parts.extensions.insert(request.clone());
    let answer = tokio::task::spawn_blocking(move || hook.and_then(|hook| hook(&request))).await.unwrap();
    match answer {
        Some(answer) => answer.response().await,
        None => next.run(extract::Request::from_parts(parts, Body::empty())).await,
    }
}

async fn check_token(State(shared): State<Shared>, request: extract::Request, next: Next) -> Response {
    let token = request.headers().get(AUTHORIZATION);
    if shared.lock().is_good(token) { next.run(request).await } else { StatusCode::UNAUTHORIZED.into_response() }
}

async fn token(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let credentials = headers.get(AUTHORIZATION);
    if credentials.is_none_or(|credentials| *credentials != format!("Basic {CREDENTIALS}")) {
        return (StatusCode::UNAUTHORIZED, format!("bad credentials: {credentials:?}")).into_response();
    }
    let mut shared = shared.lock();
    (shared.tokens, shared.token_used) = (shared.tokens + 1, 0);
    let token = format!("token-{}", shared.tokens);
    page(&json!({"access_token": token, "token_type": "bearer", "expires_in": shared.token_seconds}), None)
}

async fn names(headers: HeaderMap) -> Response {
    let number = page_name(&headers).first().copied().unwrap_or_default();
    let next = number + 1;
    page(&NAMES[number].parse().unwrap(), (next < NAMES.len()).then(|| next.to_string()))
}

async fn locations(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    const PAGE: usize = 3;
    let devices = &shared.lock().devices;
    let begin = page_name(&headers).first().copied().unwrap_or_default();
    let end = begin + PAGE;
    let list = devices.iter().skip(begin).take(PAGE).map(|device| {
        json!({
            "id": device.id.parse::<u64>().unwrap(),
            "name": device.name,
            "description": format!("{} of the test", device.name),
            "gps": {"latitude": 39.3, "longitude": -123.8},
        })
    });
    page(&list.collect(), (end < devices.len()).then(|| end.to_string()))
}

async fn data(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Extension(request): Extension<Request>,
) -> Result<Response, StatusCode> {
    let shared = shared.lock();
    let device = shared.devices.iter().find(|device| device.id == id).ok_or(StatusCode::NOT_FOUND)?;
    let bound = |name: &str| request.query.get(name).map(|text| text.parse::<i64>().unwrap());
    let (start, end) = (bound("startTime").unwrap_or(i64::MIN), bound("endTime").unwrap_or(i64::MAX));
    // A page's name: its number, and where each parameter goes on.
    let name = page_name(&request.headers);
    let number = name.first().copied().unwrap_or_default();
    let mut next = vec![number + 1];
    let mut more = false;
    let mut parameters = Vec::new();
    for (index, parameter) in device.parameters.iter().enumerate() {
        let at = |time: i64| parameter.readings.partition_point(|(reading, _)| *reading < time);
        let begin = name.get(1 + index).copied().unwrap_or_else(|| at(start));
        let count = match shared.paging {
            Paging::Uneven(size) => size * ((number + index) % 3) / 2 + usize::from(index == 0),
            Paging::OneAfterTheOther(_) if !parameters.is_empty() => 0,
            Paging::Even(size) | Paging::OneAfterTheOther(size) => size,
        };
        let until = at(end).min(begin + count);
        more |= until < at(end);
        next.push(until);
        if begin < until {
            let readings: Vec<Value> = (begin..until).map(|at| reading(parameter, at)).collect();
            parameters.push(json!({
                "customParameter": false, "parameterId": parameter.id, "unitId": parameter.unit, "readings": readings,
            }));
        }
    }
    let next = next.iter().map(usize::to_string).collect::<Vec<_>>().join("-");
    let id = device.id.parse::<u64>().unwrap();
    Ok(page(&json!({"locationId": id, "parameters": parameters}), more.then_some(next)))
}

fn reading(parameter: &Parameter, at: usize) -> Value {
    let (time, value) = parameter.readings[at];
    parameter.odd.get(&at).map_or_else(|| json!({"timestamp": time, "value": value}), |odd| odd.parse().unwrap())
}

/// The numbers that the name of the page that is asked for is made of; none for the first page.
fn page_name(headers: &HeaderMap) -> Vec<usize> {
    let name = headers.get("x-isi-start-page").map_or("", |name| name.to_str().unwrap());
    name.split('-').filter(|word| !word.is_empty()).map(|word| word.parse().unwrap()).collect()
}

/// An answer, and the name of the page that goes on.
fn page(json: &Value, next: Option<String>) -> Response {
    let next = next.map(|next| [("x-isi-next-page", next)]);
    (next, [(CONTENT_TYPE, JSON)], json.to_string()).into_response()
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
