//! Credentials when the key that they are made under changes.

use nxmesh_core::rendezvous::{CredentialKey, CredentialKeys};
use serde_json::json;

use super::given::{KEY, On, Peer, Setup, known_keys, on_each_store};

/// A key is replaced twice, by servers on the same store: a credential is good under the key that it was made
/// under, and under the next one, and then no more. What its peer has done stays.
async fn an_older_key_may_stay_valid_for_a_while(on: On) {
    let mut setup = Setup::on(on).await;
    let refused = (401, json!({"error": "Invalid credentials"}));
    setup.keys = Some(known_keys(None));
    let given = setup.offers().await;
    let first = Peer::known();
    let id = given.offer(&first, "v=0").await;

    let second_key = CredentialKey::generate();
    let old = CredentialKey::parse(KEY).unwrap();
    setup.keys = Some(CredentialKeys::new(second_key.clone(), Some(old)));
    let given = setup.offers().await;
    let second = given.peer().await;
    let mine = given.get("/offers/mine", &first).await;
    assert_eq!((mine.status, &mine.body["offers"][0]["id"]), (200, &json!(id)));
    given.answer(&second, &id, "v=1").await;
    // What is made now is not good under the older key.
    let before = Setup::on(On::Memory).await.offers().await;
    assert_eq!(before.get("/offers/mine", &second).await.whole(), refused);

    setup.keys = Some(CredentialKeys::new(CredentialKey::generate(), Some(second_key)));
    let given = setup.offers().await;
    assert_eq!(given.get("/offers/mine", &first).await.whole(), refused);
    let none = json!({"peerId": second.id, "offers": []});
    assert_eq!(given.get("/offers/mine", &second).await.whole(), (200, none));
    let candidates = given.get(&format!("/offers/{id}/ice-candidates"), &second).await;
    assert_eq!(candidates.whole(), (200, json!({"offerId": id, "candidates": []})));
    let third = given.peer().await;
    assert_eq!(given.get("/offers/mine", &third).await.status, 200);
}

on_each_store! {
    an_older_key_may_stay_valid_for_a_while,
}

#[tokio::test]
async fn a_credential_of_the_first_server_is_good_under_its_key() {
    let given = Setup::on(On::Memory).await.offers().await;
    let peer = Peer::known();
    let mine = given.get("/offers/mine", &peer).await;
    assert_eq!(mine.whole(), (200, json!({"peerId": peer.id, "offers": []})));
    // Base64 is read as browsers read it, and the secret is good for its own peer only.
    let padded = Peer { credential: format!("{}====", peer.credential), ..peer.clone() };
    let refused = (401, json!({"error": "Invalid credentials"}));
    assert_eq!(given.get("/offers/mine", &padded).await.whole(), refused);
    let other = peer.credential.replacen("f17c", "f17d", 1);
    let other = Peer { credential: other, ..peer };
    assert_eq!(given.get("/offers/mine", &other).await.whole(), refused);
}
