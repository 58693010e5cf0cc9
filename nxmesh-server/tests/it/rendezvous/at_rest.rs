//! What stands in files and tables.

use std::path::Path;

use nxmesh_core::{
    conformance::postgres::Database,
    rendezvous::{Durability, OfferDraft, Rendezvous, RendezvousSettings, RendezvousStore},
    store::{postgres::PostgresRendezvous, sqlite::SqliteRendezvous},
};
use serde_json::json;

const SDP: &str = "what-everybody-may-read";
const SECRET: &str = "what-nobody-may-read";

/// Publishes an offer with a secret, and reads it back.
async fn publish(store: impl RendezvousStore) {
    let rendezvous = Rendezvous::builder().store(store).build().unwrap();
    let offers = json!({"offers": [{"sdp": SDP, "topics": ["t"], "secret": SECRET, "id": "one"}]});
    let drafts = OfferDraft::parse_all(&offers, &RendezvousSettings::default()).unwrap();
    rendezvous.offers().publish("peer", drafts).await.unwrap();
    let offer = rendezvous.offers().find("one").await.unwrap().unwrap();
    assert_eq!(rendezvous.offers().secret(&offer).unwrap().as_deref(), Some(SECRET));
    rendezvous.shutdown().await;
}

/// All bytes of all files in a folder.
fn bytes(folder: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    files.flat_map(|it| std::fs::read(it).unwrap()).collect()
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|it| it == text.as_bytes())
}

#[tokio::test]
async fn the_secret_of_an_offer_stands_in_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rendezvous.db");
    publish(SqliteRendezvous::open(path, Durability::Durable).await.unwrap()).await;
    let bytes = bytes(folder.path());
    assert!(has(&bytes, SDP) && !has(&bytes, SECRET));
}

#[tokio::test]
async fn the_secret_of_an_offer_stands_in_no_table() {
    let database = Database::create().await;
    let store = PostgresRendezvous::open(database.url(), Durability::Durable).await.unwrap();
    publish(store).await;
    // A text, or bytes as Postgres shows them.
    let with = |text: &str| {
        let hex: String = text.bytes().map(|it| format!("{it:02x}")).collect();
        format!("rendezvous_offers AS it WHERE it::text LIKE '%{text}%' OR it::text LIKE '%{hex}%'")
    };
    assert_eq!(database.rows(&with(SDP)).await, 1);
    assert_eq!(database.rows(&with(SECRET)).await, 0);
}
