use futures::StreamExt;
use nxmesh_core::{
    ErrorKind, Secret,
    gateway::{
        NewRegistrationToken,
        link::{
            AgentLink, AgentMessage, Connector, HealthReport, RegistrationAnswer, ServerMessage,
        },
    },
    transport::grpc::GrpcConnector,
};
use nxmesh_proto::agent::v1::{self as proto, agent_service_client::AgentServiceClient};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;

use crate::{
    agents::registration,
    given::{Given, server, server_on_sqlite},
};

async fn serve(given: &Given, tasks: &mut JoinSet<()>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let service = nxmesh_server::grpc(&given.mesh);
    tasks.spawn(async move {
        let server = tonic::transport::Server::builder().add_service(service);
        server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
    });
    address
}

async fn dial(address: &str, first: AgentMessage) -> AgentLink {
    let link = GrpcConnector::new(address).unwrap().connect().await.unwrap();
    link.outgoing.send(first).await.unwrap();
    link
}

#[tokio::test]
async fn a_bad_token_is_answered_and_ends_the_stream_as_unauthenticated() {
    let (given, mut tasks) = (server().await, JoinSet::new());
    let address = serve(&given, &mut tasks).await;
    let registration = registration(&Secret::new("nxmesh_agent_nonsense".to_owned()));
    let mut link = dial(&address, AgentMessage::Registration(registration)).await;
    let answer = link.incoming.next().await.unwrap().unwrap();
    assert!(
        matches!(answer, ServerMessage::Registered(RegistrationAnswer::Refused { .. })),
        "{answer:?}"
    );
    assert_eq!(link.incoming.next().await.unwrap().unwrap_err().kind(), ErrorKind::Unauthenticated);
    assert!(link.incoming.next().await.is_none());
}

#[tokio::test]
async fn a_stream_that_does_not_begin_with_a_registration_is_ended() {
    let (given, mut tasks) = (server().await, JoinSet::new());
    let address = serve(&given, &mut tasks).await;
    let mut link = dial(&address, AgentMessage::Health(HealthReport::default())).await;
    let answer = link.incoming.next().await.unwrap().unwrap();
    assert!(
        matches!(answer, ServerMessage::Registered(RegistrationAnswer::Refused { .. })),
        "{answer:?}"
    );
    assert_eq!(link.incoming.next().await.unwrap().unwrap_err().kind(), ErrorKind::Unauthenticated);
}

#[tokio::test]
async fn a_health_report_outside_the_stream_needs_the_credential() {
    let (given, mut tasks) = (server_on_sqlite().await, JoinSet::new());
    let address = serve(&given, &mut tasks).await;
    let workspace = given.workspace().await.id;
    let new =
        NewRegistrationToken { name: "a".into(), labels: Default::default(), expires_in_hours: 1 };
    let token = given.client.agents().create_token(workspace, &new).await.unwrap();
    let mut link = dial(&address, AgentMessage::Registration(registration(&token.token))).await;
    let answer = link.incoming.next().await.unwrap().unwrap();
    let ServerMessage::Registered(RegistrationAnswer::Accepted {
        credential: Some(credential),
        ..
    }) = answer
    else {
        panic!("{answer:?}")
    };
    let mut client = AgentServiceClient::connect(address).await.unwrap();
    let report = || proto::HealthReport {
        nginx: Some(proto::NginxStatus { active_connections: 77, ..Default::default() }),
        ..Default::default()
    };
    assert_eq!(client.report_health(report()).await.unwrap_err().code(), Code::Unauthenticated);
    let with = |text: String| {
        let mut request = tonic::Request::new(report());
        request.metadata_mut().insert("authorization", text.parse().unwrap());
        request
    };
    let wrong = client.report_health(with("Bearer nonsense".to_owned())).await;
    assert_eq!(wrong.unwrap_err().code(), Code::Unauthenticated);
    client.report_health(with(format!("Bearer {}", credential.expose()))).await.unwrap();
    let shown = given.client.agents().get(token.agent_id).await.unwrap();
    assert_eq!(shown.health.unwrap().active_connections, 77);
}
