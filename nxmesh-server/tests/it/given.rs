//! A server in this process, and callers of it.

use nxmesh_client::Client;
use nxmesh_core::{
    Mesh, Retention,
    gateway::{NewLocation, NewUpstream, NewVirtualHost, UpstreamServer},
    store::{Stores, memory::MemoryStore, sqlite::SqliteStore},
    tenancy::{MasterKey, NewOrganization, NewWorkspace, Organization, Workspace},
};
use nxmesh_server::HttpSettings;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet};

pub(crate) const EMAIL: &str = "me@example.com";
pub(crate) const PASSWORD: &str = "correct horse";

/// A server on a free port, which ends with this.
pub(crate) struct Given {
    pub(crate) mesh: Mesh,
    pub(crate) client: Client,
    pub(crate) base: String,
    http: reqwest::Client,
    _server: JoinSet<()>,
    pub(crate) folder: Option<TempDir>,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default()
    }

    /// Status, code, and the fields that are named.
    pub(crate) fn refusal(&self) -> (u16, &str, Vec<&str>) {
        let error = &self.body["error"];
        let details = error["details"].as_array().map(Vec::as_slice).unwrap_or_default();
        let fields = details.iter().filter_map(|it| it["field"].as_str()).collect();
        (self.status.as_u16(), error["code"].as_str().unwrap_or_default(), fields)
    }
}

/// A server on a store in memory, and a client that is logged in.
pub(crate) async fn server() -> Given {
    given(MemoryStore::new(), None).await
}

/// The same with settings of its own.
pub(crate) async fn server_with(settings: HttpSettings) -> Given {
    given_with(MemoryStore::new(), None, settings).await
}

/// The same on SQLite.
pub(crate) async fn server_on_sqlite() -> Given {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("mesh.db")).await.unwrap();
    given(store, Some(folder)).await
}

async fn given(store: impl Into<Stores>, folder: Option<TempDir>) -> Given {
    given_with(store, folder, HttpSettings::default()).await
}

async fn given_with(
    store: impl Into<Stores>,
    folder: Option<TempDir>,
    settings: HttpSettings,
) -> Given {
    // The many changes of a fuzz are not to lose the revision that it goes back to.
    let mut retention = Retention::default();
    retention.revisions = 0;
    let mesh = Mesh::builder().store(store).master_key(MasterKey::generate()).retention(retention);
    served(mesh.build().await.unwrap(), folder, settings).await
}

/// A server of this control plane, which has nobody in it yet.
pub(crate) async fn served(mesh: Mesh, folder: Option<TempDir>, settings: HttpSettings) -> Given {
    mesh.tenancy().users().create(EMAIL, PASSWORD.to_owned().into()).await.unwrap();
    mesh.tenancy()
        .users()
        .create("stranger@example.com", PASSWORD.to_owned().into())
        .await
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let routes = nxmesh_server::http_with(mesh.clone(), &settings);
    let routes = routes.into_make_service_with_connect_info::<std::net::SocketAddr>();
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let client = Client::new(&base).unwrap();
    client.auth().login(EMAIL, PASSWORD).await.unwrap();
    let http = reqwest::Client::builder().build().unwrap();
    Given { mesh, client, base, http, _server: server, folder }
}

impl Given {
    /// Sends a request as the user who is logged in.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.send_with(method, path, &[], body.map(|it| it.to_string())).await
    }

    pub(crate) async fn send_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Answer {
        let token = self.client.auth().access_token().unwrap();
        let mut request =
            self.http.request(method, format!("{}{path}", self.base)).bearer_auth(token.expose());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        answer(request).await
    }

    /// Sends a request as whoever has this token, or as nobody.
    pub(crate) async fn send_as(
        &self,
        method: &Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> Answer {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        answer(request).await
    }

    /// Sends a request as nobody.
    pub(crate) async fn send_bare(
        &self,
        method: Method,
        path: &str,
        authorization: Option<&str>,
    ) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        answer(request).await
    }

    /// A client of somebody who belongs to nothing.
    pub(crate) async fn stranger(&self) -> Client {
        let client = Client::new(&self.base).unwrap();
        client.auth().login("stranger@example.com", PASSWORD).await.unwrap();
        client
    }

    pub(crate) async fn organization(&self) -> Organization {
        let new = NewOrganization { name: "Acme Corp".into(), slug: "acme-corp".into() };
        self.client.organizations().create(&new).await.unwrap()
    }

    pub(crate) async fn workspace(&self) -> Workspace {
        let new = NewWorkspace {
            name: "Production".into(),
            slug: "production".into(),
            settings: Default::default(),
        };
        self.client.workspaces().create(self.organization().await.id, &new).await.unwrap()
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.clone()));
    Answer { status, headers, body, text }
}

pub(crate) fn upstream(name: &str) -> NewUpstream {
    NewUpstream {
        name: name.into(),
        algorithm: Default::default(),
        servers: vec![UpstreamServer::at("10.0.1.20:8080")],
        health_check: None,
        keepalive_connections: 32,
    }
}

pub(crate) fn host(server_name: &str, port: u32) -> NewVirtualHost {
    let location =
        NewLocation { path: "/".into(), root: Some("/srv".into()), ..NewLocation::default() };
    NewVirtualHost {
        name: server_name.into(),
        server_name: server_name.into(),
        listen_port: port,
        locations: vec![location],
        ..NewVirtualHost::default()
    }
}
