//! What browsers are told, by each protocol on each path.

use http::HeaderValue;
use nxmesh_server::rendezvous::{offers_with, origin_with, rpc_with};
use reqwest::Method;

use super::given::{Answer, Given, On, Setup, answer};

const PAGE: &str = "https://page.example";

/// What is told of every request: allowed origin, whether with credentials, what may be read, what it varies by.
fn told(answer: &Answer) -> [Option<&str>; 4] {
    [
        "access-control-allow-origin",
        "access-control-allow-credentials",
        "access-control-expose-headers",
        "vary",
    ]
    .map(|name| {
        assert!(answer.headers.get_all(name).iter().count() < 2, "{name} comes twice");
        answer.headers.get(name).map(|it| it.to_str().unwrap())
    })
}

async fn ask(given: &Given, method: Method, path: &str, origin: Option<&str>) -> Answer {
    let request = given.request(method, path);
    answer(origin.into_iter().fold(request, |it, origin| it.header("origin", origin))).await
}

/// A server of each protocol, with what it says to a preflight of how long, which methods, which headers, and
/// whether it allows credentials.
async fn each(setup: &Setup) -> [(Given, [&'static str; 3], Option<&'static str>); 3] {
    let rpc = "Content-Type,Origin,X-PublicKey,X-Timestamp,X-Nonce,X-Signature";
    let origin = "Content-Type,Origin,X-Rondevu-Global";
    let offers = "Content-Type,Origin,Authorization";
    let all = "GET,POST,PUT,DELETE,OPTIONS";
    let (yes, no) = (Some("true"), None);
    [
        (setup.serve(offers_with).await, ["600", all, offers], yes),
        (setup.serve(origin_with).await, ["600", "GET,POST,OPTIONS", origin], yes),
        (setup.serve(rpc_with).await, ["86400", "GET,POST,OPTIONS", rpc], no),
    ]
}

/// Requests that are answered in all ways there are.
const REQUESTS: [(Method, &str); 9] = [
    (Method::GET, "/"),
    (Method::HEAD, "/"),
    (Method::GET, "/health"),
    (Method::GET, "/topics"),
    (Method::GET, "/offers/mine"),
    (Method::POST, "/rpc"),
    (Method::POST, "/answer"),
    (Method::GET, "/there/is/no/such/thing"),
    (Method::GET, "//health"),
];

#[tokio::test]
async fn any_origin_is_told_that_it_may() {
    let setup = Setup::on(On::Memory).await;
    for (given, _, credentials) in each(&setup).await {
        for (method, path) in REQUESTS {
            for origin in [Some(PAGE), Some("null"), None] {
                let answer = ask(&given, method.clone(), path, origin).await;
                let wanted = [origin, credentials, Some("Content-Type"), Some("Origin")];
                assert_eq!(told(&answer), wanted, "{method} {path} {}", answer.status);
            }
        }
    }
}

#[tokio::test]
async fn of_a_list_who_is_not_in_it_is_told_the_first() {
    let mut setup = Setup::on(On::Memory).await;
    let list = ["https://first.example", PAGE];
    setup.http.allowed_origins = Some(list.map(HeaderValue::from_static).to_vec());
    for (given, _, credentials) in each(&setup).await {
        for (method, path) in REQUESTS {
            for (origin, allowed) in [
                (Some(PAGE), PAGE),
                (Some(list[0]), list[0]),
                (Some("https://other.example"), list[0]),
                (Some("https://PAGE.example"), list[0]),
                (None, list[0]),
            ] {
                let answer = ask(&given, method.clone(), path, origin).await;
                let wanted = [Some(allowed), credentials, Some("Content-Type"), Some("Origin")];
                assert_eq!(told(&answer), wanted, "{method} {path} {}", answer.status);
            }
        }
    }
}

#[tokio::test]
async fn a_preflight_is_answered_on_any_path() {
    let setup = Setup::on(On::Memory).await;
    for (given, preflight, credentials) in each(&setup).await {
        for path in ["/", "/offers", "/register/", "//register", "/there/is/no/such/thing", "/%ff"]
        {
            for origin in [Some(PAGE), None] {
                let request = given.request(Method::OPTIONS, path);
                let request = origin.into_iter().fold(request, |it, at| it.header("origin", at));
                let request = request
                    .header("access-control-request-method", "DELETE")
                    .header("access-control-request-headers", "x-anything");
                let answer = answer(request).await;
                assert_eq!((answer.status, &*answer.text), (204, ""), "{path}");
                let varies = Some("Origin, Access-Control-Request-Headers");
                let wanted = [origin, credentials, Some("Content-Type"), varies];
                assert_eq!(told(&answer), wanted, "{path}");
                let names = [
                    "access-control-max-age",
                    "access-control-allow-methods",
                    "access-control-allow-headers",
                ];
                assert_eq!(names.map(|it| answer.headers[it].to_str().unwrap()), preflight);
                assert_eq!(answer.headers.get("content-type"), None, "{path}");
            }
        }
    }
}
