//! What nginx keeps on disk while it serves.

use std::{fs, io::Write, os::unix::fs::PermissionsExt, time::Duration};

use nxmesh_core::gateway::link::ApplyStatus::Success;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::given::{State, answered, config_with, free_port, start, until};

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_another_user_keep_bodies_that_do_not_fit_into_memory() {
    let state = State::new();
    let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = backend.local_addr().unwrap();
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    let port = free_port();
    let location = json!({"path": "/", "proxy_pass": format!("http://{address}")});
    assert_eq!(server.apply(&config_with(1, port, location)).await.0.last(), Some(&Success));
    let body = vec![b'x'; 512 * 1024];
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let head = format!("POST / HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    let answering = async {
        let (mut seen, _) = backend.accept().await.unwrap();
        let (mut got, end) = (Vec::new(), b"\r\n\r\n");
        // All of it: to close before would cut the answer off.
        while got
            .windows(end.len())
            .position(|it| it == end)
            .is_none_or(|head| got.len() < head + end.len() + body.len())
        {
            assert!(seen.read_buf(&mut got).await.unwrap() > 0, "the body is cut off");
        }
        seen.write_all(b"HTTP/1.0 200 OK\r\n\r\nfine").await.unwrap();
    };
    let mut answer = String::new();
    let reading = async {
        answering.await;
        stream.read_to_string(&mut answer).await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(30), reading).await.unwrap();
    assert!(answer.ends_with("fine"), "{answer}");
    let log = fs::read_to_string(state.path().join("logs/error.log")).unwrap();
    assert!(log.contains("buffered to a temporary file"), "{log}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_another_user_go_on_to_log_after_the_log_was_set_aside() {
    let state = State::new();
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    let port = free_port();
    let location = json!({"path": "/", "root": "/nowhere"});
    assert_eq!(server.apply(&config_with(1, port, location)).await.0.last(), Some(&Success));
    let log = state.path().join("logs/error.log");
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
    let large = vec![b'\n'; 9 * 1024 * 1024];
    fs::OpenOptions::new().append(true).open(&log).unwrap().write_all(&large).unwrap();
    let logged = async || {
        answered(port).await;
        fs::read_to_string(&log).is_ok_and(|it| it.len() < large.len() && it.contains("/nowhere"))
    };
    until("the workers to write into the new log", logged).await;
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
    agent.stop().await;
}
