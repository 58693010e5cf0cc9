use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt};
pub use nxmesh_proto::agent::v1::agent_service_server::AgentServiceServer;
use nxmesh_proto::agent::v1::{
    Ack, AgentMessage, HealthReport, MasterMessage, MetricsBatch,
    agent_service_server::AgentService,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{MAX_MESSAGE_BYTES, wire};
use crate::{
    Error, ErrorKind,
    gateway::link::{LINK_CAPACITY, LinkHost, ServerLink},
};

/// The service that agents dial, to be mounted on a tonic server.
#[must_use]
pub fn agent_service(host: impl LinkHost) -> AgentServiceServer<Service> {
    AgentServiceServer::new(Service { host: Arc::new(host) })
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// What answers agents.
#[derive(Debug)]
pub struct Service {
    host: Arc<dyn LinkHost>,
}

#[tonic::async_trait]
impl AgentService for Service {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<MasterMessage, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let peer = request.remote_addr().map(|it| it.to_string()).unwrap_or_default();
        let incoming = request.into_inner().filter_map(|message| async {
            match message {
                Ok(message) => wire::to_agent_message(message).map(Ok),
                Err(status) => Some(Err(to_error(&status))),
            }
        });
        let (outgoing, answers) = mpsc::channel(LINK_CAPACITY);
        self.host.attach(ServerLink { peer, incoming: incoming.boxed(), outgoing });
        let answers = ReceiverStream::new(answers).map(|answer| match answer {
            Ok(message) => Ok(wire::from_server_message(&message)),
            Err(error) => Err(to_status(&error)),
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn report_health(&self, request: Request<HealthReport>) -> Result<Response<Ack>, Status> {
        let header = request.metadata().get("authorization").and_then(|it| it.to_str().ok());
        let credential = header.and_then(|it| it.strip_prefix("Bearer "));
        let missing =
            || Status::unauthenticated("the header `authorization: Bearer CREDENTIAL` is missing");
        let credential = credential.ok_or_else(missing)?.to_owned();
        let report = wire::to_health(request.into_inner());
        self.host.report_health(&credential, &report).await.map_err(|error| to_status(&error))?;
        let ack = Ack { message_id: String::new(), success: true, error_message: String::new() };
        Ok(Response::new(ack))
    }

    async fn report_metrics(&self, _: Request<MetricsBatch>) -> Result<Response<Ack>, Status> {
        Err(Status::unimplemented("this control plane does not take metrics"))
    }
}

fn to_status(error: &Error) -> Status {
    let code = match error.kind() {
        ErrorKind::Invalid => Code::InvalidArgument,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::Forbidden => Code::PermissionDenied,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::Conflict | ErrorKind::Stale => Code::Aborted,
        ErrorKind::Precondition => Code::FailedPrecondition,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::Corrupt | ErrorKind::Internal => Code::Internal,
    };
    Status::new(code, error.to_string())
}

pub(super) fn to_error(status: &Status) -> Error {
    let kind = match status.code() {
        Code::InvalidArgument | Code::OutOfRange => ErrorKind::Invalid,
        Code::Unauthenticated => ErrorKind::Unauthenticated,
        Code::PermissionDenied => ErrorKind::Forbidden,
        Code::NotFound => ErrorKind::NotFound,
        Code::AlreadyExists | Code::Aborted => ErrorKind::Conflict,
        Code::FailedPrecondition => ErrorKind::Precondition,
        Code::Internal | Code::DataLoss | Code::Unimplemented => ErrorKind::Internal,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Unavailable => ErrorKind::Unavailable,
    };
    Error::new(kind, status.message())
}
