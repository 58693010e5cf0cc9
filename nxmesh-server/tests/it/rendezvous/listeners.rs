//! How many may listen.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{
    given::{Given, On, Peer, Setup, offers_frozen},
    listener::{BOTH, By, Listener},
};

async fn listen(by: By, given: &Given, peer: &Peer) -> Result<Listener, String> {
    let bearer = format!("Bearer {}", peer.credential);
    let opened = Listener::try_open(by, given, "/events", &[("authorization", &bearer)]).await;
    opened.map_err(|refused| {
        assert_eq!(refused.headers["retry-after"], "1");
        format!("{} {}", refused.status, refused.body["error"].as_str().unwrap())
    })
}

/// Once there is room again, which is a moment after somebody went.
async fn listen_at_last(by: By, given: &Given, peer: &Peer) -> Listener {
    let trying = async {
        loop {
            match listen(by, given, peer).await {
                Ok(listener) => return listener,
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    };
    timeout(Duration::from_secs(30), trying).await.expect("there is never room again")
}

#[tokio::test]
async fn a_peer_has_sixteen_listeners_at_most() {
    let (given, _) = offers_frozen(On::Memory).await;
    for by in BOTH {
        let (peer, other) = (given.peer().await, given.peer().await);
        let mut listeners = Vec::new();
        for _ in 0..16 {
            listeners.push(listen(by, &given, &peer).await.unwrap());
        }
        let refused = listen(by, &given, &peer).await.err().unwrap();
        assert_eq!(refused, "503 Too many listeners. Maximum 16 per peer");
        listen(by, &given, &other).await.unwrap();
        listeners.pop();
        let mut last = listen_at_last(by, &given, &peer).await;
        let id = given.offer(&peer, &format!("{by:?}")).await;
        given.answer(&other, &id, "v=1").await;
        assert_eq!(last.hear().await["offerId"], id);
        assert_eq!(listeners[0].hear().await["offerId"], id);
    }
}

#[tokio::test]
async fn a_server_has_as_many_listeners_as_it_is_set_to() {
    let mut setup = Setup::on(On::Memory).await;
    setup.settings.max_listeners = 2;
    let given = setup.offers().await;
    let peers = [given.peer().await, given.peer().await, given.peer().await];
    let first = listen(By::WebSocket, &given, &peers[0]).await.unwrap();
    let _second = listen(By::ServerSentEvents, &given, &peers[1]).await.unwrap();
    for by in BOTH {
        let refused = listen(by, &given, &peers[2]).await.err().unwrap();
        assert_eq!(refused, "503 Too many listeners. Try again later");
    }
    drop(first);
    listen_at_last(By::WebSocket, &given, &peers[2]).await;
}
