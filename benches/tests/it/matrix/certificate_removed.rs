//! Somebody removes the file of a certificate that nginx loads.

use std::{collections::BTreeSet, fs, net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use futures::StreamExt;
use nxmesh_benches::{Point, ServerProcess, Surroundings, free_port, get, wait_for};
use nxmesh_core::{
    Id, Secret,
    gateway::{
        Certificate, ConfigUpdate, NewVirtualHost, Projection,
        link::{Connector, HealthReport, LinkHost, ServerLink, ServerMessage},
    },
    transport::grpc::{GrpcConnector, agent_service},
};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use uuid::Uuid;

use super::cell::{Cell, Fault, PATIENCE};

const NAME: &str = "secure.example";

struct CertificateRemoved {
    port: u16,
    _relay: JoinSet<()>,
}

at_each_moment!(CertificateRemoved);

/// Stands between agent and server, and adds a virtual host with a certificate to all that the
/// server sends: the server has none to send yet.
#[derive(Debug)]
struct Relay {
    server: GrpcConnector,
    certificate: Arc<Certificate>,
    port: u16,
    tasks: nxmesh_core::Tasks,
}

#[async_trait]
impl LinkHost for Relay {
    fn attach(&self, agent: ServerLink) {
        let (server, certificate, port) =
            (self.server.clone(), Arc::clone(&self.certificate), self.port);
        self.tasks.spawn(async move {
            let Ok(mut server) = server.connect().await else { return };
            let ServerLink { mut incoming, outgoing, .. } = agent;
            loop {
                let passed = tokio::select! {
                    Some(Ok(said)) = incoming.next() => server.outgoing.send(said).await.is_ok(),
                    Some(said) = server.incoming.next() => {
                        let said = said.map(|it| with_certificate(it, &certificate, port));
                        outgoing.send(said).await.is_ok()
                    }
                    else => false,
                };
                if !passed {
                    return;
                }
            }
        });
    }

    async fn report_health(&self, _: &str, _: &HealthReport) -> nxmesh_core::Result<()> {
        Ok(())
    }
}

fn with_certificate(
    message: ServerMessage,
    certificate: &Arc<Certificate>,
    port: u16,
) -> ServerMessage {
    let ServerMessage::Config(update) = message else { return message };
    let mut projection = Projection::clone(&update.projection);
    let Some(version) = projection.virtual_hosts.values().find_map(|it| {
        let header = it.locations[0].custom_headers.first()?;
        Some(header.value.as_str().to_owned())
    }) else {
        return ServerMessage::Config(update);
    };
    let id = Uuid::from_u128(1);
    let headers = json!([{"name": "X-Version", "value": version}]);
    let host: NewVirtualHost = serde_json::from_value(json!({
        "name": NAME, "server_name": NAME, "listen_port": port,
        "ssl_enabled": true, "ssl_certificate_id": id,
        "locations": [{"path": "/", "root": "/nonexistent", "custom_headers": headers}],
    }))
    .expect("a virtual host");
    let (host, _) = host.parse().expect("a virtual host that is right");
    projection.virtual_hosts.insert(Id::from_uuid(id), Arc::new(host));
    projection.certificates.insert(Id::from_uuid(id), Arc::clone(certificate));
    let projection = Arc::new(projection);
    ServerMessage::Config(Arc::new(ConfigUpdate { projection, ..ConfigUpdate::clone(&update) }))
}

impl CertificateRemoved {
    async fn relay(server: &str) -> Result<(Self, SocketAddr)> {
        let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()])?;
        let certificate = Certificate {
            domain: NAME.to_owned(),
            certificate_pem: made.cert.pem(),
            private_key_pem: Secret::new(made.signing_key.serialize_pem()),
            expires_at: 0,
        };
        let (port, server) = (free_port(), GrpcConnector::new(server)?);
        let certificate = Arc::new(certificate);
        let relay = Relay { server, certificate, port, tasks: nxmesh_core::Tasks::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let serve = Server::builder().add_service(agent_service(relay));
        let mut task = JoinSet::new();
        task.spawn(async move {
            // It ends with this.
            let _ = serve.serve_with_incoming(TcpListenerStream::new(listener)).await;
        });
        Ok((Self { port, _relay: task }, address))
    }

    /// Whether it is served over TLS: who speaks plain text there is told so.
    async fn is_served(&self) -> bool {
        get(self.port, NAME, "/").await.is_ok_and(|(status, _)| status == 400)
    }
}

fn remove_certificate(configuration: &Path) -> Result<()> {
    let files = fs::read_dir(configuration.join("certificates"))?.flatten().map(|it| it.path());
    let mut files = files.filter(|it| it.extension().is_some_and(|it| it == "crt"));
    Ok(fs::remove_file(files.next().context("there is no certificate")?)?)
}

impl Fault for CertificateRemoved {
    async fn prepare() -> Result<(Self, Cell)> {
        let folder = tempfile::tempdir()?;
        let server = ServerProcess::start(&folder.path().join("server")).await?;
        let (it, dials) = Self::relay(&server.grpc()).await?;
        let dials = Some(format!("http://{dials}"));
        let surroundings = Surroundings { dials, ..Surroundings::default() };
        let cell = Cell::start_around(folder, server, surroundings).await?;
        ensure!(it.is_served().await, "the virtual host with a certificate is not served");
        Ok((it, cell))
    }

    async fn change(&mut self, cell: &Cell, _: Point) -> Result<()> {
        cell.change().await
    }

    async fn come(&mut self, cell: &mut Cell, at: Point) -> Result<()> {
        let mut folders = BTreeSet::from([cell.current()?]);
        if at != Point::Before {
            folders.insert(cell.newest()?);
        }
        folders.iter().try_for_each(|it| remove_certificate(it))
    }

    /// Nobody has to put it back: the agent has it, and writes it anew.
    async fn last(&mut self, cell: &mut Cell, _: Point) -> Result<()> {
        cell.tells_the_truth().await
    }

    async fn go(&mut self, _: &mut Cell) -> Result<()> {
        Ok(())
    }

    async fn after(&mut self, cell: &Cell) -> Result<()> {
        wait_for("TLS", PATIENCE, || self.is_served()).await?;
        let files = fs::read_dir(cell.current()?.join("certificates"))?.count();
        ensure!(files == 2, "certificate and key are {files} files");
        Ok(())
    }
}
