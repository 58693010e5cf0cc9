use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, ensure};
use nxmesh_client::rendezvous::{RendezvousClient, Signaler};
use nxmesh_core::{rendezvous::Rendezvous, store::memory::MemoryRendezvous};
use tokio::{net::TcpListener, task::JoinSet};

use crate::pair::pair;

const TOPIC: &str = "check";
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Two who chat in this process, by a server in it.
pub(crate) async fn run() -> Result<()> {
    let rendezvous = Rendezvous::builder().store(MemoryRendezvous::new()).build()?;
    let listener = TcpListener::bind((HOST, 0)).await?;
    let server = format!("http://{}", listener.local_addr()?);
    let routes = nxmesh_server::rendezvous::offers(rendezvous.clone());
    let routes = routes.into_make_service_with_connect_info::<std::net::SocketAddr>();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, routes).await });

    let client = RendezvousClient::new(&server)?;
    let one = Signaler::new(&client, client.register().await?);
    let other = Signaler::new(&client, client.register().await?);
    let (mut here, mut there) =
        tokio::try_join!(pair(&one, TOPIC, HOST, None), pair(&other, TOPIC, HOST, None))?;
    let said = ["Is anybody there?", "There is. 你好 😀"];
    here.say(said[0]).await?;
    let heard = there.hear().await?.context("nothing came there")?;
    ensure!(heard == said[0], "there came {heard:?}");
    there.say(said[1]).await?;
    let answered = here.hear().await?.context("nothing came back")?;
    ensure!(answered == said[1], "back came {answered:?}");
    println!("exchanged {heard:?} and {answered:?} by a data channel");

    let (ended, rest) = tokio::join!(here.end(), there.hear());
    ended?;
    ensure!(rest?.is_none(), "more than was said");
    there.end().await?;
    one.shutdown().await;
    other.shutdown().await;
    rendezvous.shutdown().await;
    Ok(())
}
