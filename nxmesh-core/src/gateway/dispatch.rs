//! Commands on their way to agents that may be connected to another server.

use std::time::Duration;

use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::timeout,
};

use crate::{
    Error, ErrorKind, Result,
    clock::new_id,
    gateway::{
        AgentCommand, AgentId, AgentRecord, AgentState, COMMAND_PATIENCE, CommandId,
        CommandOutcome, News, context::Context, fleet::Outcome, link::CommandAction,
    },
    poll::Poll,
};

/// Has an agent do something, whichever server it is connected to, and waits for its answer.
pub(crate) async fn order(
    context: &Context,
    agent: &AgentRecord,
    action: CommandAction,
    patience: Duration,
) -> Result<Outcome> {
    let id = agent.spec.id;
    if context.fleet.has(id) {
        return context.fleet.order(id, action, patience).await;
    }
    let state = agent.status.state(context.alive_since());
    if matches!(state, AgentState::Pending | AgentState::Offline) {
        return Err(unavailable("the agent is not connected"));
    }
    // Subscribed before it is sent: the answer cannot be missed.
    let news = context.store.subscribe();
    let command = AgentCommand { id: new_id(context.clock.as_ref()), agent_id: id, action };
    if !context.store.add_command(&command, patience).await? {
        return Err(unavailable("too many commands wait for the agent: try again later"));
    }
    let answer = timeout(patience, answer(context, command.id, news)).await;
    match answer.map_err(|_| unavailable("the agent did not answer in time"))?? {
        CommandOutcome::Answered { success, message } => Ok(Outcome { success, message }),
        CommandOutcome::Unanswered { reason } => Err(unavailable(&reason)),
    }
}

async fn answer(
    context: &Context,
    id: CommandId,
    mut news: broadcast::Receiver<News>,
) -> Result<CommandOutcome> {
    let mut poll = Poll::new(context.store.poll_interval());
    loop {
        tokio::select! {
            heard = news.recv() => match heard {
                Ok(News::CommandAnswered(answered)) if answered == id => {}
                Ok(_) => continue,
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Err(unavailable("the control plane is shutting down")),
            },
            () = poll.due() => {}
        }
        if let Some(outcome) = context.store.command_outcome(id).await? {
            return Ok(outcome);
        }
    }
}

/// Carries out what other servers ask of the agents that are connected here, until told to stop.
pub(crate) async fn serve(context: Context, mut news: broadcast::Receiver<News>) {
    let stopping = context.tasks.stopping().clone();
    let mut poll = Poll::new(context.store.poll_interval());
    loop {
        let agents = tokio::select! {
            heard = news.recv() => match heard {
                Ok(News::CommandWaiting(agent)) => Ok(vec![agent]),
                Ok(News::CommandAnswered(_) | News::Moved(_) | News::RolledOut(_)) => continue,
                Err(RecvError::Lagged(_)) => context.store.waiting_commands().await,
                Err(RecvError::Closed) => return,
            },
            () = poll.due() => context.store.waiting_commands().await,
            () = stopping.cancelled() => return,
        };
        let taken = match agents {
            Ok(agents) => take(&context, agents).await,
            Err(error) => Err(error),
        };
        if let Err(error) = taken {
            tracing::debug!(%error, "cannot read commands");
        }
    }
}

async fn take(context: &Context, agents: Vec<AgentId>) -> Result<()> {
    for agent in agents {
        if !context.fleet.has(agent) {
            continue;
        }
        for command in context.store.take_commands(agent).await? {
            let context_there = context.clone();
            context.tasks.spawn(async move { carry_out(&context_there, command).await });
        }
    }
    Ok(())
}

async fn carry_out(context: &Context, command: AgentCommand) {
    let AgentCommand { id, agent_id, action } = command;
    let outcome = match context.fleet.order(agent_id, action, COMMAND_PATIENCE).await {
        Ok(Outcome { success, message }) => CommandOutcome::Answered { success, message },
        Err(error) => CommandOutcome::Unanswered { reason: error.to_string() },
    };
    if let Err(error) = context.store.answer_command(id, &outcome).await {
        tracing::warn!(%agent_id, %error, "cannot hand on what became of a command");
    }
}

fn unavailable(message: &str) -> Error {
    Error::new(ErrorKind::Unavailable, message)
}
