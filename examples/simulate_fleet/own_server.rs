use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::Result;
use nxmesh_core::{Mesh, Secret, store::memory::MemoryStore};
use nxmesh_server::HttpSettings;
use tokio::{net::TcpListener, task::JoinSet};
use tonic::transport::server::TcpIncoming;

/// Its administrator.
pub(crate) const EMAIL: &str = "admin@localhost";
const HEARTBEAT: Duration = Duration::from_secs(1);

/// A control plane in this process, which keeps everything in memory.
pub(crate) struct OwnServer {
    pub(crate) mesh: Mesh,
    pub(crate) http: String,
    pub(crate) grpc: String,
    pub(crate) password: String,
    _tasks: JoinSet<()>,
}

impl OwnServer {
    pub(crate) async fn start() -> Result<Self> {
        let mesh = Mesh::builder().store(MemoryStore::new()).heartbeat_interval(HEARTBEAT);
        let mesh = mesh.build().await?;
        let password = Secret::random_password();
        mesh.tenancy().users().create(EMAIL, password.clone()).await?;
        // A fleet is more than a caller usually asks for.
        let mut settings = HttpSettings::default();
        settings.requests_per_minute = None;
        let app = nxmesh_server::http_with(mesh.clone(), &settings);
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let agents = tonic::transport::Server::builder().add_service(nxmesh_server::grpc(&mesh));
        let (http, grpc) = (listen().await?, listen().await?);
        let (at_http, at_grpc) = (http.local_addr()?, grpc.local_addr()?);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // It ends with this program, and so does the other one.
            let _ = axum::serve(http, app).await;
        });
        tasks.spawn(async move {
            let _ = agents.serve_with_incoming(TcpIncoming::from(grpc)).await;
        });
        Ok(Self {
            mesh,
            http: format!("http://{at_http}"),
            grpc: format!("http://{at_grpc}"),
            password: password.expose().clone(),
            _tasks: tasks,
        })
    }
}

async fn listen() -> Result<TcpListener> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?)
}
