//! Credentials for a TURN server.

use std::time::Duration;

use chrono::TimeDelta;
use nxmesh_core::rendezvous::TurnKey;
use nxmesh_server::rendezvous::TurnSettings;
use serde_json::json;

use super::given::{NOW, On, Peer, Setup};

#[tokio::test]
async fn a_peer_gets_what_coturn_takes_until_it_expires() {
    let mut setup = Setup::on(On::Memory).await;
    let uris = ["turn:turn.example:3478?transport=udp", "turns:turn.example:5349"];
    setup.http.turn = Some(TurnSettings {
        key: TurnKey::parse("north").unwrap(),
        uris: uris.map(str::to_owned).to_vec(),
        ttl: Duration::from_secs(600),
    });
    setup.clock.advance(TimeDelta::milliseconds(-600_000 + 999));
    let given = setup.offers().await;
    let peer = Peer::known();
    let told = given.get("/turn", &peer).await;
    // printf %s 1700000000:f17c195f067255e357232e34cf0735d9 | openssl dgst -sha1 -hmac north -binary | base64
    let credential = "8TqJ+IrmzmmnPCpHyFBifnqH+FA=";
    let wanted = json!({
        "username": format!("1700000000:{}", peer.id), "credential": credential,
        "password": credential, "ttl": 600, "expiresAt": NOW, "uris": uris, "urls": uris,
    });
    assert_eq!(told.whole(), (200, wanted));
    assert_eq!(told.headers["content-type"], "application/json");
    // A second later it is another one, and so it is for another peer.
    setup.clock.advance(TimeDelta::milliseconds(1));
    let later = given.get("/turn", &peer).await.body;
    assert_eq!(later["username"], format!("1700000001:{}", peer.id));
    assert_eq!(later["expiresAt"], NOW + 1000);
    let other = given.peer().await;
    let theirs = given.get("/turn", &other).await.body;
    assert_eq!(theirs["username"], format!("1700000001:{}", other.id));
    assert_ne!(theirs["credential"], later["credential"]);
    let stranger = given.look("/turn").await;
    assert_eq!(stranger.whole(), (401, json!({"error": "Missing Authorization header"})));
}

#[tokio::test]
async fn without_a_turn_server_a_peer_is_told_that_there_is_none() {
    let given = Setup::on(On::Memory).await.offers().await;
    let told = given.get("/turn", &Peer::known()).await;
    assert_eq!(told.whole(), (404, json!({"error": "No TURN server is set up"})));
    let stranger = given.look("/turn").await;
    assert_eq!(stranger.whole(), (401, json!({"error": "Missing Authorization header"})));
}
