//! What happens to tasks and their money. Every function checks, changes records, and returns
//! what is to be done outside escrow and what happened.

pub mod challenge;
pub mod owner;
pub mod task;
pub mod withdraw;

#[cfg(test)]
mod tests;

use ink::prelude::vec::Vec;
use lockstep_interface::{escrow::Event, Account, Balance};

/// What follows from a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// To be done in this order, once the records are stored.
    pub effects: Vec<Effect>,
    /// To be reported in this order.
    pub events: Vec<Event>,
}

/// Something to be done outside escrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Have free stake locked.
    Lock(Account, Balance),
    /// Have locked stake freed.
    Unlock(Account, Balance),
    /// Have locked stake transferred to escrow.
    Slash(Account, Balance),
    /// Pay from escrow.
    Pay(Account, Balance),
}

impl Done {
    fn effect(mut self, effect: Effect) -> Done {
        self.effects.push(effect);
        self
    }

    fn event(mut self, event: Event) -> Done {
        self.events.push(event);
        self
    }
}

/// `part` percent of `amount`, rounded down.
fn percent(amount: Balance, part: Balance) -> Balance {
    amount * part / 100
}
