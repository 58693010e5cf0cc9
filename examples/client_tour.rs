//! What the typed client can do, on a server that runs:
//! `client_tour http://127.0.0.1:8080 admin@localhost PASSWORD`.

use anyhow::Context;
use futures::TryStreamExt;
use nxmesh_client::Client;
use nxmesh_core::{
    MergePatch,
    gateway::{NewChangeSet, NewLocation, NewUpstream, NewVirtualHost, UpstreamServer},
    tenancy::{NewOrganization, NewWorkspace},
};
use serde_json::json;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let mut next = |what: &str| {
        args.next().with_context(|| format!("{what} is missing: client_tour URL EMAIL PASSWORD"))
    };
    let client = Client::new(next("URL")?)?;
    client.auth().login(&next("EMAIL")?, &next("PASSWORD")?).await?;

    let new = NewOrganization { name: "Tour".into(), slug: "tour".into() };
    let organization = client.organizations().create(&new).await?;
    let new =
        NewWorkspace { name: "Tour".into(), slug: "tour".into(), settings: Default::default() };
    let workspace = client.workspaces().create(organization.id, &new).await?;

    let new = NewUpstream {
        name: "api".into(),
        algorithm: Default::default(),
        servers: vec![UpstreamServer::at("127.0.0.1:8081"), UpstreamServer::at("127.0.0.1:8082")],
        health_check: None,
        keepalive_connections: 32,
    };
    let upstream = client.upstreams().create(workspace.id, &new).await?;
    let location = NewLocation {
        path: "/".into(),
        upstream_id: Some(upstream.id.to_string()),
        ..NewLocation::default()
    };
    let new = NewVirtualHost {
        name: "api".into(),
        server_name: "api.example.com".into(),
        listen_port: 8088,
        locations: vec![location],
        ..NewVirtualHost::default()
    };
    let host = client.virtual_hosts().create(workspace.id, &new).await?;

    // Only if nobody changed it in the meantime.
    let patch = MergePatch::new(json!({"name": "api, renamed"}))?;
    let host = client.virtual_hosts().update_if(host.id, &host.etag(), &patch).await?;
    println!("{} is at revision {}", host.spec.name, host.revision);

    // Mistakes come back with the path of the field.
    let wrong = NewVirtualHost { listen_port: 0, ..new.clone() };
    if let Err(error) = client.virtual_hosts().create(workspace.id, &wrong).await {
        println!("refused: {error}");
    }

    // Several changes as one revision, or none: first what that would do, then for real.
    let second = NewVirtualHost { server_name: "www.example.com".into(), ..new };
    let patch = MergePatch::new(json!({"servers": [{"address": "127.0.0.1:8083"}]}))?;
    let set = NewChangeSet::new("a second name, on another server")
        .create_virtual_host(&second)
        .update_upstream(upstream.id, Some(&upstream.etag()), &patch);
    let told = client.changes().dry_run(workspace.id, &set).await?;
    println!("{} object(s) would change", told.objects.len());
    let applied = client.changes().apply(workspace.id, &set).await?;
    println!("{:?} is revision {}", applied.revision.reason, applied.revision.number);

    let all: Vec<_> = client.virtual_hosts().list(workspace.id).try_collect().await?;
    println!("{} virtual host(s)", all.len());

    for host in all {
        client.virtual_hosts().delete(host.id).await?;
    }
    client.upstreams().delete(upstream.id).await?;
    client.workspaces().delete(workspace.id).await?;
    client.organizations().delete(organization.id).await?;
    Ok(())
}
