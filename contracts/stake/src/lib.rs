//! The stake contract. [`logic`] says what happens to stake, this file who may ask.
#![cfg_attr(not(feature = "std"), no_std, no_main)]
// cargo-contract denies these lints. The release profile checks overflow: it reverts the message.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss
)]

pub mod logic;

#[cfg(feature = "std")]
pub use contract::{Stake, StakeRef};

#[ink::contract]
mod contract {
    use crate::logic;
    use ink::storage::Mapping;
    use lockstep_interface::{
        cell::Cell,
        stake::{Config, Error, Event, Staker},
        Account, Millis,
    };

    /// Stakes by account.
    #[ink(storage)]
    pub struct Stake {
        config: Cell<Config>,
        stakers: Mapping<Account, Cell<Staker>>,
    }

    /// Something happened.
    #[ink(event)]
    pub struct Log {
        /// Whose stake it is about.
        #[ink(topic)]
        subject: Option<Account>,
        /// What happened.
        event: Event,
    }

    impl Stake {
        /// A contract whose stake takes `delay` milliseconds to unbond.
        #[ink(constructor)]
        pub fn new(delay: Millis) -> Self {
            let deployer = *Self::env().caller().as_ref();
            Stake {
                config: Cell(Config {
                    deployer,
                    escrow: None,
                    delay,
                }),
                stakers: Mapping::default(),
            }
        }

        /// Names the escrow contract. Only the deployer, only once.
        #[ink(message)]
        pub fn appoint(&mut self, escrow: Account) -> Result<(), Error> {
            let caller = self.caller();
            let event = logic::appoint(&mut self.config.0, caller, escrow)?;
            self.log(event);
            Ok(())
        }

        /// Adds the transferred value to the caller's free stake.
        #[ink(message, payable)]
        pub fn deposit(&mut self) -> Result<(), Error> {
            let owner = self.caller();
            let mut staker = self.staker(owner).unwrap_or_default();
            let value = self.env().transferred_value();
            let event = logic::deposit(&self.config.0, &mut staker, owner, value)?;
            self.store(owner, staker);
            self.log(event);
            Ok(())
        }

        /// Starts unbonding free stake. An earlier request that is still waiting waits again.
        #[ink(message)]
        pub fn request_unbond(&mut self, amount: Balance) -> Result<(), Error> {
            let now = self.env().block_timestamp();
            let config = self.config.0;
            self.change(self.caller(), |staker, owner| {
                logic::request_unbond(&config, staker, owner, amount, now)
            })
        }

        /// Makes all unbonding stake free again.
        #[ink(message)]
        pub fn cancel_unbond(&mut self) -> Result<(), Error> {
            self.change(self.caller(), logic::cancel_unbond)
        }

        /// Pays out all unbonding stake whose delay has passed. The record of an account that
        /// holds nothing afterwards is removed.
        #[ink(message)]
        pub fn withdraw(&mut self) -> Result<(), Error> {
            let owner = self.caller();
            let mut staker = self.staker(owner).ok_or(Error::NoStake)?;
            let now = self.env().block_timestamp();
            let event = logic::withdraw(&mut staker, owner, now)?;
            if logic::is_empty(&staker) {
                self.stakers.remove(owner);
            } else {
                self.store(owner, staker);
            }
            if let Event::Withdrawn { amount, .. } = event {
                self.pay(owner, amount)?;
            }
            self.log(event);
            Ok(())
        }

        /// Locks free stake. Only escrow.
        #[ink(message)]
        pub fn lock(&mut self, owner: Account, amount: Balance) -> Result<(), Error> {
            self.only_escrow()?;
            self.change(owner, |staker, owner| logic::lock(staker, owner, amount))
        }

        /// Makes locked stake free. Only escrow.
        #[ink(message)]
        pub fn unlock(&mut self, owner: Account, amount: Balance) -> Result<(), Error> {
            self.only_escrow()?;
            self.change(owner, |staker, owner| logic::unlock(staker, owner, amount))
        }

        /// Takes locked stake and transfers it to escrow, which divides it. Only escrow.
        #[ink(message)]
        pub fn slash(&mut self, owner: Account, amount: Balance) -> Result<(), Error> {
            let escrow = self.only_escrow()?;
            self.change(owner, |staker, owner| logic::slash(staker, owner, amount))?;
            self.pay(escrow, amount)
        }

        /// The stake of an account; `None` when it has no record.
        #[ink(message)]
        pub fn staker(&self, owner: Account) -> Option<Staker> {
            self.stakers.get(owner).map(|Cell(staker)| staker)
        }

        /// The contract's settings.
        #[ink(message)]
        pub fn config(&self) -> Config {
            self.config.0
        }

        fn caller(&self) -> Account {
            *self.env().caller().as_ref()
        }

        fn only_escrow(&self) -> Result<Account, Error> {
            let caller = self.caller();
            match self.config.0.escrow {
                Some(escrow) if escrow == caller => Ok(escrow),
                _ => Err(Error::NotEscrow),
            }
        }

        fn change(
            &mut self,
            owner: Account,
            change: impl FnOnce(&mut Staker, Account) -> Result<Event, Error>,
        ) -> Result<(), Error> {
            let mut staker = self.staker(owner).ok_or(Error::NoStake)?;
            let event = change(&mut staker, owner)?;
            self.store(owner, staker);
            self.log(event);
            Ok(())
        }

        fn store(&mut self, owner: Account, staker: Staker) {
            self.stakers.insert(owner, &Cell(staker));
        }

        fn pay(&self, to: Account, amount: Balance) -> Result<(), Error> {
            if amount == 0 {
                return Ok(());
            }
            self.env()
                .transfer(to.into(), amount)
                .map_err(|_| Error::Transfer)
        }

        fn log(&self, event: Event) {
            self.env().emit_event(Log {
                subject: event.owner(),
                event,
            });
        }
    }
}
