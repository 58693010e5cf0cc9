//! A server from which nothing comes any more, and nobody says so.

use nxmesh_core::gateway::link::{AgentMessage, ServerMessage};

use crate::given::{Played, State, start};

async fn beats(server: &mut Played, count: usize) {
    for _ in 0..count {
        let beat = |it| matches!(it, AgentMessage::Health(_)).then_some(());
        server.find(beat).await;
    }
}

#[tokio::test]
async fn a_server_that_stops_answering_is_left_for_another_try() {
    let state = State::new();
    let mut agent = start(&state.path());
    let (mut silent, _) = agent.accept().await;
    beats(&mut silent, 1).await;
    silent.send(ServerMessage::Heard).await;
    // The first connection stays open: only its silence tells.
    let (mut server, registration) = agent.accept().await;
    assert_eq!(registration.token.expose(), "nxmesh_credential_test");
    for _ in 0..8 {
        beats(&mut server, 1).await;
        server.send(ServerMessage::Heard).await;
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_server_that_never_answers_heartbeats_is_not_silent() {
    let state = State::new();
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    beats(&mut server, 8).await;
    agent.stop().await;
}
