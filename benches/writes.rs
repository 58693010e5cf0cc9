//! Changes that are acknowledged as durable, a second, beside a bare loop of single-row
//! commits on the same database.

use std::{
    future::Future,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Parser;
use nxmesh_benches::files_host;
use nxmesh_core::{
    Actor, IfMatch, MergePatch, Mesh, Secret,
    conformance::postgres::{Cluster, Database, Durability},
    gateway::VirtualHostId,
    store::{Stores, postgres::PostgresStore, sqlite::SqliteStore},
    tenancy::{NewOrganization, NewWorkspace, WorkspaceId},
};
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};
use tokio::task::JoinSet;

#[derive(Parser)]
struct Args {
    /// How long to measure each, in seconds
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// How often; the middle one counts
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// How many callers at once
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    callers: Vec<usize>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Args { seconds, turns, callers } = Args::parse();
    let most = callers.iter().copied().max().unwrap_or_default();
    let lasting = Duration::from_secs_f64(seconds);
    let folder = tempfile::tempdir()?;
    let sqlite = Stores::from(SqliteStore::open(folder.path().join("mesh.db")).await?);
    let cluster = Cluster::start(Durability::Full);
    let database = Database::create_on(cluster.url("postgres")).await;
    let postgres = Stores::from(PostgresStore::open(database.url()).await?);
    for (name, stores) in [("SQLite", sqlite), ("Postgres", postgres)] {
        let subject = Subject::prepare(stores, most).await?;
        println!("{name}, acknowledged changes a second (in brackets: to the floor of one row):");
        println!("  callers   floor   floor, as many   each its workspace   all one workspace");
        let mut apart_alone = None;
        for callers in callers.iter().copied() {
            let mut rates = [const { Vec::new() }; 4];
            for _ in 0..turns {
                let many = if name == "SQLite" { 1 } else { callers };
                rates[0].push(floor(name, folder.path(), database.url(), 1, lasting).await?);
                rates[1].push(floor(name, folder.path(), database.url(), many, lasting).await?);
                rates[2].push(subject.changes(callers, callers, lasting).await?);
                rates[3].push(subject.changes(callers, 1, lasting).await?);
            }
            let [floor, floor_many, apart, together] = rates.map(|mut turns| {
                turns.sort_by(f64::total_cmp);
                turns[turns.len() / 2]
            });
            println!(
                "  {callers:7} {floor:7.0} {floor_many:16.0} {apart:13.0} ({:.2}) {together:12.0} ({:.2})",
                apart / floor,
                together / floor,
            );
            let alone = *apart_alone.get_or_insert(apart);
            if callers > 1 {
                println!("          {:.1} times one caller's rate", apart / alone);
            }
        }
    }
    Ok(())
}

/// Single rows, each committed for itself, by this many.
async fn floor(
    name: &str,
    folder: &Path,
    url: &str,
    callers: usize,
    lasting: Duration,
) -> Result<f64> {
    if name == "SQLite" {
        let path = folder.join("floor.db");
        return tokio::task::spawn_blocking(move || sqlite_floor(&path, lasting)).await?;
    }
    let mut connections = Vec::new();
    for _ in 0..callers {
        let mut connection = PgConnection::connect(url).await?;
        connection
            .execute("CREATE TABLE IF NOT EXISTS floor (id bigserial PRIMARY KEY, body text)")
            .await?;
        connections.push(connection);
    }
    let mut run = Run::new();
    for mut connection in connections {
        run.caller(|counted| async move {
            while counted.goes_on() {
                let insert = sqlx::query("INSERT INTO floor (body) VALUES ($1)");
                insert.bind("x".repeat(500)).execute(&mut connection).await?;
                counted.one();
            }
            Ok(())
        });
    }
    run.rate(lasting).await
}

fn sqlite_floor(path: &Path, lasting: Duration) -> Result<f64> {
    let db = rusqlite::Connection::open(path)?;
    db.pragma_update(None, "journal_mode", "wal")?;
    db.pragma_update(None, "synchronous", "full")?;
    db.execute_batch("CREATE TABLE IF NOT EXISTS floor (id INTEGER PRIMARY KEY, body TEXT)")?;
    let mut insert = db.prepare("INSERT INTO floor (body) VALUES (?1)")?;
    let (began, body) = (Instant::now(), "x".repeat(500));
    let mut rows = 0;
    while began.elapsed() < lasting {
        insert.execute([&body])?;
        rows += 1;
    }
    Ok(f64::from(rows) / began.elapsed().as_secs_f64())
}

/// A control plane with a workspace for each caller.
struct Subject {
    mesh: Mesh,
    actor: Actor,
    hosts: Vec<VirtualHostId>,
}

impl Subject {
    async fn prepare(stores: Stores, workspaces: usize) -> Result<Self> {
        let mesh = Mesh::builder().store(stores).build().await?;
        let user =
            mesh.tenancy().users().create("a@example.com", Secret::random_password()).await?;
        let actor = Actor::user(user.id);
        let new = NewOrganization { name: "Acme".into(), slug: "acme".into() };
        let organization = mesh.tenancy().organizations().create(&actor, new).await?;
        let mut hosts = Vec::new();
        for number in 0..workspaces {
            let slug = format!("test{number}");
            let new = NewWorkspace { name: slug.clone(), slug, settings: Default::default() };
            let workspace =
                mesh.tenancy().workspaces().create(&actor, organization.id, new).await?;
            hosts.push(host(&mesh, &actor, workspace.id).await?);
        }
        Ok(Self { mesh, actor, hosts })
    }

    /// Patches of virtual hosts by so many callers in so many workspaces.
    async fn changes(&self, callers: usize, workspaces: usize, lasting: Duration) -> Result<f64> {
        let mut run = Run::new();
        for caller in 0..callers {
            let (hosts, actor) = (self.mesh.gateway().virtual_hosts(), self.actor.clone());
            let id = self.hosts[caller % workspaces];
            run.caller(|counted| async move {
                while counted.goes_on() {
                    let value = rand::random::<u64>().to_string();
                    let header = json!({"name": "X-Round", "value": value});
                    let location = json!({"path": "/", "root": "/srv", "custom_headers": [header]});
                    let patch = MergePatch::new(json!({"locations": [location]}))?;
                    hosts.update(&actor, id, &patch, &IfMatch::Any).await?;
                    counted.one();
                }
                Ok(())
            });
        }
        run.rate(lasting).await
    }
}

/// Callers that run at once.
struct Run {
    callers: JoinSet<Result<()>>,
    counted: Arc<Counted>,
}

#[derive(Default)]
struct Counted {
    stop: AtomicBool,
    count: AtomicUsize,
}

impl Counted {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn one(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Run {
    fn new() -> Self {
        Self { callers: JoinSet::new(), counted: Arc::default() }
    }

    fn caller<F>(&mut self, work: impl FnOnce(Arc<Counted>) -> F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.callers.spawn(work(Arc::clone(&self.counted)));
    }

    /// How many a second; the first tenth is for warming up.
    async fn rate(mut self, lasting: Duration) -> Result<f64> {
        tokio::time::sleep(lasting / 10).await;
        let (began, before) = (Instant::now(), self.counted.count.load(Ordering::Relaxed));
        tokio::time::sleep(lasting).await;
        let count = self.counted.count.load(Ordering::Relaxed) - before;
        let rate = count as f64 / began.elapsed().as_secs_f64();
        self.counted.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.callers.join_next().await {
            ended??;
        }
        Ok(rate)
    }
}

async fn host(mesh: &Mesh, actor: &Actor, of: WorkspaceId) -> Result<VirtualHostId> {
    let new = files_host("a.example");
    Ok(mesh.gateway().virtual_hosts().create(actor, of, new).await?.id)
}
