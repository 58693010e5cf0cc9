//! A real Postgres for tests: one that they start themselves, or the one that
//! `NXMESH_TEST_POSTGRES` names.

#![expect(clippy::missing_panics_doc, reason = "it panics to fail the test")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, postgres::PgConnectOptions};

/// Keeps a server running until its input ends, however the test ends, and cleans up.
const KEEPER: &str = r#"
set -eu
start() {
    "$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c max_connections=300 $3 \
        >>"$2/postgres.log" 2>&1 &
    server=$!
    until "$1/pg_isready" -q -h "$2"; do
        kill -0 "$server" || exit 1
        sleep 0.02
    done
}
stop() { kill "-$1" "$server"; wait "$server" || true; }
"$1/initdb" -D "$2/data" -U nxmesh -A trust -E UTF8 --locale=C --no-sync >"$2/postgres.log" 2>&1
start "$@"
echo done
while read -r word; do
    case "$word" in
    stop) stop QUIT ;;
    start) start "$@" ;;
    esac
    echo done
done
stop INT
rm -rf "$2"
"#;

/// A Postgres server of Debian's binaries, not as root, on a Unix socket in a temporary
/// folder. It ends with this process at the latest.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    /// Its end is what the keeper waits for.
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    _keeper: Child,
}

/// What a cluster may lose in a crash of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: to measure with.
    Full,
    /// What was written last: a test ends long before that.
    Relaxed,
}

impl Cluster {
    /// Makes one and starts it.
    #[must_use]
    pub fn start(durability: Durability) -> Self {
        let folder = tempfile::Builder::new().prefix("nxmesh-postgres-").tempdir();
        let folder = folder.expect("a temporary folder can be made").keep();
        let mut keeper = Command::new("sh");
        if let Some((uid, gid)) = not_root(&folder) {
            chown(&folder, Some(uid), Some(gid)).expect("root may give a folder away");
            keeper.uid(uid).gid(gid);
        }
        let settings = match durability {
            Durability::Full => "",
            Durability::Relaxed => "-c fsync=off -c full_page_writes=off",
        };
        keeper.args(["-c", KEEPER, "keeper"]).arg(binaries()).arg(&folder).arg(settings);
        // A signal to the test's group is not for the keeper, who sees the end of the test.
        keeper.current_dir("/").process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = keeper.spawn().expect("there is a shell");
        let commands = keeper.stdin.take().expect("it was piped");
        let answers = BufReader::new(keeper.stdout.take().expect("it was piped"));
        let mut cluster = Self { folder, commands, answers, _keeper: keeper };
        cluster.wait();
        cluster
    }

    /// Stops the server as a crash does.
    pub fn stop(&mut self) {
        self.tell("stop");
    }

    /// Starts it again.
    pub fn restart(&mut self) {
        self.tell("start");
    }

    /// Where its socket is.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    /// The URL of one of its databases.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://nxmesh@localhost/{database}?host={}", self.folder.display())
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.commands, "{word}").expect("the keeper listens");
        self.wait();
    }

    fn wait(&mut self) {
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the keeper answers");
        let log = || fs::read_to_string(self.folder.join("postgres.log")).unwrap_or_default();
        assert_eq!(answer, "done\n", "Postgres does not start:\n{}", log());
    }
}

/// A database of its own for one test; dropped with this.
#[derive(Debug)]
pub struct Database {
    server: String,
    name: String,
    url: String,
}

impl Database {
    /// Makes an empty one on the server that all tests of this process share.
    pub async fn create() -> Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        Self::create_on(SHARED.get_or_init(Server::find).url("postgres")).await
    }

    /// Makes an empty one on a server, of which this is the URL of any database.
    pub async fn create_on(server: String) -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let name = format!("nxmesh_test_{}_{number}", std::process::id());
        run(&server, format!("CREATE DATABASE {name}")).await;
        let options: PgConnectOptions = server.parse().expect("it was connected to");
        let url = options.database(&name).to_url_lossy().to_string();
        Self { server, name, url }
    }

    /// Ends all connections to it, as an administrator may. Answers how many.
    pub async fn cut_off_all(&self) -> usize {
        let mut connection = connect(&self.server).await.expect("Postgres answers");
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
        let ended = sqlx::query(sql).bind(&self.name).fetch_all(&mut connection).await;
        let _ = connection.close().await;
        ended.expect("it may end them").len()
    }

    /// Runs a statement in it.
    pub async fn run(&self, sql: &str) {
        run(&self.url, sql.to_owned()).await;
    }

    /// How many rows a table of it has.
    pub async fn rows(&self, table: &str) -> i64 {
        let mut connection = connect(&self.url).await.expect("Postgres answers");
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let count = sqlx::query_scalar(sql).fetch_one(&mut connection).await;
        let _ = connection.close().await;
        count.expect("it may count them")
    }

    /// How many connections to it are open.
    pub async fn connections(&self) -> i64 {
        let mut connection = connect(&self.server).await.expect("Postgres answers");
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1";
        let count = sqlx::query_scalar(sql).bind(&self.name).fetch_one(&mut connection).await;
        let _ = connection.close().await;
        count.expect("it may count them")
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        let server = self.server.clone();
        // The runtime of the test may be gone already.
        let drop = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(async {
                if let Ok(mut connection) = connect(&server).await {
                    // Whoever still uses it is cut off; a server that is gone needs nothing.
                    let _ = connection.execute(AssertSqlSafe(sql)).await;
                    let _ = connection.close().await;
                }
            });
        };
        let _ = std::thread::spawn(drop).join();
    }
}

/// The server that the tests of one process share.
#[derive(Debug)]
enum Server {
    Own(Cluster),
    Given(String),
}

impl Server {
    fn find() -> Self {
        #[expect(clippy::disallowed_methods, reason = "tests have no settings.rs")]
        match std::env::var("NXMESH_TEST_POSTGRES") {
            Ok(url) => Self::Given(url),
            Err(_) => Self::Own(Cluster::start(Durability::Relaxed)),
        }
    }

    fn url(&self, database: &str) -> String {
        match self {
            Self::Own(cluster) => cluster.url(database),
            Self::Given(url) => url.clone(),
        }
    }
}

async fn run(server: &str, sql: String) {
    let mut connection = connect(server).await.expect("Postgres answers");
    connection.execute(AssertSqlSafe(sql)).await.expect("it may do this");
    // It is not needed any more, however it ends.
    let _ = connection.close().await;
}

async fn connect(server: &str) -> sqlx::Result<sqlx::PgConnection> {
    let options: PgConnectOptions = server.parse()?;
    options.disable_statement_logging().connect().await
}

/// Where Debian keeps the programs of the newest version.
fn binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = versions
        .map(|it| it.path().join("bin"))
        .filter(|it| it.join("initdb").exists() && it.join("postgres").exists())
        .collect();
    found.sort();
    found.pop().expect(
        "these tests need Postgres: install the package postgresql (./scripts/install postgres), or name a server in NXMESH_TEST_POSTGRES",
    )
}

/// Postgres refuses to run as root: the user it runs as instead, if this is root.
fn not_root(owned: &Path) -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let root = fs::metadata(owned).is_ok_and(|it| it.uid() == 0);
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = |name: &str| {
        let line = users.lines().find(|it| it.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    root.then(|| ids("postgres").or_else(|| ids("nobody"))).flatten()
}
