//! The transports keep the contract.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use nxmesh_core::{
    conformance::links,
    gateway::link::{AgentLink, Connector, ServerLink},
    transport::in_process,
};

mod in_process_transport {
    use super::*;

    #[tokio::test]
    async fn messages_arrive_as_they_were_sent() {
        let (mut server, mut agent) = in_process::pair();
        links::messages_arrive_as_they_were_sent(&mut server, &mut agent).await;
    }

    #[tokio::test]
    async fn the_end_has_its_reason() {
        let (server, mut agent) = in_process::pair();
        links::the_end_has_its_reason(server, &mut agent).await;
    }

    #[tokio::test]
    async fn an_agent_that_is_gone_is_noticed() {
        let (mut server, agent) = in_process::pair();
        links::an_agent_that_is_gone_is_noticed(&mut server, agent).await;
    }
}

mod grpc_transport {
    use async_trait::async_trait;
    use nxmesh_core::{
        Result,
        gateway::link::{HealthReport, LinkHost},
        transport::grpc::{GrpcConnector, agent_service},
    };
    use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
    use tokio_stream::wrappers::TcpListenerStream;

    use super::*;

    /// Hands over the links as they come.
    #[derive(Debug)]
    struct Host(mpsc::UnboundedSender<ServerLink>);

    #[async_trait]
    impl LinkHost for Host {
        fn attach(&self, link: ServerLink) {
            self.0.send(link).unwrap();
        }

        async fn report_health(&self, _: &str, _: &HealthReport) -> Result<()> {
            Ok(())
        }
    }

    async fn pair(tasks: &mut JoinSet<()>) -> (ServerLink, AgentLink) {
        let (links, mut attached) = mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tasks.spawn(async move {
            let server =
                tonic::transport::Server::builder().add_service(agent_service(Host(links)));
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        let agent =
            GrpcConnector::new(&format!("http://{address}")).unwrap().connect().await.unwrap();
        (attached.recv().await.unwrap(), agent)
    }

    #[tokio::test]
    async fn messages_arrive_as_they_were_sent() {
        let mut tasks = JoinSet::new();
        let (mut server, mut agent) = pair(&mut tasks).await;
        links::messages_arrive_as_they_were_sent(&mut server, &mut agent).await;
    }

    #[tokio::test]
    async fn the_end_has_its_reason() {
        let mut tasks = JoinSet::new();
        let (server, mut agent) = pair(&mut tasks).await;
        links::the_end_has_its_reason(server, &mut agent).await;
    }

    #[tokio::test]
    async fn an_agent_that_is_gone_is_noticed() {
        let mut tasks = JoinSet::new();
        let (mut server, agent) = pair(&mut tasks).await;
        links::an_agent_that_is_gone_is_noticed(&mut server, agent).await;
    }
}
