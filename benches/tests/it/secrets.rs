//! What is secret is handed to whom it is for, once, and stands nowhere else.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use nxmesh_benches::{AgentProcess, MASTER_KEY, NginxBinary, ServerProcess, wait_for};
use nxmesh_client::{Client, Watch};
use nxmesh_core::{
    Mesh, Secret,
    gateway::link::{Registration, RegistrationAnswer},
    store::{Stores, memory::MemoryStore, sqlite::SqliteStore},
    tenancy::{MasterKey, PasswordHash, SigningKey},
};
use reqwest::Method;
use serde_json::{Value, json};

/// What is known to be there, so that a search which finds nothing is seen.
const MARK: &str = "marked-to-be-found";
const EMAIL: &str = ServerProcess::EMAIL;
const PASSWORD: &str = ServerProcess::PASSWORD;
const NEW_PASSWORD: &str = "another-Horse-Battery-5521";
const WRONG_PASSWORD: &str = "wrong-Horse-Battery-7719";
const ENV_VALUE: &str = "env-Value-90125";
const HEADER_VALUE: &str = "Basic aGVhZGVyLXZhbHVlLTMzMTI6";
const URL_PASSWORD: &str = "url-Password-4410";

/// Everything that was said, by where.
#[derive(Default)]
struct Said(Vec<(String, Vec<u8>)>);

impl Said {
    fn add(&mut self, place: impl Into<String>, text: impl Into<Vec<u8>>) {
        self.0.push((place.into(), text.into()));
    }

    /// Where this stands.
    fn finds(&self, text: &str) -> Vec<&str> {
        let has = |said: &[u8]| said.windows(text.len()).any(|it| it == text.as_bytes());
        self.0.iter().filter(|(_, said)| has(said)).map(|(place, _)| place.as_str()).collect()
    }
}

/// Calls a server, and keeps all that it says.
struct Caller {
    http: reqwest::Client,
    server: String,
    token: String,
    said: Said,
}

impl Caller {
    async fn call(&mut self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        self.call_for(method, path, body, &[]).await
    }

    /// The same, for what is meant to hand out these fields.
    async fn call_for(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Value>,
        handed_out: &[&str],
    ) -> Result<Value> {
        let place = format!("answer of {method} {}", path.split('?').next().unwrap_or_default());
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.server));
        if method == Method::POST {
            // What is kept to be answered again must not be readable.
            request = request.header("idempotency-key", format!("key-{}", self.said.0.len()));
        }
        request = request.bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await?;
        let head = format!("{} {:?}", answer.status(), answer.headers());
        let text = answer.text().await?;
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        let secrets = handed_out.iter().filter_map(|it| value[it].as_str());
        let rest = secrets.fold(text, |text, secret| text.replace(secret, ""));
        self.said.add(place, format!("{head}\n{rest}"));
        Ok(value)
    }
}

fn text(value: &Value, field: &str) -> Result<String> {
    Ok(value[field].as_str().with_context(|| format!("{value} has no {field}"))?.to_owned())
}

/// The private key that tokens are signed with, from the store, in lines that only it has.
async fn signing_key(folder: &Path) -> Result<Vec<String>> {
    let stores: Stores = SqliteStore::open(folder.join("nxmesh.db")).await?.into();
    let stored = stores.tenancy.signing_key().await?.context("there is no signing key")?;
    let master = MasterKey::parse(MASTER_KEY)?;
    let key = SigningKey::open(&stored, &master)?;
    ensure!(!format!("{key:?}").contains("PRIVATE KEY"), "Debug shows the signing key");
    let pem = master.open("signing key", &stored.sealed)?;
    let pem = String::from_utf8(pem.expose().clone())?;
    ensure!(pem.contains("PRIVATE KEY"), "that is no key");
    // The first lines are the modulus, which is public.
    let lines: Vec<_> = pem.lines().map(str::to_owned).collect();
    Ok(lines[lines.len() / 2..lines.len() - 2].to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_stand_nowhere_but_where_they_are_handed_out() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("server");
    let mut server = ServerProcess::start_with(&data, &["--log", "trace"]).await?;
    // The client brings what TLS is made with.
    let _ = Client::new(server.http())?;
    let http = reqwest::Client::builder().build()?;
    let mut caller =
        Caller { http, server: server.http(), token: String::new(), said: Said::default() };
    // Each with what it is; those that stand in configurations are shown to whoever may read them.
    let mut secret: Vec<(&str, String)> = Vec::new();
    let shown_in_answers = [("env_vars", ENV_VALUE), ("Authorization", HEADER_VALUE)];

    // Logging in, every way there is.
    let tokens = ["access_token", "refresh_token"];
    let login = |password: &str| Some(json!({"email": EMAIL, "password": password}));
    caller.call(Method::POST, "/v1/auth/login", login(WRONG_PASSWORD)).await?;
    let answer = caller.call_for(Method::POST, "/v1/auth/login", login(PASSWORD), &tokens).await?;
    caller.token = text(&answer, "access_token")?;
    secret.extend([("access token", caller.token.clone())]);
    let refresh = text(&answer, "refresh_token")?;
    secret.push(("refresh token", refresh.clone()));
    let body = Some(json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD}));
    caller.call(Method::POST, "/v1/auth/password", body).await?;
    let answer =
        caller.call_for(Method::POST, "/v1/auth/login", login(NEW_PASSWORD), &tokens).await?;
    caller.token = text(&answer, "access_token")?;
    secret.push(("second access token", caller.token.clone()));
    let mut refresh_token = text(&answer, "refresh_token")?;
    for _ in 0..2 {
        secret.push(("refresh token", refresh_token.clone()));
        let body = Some(json!({"refresh_token": refresh_token}));
        let answer = caller.call_for(Method::POST, "/v1/auth/refresh", body, &tokens).await?;
        refresh_token = text(&answer, "refresh_token")?;
        secret.push(("refreshed access token", text(&answer, "access_token")?));
    }
    // One that was used already.
    caller.call(Method::POST, "/v1/auth/refresh", Some(json!({"refresh_token": refresh}))).await?;

    // Objects with secrets in them.
    let body = Some(json!({"name": MARK, "slug": "acme"}));
    let organization = text(&caller.call(Method::POST, "/v1/organizations", body).await?, "id")?;
    let client = Client::builder(server.http()).access_token(caller.token.clone()).build()?;
    let mut events = client.events().watch(Watch::default()).await?;
    let path = format!("/v1/organizations/{organization}/workspaces");
    let settings = json!({"env_vars": {"DATABASE": ENV_VALUE}});
    let body = Some(json!({"name": MARK, "slug": "test", "settings": settings}));
    let workspace = text(&caller.call(Method::POST, &path, body).await?, "id")?;
    let workspace = format!("/v1/workspaces/{workspace}");
    let body = Some(json!({"organization_id": organization, "name": MARK, "role": "viewer"}));
    let key = caller.call_for(Method::POST, "/v1/api-keys", body, &["key"]).await?;
    let key = text(&key, "key")?;
    secret.push(("API key", key.clone()));
    let path = format!("{workspace}/agents/tokens");
    let body = Some(json!({"name": MARK, "labels": {"env": "prod"}}));
    let made = caller.call_for(Method::POST, &path, body, &["token"]).await?;
    let (token, agent_id) = (text(&made, "token")?, text(&made, "agent_id")?);
    secret.push(("registration token", token.clone()));
    let header = json!({"name": "Authorization", "value": HEADER_VALUE});
    let location =
        json!({"path": "/", "proxy_pass": "http://127.0.0.1:9", "custom_headers": [header]});
    let host = json!({
        "name": MARK, "server_name": "a.example", "listen_port": nxmesh_benches::free_port(),
        "locations": [location],
    });
    let hosts = format!("{workspace}/virtual-hosts");
    let made = caller.call(Method::POST, &hosts, Some(host.clone())).await?;
    let host_path = format!("/v1/virtual-hosts/{}", text(&made, "id")?);
    // Whoever logs in to a server behind is refused, and not repeated.
    let mut bad = host.clone();
    bad["locations"][0]["proxy_pass"] = format!("http://me:{URL_PASSWORD}@127.0.0.1:9").into();
    let refused = caller.call(Method::POST, &hosts, Some(bad)).await?;
    ensure!(refused["error"]["details"][0]["field"] == "locations[0].proxy_pass", "{refused}");

    // An agent that runs all of it.
    let state = folder.path().join("agent");
    let nginx = NginxBinary::packaged()?;
    let agent = AgentProcess::start(&state, &server.grpc(), &token, &nginx)?;
    let credential = state.join("credential");
    wait_for("the credential", Duration::from_secs(30), || async { credential.is_file() }).await?;
    secret.push(("credential", fs::read_to_string(&credential)?.trim().to_owned()));
    let online = || async {
        let shown = client.agents().get(agent_id.parse().unwrap_or_else(|_| unreachable!())).await;
        shown.is_ok_and(|it| it.health.is_some())
    };
    wait_for("the agent", Duration::from_secs(30), online).await?;

    // Writes that leave traces, and everything that can be read.
    caller.call(Method::PATCH, &host_path, Some(json!({"name": "renamed"}))).await?;
    let other = json!({"settings": {"env_vars": {"DATABASE": null, "OTHER": ENV_VALUE}}});
    caller.call(Method::PATCH, &workspace, Some(other)).await?;
    let with_key = std::mem::replace(&mut caller.token, key.clone());
    caller.call(Method::GET, "/v1/organizations", None).await?;
    caller.token = format!("{key}x");
    caller.call(Method::GET, "/v1/organizations", None).await?;
    caller.token = with_key;
    for path in [
        "/v1/organizations".to_owned(),
        format!("/v1/organizations/{organization}/members"),
        format!("/v1/api-keys?organization_id={organization}"),
        workspace.clone(),
        hosts.clone(),
        host_path.clone(),
        format!("{workspace}/agents"),
        format!("/v1/agents/{agent_id}"),
        format!("/v1/agents/{agent_id}/config"),
        format!("{workspace}/revisions"),
        format!("{workspace}/revisions/1/diff/3"),
        "/.well-known/jwks.json".to_owned(),
        "/v1/nothing".to_owned(),
    ] {
        caller.call(Method::GET, &path, None).await?;
    }
    // Browsers name the token in the address of the events.
    let address = format!("/v1/events?token={}", caller.token);
    caller.call(Method::GET, &address, None).await?;
    let audit = format!("/v1/organizations/{organization}/audit-log?per_page=100");
    let audit = caller.call(Method::GET, &audit, None).await?.to_string();
    ensure!(caller.said.finds(MARK).len() > 5, "answers have what they should have");
    let answers = std::mem::take(&mut caller.said);

    // What else is said, all of it.
    let mut said = Said::default();
    said.add("audit log", audit);
    let mut heard = 0;
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(2), events.next()).await {
        said.add("event", format!("{:?}", event?));
        heard += 1;
    }
    ensure!(heard > 3, "{heard} events");
    drop((events, agent));
    server.process().terminate().await?;
    said.add("server's output", server.process().rest().await?.join("\n"));
    said.add("server's log", fs::read(data.join("server.log"))?);
    said.add("agent's log", fs::read(state.join("agent.log"))?);

    // A search that finds nothing says something only where there is something.
    let marked = said.finds(MARK);
    ensure!(marked.contains(&"audit log") && marked.contains(&"event"), "{marked:?}");
    ensure!(said.finds(&organization).contains(&"audit log"));
    for line in ["TRACE", "h2::codec", agent_id.as_str()] {
        ensure!(said.finds(line).contains(&"server's log"), "{line} is not in the log");
    }

    let mut stored = Said::default();
    for file in fs::read_dir(&data)? {
        let path = file?.path();
        if path.is_file() && !path.ends_with("server.log") {
            stored.add(path.display().to_string(), fs::read(&path)?);
        }
    }
    // Configurations stand in the store as they are.
    for known in [MARK, EMAIL, ENV_VALUE, HEADER_VALUE] {
        ensure!(!stored.finds(known).is_empty(), "{known} is not in the store");
    }

    for line in signing_key(&data).await? {
        secret.push(("signing key", line));
    }
    secret.extend([("password", PASSWORD), ("password", NEW_PASSWORD)].map(|(a, b)| (a, b.into())));
    secret.extend(
        [("password", WRONG_PASSWORD), ("password", URL_PASSWORD)].map(|(a, b)| (a, b.into())),
    );
    secret.push(("master key", MASTER_KEY.to_owned()));
    let mut wrong = Vec::new();
    for (what, text) in &secret {
        ensure!(text.len() > 12, "{what} is too short to be looked for");
        for (sort, said) in [("answers", &answers), ("said", &said), ("stored", &stored)] {
            wrong.extend(said.finds(text).into_iter().map(|it| format!("{what} in {it} ({sort})")));
        }
    }
    for (what, text) in shown_in_answers {
        ensure!(!answers.finds(text).is_empty(), "{what} is shown to whoever may read it");
        wrong.extend(said.finds(text).into_iter().map(|it| format!("{what} in {it}")));
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

#[tokio::test]
async fn what_holds_a_secret_does_not_show_it_to_debuggers() -> Result<()> {
    let text = "a-Secret-to-be-looked-for";
    let secret = || Secret::new(text.to_owned());
    let registration = Registration {
        token: secret(),
        hostname: MARK.into(),
        ip_address: String::new(),
        version: String::new(),
        capabilities: Vec::new(),
        labels: Default::default(),
        deployment_mode: Default::default(),
        config_checksum: String::new(),
        config_version: Default::default(),
        nginx_version: String::new(),
    };
    let accepted = RegistrationAnswer::Accepted {
        agent_id: nxmesh_core::Id::from_uuid(Default::default()),
        heartbeat_interval: Duration::from_secs(1),
        credential: Some(secret()),
    };
    let master = MasterKey::parse(MASTER_KEY)?;
    let builder = Mesh::builder().store(MemoryStore::new()).master_key(master.clone());
    let mut shown = vec![
        format!("{:?} {registration:?} {accepted:?} {master:?} {builder:?}", secret()),
        format!("{:?}", PasswordHash::from_stored(text)),
        format!("{:?}", Client::builder("http://127.0.0.1:1").access_token(text)),
        format!("{:?}", Client::builder("http://127.0.0.1:1").api_key(text).build()?),
    ];
    let mesh = builder.build().await?;
    mesh.tenancy().users().create("a@example.com", secret()).await?;
    let tokens = mesh.tenancy().auth().login("a@example.com", secret()).await?;
    shown.push(format!("{tokens:?} {mesh:?}"));
    let shown = shown.join("\n");
    // What is no secret is seen, and so would be one.
    assert!(shown.contains(MARK), "{shown}");
    let key = master.to_text();
    for secret in [&tokens.access_token, &tokens.refresh_token, &secret(), &key] {
        assert!(!shown.contains(secret.expose().as_str()), "{shown}");
    }
    Ok(())
}
