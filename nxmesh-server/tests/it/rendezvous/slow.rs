//! Clients that take their time, and those that want too much at once, are cut off and stop nobody else.

use std::time::Duration;

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};

use super::given::{Given, On, Peer, Setup, offers, origin, patient_offers};

/// How long to wait for what should have happened long before.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection on which this was sent.
async fn begin(given: &Given, said: &str) -> TcpStream {
    let mut stream = TcpStream::connect(given.address).await.unwrap();
    stream.write_all(said.as_bytes()).await.unwrap();
    stream
}

fn head(path: &str, more: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\n{more}content-length: {length}\r\n\r\n")
}

fn bearer(peer: &Peer) -> String {
    format!("authorization: Bearer {}\r\n", peer.credential)
}

/// All that comes until the server closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    // Whether it says goodbye is all the same.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut said)).await.unwrap();
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn a_body_that_comes_byte_by_byte_is_cut_off() {
    let (offers, origin) = (offers().await, origin().await);
    let bearer = bearer(&offers.peer().await);
    let page = "origin: https://a.example\r\n";
    let drip = async |given: &Given, path: &str, more: &str| {
        let mut stream = begin(given, &head(path, more, 100_000)).await;
        let (mut reads, mut writes) = stream.split();
        let mut said = Vec::new();
        let dripping = async {
            while writes.write_all(b" ").await.is_ok() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        let reading = reads.read_to_end(&mut said);
        tokio::select! {
            () = dripping => {}
            _ = reading => {}
            () = sleep(PATIENCE) => panic!("{path} still listens"),
        }
        let said = String::from_utf8_lossy(&said);
        assert!(said.starts_with("HTTP/1.1 408 "), "{path}: {said}");
        assert!(said.ends_with("{\"error\":\"The body took too long\"}"), "{path}: {said}");
    };
    tokio::join!(
        drip(&offers, "/offers", &bearer),
        drip(&offers, "/offers/x/answer", &bearer),
        drip(&offers, "/offers/x/ice-candidates", &bearer),
        drip(&origin, "/t/offer", page),
        drip(&origin, "/answer", page),
        drip(&origin, "/poll", page),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_stop_half_way_stop_nobody_else() {
    let given = offers().await;
    let (offerer, answerer) = (given.peer().await, given.peer().await);
    let bearer = bearer(&given.peer().await);
    let mut halves = Vec::new();
    for number in 0..900 {
        let said = match number % 3 {
            0 => "POST /offers HTTP/1.1\r\nhost: a\r\nauthoriz".to_owned(),
            1 => head("/offers", &bearer, 100_000),
            _ => head("/offers", &bearer, 100_000) + &"[".repeat(50_000),
        };
        halves.push(begin(&given, &said).await);
    }
    // Some who hold as much as there is room for.
    for _ in 0..12 {
        let mut stream = begin(&given, &head("/offers", &bearer, 16 * 1024 * 1024)).await;
        let much = vec![b'['; 1024 * 1024];
        for _ in 0..8 {
            if timeout(Duration::from_millis(100), stream.write_all(&much)).await.is_err() {
                break;
            }
        }
        halves.push(stream);
    }
    let id = given.offer(&offerer, &"large ".repeat(10_000)).await;
    let path = format!("/offers/{id}/answer");
    let sdp = json!({"sdp": "large ".repeat(10_000)});
    let answered = given.post(&path, &answerer, &sdp).await;
    assert_eq!(answered.status, 200, "{}", answered.text);
    let found = given.get("/offers/answers", &offerer).await;
    assert_eq!(found.body["answers"].as_array().map(Vec::len), Some(1));
    // And those that were at it have been told, or are still listened to, but hold nothing up.
    let mut told = 0;
    for mut stream in halves.split_off(900) {
        told += usize::from(rest(&mut stream).await.starts_with("HTTP/1.1 "));
    }
    assert_eq!(told, 12);
    assert_eq!(given.send(Method::GET, "/health", None, "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_want_all_the_room_do_not_wait_for_each_other() {
    const LENGTH: usize = 12 * 1024 * 1024;
    let given = patient_offers().await;
    let bearer = bearer(&given.peer().await);
    let begins = "{\"offers\":[{\"sdp\":\"v=0\",\"topics\":[\"t\"]}],\"more\":\"";
    let body = begins.to_owned() + &"m".repeat(LENGTH - begins.len() - 2) + "\"}";
    let (half, rest_of_it) = body.split_at(LENGTH / 2);
    let (head, half) = (&head("/offers", &bearer, LENGTH), half.as_bytes());
    let mut halves = join_all((0..12).map(|_| async {
        let mut stream = begin(&given, head).await;
        // Whoever there is no room for is told at once.
        let _ = stream.write_all(half).await;
        stream
    }))
    .await;
    let told = join_all(halves.iter_mut().map(|stream| async {
        let (mut reads, mut writes) = stream.split();
        let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
        let reading = async {
            while let Ok(count @ 1..) = reads.read(&mut buffer).await {
                said.extend_from_slice(&buffer[..count]);
                if said.ends_with(b"}") {
                    break;
                }
            }
        };
        let _ = tokio::join!(writes.write_all(rest_of_it.as_bytes()), timeout(PATIENCE, reading));
        String::from_utf8_lossy(&said).into_owned()
    }))
    .await;
    let done = told.iter().filter(|it| it.starts_with("HTTP/1.1 200 ")).count();
    let busy = |it: &&String| it.starts_with("HTTP/1.1 503 ") && it.contains("retry-after: 1\r\n");
    let refused = told.iter().filter(busy).count();
    // A connection may break before what was said on it is read.
    let broken = told.iter().filter(|it| it.is_empty()).count();
    println!("{done} done, {refused} refused, {broken} broken");
    assert!(done > 0 && done + refused + broken == 12, "{told:?}");
}

/// Responses that nobody reads take room, until they are given up; what is small needs none.
#[tokio::test(flavor = "multi_thread")]
async fn responses_that_nobody_reads_are_held_for_a_while_and_so_many_only() {
    let mut setup = Setup::on(On::Memory).await;
    let given = setup.offers().await;
    let peer = given.peer().await;
    for some in 0..2 {
        let sdp = |it: i32| format!("{:*>65000}", some * 100 + it);
        let offers: Vec<_> = (0..100).map(|it| json!({"sdp": sdp(it), "topics": ["t"]})).collect();
        given.publish(&peer, json!(offers)).await;
    }
    setup.http.body_timeout = Duration::from_secs(1);
    let hasty = setup.offers().await;
    let path = format!("/peers/{}/offers", peer.id);
    let said = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    // There is room for 10, of 12.4 MiB each.
    let asked = join_all((0..12).map(|_| async {
        let socket = TcpSocket::new_v4().unwrap();
        // What the system holds is not held by the server.
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(hasty.address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut status = [0; 13];
        timeout(PATIENCE, stream.read_exact(&mut status)).await.unwrap().unwrap();
        (String::from_utf8(status.to_vec()).unwrap(), stream)
    }))
    .await;
    let (held, refused): (Vec<_>, Vec<_>) =
        asked.into_iter().partition(|(status, _)| status == "HTTP/1.1 200 ");
    assert_eq!((held.len(), refused.len()), (10, 2));
    for (status, mut stream) in refused {
        assert_eq!(status, "HTTP/1.1 503 ");
        let mut text = [0; 1000];
        let size = timeout(PATIENCE, stream.read(&mut text)).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&text[..size]);
        assert!(text.contains("retry-after: 1\r\n"), "{text}");
    }
    assert_eq!(hasty.get("/offers/by-topic/other", &peer).await.status, 200);
    // There is room for as many again once each of them was given up, which began one after the other.
    let freed = async {
        loop {
            let ask = async |_| hasty.request(Method::GET, &path).send().await.unwrap();
            let asked = join_all((0..10).map(ask)).await;
            if asked.iter().all(|it| it.status() == 200) {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, freed).await.expect("the room is never free again");
    let mut given_up = 0;
    for (_, mut stream) in held {
        given_up += usize::from(rest(&mut stream).await.len() < 12 * 1024 * 1024);
    }
    assert!(given_up > 0, "all of them came all the same");
    // Whoever reads gets all of it.
    let all = given.get(&path, &peer).await;
    assert_eq!(all.headers["content-length"], all.text.len().to_string());
    assert_eq!(all.body["offers"].as_array().unwrap().len(), 200);
}
