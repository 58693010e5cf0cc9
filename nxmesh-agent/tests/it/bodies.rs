//! What nginx keeps on disk while it serves.

use std::{fs, time::Duration};

use nxmesh_core::gateway::link::ApplyStatus::Success;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::given::{State, config_with, free_port, start};

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
