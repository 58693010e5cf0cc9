//! Two browsers open a data channel by what the server tells one of the other. Their page is from another origin than the
//! server, so that browsers ask it first whether they may (CORS).

use std::{collections::BTreeMap, net::Ipv4Addr, path::Path, time::Duration};

use anyhow::{Context, Result};
use axum::{
    Router,
    response::Html,
    routing::{get, post},
};
use nxmesh_benches::{Browser, ServerProcess};
use nxmesh_core::conformance::postgres::Database;
use reqwest::Url;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet, time::timeout};

/// How long a browser may take: it is a second, where nothing else runs.
const PATIENCE: Duration = Duration::from_secs(90);
const PAGE: &str = include_str!("rendezvous_browser.html");

/// What serves the page, and is told what came of it.
struct Pages {
    at: String,
    results: mpsc::Receiver<String>,
    _server: JoinSet<()>,
}

impl Pages {
    async fn serve() -> Result<Self> {
        let (to, results) = mpsc::channel(2);
        let routes = Router::new().route("/", get(async || Html(PAGE))).route(
            "/result",
            post(async move |result: String| {
                // Who does not wait for it any more has failed already.
                let _ = to.send(result).await;
            }),
        );
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let at = format!("http://{}", listener.local_addr()?);
        let mut server = JoinSet::new();
        server.spawn(async move {
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self { at, results, _server: server })
    }

    fn url(&self, api: &str, protocol: &str, role: &str) -> Result<String> {
        let topic = "browsers / 100%";
        let asked = [("api", api), ("protocol", protocol), ("role", role), ("topic", topic)];
        Ok(Url::parse_with_params(&self.at, asked)?.into())
    }

    /// What came of one of the pages.
    async fn result(&mut self) -> Result<Value> {
        let told = timeout(PATIENCE, self.results.recv()).await;
        let told = told.context("a page does not tell what came of it")?;
        Ok(serde_json::from_str(&told.context("nobody serves pages")?)?)
    }
}

/// Two browsers, one of which offers at this address, and the other one answers at that.
async fn talk(folder: &Path, protocol: &str, apis: [&str; 2]) -> Result<()> {
    let mut pages = Pages::serve().await?;
    let mut browsers = Vec::new();
    for (role, api) in ["offerer", "answerer"].into_iter().zip(apis) {
        let url = pages.url(api, protocol, role)?;
        browsers.push(Browser::open(&folder.join(role), &url)?);
    }
    let mut results = BTreeMap::new();
    for _ in &browsers {
        let result = pages.result().await?;
        let role = result["role"].as_str().context("no role")?.to_owned();
        results.insert(role, result);
    }
    assert_eq!(
        json!(results),
        json!({
            "answerer": {"role": "answerer", "heard": "ping 你好 😀"},
            "offerer": {"role": "offerer", "heard": "pong to ping 你好 😀"},
        })
    );
    for browser in browsers {
        browser.close().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_meet_by_offers() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = ServerProcess::start(folder.path()).await?;
    let api = format!("{}/rendezvous", server.http());
    talk(folder.path(), "offers", [&api, &api]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_of_one_origin_meet() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = ServerProcess::start(folder.path()).await?;
    let api = format!("{}/rendezvous/origin", server.http());
    talk(folder.path(), "origin", [&api, &api]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_meet_by_two_servers_on_one_postgres() -> Result<()> {
    let (folder, database) = (tempfile::tempdir()?, Database::create().await);
    let one = ServerProcess::start_on(&folder.path().join("one"), database.url()).await?;
    let other = ServerProcess::start_on(&folder.path().join("other"), database.url()).await?;
    let apis = [&one, &other].map(|it| format!("{}/rendezvous", it.http()));
    talk(folder.path(), "offers", [&apis[0], &apis[1]]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_keeps_a_page_out_whose_origin_may_not_call() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let allowed = ["--rendezvous-origins", "https://elsewhere.example"];
    let server = ServerProcess::start_with(folder.path(), &allowed).await?;
    let mut pages = Pages::serve().await?;
    let url = pages.url(&format!("{}/rendezvous", server.http()), "offers", "offerer")?;
    let browser = Browser::open(&folder.path().join("browser"), &url)?;
    let kept_out = json!({"role": "offerer", "error": "TypeError: Failed to fetch"});
    assert_eq!(pages.result().await?, kept_out);
    browser.close().await
}
