//! What there is in a database, table by table: for moving everything to another one.

/// A table, as all databases have it.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [(&'static str, Kind)],
    /// How many columns, from the left, tell rows apart.
    pub(super) key: usize,
}

/// What is in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sixteen bytes.
    Uuid,
    /// Any bytes.
    Bytes,
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// Yes or no.
    Flag,
}

use Kind::{Bytes, Flag, Integer, Text, Uuid};

/// All tables, each after those that it refers to. What lives no longer than a process, or
/// a lease, is left out, and so are events: their order is that of one database.
pub(super) const TABLES: &[Table] = &[
    Table {
        name: "users",
        columns: &[
            ("id", Uuid),
            ("email", Text),
            ("email_key", Text),
            ("password", Text),
            ("created_at", Integer),
        ],
        key: 1,
    },
    Table {
        name: "organizations",
        columns: &[
            ("id", Uuid),
            ("slug", Text),
            ("version", Integer),
            ("created_at", Integer),
            ("body", Text),
        ],
        key: 1,
    },
    Table {
        name: "members",
        columns: &[("user_id", Uuid), ("organization_id", Uuid), ("role", Text)],
        key: 2,
    },
    Table {
        name: "api_keys",
        columns: &[
            ("id", Uuid),
            ("hash", Bytes),
            ("organization_id", Uuid),
            ("user_id", Uuid),
            ("expires_at", Integer),
            ("created_at", Integer),
            ("body", Text),
        ],
        key: 1,
    },
    Table {
        name: "workspaces",
        columns: &[
            ("id", Uuid),
            ("organization_id", Uuid),
            ("slug", Text),
            ("head", Integer),
            ("revision", Integer),
            ("created_at", Integer),
            ("body", Text),
            ("horizon", Integer),
        ],
        key: 1,
    },
    Table {
        name: "refresh_tokens",
        columns: &[
            ("hash", Bytes),
            ("family", Uuid),
            ("user_id", Uuid),
            ("expires_at", Integer),
            ("used", Flag),
        ],
        key: 1,
    },
    Table {
        name: "signing_keys",
        columns: &[("slot", Integer), ("kid", Text), ("sealed", Bytes), ("created_at", Integer)],
        key: 1,
    },
    Table {
        name: "audit_entries",
        columns: &[
            ("id", Uuid),
            ("organization_id", Uuid),
            ("user_id", Uuid),
            ("action", Text),
            ("object_id", Uuid),
            ("created_at", Integer),
            ("body", Text),
        ],
        key: 1,
    },
    Table {
        name: "revisions",
        columns: &[("workspace_id", Uuid), ("number", Integer), ("body", Text)],
        key: 2,
    },
    Table {
        name: "writes",
        columns: &[
            ("workspace_id", Uuid),
            ("number", Integer),
            ("position", Integer),
            ("kind", Text),
            ("object_id", Uuid),
            ("body", Text),
        ],
        key: 3,
    },
    Table {
        name: "rollouts",
        columns: &[
            ("id", Uuid),
            ("workspace_id", Uuid),
            ("number", Integer),
            ("version", Integer),
            ("state", Text),
            ("revision", Integer),
            ("staged_since", Integer),
            ("body", Text),
        ],
        key: 1,
    },
    Table { name: "virtual_hosts", columns: OBJECT, key: 1 },
    Table { name: "upstreams", columns: OBJECT, key: 1 },
    Table {
        name: "agents",
        columns: &[
            ("id", Uuid),
            ("workspace_id", Uuid),
            ("created_at", Integer),
            ("body", Text),
            ("status", Text),
            ("session", Uuid),
            ("heard_at", Integer),
            ("drift", Text),
        ],
        key: 1,
    },
    Table {
        name: "agent_secrets",
        columns: &[("hash", Bytes), ("agent_id", Uuid), ("expires_at", Integer)],
        key: 1,
    },
    Table {
        name: "idempotency_keys",
        columns: &[
            ("hash", Bytes),
            ("ticket", Uuid),
            ("request", Bytes),
            ("reserved_at", Integer),
            ("expires_at", Integer),
            ("answer", Bytes),
        ],
        key: 1,
    },
];

const OBJECT: &[(&str, Kind)] =
    &[("id", Uuid), ("workspace_id", Uuid), ("created_at", Integer), ("body", Text)];

/// A value in a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing.
    Null,
    /// A UUID, or any bytes.
    Bytes(Vec<u8>),
    /// Text.
    Text(String),
    /// A number, or 0 or 1 for a flag.
    Integer(i64),
}

/// The values of a row, column by column.
pub(super) type Row = Vec<Value>;

impl Table {
    /// `id, email, ...`
    pub(super) fn columns(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }

    /// All rows in the order of their keys, which is the same everywhere.
    pub(super) fn select(&self) -> String {
        let key: Vec<_> = self.columns[..self.key].iter().map(|(name, _)| *name).collect();
        format!("SELECT {} FROM {} ORDER BY {}", self.columns(), self.name, key.join(", "))
    }
}

/// What rows come to: equal rows in equal order have equal digests.
#[derive(Debug, Clone, Default)]
pub(super) struct Digest {
    hasher: blake3::Hasher,
    rows: u64,
}

/// How many rows of each table, and what they come to.
pub(super) type Digests = Vec<(&'static str, u64, blake3::Hash)>;

impl Digest {
    pub(super) fn add(&mut self, row: &Row) {
        self.rows += 1;
        for value in row {
            let (tag, bytes) = match value {
                Value::Null => (0, &[][..]),
                Value::Bytes(bytes) => (1, bytes.as_slice()),
                Value::Text(text) => (2, text.as_bytes()),
                Value::Integer(number) => (3, &number.to_be_bytes()[..]),
            };
            self.hasher.update(&[tag]).update(&(bytes.len() as u64).to_be_bytes()).update(bytes);
        }
    }

    pub(super) fn of(self, table: &'static Table) -> (&'static str, u64, blake3::Hash) {
        (table.name, self.rows, self.hasher.finalize())
    }
}
