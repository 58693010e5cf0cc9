//! The requests that the source's own documents print, sent by curl as they are printed: only where the server
//! is and which session is meant is put in.

use std::net::SocketAddr;

use nxmesh_core::{rendezvous::Rendezvous, store::memory::MemoryRendezvous};
use nxmesh_server::rendezvous::{offers, origin};
use serde_json::{Value, json};
use tokio::{net::TcpListener, process::Command, task::JoinSet};

/// Where the documents have their server.
const PRINTED: &str = "http://localhost:3000";
/// The session that they have.
const CODE: &str = "550e8400-e29b-41d4-a716-446655440000";

/// A server of one protocol.
struct Server {
    at: String,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start(routes: impl FnOnce(Rendezvous) -> axum::Router) -> Self {
        let rendezvous = Rendezvous::builder().store(MemoryRendezvous::new()).build().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = format!("http://{}", listener.local_addr().unwrap());
        let routes = routes(rendezvous).into_make_service_with_connect_info::<SocketAddr>();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { at, _tasks: tasks }
    }

    /// Has a shell do what is printed; answers the status and the body.
    async fn run(&self, printed: &str) -> (u16, Value) {
        let command = printed.replace(PRINTED, &self.at);
        let command = command.replacen("curl ", "curl -sS -w '\\n%{http_code}' ", 1);
        let mut shell = Command::new("sh");
        let ended = shell.args(["-c", &command]).kill_on_drop(true).output().await.unwrap();
        let complaint = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "is curl installed? {command}: {complaint}");
        let said = String::from_utf8(ended.stdout).unwrap();
        let (body, status) = said.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), serde_json::from_str(body).unwrap())
    }
}

#[tokio::test]
async fn what_api_md_prints_works() {
    let server = Server::start(origin).await;
    let (status, version) = server.run(r"curl -X GET http://localhost:3000/").await;
    assert!(status == 200 && version["version"].is_string(), "{version}");

    let topics = r#"curl -X GET http://localhost:3000/topics \
-H "Origin: https://example.com""#;
    let none = json!({"page": 1, "limit": 100, "total": 0, "hasMore": false});
    assert_eq!(server.run(topics).await, (200, json!({"topics": [], "pagination": none})));

    let (status, made) = server
        .run(
            r#"curl -X POST http://localhost:3000/my-room/offer \
-H "Content-Type: application/json" \
-H "Origin: https://example.com" \
-d '{
"info": "peer-123",
"offer": "<SIGNALING_DATA>"
}'"#,
        )
        .await;
    let code = made["code"].as_str().unwrap();
    assert!(status == 200 && code.len() == CODE.len(), "{made}");

    let one = json!({"page": 1, "limit": 100, "total": 1, "hasMore": false});
    let listed = json!({"topics": [{"topic": "my-room", "count": 1}], "pagination": one});
    assert_eq!(server.run(topics).await, (200, listed));
    let paged = r#"curl -X GET "http://localhost:3000/topics?page=2&limit=50" \
-H "Origin: https://example.com""#;
    let second = json!({"page": 2, "limit": 50, "total": 1, "hasMore": false});
    assert_eq!(server.run(paged).await, (200, json!({"topics": [], "pagination": second})));

    let offerer = r#"curl -X POST http://localhost:3000/poll \
-H "Content-Type: application/json" \
-H "Origin: https://example.com" \
-d '{
"code": "550e8400-e29b-41d4-a716-446655440000",
"side": "offerer"
}'"#;
    let gone = json!({"error": "Session not found, expired, or origin mismatch"});
    assert_eq!(server.run(offerer).await, (404, gone), "the session that is printed is none here");
    let offerer = offerer.replace(CODE, code);
    let nothing = json!({"answer": null, "answerCandidates": []});
    assert_eq!(server.run(&offerer).await, (200, nothing));

    let answer = r#"curl -X POST http://localhost:3000/answer \
-H "Content-Type: application/json" \
-H "Origin: https://example.com" \
-d '{
"code": "550e8400-e29b-41d4-a716-446655440000",
"answer": "<SIGNALING_DATA>",
"side": "answerer"
}'"#;
    let done = (200, json!({"success": true}));
    assert_eq!(server.run(&answer.replace(CODE, code)).await, done);
    let candidate = r#"curl -X POST http://localhost:3000/answer \
-H "Content-Type: application/json" \
-H "Origin: https://example.com" \
-d '{
"code": "550e8400-e29b-41d4-a716-446655440000",
"candidate": "<SIGNALING_DATA>",
"side": "offerer"
}'"#;
    assert_eq!(server.run(&candidate.replace(CODE, code)).await, done);

    let answerer = r#"curl -X POST http://localhost:3000/poll \
-H "Content-Type: application/json" \
-H "Origin: https://example.com" \
-d '{
"code": "550e8400-e29b-41d4-a716-446655440000",
"side": "answerer"
}'"#;
    let offered = json!({"offer": "<SIGNALING_DATA>", "offerCandidates": ["<SIGNALING_DATA>"]});
    assert_eq!(server.run(&answerer.replace(CODE, code)).await, (200, offered));
    let answered = json!({"answer": "<SIGNALING_DATA>", "answerCandidates": []});
    assert_eq!(server.run(&offerer).await, (200, answered));
    let (status, health) = server.run("curl http://localhost:3000/health").await;
    assert_eq!((status, &health["status"]), (200, &json!("ok")));
    assert!(health["timestamp"].is_i64(), "{health}");
}

/// The README prints bodies, and says what to send them to.
#[tokio::test]
async fn what_readme_md_prints_works() {
    let server = Server::start(offers).await;
    let (_, me) = server.run("curl -X POST http://localhost:3000/register -d '{}'").await;
    let (peer, secret) = (me["peerId"].as_str().unwrap(), me["secret"].as_str().unwrap());
    let made = server
        .run(&format!(
            r#"curl -X POST http://localhost:3000/offers \
-H "Authorization: Bearer {peer}:{secret}" \
-d '{{
"offers": [
{{
"sdp": "v=0...",
"topics": ["movie-xyz", "hd-content"],
"ttl": 300000,
"secret": "my-secret-password",
"info": "Looking for peers in EU region"
}}
]
}}'"#
        ))
        .await;
    let (200, made) = made else { panic!("{made:?}") };
    let offer = &made["offers"][0];
    assert_eq!(offer["peerId"], peer);
    assert_eq!(offer["topics"], json!(["movie-xyz", "hd-content"]));

    let (status, found) =
        server.run("curl http://localhost:3000/offers/by-topic/movie-xyz?limit=50").await;
    assert_eq!(status, 200);
    assert_eq!((&found["topic"], &found["total"]), (&json!("movie-xyz"), &json!(1)));
    let found = &found["offers"][0];
    let info = json!("Looking for peers in EU region");
    assert_eq!((&found["hasSecret"], &found["info"]), (&json!(true), &info));
    assert_eq!((&found["id"], found.get("secret")), (&offer["id"], None));

    let theirs = server.run(&format!("curl http://localhost:3000/peers/{peer}/offers")).await;
    assert_eq!((theirs.0, &theirs.1["offers"][0]["id"]), (200, &offer["id"]));
    let mine = format!(
        r#"curl http://localhost:3000/offers/mine -H "Authorization: Bearer {peer}:{secret}""#
    );
    let (status, mine) = server.run(&mine).await;
    assert_eq!((status, &mine["offers"][0]["secret"]), (200, &json!("my-secret-password")));
}
