//! What the reference server is told about rendezvous, it does.

use std::{net::SocketAddr, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context, Result};
use nxmesh_benches::{ServerProcess, free_port};
use reqwest::Method;
use serde_json::{Value, json};

/// A key, and the credential of a peer under it, as the first server made it.
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const OLD_PEER: &str = "f17c195f067255e357232e34cf0735d9:oKGio6SlpqeoqaqrgClLTnTyN9lSU7DhMk+l7UWbayOg0nFY/2gWsUyeETggEiXl7OT+FRC3EQvkyUL1";
const OTHER_KEY: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

/// Asks with these headers; answers the status and the body.
async fn ask(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Value,
) -> Result<(u16, Value)> {
    // The client starts the library that it has its ciphers of.
    nxmesh_client::Client::new(url)?;
    let request = reqwest::Client::builder().build()?.request(method, url).body(body.to_string());
    let request = headers.iter().fold(request, |it, (name, value)| it.header(*name, *value));
    let response = request.send().await?;
    let (status, text) = (response.status().as_u16(), response.text().await?);
    Ok((status, serde_json::from_str(&text).with_context(|| text.clone())?))
}

/// A server that also has one protocol at the root of this address.
async fn start(folder: &Path, at: SocketAddr, more: &[&str]) -> Result<ServerProcess> {
    let at = at.to_string();
    ServerProcess::start_with(folder, &[&["--rendezvous-http", &at], more].concat()).await
}

fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_are_served_as_it_is_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let root = free_address();
    let flags = [
        ["--rendezvous-secret", OTHER_KEY],
        ["--rendezvous-previous-secret", KEY],
        ["--rendezvous-ttl-seconds", "120"],
        ["--rendezvous-max-offers", "1"],
        ["--rendezvous-origins", "https://one.example, https://two.example"],
        ["--rendezvous-trusted-proxies", "127.0.0.1, ::1"],
        ["--rendezvous-rpc-requests-per-second", "1"],
        ["--turn-uris", "turn:turn.example:3478, turns:turn.example:5349"],
        ["--turn-secret", "north"],
        ["--turn-ttl-seconds", "60"],
    ];
    let server = start(folder.path(), root, &flags.concat()).await?;
    for base in [format!("http://{root}"), format!("{}/rendezvous", server.http())] {
        let bearer = format!("Bearer {OLD_PEER}");
        let peer = [("authorization", bearer.as_str())];
        let (status, turn) = ask(Method::GET, &format!("{base}/turn"), &peer, json!({})).await?;
        assert_eq!((status, &turn["ttl"]), (200, &json!(60)), "{turn}");
        let uris = json!(["turn:turn.example:3478", "turns:turn.example:5349"]);
        assert_eq!((&turn["uris"], &turn["urls"]), (&uris, &uris));

        let offers = json!({"offers": [{"sdp": "v=0", "topics": ["t"], "id": "one"}]});
        let url = format!("{base}/offers");
        let (status, made) = ask(Method::POST, &url, &peer, offers).await?;
        assert_eq!(status, 200, "{made}");
        let (_, health) = ask(Method::GET, &format!("{base}/health"), &[], json!({})).await?;
        let now = health["timestamp"].as_i64().context("no time")?;
        let left = made["offers"][0]["expiresAt"].as_i64().context("no end")? - now;
        assert!((60_000..=120_000).contains(&left), "{left}");
        let offers = json!({"offers": [{"sdp": "v=0", "topics": ["t"], "id": "two"}]});
        let (status, full) = ask(Method::POST, &url, &peer, offers).await?;
        assert_eq!(status, 503, "{full}");

        let count = json!([{"method": "countOffersByTags", "params": {"tags": ["a"]}}]);
        let from = [("x-forwarded-for", "192.0.2.1")];
        let (mut refused, mut asked) = (json!(null), 0);
        while refused["errorCode"] != "RATE_LIMIT_EXCEEDED" {
            asked += 1;
            assert!(asked < 1000, "it is never refused");
            let answer = ask(Method::POST, &format!("{base}/rpc"), &from, count.clone()).await?;
            refused = answer.1[0].clone();
        }
        let why = "Rate limit exceeded. Maximum 1 requests per second per IP.";
        assert_eq!(refused["error"], why);
        let other = [("x-forwarded-for", "192.0.2.2")];
        let (_, counted) = ask(Method::POST, &format!("{base}/rpc"), &other, count).await?;
        assert_eq!(counted[0]["success"], true);

        let http = reqwest::Client::builder().build()?;
        for (origin, allowed) in [("two", "two"), ("three", "one")] {
            let request = http.get(&base).header("origin", format!("https://{origin}.example"));
            let response = request.send().await?;
            let told = &response.headers()["access-control-allow-origin"];
            assert_eq!(told.to_str()?, format!("https://{allowed}.example"));
        }
    }
    assert!(!folder.path().join("rendezvous.key").exists(), "one was given");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_served_as_it_is_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let root = free_address();
    let flags = [
        "--rendezvous-protocol",
        "origin",
        "--rendezvous-allow-no-origin",
        "--rendezvous-allow-global",
    ];
    let server = start(folder.path(), root, &flags).await?;
    let body = json!({"info": "i", "offer": "o"});
    let global = [("x-rondevu-global", "true"), ("origin", "https://page.example")];
    for (at, base) in [format!("http://{root}"), format!("{}/rendezvous/origin", server.http())]
        .iter()
        .enumerate()
    {
        for headers in [&[][..], &global] {
            let url = format!("{base}/t/offer");
            assert_eq!(ask(Method::POST, &url, headers, body.clone()).await?.0, 200);
            let (_, topics) =
                ask(Method::GET, &format!("{base}/topics"), headers, json!({})).await?;
            assert_eq!(topics["topics"], json!([{"topic": "t", "count": at + 1}]));
        }
        let foreign = [("origin", "https://other.example")];
        let (_, topics) = ask(Method::GET, &format!("{base}/topics"), &foreign, json!({})).await?;
        assert_eq!(topics["topics"], json!([]));
    }
    let count = json!([{"method": "countOffersByTags", "params": {"tags": ["a"]}}]);
    let (_, counted) = ask(Method::POST, &format!("http://{root}/rpc"), &[], count).await?;
    assert_eq!(counted[0]["success"], true);
    // It made a key, for its owner's eyes.
    let key = std::fs::metadata(folder.path().join("rendezvous.key"))?;
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    let url = format!("{}/metrics", server.http());
    let figures = reqwest::get(url).await?.text().await?;
    assert!(figures.contains("nxmesh_rendezvous_listeners 0"), "{figures}");
    Ok(())
}
