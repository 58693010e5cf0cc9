//! How often one may ask.

use std::num::NonZeroU32;

use nxmesh_server::rendezvous::{offers_with, origin_with};
use reqwest::Method;

use super::given::{Answer, Given, On, Peer, Setup, answer};

/// Asks until it is refused; answers how often it was not, and the refusal.
async fn until_refused(asking: impl AsyncFn() -> Answer) -> (usize, Answer) {
    for times in 0..2000 {
        let answer = asking().await;
        if answer.status == 429 {
            return (times, answer);
        }
    }
    panic!("it is never refused");
}

fn check((times, refused): (usize, Answer), least: usize) {
    // Meanwhile some more may have been let through.
    assert!(times >= least, "only {times}");
    let wait = refused.headers["retry-after"].to_str().unwrap();
    assert_eq!(wait, "1");
    assert_eq!(refused.refusal(), (429, "Too many requests. Try again in 1 s"));
    assert_eq!(refused.headers["access-control-allow-credentials"], "true");
}

fn from(address: &'static str) -> impl Fn(reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    move |request| request.header("x-forwarded-for", address)
}

#[tokio::test]
async fn an_address_is_refused_that_asks_too_often_and_no_other() {
    for protocol in [offers_with, origin_with] {
        let mut setup = Setup::on(On::Memory).await;
        setup.http.requests_per_second = NonZeroU32::new(5);
        setup.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        let given = setup.serve(protocol).await;
        let ask = async |path: &'static str, address: &'static str| {
            answer(from(address)(given.request(Method::GET, path))).await
        };
        // Whatever it asks for.
        check(until_refused(async || ask("/health", "10.0.0.1").await).await, 50);
        for path in ["/", "/topics", "/nothing"] {
            check(until_refused(async || ask(path, "10.0.0.1").await).await, 0);
        }
        assert_eq!(ask("/health", "10.0.0.2").await.status, 200);
        // An address that the proxy was told is not believed.
        check(until_refused(async || ask("/health", "10.9.9.9, 10.0.0.1").await).await, 0);
        // Preflights do not count.
        let preflight = given.request(Method::OPTIONS, "/");
        assert_eq!(answer(from("10.0.0.1")(preflight)).await.status, 204);
    }
}

#[tokio::test]
async fn what_somebody_says_of_where_they_are_counts_only_from_a_proxy() {
    let mut setup = Setup::on(On::Memory).await;
    setup.http.requests_per_second = NonZeroU32::new(5);
    let given = setup.offers().await;
    let numbers = std::sync::atomic::AtomicUsize::new(0);
    let asking = async || {
        let number = numbers.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let made_up = format!("10.0.{}.{}", number / 256, number % 256);
        answer(given.request(Method::GET, "/health").header("x-forwarded-for", made_up)).await
    };
    check(until_refused(asking).await, 50);
}

#[tokio::test]
async fn a_peer_is_refused_that_asks_too_often_and_no_other() {
    let mut setup = Setup::on(On::Memory).await;
    setup.http.peer_requests_per_second = NonZeroU32::new(5);
    let given = setup.offers().await;
    let (one, other) = (given.peer().await, given.peer().await);
    check(until_refused(async || given.get("/offers/mine", &one).await).await, 50);
    let each = async |given: &Given, peer: &Peer, method: Method, path: &str| {
        given.send(method, path, Some(peer), "{}").await
    };
    for (method, path) in [
        (Method::POST, "/offers"),
        (Method::GET, "/offers/answers"),
        (Method::POST, "/offers/x/answer"),
        (Method::PUT, "/offers/x/heartbeat"),
        (Method::DELETE, "/offers/x"),
        (Method::POST, "/offers/x/ice-candidates"),
        (Method::GET, "/offers/x/ice-candidates"),
        (Method::GET, "/turn"),
        (Method::GET, "/events?since=abc"),
    ] {
        check(until_refused(async || each(&given, &one, method.clone(), path).await).await, 0);
        assert_ne!(each(&given, &other, method, path).await.status, 429, "{path}");
    }
    // What needs no credential is not the peer's.
    assert_eq!(given.get("/topics", &one).await.status, 200);
}

#[tokio::test]
async fn what_a_proxy_writes_is_read_in_all_its_forms_and_nothing_before_what_is_none() {
    let mut setup = Setup::on(On::Memory).await;
    setup.http.requests_per_second = NonZeroU32::new(5);
    setup.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap(), "10.0.0.9".parse().unwrap()];
    let given = setup.offers().await;
    let numbers = std::sync::atomic::AtomicUsize::new(0);
    let ask = async |told: &str| {
        let number = numbers.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let made_up = format!("10.1.{}.{}", number / 256, number % 256);
        let told = told.replace("MADE-UP", &made_up);
        answer(given.request(Method::GET, "/health").header("x-forwarded-for", told)).await
    };
    for (first, forms) in [
        ("10.0.0.1", ["MADE-UP, 10.0.0.1:4711", "MADE-UP,10.0.0.1, 10.0.0.9", "10.0.0.1, ,"]),
        (
            "2001:db8::1",
            ["MADE-UP, [2001:db8::1]:443", "MADE-UP, [2001:db8::1]", "MADE-UP, 2001:db8::2"],
        ),
        // Then it is the proxy that asks.
        ("MADE-UP, unknown", ["MADE-UP, _hidden", "MADE-UP, 10.0.0.1:x", "MADE-UP, ?, 10.0.0.9"]),
    ] {
        check(until_refused(async || ask(first).await).await, 50);
        for form in forms {
            check(until_refused(async || ask(form).await).await, 0);
        }
    }
    assert_eq!(ask("MADE-UP").await.status, 200);
}
