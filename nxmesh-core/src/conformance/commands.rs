//! What [`GatewayStore`](crate::gateway::GatewayStore) promises of commands.

#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "the names say it, and they panic to fail"
)]

use std::time::Duration;

use tokio::time::Instant;

use super::{PATIENCE, given::id};
use crate::{
    gateway::{
        AgentCommand, AgentId, CommandOutcome, MAX_WAITING_COMMANDS, News, link::CommandAction,
    },
    store::Stores,
};

fn command(agent_id: AgentId) -> AgentCommand {
    AgentCommand { id: id(), agent_id, action: CommandAction::Reload { graceful: true } }
}

async fn heard(news: &mut tokio::sync::broadcast::Receiver<News>, wanted: News) {
    let hear = async { while news.recv().await.unwrap() != wanted {} };
    tokio::time::timeout(PATIENCE, hear).await.unwrap_or_else(|_| panic!("no news of {wanted:?}"));
}

pub async fn a_command_waits_for_its_agent_and_is_taken_once(stores: &Stores) {
    let mut news = stores.gateway.subscribe();
    let (agent, other) = (id(), id());
    let (first, second) = (command(agent), command(agent));
    for command in [&first, &second, &command(other)] {
        assert!(stores.gateway.add_command(command, PATIENCE).await.unwrap());
    }
    heard(&mut news, News::CommandWaiting(agent)).await;
    let mut waiting = stores.gateway.waiting_commands().await.unwrap();
    waiting.sort_unstable();
    assert_eq!(waiting, [agent, other]);
    let takers = (0..8).map(|_| stores.gateway.take_commands(agent));
    let taken = futures::future::try_join_all(takers).await.unwrap();
    assert_eq!(taken.concat(), [first, second]);
    assert_eq!(stores.gateway.waiting_commands().await.unwrap(), [other]);
}

pub async fn an_answer_is_announced_and_kept(stores: &Stores) {
    let command = command(id());
    assert!(stores.gateway.add_command(&command, PATIENCE).await.unwrap());
    assert_eq!(stores.gateway.take_commands(command.agent_id).await.unwrap().len(), 1);
    assert_eq!(stores.gateway.command_outcome(command.id).await.unwrap(), None);
    let mut news = stores.gateway.subscribe();
    let outcome = CommandOutcome::Answered { success: true, message: "getan: \u{0} 🦀".into() };
    stores.gateway.answer_command(command.id, &outcome).await.unwrap();
    heard(&mut news, News::CommandAnswered(command.id)).await;
    assert_eq!(stores.gateway.command_outcome(command.id).await.unwrap(), Some(outcome));
    assert_eq!(stores.gateway.command_outcome(id()).await.unwrap(), None);
}

pub async fn a_command_that_nobody_takes_in_time_is_not_taken(stores: &Stores) {
    let command = command(id());
    let lasting = Duration::from_millis(50);
    assert!(stores.gateway.add_command(&command, lasting).await.unwrap());
    tokio::time::sleep_until(Instant::now() + lasting * 2).await;
    assert_eq!(stores.gateway.waiting_commands().await.unwrap(), []);
    assert_eq!(stores.gateway.take_commands(command.agent_id).await.unwrap(), []);
}

pub async fn one_command_too_many_is_refused(stores: &Stores) {
    let agent = id();
    for _ in 0..MAX_WAITING_COMMANDS {
        assert!(stores.gateway.add_command(&command(agent), PATIENCE).await.unwrap());
    }
    assert!(!stores.gateway.add_command(&command(agent), PATIENCE).await.unwrap());
    assert!(stores.gateway.add_command(&command(id()), PATIENCE).await.unwrap());
    let taken = stores.gateway.take_commands(agent).await.unwrap();
    assert_eq!(taken.len(), MAX_WAITING_COMMANDS);
    assert!(stores.gateway.add_command(&command(agent), PATIENCE).await.unwrap());
}
