use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use nxmesh_client::Client;
use nxmesh_core::{
    gateway::{
        Agent, AgentId, AgentState, NewLocation, NewRegistrationToken, NewUpstream, NewVirtualHost,
        UpstreamServer, VirtualHost,
    },
    tenancy::{NewOrganization, NewWorkspace, WorkspaceId},
};
use tempfile::TempDir;

use crate::{
    AgentProcess, Backend, Namespace, NginxBinary, ServerProcess, Surroundings, get,
    server::{Certificate, EMAIL, PASSWORD},
    wait_for,
};

/// How long anything here may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server, an agent with its nginx, a server behind, and a client that is logged in.
#[derive(Debug)]
pub struct TestMesh {
    /// The agent; dropped first, with its nginx.
    pub agent: AgentProcess,
    /// The server.
    pub server: ServerProcess,
    /// What answers behind nginx.
    pub backend: Backend,
    /// Logged in as the administrator.
    pub client: Client,
    /// The workspace that everything is in.
    pub workspace: WorkspaceId,
    /// Which agent it is.
    pub agent_id: AgentId,
    folder: TempDir,
}

impl TestMesh {
    /// Starts all of it, and waits until the agent is online.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn start(nginx: &NginxBinary) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = ServerProcess::start(&folder.path().join("server")).await?;
        let client = Client::new(server.http())?;
        Self::fill(folder, server, client, nginx, None).await
    }

    /// The same on a store that is named.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn start_on(nginx: &NginxBinary, store: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = ServerProcess::start_on(&folder.path().join("server"), store).await?;
        let client = Client::new(server.http())?;
        Self::fill(folder, server, client, nginx, None).await
    }

    /// The same with TLS between all.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn start_with_tls(nginx: &NginxBinary) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let certificate = Certificate::make(folder.path())?;
        let roots = certificate.chain.clone();
        let server =
            ServerProcess::start_with_tls(&folder.path().join("server"), certificate).await?;
        let client = Client::builder(server.http()).roots(std::fs::read(&roots)?).build()?;
        Self::fill(folder, server, client, nginx, Some(roots)).await
    }

    /// The same with the agent and its nginx in a namespace; the backend cannot be reached from
    /// there.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn start_in(namespace: &Namespace, nginx: &NginxBinary) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = folder.path().join("server");
        let server = ServerProcess::start_at_address(&at, namespace.near()).await?;
        let client = Client::new(server.http())?;
        let namespace = Some(namespace.name().to_owned());
        let inside = Surroundings { namespace, ..Surroundings::default() };
        Self::fill_with(folder, server, client, nginx, inside).await
    }

    /// The same around a server that runs, with the agent in these surroundings.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn start_around(
        folder: TempDir,
        server: ServerProcess,
        nginx: &NginxBinary,
        surroundings: Surroundings,
    ) -> Result<Self> {
        let client = Client::new(server.http())?;
        Self::fill_with(folder, server, client, nginx, surroundings).await
    }

    async fn fill(
        folder: TempDir,
        server: ServerProcess,
        client: Client,
        nginx: &NginxBinary,
        roots: Option<PathBuf>,
    ) -> Result<Self> {
        let surroundings = Surroundings { roots, ..Surroundings::default() };
        Self::fill_with(folder, server, client, nginx, surroundings).await
    }

    async fn fill_with(
        folder: TempDir,
        server: ServerProcess,
        client: Client,
        nginx: &NginxBinary,
        surroundings: Surroundings,
    ) -> Result<Self> {
        client.auth().login(EMAIL, PASSWORD).await?;
        let organization = NewOrganization { name: "Acme".into(), slug: "acme".into() };
        let organization = client.organizations().create(&organization).await?;
        let workspace =
            NewWorkspace { name: "Test".into(), slug: "test".into(), settings: Default::default() };
        let workspace = client.workspaces().create(organization.id, &workspace).await?.id;
        let token = NewRegistrationToken {
            name: "agent".into(),
            labels: Default::default(),
            expires_in_hours: 1,
        };
        let token = client.agents().create_token(workspace, &token).await?;
        let state = surroundings.state.clone().unwrap_or_else(|| folder.path().join("agent"));
        let agent = AgentProcess::start_within(
            &state,
            &surroundings.dials.clone().unwrap_or_else(|| server.grpc()),
            token.token.expose(),
            nginx,
            surroundings,
        )?;
        let backend = Backend::start("hello from the backend\n").await?;
        let agent_id = token.agent_id;
        let mesh = Self { agent, server, backend, client, workspace, agent_id, folder };
        mesh.wait_for_state(AgentState::Online).await?;
        Ok(mesh)
    }

    /// The agent as the API shows it.
    ///
    /// # Errors
    /// Those of the client.
    pub async fn shown(&self) -> Result<Agent> {
        Ok(self.client.agents().get(self.agent_id).await?)
    }

    /// Waits until the API shows the agent in this state.
    ///
    /// # Errors
    /// When that does not come.
    pub async fn wait_for_state(&self, state: AgentState) -> Result<Duration> {
        let what = format!("the agent to be {state:?}; see {}", self.folder.path().display());
        wait_for(&what, PATIENCE, || async { self.shown().await.is_ok_and(|it| it.state == state) })
            .await
    }

    /// A virtual host that proxies to the backend by address.
    #[must_use]
    pub fn host(&self, name: &str, port: u16) -> NewVirtualHost {
        let location = NewLocation {
            path: "/".into(),
            proxy_pass: Some(format!("http://{}", self.backend.address())),
            ..NewLocation::default()
        };
        NewVirtualHost {
            name: name.into(),
            server_name: name.into(),
            listen_port: port.into(),
            locations: vec![location],
            ..NewVirtualHost::default()
        }
    }

    /// Makes a virtual host, and waits until nginx answers for it.
    ///
    /// # Errors
    /// When it is refused, or does not come.
    pub async fn serve(&self, new: &NewVirtualHost) -> Result<VirtualHost> {
        let made = self.client.virtual_hosts().create(self.workspace, new).await?;
        let port = made.spec.listen_port;
        let name = made
            .spec
            .server_name
            .iter()
            .next()
            .map(|it| it.as_str().to_owned())
            .unwrap_or_default();
        let answers =
            || async { get(port, &name, "/").await.is_ok_and(|(status, _)| status == 200) };
        wait_for("the new virtual host", PATIENCE, answers).await?;
        Ok(made)
    }

    /// An upstream of the backend.
    #[must_use]
    pub fn upstream(&self, name: &str) -> NewUpstream {
        NewUpstream {
            name: name.into(),
            algorithm: Default::default(),
            servers: vec![UpstreamServer::at(self.backend.address())],
            health_check: None,
            keepalive_connections: 16,
        }
    }

    /// Where a test may put files.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}
