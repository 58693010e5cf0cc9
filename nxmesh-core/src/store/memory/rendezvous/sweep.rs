use super::{row::Seq, state::State};
use crate::rendezvous::{Expired, Millis};

impl State {
    pub(super) fn sweep(&mut self, now: Millis, most: u32) -> Vec<Expired> {
        self.move_to(now);
        self.nonces.sweep(now, most);
        let expired = self.expiries.range(..=(now, Seq::MAX)).take(most as usize);
        let expired: Vec<Seq> = expired.map(|(_, seq)| *seq).collect();
        let rows = expired.into_iter().filter_map(|seq| self.remove(seq));
        rows.map(|row| Expired {
            realm: row.realm.as_ref().clone(),
            id: row.id.to_string(),
            peer: row.peer.to_string(),
        })
        .collect()
    }
}
