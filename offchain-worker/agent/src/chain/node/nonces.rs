//! Which number a transaction of an account bears, while others are on their way.

use super::transaction::Era;
use crate::chain::Hash;
use crate::keys::Account;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use subxt::utils::H256;

/// A transaction that has been signed and may have been sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Whose.
    pub account: Account,
    /// Its number.
    pub nonce: u64,
    /// As it is sent.
    pub bytes: Vec<u8>,
    /// Its name.
    pub hash: H256,
    /// When it is valid.
    pub era: Era,
    /// What it asks the chain to do, hashed: the same for the same call with other limits.
    pub meaning: Hash,
}

/// The accounts that this process sends for.
#[derive(Default)]
pub struct Accounts(Mutex<BTreeMap<Account, Arc<Sender>>>);

impl Accounts {
    /// The account's sender.
    pub fn sender(&self, account: &Account) -> Arc<Sender> {
        let mut senders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        senders.entry(*account).or_default().clone()
    }
}

/// What is on its way from one account.
#[derive(Default)]
pub struct Sender {
    /// Held from choosing a nonce until a pool has the transaction, so that they arrive in order.
    /// Says whether it is certain that whatever an earlier process sent has arrived.
    pub turn: tokio::sync::Mutex<bool>,
    flights: Mutex<BTreeMap<u64, Flight>>,
}

struct Flight {
    sent: Arc<Sent>,
    /// Whether somebody waits for it.
    watched: bool,
}

impl Sender {
    /// The first nonce that no transaction has: `next` is what the chain says, which may not have
    /// heard of all that is on its way.
    pub fn free_nonce(&self, next: u64) -> u64 {
        let flights = self.lock();
        (next..)
            .find(|nonce| !flights.contains_key(nonce))
            .expect("fewer transactions are on their way than there are nonces")
    }

    /// A transaction is about to be sent.
    pub fn take_off(&self, sent: Arc<Sent>) {
        let flight = Flight {
            sent: sent.clone(),
            watched: true,
        };
        self.lock().insert(sent.nonce, flight);
    }

    /// What became of a transaction is known.
    pub fn land(&self, sent: &Sent) {
        self.lock().remove(&sent.nonce);
    }

    /// Nobody waits any more, and what became of the transaction is not known.
    pub fn abandon(&self, sent: &Sent) {
        if let Some(flight) = self.lock().get_mut(&sent.nonce) {
            flight.watched = false;
        }
    }

    /// A transaction of this meaning that was abandoned: nothing of the same meaning must be sent
    /// while it may still arrive.
    pub fn resume(&self, meaning: &Hash) -> Option<Arc<Sent>> {
        let mut flights = self.lock();
        let flight = flights
            .values_mut()
            .find(|flight| !flight.watched && flight.sent.meaning == *meaning)?;
        flight.watched = true;
        Some(flight.sent.clone())
    }

    /// Transactions that nobody waits for. The account's later ones wait behind them.
    pub fn abandoned(&self) -> Vec<Arc<Sent>> {
        let flights = self.lock();
        let abandoned = flights.values().filter(|flight| !flight.watched);
        abandoned.map(|flight| flight.sent.clone()).collect()
    }

    /// Forgets abandoned transactions that can be in no block any more: up to the final block
    /// `head`, the account has used the nonces below `used`.
    pub fn bury(&self, used: u64, head: u32) {
        self.lock().retain(|nonce, flight| {
            flight.watched || *nonce < used || head < flight.sent.era.last()
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Flight>> {
        // Nothing that can panic runs while it is held.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(nonce: u64, meaning: u8) -> Arc<Sent> {
        Arc::new(Sent {
            account: [1; 32],
            nonce,
            bytes: Vec::new(),
            hash: H256::zero(),
            era: Era {
                birth: 0,
                hash: H256::zero(),
                period: 64,
            },
            meaning: [meaning; 32],
        })
    }

    #[test]
    fn a_nonce_on_its_way_is_not_given_again_though_the_chain_has_not_heard_of_it() {
        let sender = Sender::default();
        assert_eq!(sender.free_nonce(5), 5);
        sender.take_off(sent(5, 0));
        sender.take_off(sent(6, 1));
        assert_eq!(sender.free_nonce(5), 7);
        assert_eq!(sender.free_nonce(8), 8);
    }

    #[test]
    fn the_nonce_of_a_dead_transaction_is_used_again() {
        let sender = Sender::default();
        let first = sent(5, 0);
        sender.take_off(first.clone());
        sender.take_off(sent(6, 1));
        sender.land(&first);
        assert_eq!(sender.free_nonce(5), 5);
    }

    #[test]
    fn an_abandoned_transaction_is_buried_when_its_era_is_over_and_its_nonce_free() {
        let sender = Sender::default();
        let (watched, left) = (sent(5, 0), sent(6, 1));
        sender.take_off(watched);
        sender.take_off(left.clone());
        sender.abandon(&left);
        assert_eq!(sender.abandoned().len(), 1);
        sender.bury(5, left.era.last() - 1);
        // Its nonce is used: it may be what used it.
        sender.bury(7, left.era.last());
        assert_eq!(sender.free_nonce(5), 7);
        sender.bury(5, left.era.last());
        assert!(sender.abandoned().is_empty());
        assert_eq!(sender.free_nonce(5), 6);
    }

    #[test]
    fn only_an_abandoned_call_is_resumed_and_only_once() {
        let sender = Sender::default();
        let first = sent(5, 7);
        sender.take_off(first.clone());
        assert!(sender.resume(&[7; 32]).is_none());
        sender.abandon(&first);
        assert!(sender.resume(&[8; 32]).is_none());
        assert_eq!(sender.resume(&[7; 32]).unwrap().nonce, 5);
        assert!(sender.resume(&[7; 32]).is_none());
    }
}
