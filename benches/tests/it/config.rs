//! A change set reaches nginx as it was told, and lies on the agent's disk as the API shows it.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::{Context, Result};
use nxmesh_benches::{NginxBinary, TestMesh, free_port, get, wait_for};
use nxmesh_core::gateway::{AgentConfig, NewChangeSet, NewLocation, NewVirtualHost};

/// What the agent chooses by itself: where it lies, as whom, and with how many connections.
const ITS_OWN: [&str; 6] =
    ["user ", "worker_rlimit_nofile ", "worker_connections ", "pid ", "error_log ", "listen unix:"];

#[tokio::test(flavor = "multi_thread")]
async fn a_change_set_lies_on_the_disk_of_a_real_agent_as_the_api_shows_it() -> Result<()> {
    for nginx in [NginxBinary::packaged()?, NginxBinary::current()?] {
        let mesh = TestMesh::start(&nginx).await?;
        let port = free_port();
        let location = NewLocation {
            path: "/".into(),
            upstream_id: Some(NewChangeSet::upstream_ref("backend")),
            ..NewLocation::default()
        };
        let host = NewVirtualHost { locations: vec![location], ..mesh.host("set.example", port) };
        let set = NewChangeSet::new("serve by a set")
            .create_virtual_host(&host)
            .create_upstream_as("backend", &mesh.upstream("backend"));
        let told = mesh.client.changes().dry_run(mesh.workspace, &set).await?;
        let only = told.agents.first().context("the agent is touched")?;
        assert_eq!((told.agents.len(), &only.agent_ids), (1, &vec![mesh.agent_id]));
        assert!(only.nginx.reported, "{only:?}");
        mesh.client.changes().apply(mesh.workspace, &set).await?;
        let serves =
            || async { get(port, "set.example", "/").await.is_ok_and(|(status, _)| status == 200) };
        wait_for("the virtual host of the set", Duration::from_secs(30), serves).await?;
        let patience = Duration::from_secs(30);
        let proven = || async {
            let config = mesh.client.agents().config(mesh.agent_id).await;
            config.is_ok_and(|it| it.running == Some(it.desired))
        };
        wait_for("the agent to prove it", patience, proven).await?;
        let config = mesh.client.agents().config(mesh.agent_id).await?;
        let folder = mesh.agent.folder().join("current");
        let lies = files(&folder, &config)?;
        assert_eq!(shown(&config.files), shown(&lies));
        // As many as were told, and those that nginx has anyway.
        assert_eq!(config.files.len(), only.files.len() + usize::from(!touches_main(only)));
    }
    Ok(())
}

fn touches_main(diff: &nxmesh_core::gateway::AgentDiff) -> bool {
    diff.files.iter().any(|it| it.path == "nginx.conf")
}

/// The files of a configuration on disk: those that end as nginx's do.
fn files(folder: &Path, config: &AgentConfig) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for sub in ["", "virtual-hosts", "upstreams", "ports", "certificates"] {
        let Ok(entries) = fs::read_dir(folder.join(sub)) else { continue };
        for entry in entries {
            let path = entry?.path();
            let name = path.strip_prefix(folder)?.display().to_string();
            if path.is_file() && (name.ends_with(".conf") || config.files.contains_key(&name)) {
                found.insert(name, fs::read_to_string(&path)?);
            }
        }
    }
    Ok(found)
}

/// Without the lines that are the agent's own.
fn shown(files: &BTreeMap<String, String>) -> BTreeMap<&String, Vec<&str>> {
    let own = |line: &&str| {
        ITS_OWN.iter().any(|it| line.trim_start().starts_with(it))
            || line.contains("_temp_path ")
            || line.contains("/failed.log ")
    };
    files.iter().map(|(path, text)| (path, text.lines().filter(|it| !own(it)).collect())).collect()
}
