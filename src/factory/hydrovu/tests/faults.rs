//! What a service does wrong, and what a run makes of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::service::{Answer, BEGIN, Paging, SECRET, Service};
use super::{Kept, expected, failure, options, run, settings, small};
use crate::error::ErrorKind;
use crate::factory::hydrovu::http::HttpOptions;
use crate::factory::hydrovu::settings::{Addresses, Settings};

#[tokio::test]
async fn one_device_that_fails_loses_nothing_of_the_others() {
    let service = Service::start(vec![small("1"), small("2")]);
    service.page_by(Paging::Uneven(10));
    let kept = Kept::default();
    // From the fourth page on, half of an answer, or a page of the error.
    for (answer, says) in [
        (Answer::Half(b"{\"parameters\": [".to_vec()), "/1/data breaks its answer off"),
        (Answer::html("<h1>hunter2</h1>"), "/1/data answers with what is not JSON"),
        (Answer::status(503), "/1/data answers 503"),
    ] {
        kept.series.lock().clear();
        service.hook(move |request| {
            let fails = request.path.ends_with("/1/data")
                && request.headers.get("x-isi-start-page").is_some_and(|page| page.as_bytes().starts_with(b"4-"));
            fails.then(|| answer.clone())
        });
        let results = run(settings(&service), options(), &kept).await.unwrap();
        assert_eq!(kept.of("2"), expected(&small("2")));
        let error = results[0].failure().unwrap().to_string();
        assert!(error.contains(says) && results[1].failure().is_none(), "{error}");
        // What came before the bad page is whole, and stays.
        let some = kept.of("1");
        assert_eq!(some.len() as u64, results[0].outcome.rows);
        assert!(!some.is_empty() && some.len() < 100);
        let whole = expected(&small("1"));
        assert!(some.iter().all(|(time, values)| whole[time] == *values));
        service.unhook();
        let results = run(settings(&service), options(), &kept).await.unwrap();
        assert_eq!(results[0].outcome.rows as usize, 100 - some.len());
        assert_eq!(kept.of("1"), whole);
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let service = Service::start(vec![small("1")]);
    service.page_by(Paging::Uneven(20));
    service.hook(|request| match request.number % 4 {
        0 => Some(Answer::status(503)),
        1 => Some(Answer::too_many("0")),
        2 => Some(Answer::Half(b"{".to_vec())),
        _ => None,
    });
    let kept = Kept::default();
    let results = run(settings(&service), options(), &kept).await.unwrap();
    assert_eq!(kept.of("1"), expected(&small("1")));
    assert!(results[0].failure().is_none());

    service.hook(|request| request.path.ends_with("/data").then(|| Answer::status(500)));
    let before = service.count("/data");
    let error = failure(run(settings(&service), options(), &Kept::default()).await);
    assert!(error.ends_with("/v1/locations/1/data answers 500 Internal Server Error (tried 6 times)"), "{error}");
    assert_eq!(service.count("/data") - before, 6);
    // The service asks for more patience than a run has.
    service.hook(|request| request.path.ends_with("/data").then(|| Answer::too_many("3600")));
    let error = failure(run(settings(&service), options(), &Kept::default()).await);
    assert!(error.ends_with("answers 429 Too Many Requests"), "{error}");
    // What cannot pass is not.
    service.hook(|request| request.path.ends_with("/data").then(|| Answer::status(400)));
    let before = service.count("/data");
    let error = failure(run(settings(&service), options(), &Kept::default()).await);
    assert!(error.ends_with("answers 400 Bad Request"), "{error}");
    assert_eq!(service.count("/data") - before, 1);
}

#[tokio::test]
async fn a_token_is_renewed_when_it_ends() {
    let service = Service::start(vec![small("1")]);
    service.page_by(Paging::Uneven(20));
    service.token_life(5);
    let kept = Kept::default();
    let _ = run(settings(&service), options(), &kept).await.unwrap();
    assert_eq!(kept.of("1"), expected(&small("1")));
    assert!(service.count("/oauth/token") > 2);
    service.token_life(0);
    let error = failure(run(settings(&service), options(), &kept).await);
    assert!(error.ends_with("refuses the token: 401 Unauthorized"), "{error}");
}

#[tokio::test]
async fn a_slow_service_is_waited_for_and_a_token_renewed_before_it_ends() {
    let service = Service::start(vec![small("1")]);
    service.page_by(Paging::Uneven(20));
    service.token_seconds(1);
    // More than a second in all.
    service.hook(|request| {
        if request.path.ends_with("/data") {
            std::thread::sleep(Duration::from_millis(150));
        }
        None
    });
    let kept = Kept::default();
    let _ = run(settings(&service), options(), &kept).await.unwrap();
    assert_eq!(kept.of("1"), expected(&small("1")));
    assert!(service.count("/data") >= 10, "{}", service.count("/data"));
    let tokens: BTreeSet<_> =
        service.requests().iter().filter_map(|request| request.headers.get("authorization").cloned()).collect();
    assert!(service.count("/oauth/token") >= 2 && tokens.len() >= 3, "{tokens:?}");
    // None was used after its end: the service would have been asked twice for the same.
    let pages = service.requests().into_iter().filter(|request| request.path.ends_with("/data"));
    let pages: Vec<_> = pages.map(|request| request.headers.get("x-isi-start-page").cloned()).collect();
    assert_eq!(pages.iter().collect::<BTreeSet<_>>().len(), pages.len());
}

#[tokio::test]
async fn a_run_waits_as_long_as_the_service_asks() {
    let service = Service::start(vec![small("1")]);
    let times = Arc::new(Mutex::new(Vec::new()));
    service.hook({
        let times = Arc::clone(&times);
        move |request| {
            let is_data = request.path.ends_with("/data");
            if is_data {
                times.lock().push(Instant::now());
            }
            (is_data && request.number == 0).then(|| Answer::too_many("1"))
        }
    });
    let kept = Kept::default();
    let _ = run(settings(&service), options(), &kept).await.unwrap();
    assert_eq!(kept.of("1"), expected(&small("1")));
    let times = times.lock();
    assert!(times[1] - times[0] >= Duration::from_secs(1), "{:?}", times[1] - times[0]);
}

#[tokio::test]
async fn what_the_service_repeats_is_not_shown() {
    let other = Service::start(Vec::new());
    let service = Service::start(vec![small("1")]);
    let to = other.url();
    service.hook(move |request| {
        request.path.ends_with("/data").then(|| Answer::redirect(&format!("{to}/{SECRET}/token-1?{SECRET}")))
    });
    for (answer, says) in [
        (Answer::status(500), "answers 500 Internal Server Error"),
        (Answer::Whole(200, vec![("content-type", format!("text/{SECRET}"))], b"{".to_vec()), "(another type, "),
        (Answer::Half(SECRET.into()), "breaks its answer off"),
        (Answer::redirect(&format!("ftp://a.example/{SECRET}")), "redirects from http to ftp"),
    ] {
        other.hook(move |_| Some(answer.clone()));
        let error = run(settings(&service), options(), &Kept::default()).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(says), "{says}: {shown}");
        assert!(!shown.contains("hunter2") && !shown.contains("token-1"), "{shown}");
    }
}

#[tokio::test]
async fn a_wrong_secret_is_refused_and_not_shown() {
    let service = Service::start(vec![small("1")]);
    let settings = Settings { client_id: "nobody".to_owned(), ..settings(&service) };
    let error = run(settings.clone(), options(), &Kept::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    let place = service.url();
    assert_eq!(
        error.to_string(),
        format!("{place}/public-api/oauth/token refuses client_id 'nobody' with this client_secret: 401 Unauthorized")
    );
    // Nor when the service sends it back.
    for answer in [
        Answer::json(format!("{{\"access_token\": 5, \"{SECRET}\": 1}}")),
        Answer::json(format!("{{\"access_token\": \"{SECRET}\\n\"}}")),
        Answer::html(SECRET),
        Answer::redirect(&format!("http://127.0.0.1:1/{SECRET}?{SECRET}")),
        Answer::Whole(418, vec![("x-secret", SECRET.to_owned())], SECRET.into()),
    ] {
        service.hook(move |request| request.path.ends_with("/token").then(|| answer.clone()));
        let error = run(settings.clone(), options(), &Kept::default()).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("aHVudGVy"), "{shown}");
        assert!(error.to_string().starts_with(&format!("{place}/public-api/oauth/token ")), "{error}");
    }
}

#[tokio::test]
async fn answers_that_are_too_large_or_too_slow_are_given_up() {
    let service = Service::start(vec![small("1")]);
    let mut options = options();
    let digits = "1".repeat(10 << 20);
    let huge = format!(
        r#"{{"parameters": [{{"parameterId": "1", "unitId": "1", "readings": [{{"timestamp": {BEGIN}, "value": {digits}}}]}}]}}"#
    );
    service.hook(move |request| request.path.ends_with("/data").then(|| Answer::json(huge.clone())));
    let error = run(settings(&service), options.clone(), &Kept::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().ends_with("/data answers with more than 8388608 bytes"), "{error}");
    options.http.timeout = Duration::from_millis(30);
    options.http.retry.attempts = 2;
    service.hook(|request| request.path.ends_with("/data").then_some(Answer::Silence));
    let error = failure(run(settings(&service), options, &Kept::default()).await);
    assert!(error.contains("/data does not answer in time: ") && error.ends_with("(tried 2 times)"), "{error}");
}

#[tokio::test]
async fn a_service_that_goes_in_circles_is_left() {
    let service = Service::start(vec![small("1")]);
    let page = |next: String| Answer::Whole(200, vec![("x-isi-next-page", next)], b"{\"parameters\": []}".to_vec());
    service.hook(move |request| request.path.ends_with("/data").then(|| page("again".to_owned())));
    let error = failure(run(settings(&service), options(), &Kept::default()).await);
    assert!(error.ends_with("/data names a page as its own next"), "{error}");
    service.hook(move |request| request.path.ends_with("/data").then(|| page(request.number.to_string())));
    let error = failure(run(settings(&service), options(), &Kept::default()).await);
    assert_eq!(error, "the service gave 1000 pages without a reading, and names one more");
    service
        .hook(|request| request.path.ends_with("/data").then(|| Answer::redirect("/public-api/v1/locations/1/data")));
    let error = failure(run(settings(&service), options(), &Kept::default()).await);
    assert!(error.ends_with("/data redirects in a circle"), "{error}");
    service.hook(|request| {
        request.path.ends_with("/data").then(|| Answer::json(r#"{"locationId": 2, "parameters": []}"#))
    });
    let error = failure(run(settings(&service), options(), &Kept::default()).await);
    assert!(error.ends_with("/data answers with the readings of another device"), "{error}");
}

#[tokio::test]
async fn redirects_are_followed_and_not_to_a_private_address() {
    let other = Service::start(Vec::new());
    let service = Service::start(vec![small("1")]);
    let body = format!(
        r#"{{"parameters": [{{"parameterId": "1", "unitId": "1", "readings": [{{"timestamp": {BEGIN}, "value": 1.5}}]}}]}}"#
    );
    other.hook(move |_| Some(Answer::json(body.clone())));
    let to = other.url();
    service.hook(move |request| request.path.ends_with("/data").then(|| Answer::redirect(&format!("{to}/elsewhere"))));
    let kept = Kept::default();
    let _ = run(settings(&service), options(), &kept).await.unwrap();
    assert_eq!(kept.of("1").len(), 1);
    // Another host does not get the token.
    let [request] = &other.requests()[..] else { panic!("{:?}", other.requests()) };
    assert_eq!((request.path.as_str(), request.headers.get("authorization")), ("/elsewhere", None));

    let public = Settings { addresses: Addresses::Public, ..settings(&service) };
    let error = run(public, options(), &Kept::default()).await.unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("is refused: 127.0.0.1 is a private address; the option 'allow_private' 'true' allows it"),
        "{error}"
    );
    for (to, why) in
        [("ftp://a.example/", "redirects from http to ftp, which is refused"), ("http://[", "redirects to nowhere")]
    {
        service.hook(move |request| request.path.ends_with("/data").then(|| Answer::redirect(to)));
        let error = failure(run(settings(&service), options(), &Kept::default()).await);
        assert!(error.ends_with(why), "{error}");
    }
}

#[tokio::test]
async fn a_redirect_to_a_private_address_is_refused() {
    use crate::factory::hydrovu::address::Guard;
    use crate::factory::hydrovu::http::{Http, Request, RequestKind};
    let service = Service::start(Vec::new());
    // The one address that is taken for public, so that the way to the other can be seen.
    let http = Http::try_new(Guard::new(|address| address.to_string() != "127.0.0.1"), HttpOptions::default()).unwrap();
    for (to, why) in [
        ("http://127.0.0.2/", "redirects to a place that is refused: 127.0.0.2 is a private address"),
        (
            "http://169.254.169.254/latest/meta-data",
            "redirects to a place that is refused: 169.254.169.254 is a private address",
        ),
        ("http://[::1]/", "redirects to a place that is refused: ::1 is a private address"),
    ] {
        service.hook(move |_| Some(Answer::redirect(to)));
        let request = Request {
            url: reqwest::Url::parse(&service.url()).unwrap(),
            authorization: reqwest::header::HeaderValue::from_static("x"),
            kind: RequestKind::Get { start_page: None },
        };
        let error = http.fetch(&request).await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}
