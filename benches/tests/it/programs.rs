//! How the programs behave as programs.

use std::{net::TcpListener, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result};
use nxmesh_benches::{NginxBinary, ServerProcess, TestMesh, binary};
use nxmesh_core::{conformance::postgres::Database, tenancy::NewOrganization};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
};

/// Runs a program to its end; answers its exit code and what it said.
async fn run(name: &str, args: &[&str], folder: &Path) -> Result<(Option<i32>, String)> {
    let mut command = Command::new(binary(name)?);
    command.args(args).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), command.output()).await;
    let ended = ended.with_context(|| format!("{name} {args:?} did not end"))??;
    Ok((ended.status.code(), String::from_utf8(ended.stderr)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_one_line_and_status_2() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let holder = TcpListener::bind("127.0.0.1:0")?;
    let held = holder.local_addr()?.to_string();
    std::fs::write(
        folder.path().join("text"),
        "this is no database, and long enough to be looked at".repeat(100),
    )?;
    std::fs::write(folder.path().join("file"), "")?;
    let free = ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"];
    let with = |more: &[&'static str]| [&free[..], more].concat();
    let cases: Vec<(&str, Vec<&str>, &str)> = vec![
        ("nxmesh-server", vec!["--no-such-flag"], "unexpected argument"),
        ("nxmesh-server", vec!["--http", "nonsense"], "invalid value 'nonsense' for '--http"),
        ("nxmesh-server", with(&["--store", "oracle:x"]), "must be sqlite:PATH"),
        (
            "nxmesh-server",
            with(&["--store", "postgres://db.example/x"]),
            "may be plain text: add sslmode=verify-full",
        ),
        (
            "nxmesh-server",
            with(&["--store", "postgres://127.0.0.1:1/x"]),
            "cannot open the database x at 127.0.0.1:1",
        ),
        (
            "nxmesh-server",
            with(&["--store", "sqlite:/no/such/folder/x.db"]),
            "cannot open the database /no/such/folder/x.db",
        ),
        ("nxmesh-server", with(&["--store", "sqlite:text"]), "damaged or no database"),
        ("nxmesh-server", with(&["--data-dir", "file"]), "cannot make the folder file"),
        (
            "nxmesh-server",
            vec!["--http", &held, "--grpc", "127.0.0.1:0"],
            "cannot listen on --http",
        ),
        (
            "nxmesh-server",
            vec!["--grpc", &held, "--http", "127.0.0.1:0"],
            "cannot listen on --grpc",
        ),
        (
            "nxmesh-server",
            with(&["--rendezvous-http", "0.0.0.0:0"]),
            "--rendezvous-http 0.0.0.0:0 is plain text beyond loopback",
        ),
        (
            "nxmesh-server",
            with(&["--rendezvous-secret", "0123"]),
            "NXMESH_RENDEZVOUS_SECRET: the key of rendezvous credentials must be 64 hexadecimal digits",
        ),
        (
            "nxmesh-server",
            with(&["--rendezvous-previous-secret", "0123"]),
            "NXMESH_RENDEZVOUS_PREVIOUS_SECRET: the key of rendezvous credentials must be 64",
        ),
        (
            "nxmesh-server",
            with(&["--rendezvous-protocol", "rpc"]),
            "[possible values: origin, offers]",
        ),
        ("nxmesh-server", with(&["--rendezvous-origins", "a.example"]), "must be SCHEME://HOST"),
        (
            "nxmesh-server",
            with(&["--rendezvous-trusted-proxies", "10.0.0.0/8"]),
            "must be an IP address",
        ),
        ("nxmesh-server", with(&["--rendezvous-ttl-seconds", "59"]), "59 is not in 60..=86400"),
        ("nxmesh-server", with(&["--turn-uris", "turn:a"]), "--turn-secret"),
        ("nxmesh-server", with(&["--turn-secret", "s"]), "--turn-uris"),
        (
            "nxmesh-server",
            with(&["--turn-uris", "stun:a", "--turn-secret", "s"]),
            "--turn-uris: stun:a must begin with turn: or turns:",
        ),
        (
            "nxmesh-server",
            with(&["--turn-uris", "turn:a", "--turn-secret", ""]),
            "--turn-secret: the secret of TURN must not be empty",
        ),
        ("nxmesh-server", with(&["--tls-cert", "file"]), "--tls-key"),
        (
            "nxmesh-server",
            with(&["--tls-cert", "none", "--tls-key", "none"]),
            "cannot read --tls-cert none",
        ),
        (
            "nxmesh-server",
            with(&["--tls-cert", "file", "--tls-key", "file"]),
            "--tls-key has no private key",
        ),
        ("nxmesh-agent", vec!["--ca-file", "none"], "cannot read --ca-file none"),
        ("nxmesh-server", vec!["--http", "0.0.0.0:0"], "plain text beyond loopback"),
        ("nxmesh-agent", vec!["--no-such-flag"], "unexpected argument"),
        ("nxmesh-agent", vec!["--server", "nonsense:x:y"], "--server"),
        ("nxmesh-agent", vec!["--server", "http://192.0.2.1:9090"], "plain text beyond loopback"),
        ("nxmesh-agent", vec!["--nginx", "/no/such/nginx"], "--nginx /no/such/nginx is no file"),
        ("nxmesh-agent", vec!["--state-dir", "file/x"], "cannot use the state folder file/x"),
        (
            "nxmesh-agent",
            vec!["--token-file", "/no/such/token"],
            "cannot read --token-file /no/such/token",
        ),
        (
            "nxmesh-agent",
            vec!["--nginx", "/bin/true", "--state-dir", "agent"],
            "/bin/true is no nginx",
        ),
    ];
    for (name, args, expected) in cases {
        let (code, said) = run(name, &args, folder.path()).await?;
        assert_eq!(code, Some(2), "{name} {args:?}: {said}");
        assert!(said.contains(expected), "{name} {args:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{name} {args:?}: {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_store_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let _first = ServerProcess::start(&folder.path().join("data")).await?;
    let args = ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--data-dir", "data"];
    let (code, said) = run("nxmesh-server", &args, folder.path()).await?;
    assert_eq!(code, Some(2));
    assert!(said.contains("another process has the database"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_stop_ends_well_although_agents_are_connected() -> Result<()> {
    let mut mesh = TestMesh::start(&NginxBinary::packaged()?).await?;
    assert_eq!(mesh.server.process().terminate().await?, Some(0));
    assert_eq!(mesh.agent.process().terminate().await?, Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_is_answered_before_the_server_ends() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = ServerProcess::start(folder.path()).await?;
    let address = server.http().trim_start_matches("http://").to_owned();
    let body = server.login().to_string();
    let head = format!(
        "POST /v1/auth/login HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let (first, rest) = body.split_at(body.len() / 2);
    let mut slow = TcpStream::connect(&address).await?;
    slow.write_all(format!("{head}{first}").as_bytes()).await?;
    // The server has read the head once it counts that request beside the one that asks.
    let counted = async || {
        let mut asking = TcpStream::connect(&address).await?;
        asking
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .await?;
        let mut text = String::new();
        asking.read_to_string(&mut text).await?;
        anyhow::Ok(text.contains("nxmesh_http_requests_in_flight 2"))
    };
    while !counted().await? {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let finish = async {
        while TcpStream::connect(&address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        slow.write_all(rest.as_bytes()).await?;
        let mut answer = String::new();
        slow.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let (code, answer) = tokio::join!(server.process().terminate(), finish);
    let answer = answer?;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("access_token"), "{answer}");
    assert_eq!(code?, Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_a_line_of_json_without_secrets() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let told = ["--log-format", "json", "--log", "info,nxmesh::request=debug"];
    let mut server = ServerProcess::start_with(folder.path(), &told).await?;
    let client = server.client().await?;
    let token = client.auth().access_token().context("logged in")?.expose().clone();
    let url = format!("{}/v1/organizations?page=1&secret=hidden", server.http());
    let request = reqwest::Client::builder().build()?.get(url).bearer_auth(&token);
    request.header("x-request-id", "mine-1").send().await?.error_for_status()?;
    server.process().terminate().await?;
    let log = std::fs::read_to_string(folder.path().join("server.log"))?;
    let lines: Vec<Value> = log.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let line = lines.iter().find(|it| it["span"]["request_id"] == "mine-1").context("no line")?;
    let span = &line["span"];
    assert_eq!((&line["method"], &line["path"]), (&json!("GET"), &json!("/v1/organizations")));
    assert_eq!((&line["route"], &line["status"]), (&json!("/v1/organizations"), &json!(200)));
    assert!(line["duration_ms"].as_f64().is_some_and(|it| it > 0.0), "{line}");
    assert_eq!(span["user_id"].as_str().map(str::len), Some(36), "{line}");
    let password = server.login()["password"].as_str().context("a password")?.to_owned();
    for secret in [token.as_str(), "hidden", "secret", &password] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_moves_from_sqlite_to_postgres_by_one_command() -> Result<()> {
    let (folder, database) = (tempfile::tempdir()?, Database::create().await);
    let before = folder.path().join("before");
    let mut server = ServerProcess::start(&before).await?;
    let client = server.client().await?;
    let organization = NewOrganization { name: "Acme".into(), slug: "acme".into() };
    let made = client.organizations().create(&organization).await?;
    server.process().terminate().await?;
    let from = format!("sqlite:{}", before.join("nxmesh.db").display());
    let migrate = ["migrate", "--from", &from, "--to", database.url()];
    assert_eq!(run("nxmesh-server", &migrate, folder.path()).await?, (Some(0), String::new()));
    let (status, said) = run("nxmesh-server", &migrate, folder.path()).await?;
    assert_eq!((status, said.lines().count()), (Some(1), 1));
    assert!(said.contains("the target is not empty"), "{said}");
    let server = ServerProcess::start_on(&folder.path().join("after"), database.url()).await?;
    let client = server.client().await?;
    assert_eq!(client.organizations().get(made.id).await?, made);
    Ok(())
}
