//! Requests that are sent again are done once, whichever server they come to and whatever
//! happens to it.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use nxmesh_benches::{Proxy, ServerProcess};
use nxmesh_core::{
    conformance::postgres::{Cluster, Database, Durability},
    tenancy::{NewOrganization, Organization},
};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};

/// How often the same request is sent at once.
const AT_ONCE: usize = 50;
/// How often that is done.
const ROUNDS: usize = 10;

/// Somebody who sends requests with keys of their own choice.
struct Caller {
    http: reqwest::Client,
    token: String,
}

impl Caller {
    async fn of(server: &ServerProcess) -> Result<Self> {
        let token = server.client().await?.auth().access_token().context("logged in")?;
        let http = reqwest::Client::builder().build()?;
        Ok(Self { http, token: token.expose().clone() })
    }

    /// Makes an API key: of those any number may have the same name.
    async fn make(&self, server: &str, of: &Organization, key: &str) -> Result<Response> {
        let body = json!({"organization_id": of.id, "name": "ci", "role": "viewer"});
        let request = self.http.post(format!("{server}/v1/api-keys")).bearer_auth(&self.token);
        Ok(request.header("idempotency-key", key).body(body.to_string()).send().await?)
    }

    /// How many API keys there are.
    async fn made(&self, server: &str, of: &Organization) -> Result<u64> {
        let url = format!("{server}/v1/api-keys?organization_id={}", of.id);
        let list = self.http.get(url).bearer_auth(&self.token).send().await?.text().await?;
        let list: Value = serde_json::from_str(&list)?;
        list["meta"]["total"].as_u64().with_context(|| list.to_string())
    }
}

async fn organization(server: &ServerProcess) -> Result<Organization> {
    let new = NewOrganization { name: "Acme".into(), slug: "acme".into() };
    Ok(server.client().await?.organizations().create(&new).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_at_two_servers_one_is_done() -> Result<()> {
    let (folder, database) = (tempfile::tempdir()?, Database::create().await);
    let start =
        async |name| ServerProcess::start_on(&folder.path().join(name), database.url()).await;
    let servers = [start("one").await?, start("two").await?];
    let caller = &Caller::of(&servers[0]).await?;
    let of = &organization(&servers[0]).await?;
    let urls = &servers.map(|it| (it.http(), it));
    for round in 0..ROUNDS {
        let key = &format!("round-{round}");
        let sends = (0..AT_ONCE).map(async |number| {
            let url = &urls[number % 2].0;
            // As long as the first is under way the others are told to come again.
            loop {
                let answer = caller.make(url, of, key).await?;
                let again = answer.headers().contains_key("retry-after");
                if answer.status() != StatusCode::CONFLICT || !again {
                    let replayed = answer.headers().contains_key("idempotency-replayed");
                    return anyhow::Ok((answer.status(), replayed, answer.text().await?));
                }
                tokio::task::yield_now().await;
            }
        });
        let answers = try_join_all(sends).await?;
        let (first, replayed): (Vec<_>, Vec<_>) = answers.into_iter().partition(|it| !it.1);
        assert_eq!((first.len(), replayed.len()), (1, AT_ONCE - 1), "round {round}");
        assert_eq!(first[0].0, StatusCode::CREATED, "{}", first[0].2);
        let same = |it: &(StatusCode, bool, String)| (it.0, &it.2) == (first[0].0, &first[0].2);
        assert!(replayed.iter().all(same), "round {round}: {replayed:?}");
        for (url, _) in urls {
            assert_eq!(caller.made(url, of).await?, round as u64 + 1);
        }
    }
    Ok(())
}

/// Makes an API key, so that a connection knows the statement when it comes again: otherwise the
/// database waits for the table when it first reads it, and never gets to carry it out.
async fn warm_up(caller: &Caller, server: &str, of: &Organization) -> Result<()> {
    let made = caller.make(server, of, "warm-up").await?;
    assert_eq!((made.status(), caller.made(server, of).await?), (StatusCode::CREATED, 1));
    Ok(())
}

/// Until an API key is about to be written.
async fn somebody_waits(other: &mut PgConnection) -> Result<()> {
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted
                   AND relation = 'api_keys'::regclass";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut *other).await? == 0 {
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_its_server_did_not_survive_is_not_done_again() -> Result<()> {
    let (folder, database) = (tempfile::tempdir()?, Database::create().await);
    let mut server = ServerProcess::start_on(folder.path(), database.url()).await?;
    let (caller, of) = (Caller::of(&server).await?, organization(&server).await?);
    let url = server.http();
    warm_up(&caller, &url, &of).await?;
    // Nobody gets an API key written, until this is over.
    let mut other = PgConnection::connect(database.url()).await?;
    other.execute("BEGIN; LOCK TABLE api_keys IN EXCLUSIVE MODE").await?;
    let killed = async {
        somebody_waits(&mut other).await?;
        server.process().kill().await
    };
    let (answer, killed) = tokio::join!(caller.make(&url, &of, "key"), killed);
    killed?;
    assert!(answer.is_err(), "the server was killed before it could answer");
    // What it had asked of the database is done without it, if that had understood it.
    other.execute("ROLLBACK").await?;
    server.restart().await?;
    for _ in 0..3 {
        let again = caller.make(&url, &of, "key").await?;
        assert_eq!(again.status(), StatusCode::CONFLICT);
        let told: Value = serde_json::from_str(&again.text().await?)?;
        assert_eq!(told["error"]["details"][0]["field"], "Idempotency-Key", "{told}");
    }
    assert!(caller.made(&url, &of).await? <= 2, "it was done twice");
    // A name that is new is another request.
    assert_eq!(caller.make(&url, &of, "another-key").await?.status(), StatusCode::CREATED);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_may_have_been_none_is_answered_again_and_not_tried_again() -> Result<()> {
    let (folder, cluster) = (tempfile::tempdir()?, Cluster::start(Durability::Relaxed));
    let database = Database::create_on(cluster.url("postgres")).await;
    let proxy = Proxy::start(&cluster.socket()).await?;
    let name = database.url().split(['/', '?']).nth(3).context("the URL names the database")?;
    let store = format!("postgres://nxmesh@{}/{name}", proxy.address());
    let server = ServerProcess::start_on(folder.path(), &store).await?;
    let (caller, of) = (Caller::of(&server).await?, organization(&server).await?);
    let url = server.http();
    warm_up(&caller, &url, &of).await?;
    let mut other = PgConnection::connect(database.url()).await?;
    other.execute("BEGIN; LOCK TABLE api_keys IN EXCLUSIVE MODE").await?;
    let stalled = async {
        somebody_waits(&mut other).await?;
        proxy.stall();
        // It is written now, and the server does not hear of it.
        other.execute("ROLLBACK").await?;
        anyhow::Ok(())
    };
    let (first, stalled) = tokio::join!(caller.make(&url, &of, "key"), stalled);
    stalled?;
    let first = first?;
    assert_eq!(first.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!first.headers().contains_key("idempotency-replayed"));
    let told = first.text().await?;
    assert!(told.contains("whether a change was made is not known"), "{told}");
    proxy.resume();
    // Until the outcome is recorded the request is under way.
    let again = loop {
        let again = caller.make(&url, &of, "key").await?;
        let replayed = again.headers().contains_key("idempotency-replayed");
        if replayed || !matches!(again.status().as_u16(), 409 | 503) {
            break again;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(again.status(), StatusCode::SERVICE_UNAVAILABLE);
    let told = again.text().await?;
    assert!(told.contains("whether a change was made is not known"), "{told}");
    assert!(caller.made(&url, &of).await? <= 2, "it was done twice");
    Ok(())
}
