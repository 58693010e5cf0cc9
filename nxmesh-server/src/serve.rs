//! Opens everything, serves, and closes in order.

use std::{
    fs, net::SocketAddr, num::NonZeroU32, os::unix::fs::DirBuilderExt, path::Path, sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use axum::{Router, serve::ListenerExt};
use futures::{FutureExt, TryFutureExt, future::BoxFuture};
use nxmesh_core::{
    Mesh, Retention, Secret, rendezvous::RendezvousStore, store::Stores, tenancy::Users,
};
use nxmesh_server::{HttpSettings, grpc, http_with, rendezvous::all};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::SignalKind,
};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;

use crate::{
    secrets::master_key,
    settings::{Settings, StoreUrl},
    signaling::Signaling,
    tls::Tls,
};

/// How long requests may take to finish when the server is told to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// How often an idle connection of an agent is probed.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A server that can begin to serve: nothing can fail any more.
pub(crate) struct Server {
    mesh: Mesh,
    http: TcpListener,
    grpc: TcpListener,
    tls: Option<Tls>,
    settings: HttpSettings,
    signaling: Signaling,
}

/// Gets everything ready, or nothing: a port is taken before a file is touched.
pub(crate) async fn prepare(
    settings: Settings,
    open: impl AsyncFnOnce(StoreUrl, &Settings) -> Result<Stores>,
    open_rendezvous: impl AsyncFnOnce(StoreUrl, &Settings) -> Result<Arc<dyn RendezvousStore>>,
) -> Result<Server> {
    check_exposure(&settings)?;
    let tls = settings.tls_cert.as_deref().zip(settings.tls_key.as_deref());
    let tls = tls.map(|(certificate, key)| Tls::read(certificate, key)).transpose()?;
    let http = bind("--http", settings.http).await?;
    let grpc = bind("--grpc", settings.grpc).await?;
    let root = match settings.rendezvous.rendezvous_http {
        Some(address) => Some(bind("--rendezvous-http", address).await?),
        None => None,
    };
    let folder = &settings.data_dir;
    make_folder(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let master_key = master_key(settings.master_key.as_deref(), &folder.join("master.key"))?;
    let store = settings.store.clone();
    let store = store.unwrap_or_else(|| StoreUrl::Sqlite(folder.join("nxmesh.db")));
    let mut retention = Retention::default();
    retention.events = settings.keep_events;
    retention.audit_days = settings.keep_audit_days;
    retention.revisions = settings.keep_revisions;
    let (for_rendezvous, key) = (store.clone(), master_key.clone());
    let mesh = Mesh::builder()
        .store(open(store, &settings).await?)
        .master_key(master_key)
        .heartbeat_interval(Duration::from_secs(settings.heartbeat_seconds))
        .retention(retention)
        .build()
        .await?;
    let of_rendezvous = match for_rendezvous {
        StoreUrl::Sqlite(_) => StoreUrl::Sqlite(folder.join("rendezvous.db")),
        postgres @ StoreUrl::Postgres(_) => postgres,
    };
    let rendezvous_store = open_rendezvous(of_rendezvous, &settings).await?;
    let signaling = Signaling::prepare(&settings, rendezvous_store, key, root)?;
    make_administrator(&mesh.tenancy().users(), &settings.admin_email, settings.admin_password)
        .await?;
    let mut served = HttpSettings::default();
    served.requests_per_minute = NonZeroU32::new(settings.requests_per_minute);
    served.logins_per_minute = NonZeroU32::new(settings.logins_per_minute);
    served.allowed_origins = settings.allowed_origins;
    served.more_figures = vec![signaling.figures()];
    Ok(Server { mesh, http, grpc, tls, settings: served, signaling })
}

impl Server {
    pub(crate) async fn run(self) -> Result<()> {
        let Self { mesh, http: http_listener, grpc: grpc_listener, tls, settings, signaling } =
            self;
        println!("http listening on {}", http_listener.local_addr()?);
        println!("grpc listening on {}", grpc_listener.local_addr()?);
        let stop = CancellationToken::new();
        let Signaling { rendezvous, http: served, root } = signaling;
        if let Some((listener, _)) = &root {
            println!("rendezvous listening on {}", listener.local_addr()?);
        }
        let routes = http_with(mesh.clone(), &settings).merge(all(&rendezvous, &served));
        let http = serve_http(http_listener, routes, tls.as_ref(), stop.clone());
        let root =
            root.map(|(listener, routes)| serve_http(listener, routes, tls.as_ref(), stop.clone()));
        let root = root.unwrap_or_else(|| stop.clone().cancelled_owned().map(Ok).boxed());
        let mut agents = tonic::transport::Server::builder()
            .tcp_nodelay(true)
            .http2_keepalive_interval(Some(KEEP_ALIVE));
        if let Some(tls) = &tls {
            agents = agents.tls_config(tls.for_grpc())?;
        }
        let agents = agents.add_service(grpc(&mesh)).serve_with_incoming_shutdown(
            TcpListenerStream::new(grpc_listener),
            stop.clone().cancelled_owned(),
        );
        let serve = async { tokio::try_join!(http, root, agents.map_err(anyhow::Error::from)) };
        tokio::pin!(serve);
        tokio::select! {
            ended = &mut serve => { ended?; }
            told = told_to_stop() => {
                told?;
                tracing::info!("stopping");
                stop.cancel();
                // Streams of agents end with their sessions, and requests by themselves.
                mesh.shutdown().await;
                rendezvous.shutdown().await;
                if tokio::time::timeout(DRAIN, serve).await.is_err() {
                    tracing::warn!("some requests did not finish in time");
                }
            }
        }
        Ok(())
    }
}

/// Serves routes until told to stop, and then what is under way.
fn serve_http(
    listener: TcpListener,
    routes: Router,
    tls: Option<&Tls>,
    stop: CancellationToken,
) -> BoxFuture<'static, Result<()>> {
    let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
    let stopped = stop.cancelled_owned();
    let at_once = |stream: &mut TcpStream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::trace!(%error, "cannot have answers sent at once");
        }
    };
    match tls {
        Some(tls) => axum::serve(
            tls.listen(listener).tap_io(move |stream| at_once(stream.get_mut().0)),
            routes,
        )
        .with_graceful_shutdown(stopped)
        .into_future()
        .map_err(anyhow::Error::from)
        .boxed(),
        None => axum::serve(listener.tap_io(at_once), routes)
            .with_graceful_shutdown(stopped)
            .into_future()
            .map_err(anyhow::Error::from)
            .boxed(),
    }
}

async fn told_to_stop() -> Result<()> {
    let mut terminate = tokio::signal::unix::signal(SignalKind::terminate())?;
    let mut interrupt = tokio::signal::unix::signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn check_exposure(settings: &Settings) -> Result<()> {
    let always = [("--http", settings.http), ("--grpc", settings.grpc)];
    let root = settings.rendezvous.rendezvous_http.map(|it| ("--rendezvous-http", it));
    for (flag, address) in always.into_iter().chain(root) {
        let plain = settings.tls_cert.is_none() && !settings.insecure;
        if plain && !address.ip().is_loopback() {
            bail!(
                "{flag} {address} is plain text beyond loopback: pass --tls-cert and --tls-key, or --insecure"
            );
        }
    }
    Ok(())
}

async fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {flag} {address}"))
}

fn make_folder(folder: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

async fn make_administrator(users: &Users, email: &str, password: Option<String>) -> Result<()> {
    let given = password.is_some();
    let password = password.map_or_else(Secret::random_password, Secret::new);
    let made = users.create_first(email, password.clone()).await.context("the administrator")?;
    if made.is_some() && !given {
        println!("administrator {email} with password {}", password.expose());
    }
    Ok(())
}
