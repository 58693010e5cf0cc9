//! What the server answers is what its OpenAPI document says, whatever it is sent.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use nxmesh_benches::ServerProcess;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

/// How many requests are made up for each operation, beside those at the edges of its schema, and
/// how many there must be in all; with `NXMESH_SOAK` many more.
#[expect(clippy::disallowed_methods, reason = "how long to test is said in the environment")]
fn cases() -> (&'static str, usize) {
    if std::env::var("NXMESH_SOAK").is_ok() { ("500", 20_000) } else { ("5", 2_000) }
}

/// How many objects of a kind there are to be removed.
const SPARE: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_as_the_document_says() -> Result<()> {
    let python = python().await?;
    let folder = tempfile::tempdir()?;
    let mut server = ServerProcess::start(&folder.path().join("server")).await?;
    let token = fill(&server, folder.path()).await?;
    let settings = folder.path().join("schemathesis.toml");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("schemathesis.toml"), &settings)?;
    let (each, least) = cases();
    let run = Command::new(python)
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(&settings)
        .args(["run", "--no-color", "--generation-database", "none", "--max-examples", each])
        .arg(format!("{}/v1/openapi.json", server.http()))
        .env("NXMESH_TOKEN", token)
        .current_dir(folder.path())
        .kill_on_drop(true)
        .output()
        .await?;
    let told = String::from_utf8_lossy(&run.stdout);
    let summary = told.split_once("= SUMMARY =").map_or("", |(_, it)| it);
    // Its warnings say what it hardly reached.
    println!("{}", told.split_once("= WARNINGS =").map_or(summary, |(_, it)| it));
    ensure!(run.status.success(), "{told}\n{}", String::from_utf8_lossy(&run.stderr));
    let generated =
        summary.split_once("Test cases:").and_then(|(_, it)| it.split_whitespace().next());
    let generated: usize = generated.context("schemathesis does not say how many")?.parse()?;
    ensure!(generated >= least, "only {generated} requests were made: {told}");
    ensure!(server.process().terminate().await? == Some(0), "the server did not end well");
    Ok(())
}

#[tokio::test]
async fn every_example_is_as_its_schema_says() -> Result<()> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let run = Command::new(python().await?)
        .args(["-c", include_str!("examples.py")])
        .stdin(fs::File::open(document)?)
        .output()
        .await?;
    ensure!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let checked: usize = String::from_utf8_lossy(&run.stdout).trim().parse()?;
    ensure!(checked > 50, "only {checked} examples were found");
    Ok(())
}

/// A Python that has schemathesis.
async fn python() -> Result<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/venv/bin/python3");
    let found = Command::new(&tools).args(["-c", "import schemathesis"]).output().await;
    if !found.is_ok_and(|it| it.status.success()) {
        bail!("schemathesis is missing: run ./scripts/install schemathesis");
    }
    Ok(tools)
}

/// One of each, whose ids are written to dictionaries, and some of each to be removed; answers
/// the token of who owns all.
async fn fill(server: &ServerProcess, folder: &Path) -> Result<String> {
    let admin = server.client().await?;
    let token = admin.auth().access_token().context("not logged in")?.expose().clone();
    let http = reqwest::Client::builder().build()?;
    let send = async |method: Method, path: &str, body: Value| -> Result<Value> {
        let request = http.request(method, format!("{}/v1{path}", server.http()));
        let answer = request.bearer_auth(&token).json(&body).send().await?.error_for_status()?;
        Ok(answer.json().await?)
    };
    let post = async |path: &str, body: Value, id: &str| -> Result<String> {
        let made = send(Method::POST, path, body).await?;
        Ok(made[id].as_str().context("it has no id")?.to_owned())
    };
    let organization =
        post("/organizations", json!({"name": "Acme", "slug": "acme"}), "id").await?;
    let workspaces = format!("/organizations/{organization}/workspaces");
    let workspace =
        post(&workspaces, json!({"name": "Production", "slug": "production"}), "id").await?;
    let inside = |collection: &str| format!("/workspaces/{workspace}/{collection}");
    let servers = json!([{"address": "10.0.1.20:8080"}]);
    let upstream = json!({"name": "api", "servers": servers});
    let host = |name: &str, target: Value| json!({"name": name, "server_name": name, "listen_port": 80, "locations": [target]});
    let files = json!({"path": "/", "root": "/srv"});
    let used = post(&inside("upstreams"), upstream.clone(), "id").await?;
    let proxied = json!({"path": "/", "upstream_id": used});
    let served = post(&inside("virtual-hosts"), host("example.com", proxied), "id").await?;
    let agent = json!({"name": "web-01", "labels": {"env": "production"}});
    let tokens = inside("agents/tokens");
    let registered = post(&tokens, agent.clone(), "agent_id").await?;
    let members = format!("/organizations/{organization}/members");
    let members = send(Method::GET, &members, json!({})).await?;
    let user = members["data"][0]["user_id"].as_str().context("nobody owns it")?;
    let staged = json!({"name": "Staged", "slug": "staged", "settings": {"delivery": "staged"}});
    let staged = format!("/workspaces/{}", post(&workspaces, staged, "id").await?);
    post(&format!("{staged}/virtual-hosts"), host("staged.example.com", files.clone()), "id")
        .await?;
    let waves = json!({"message": "try", "waves": [{"percent": 50, "soak_seconds": 60}]});
    let rollout = post(&format!("{staged}/rollouts"), waves, "id").await?;
    for (name, id) in [
        ("organizations", organization.as_str()),
        ("workspaces", &workspace),
        ("upstreams", &used),
        ("virtual-hosts", &served),
        ("agents", &registered),
        ("users", user),
        ("rollouts", &rollout),
    ] {
        write(folder, name, &[id.to_owned()])?;
    }

    let mut spare = Spare::default();
    for number in 0..SPARE {
        let slug = json!({"name": "Spare", "slug": format!("spare-{number}")});
        spare.organizations.push(post("/organizations", slug.clone(), "id").await?);
        spare.workspaces.push(post(&workspaces, slug, "id").await?);
        spare.upstreams.push(post(&inside("upstreams"), upstream.clone(), "id").await?);
        let host = host(&format!("spare-{number}.example.com"), files.clone());
        spare.virtual_hosts.push(post(&inside("virtual-hosts"), host, "id").await?);
        spare.agents.push(post(&tokens, agent.clone(), "agent_id").await?);
        let key = json!({"organization_id": organization, "name": "spare", "role": "viewer"});
        spare.api_keys.push(post("/api-keys", key, "id").await?);
        let login = json!({"email": ServerProcess::EMAIL, "password": ServerProcess::PASSWORD});
        spare.refresh_tokens.push(post("/auth/login", login, "refresh_token").await?);
    }
    spare.write(folder)?;
    write(folder, "emails", &[ServerProcess::EMAIL.to_owned()])?;
    write(folder, "passwords", &[ServerProcess::PASSWORD.to_owned()])?;
    Ok(token)
}

/// What may be removed.
#[derive(Default)]
struct Spare {
    organizations: Vec<String>,
    workspaces: Vec<String>,
    upstreams: Vec<String>,
    virtual_hosts: Vec<String>,
    agents: Vec<String>,
    api_keys: Vec<String>,
    refresh_tokens: Vec<String>,
}

impl Spare {
    fn write(&self, folder: &Path) -> Result<()> {
        write(folder, "spare-organizations", &self.organizations)?;
        write(folder, "spare-workspaces", &self.workspaces)?;
        write(folder, "spare-upstreams", &self.upstreams)?;
        write(folder, "spare-virtual-hosts", &self.virtual_hosts)?;
        write(folder, "spare-agents", &self.agents)?;
        write(folder, "spare-api-keys", &self.api_keys)?;
        write(folder, "refresh-tokens", &self.refresh_tokens)
    }
}

/// A dictionary: a value in quotes on each line.
fn write(folder: &Path, name: &str, values: &[String]) -> Result<()> {
    let lines: String = values.iter().map(|it| format!("{it:?}\n")).collect();
    fs::write(folder.join(format!("{name}.dict")), lines).context("cannot write a dictionary")
}
