use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::MemoryStore;
use crate::{Held, IdempotencyStore, KeyedHash, Reservation, Result, tenancy::Sealed};

#[async_trait]
impl IdempotencyStore for MemoryStore {
    async fn reserve(&self, reservation: &Reservation) -> Result<Option<Held>> {
        let requests = &mut self.lock().requests;
        let held = requests.get(&reservation.key);
        let held = held.filter(|(held, _)| held.expires_at > reservation.reserved_at);
        if let Some((held, answer)) = held {
            let (request, reserved_at) = (held.request, held.reserved_at);
            return Ok(Some(Held { request, reserved_at, answer: answer.clone() }));
        }
        requests.insert(reservation.key, (reservation.clone(), None));
        Ok(None)
    }

    async fn complete(&self, key: &KeyedHash, ticket: Uuid, answer: &Sealed) -> Result<bool> {
        let requests = &mut self.lock().requests;
        let held = requests.get_mut(key).filter(|(held, _)| held.ticket == ticket);
        let Some((_, kept)) = held else { return Ok(false) };
        *kept = Some(answer.clone());
        Ok(true)
    }

    async fn release(&self, key: &KeyedHash, ticket: Uuid) -> Result<bool> {
        let requests = &mut self.lock().requests;
        let held = requests.get(key);
        let held = held.is_some_and(|(held, answer)| held.ticket == ticket && answer.is_none());
        if held {
            requests.remove(key);
        }
        Ok(held)
    }

    async fn drop_expired(&self, now: DateTime<Utc>) -> Result<u64> {
        let requests = &mut self.lock().requests;
        let count = requests.len();
        requests.retain(|_, (held, _)| held.expires_at > now);
        Ok((count - requests.len()) as u64)
    }
}
