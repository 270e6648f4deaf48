//! The escrow contract. [`logic`] says what happens to tasks and money, this file who may ask.
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
pub use contract::{Escrow, EscrowRef};

/// Bytes of the settings at their longest, which they occupy from the start: otherwise an heir
/// that takes ownership would be refunded the storage deposit of who offered it.
const CONFIG_BYTES: usize = 307;

#[ink::contract]
mod contract {
    use crate::logic::{
        challenge, owner,
        task::{self, Claim, Current, Moment},
        withdraw, Done, Effect,
    };
    use crate::CONFIG_BYTES;
    use ink::{prelude::vec::Vec, storage::Mapping};
    use lockstep_interface::{
        cell::{send, Cell},
        escrow::{
            AttemptRecord, Challenged, Config, Error, Event, ListedTask, Outcome, TaskPage,
            TaskRecord, LISTED_ATTEMPTS, PAGE,
        },
        stake, Account, Attempt, Bounds, Hash as Blake3, Message, MetricProof, Millis, Task,
        TaskId,
    };
    use lockstep_protocol::{task::Commitment, tree::Opening};

    type AttemptKey = (TaskId, Attempt);

    /// Tasks by number, attempts by task and number.
    #[ink(storage)]
    pub struct Escrow {
        config: Cell<Config, CONFIG_BYTES>,
        count: TaskId,
        tasks: Mapping<TaskId, Cell<TaskRecord>>,
        attempts: Mapping<AttemptKey, Cell<AttemptRecord>>,
    }

    /// Something happened.
    #[ink(event)]
    pub struct Log {
        /// The task it is about.
        #[ink(topic)]
        subject: Option<TaskId>,
        /// What happened.
        event: Event,
    }

    impl Escrow {
        /// A contract that locks stake in `stake` and holds terms to `bounds`. The deployer owns
        /// it.
        #[ink(constructor)]
        pub fn new(stake: Account, bounds: Bounds) -> Result<Self, Error> {
            if !bounds.check() {
                return Err(Error::Bounds);
            }
            let deployer = *Self::env().caller().as_ref();
            Ok(Escrow {
                config: Cell(Config {
                    deployer,
                    stake,
                    dispute: None,
                    owner: deployer,
                    heir: None,
                    paused: false,
                    bounds,
                    burn: 0,
                }),
                count: 0,
                tasks: Mapping::default(),
                attempts: Mapping::default(),
            })
        }

        /// Names the dispute contract. Only the deployer, only once.
        #[ink(message)]
        pub fn appoint(&mut self, dispute: Account) -> Result<(), Error> {
            let caller = self.caller();
            let done = owner::appoint(&mut self.config.0, caller, dispute)?;
            self.finish(done)
        }

        /// Stops or resumes the intake of new tasks. Only the owner.
        #[ink(message)]
        pub fn pause(&mut self, paused: bool) -> Result<(), Error> {
            let caller = self.caller();
            let done = owner::pause(&mut self.config.0, caller, paused)?;
            self.finish(done)
        }

        /// Offers ownership, or withdraws the offer. Only the owner.
        #[ink(message)]
        pub fn offer_ownership(&mut self, heir: Option<Account>) -> Result<(), Error> {
            let caller = self.caller();
            let done = owner::offer(&mut self.config.0, caller, heir)?;
            self.finish(done)
        }

        /// Takes the ownership that was offered to the caller.
        #[ink(message)]
        pub fn take_ownership(&mut self) -> Result<(), Error> {
            let caller = self.caller();
            let done = owner::take(&mut self.config.0, caller)?;
            self.finish(done)
        }

        /// Submits a task and pays its reward ceiling, exactly. `artifacts` says where its
        /// program, genesis state and datasets are found, in at most 256 bytes.
        #[ink(message, payable)]
        pub fn submit(&mut self, task: Task, artifacts: Vec<u8>) -> Result<TaskId, Error> {
            let id = self.count;
            let (record, done) = task::submit(
                &self.config.0,
                id,
                self.caller(),
                self.env().transferred_value(),
                task,
                artifacts,
                self.moment(),
            )?;
            self.count += 1;
            self.tasks.insert(id, &Cell(record));
            self.finish(done)?;
            Ok(id)
        }

        /// Accepts an open task at its current price, if that is at least `min_price`, and locks
        /// the stake. Replies with the number of the attempt.
        #[ink(message)]
        pub fn accept(
            &mut self,
            task: TaskId,
            terms_hash: Blake3,
            min_price: Balance,
        ) -> Result<Attempt, Error> {
            let mut record = self.get_task(task)?;
            let solver = self.caller();
            let now = self.now();
            let (attempt, done) =
                task::accept(task, &mut record, solver, terms_hash, min_price, now)?;
            let number = record.attempts;
            self.store(task, record, number, attempt);
            self.finish(done)?;
            Ok(number)
        }

        /// Commits to a result. Only the attempt's solver, up to its deadline. `last` opens the
        /// final state as the last entry of the trace; `metric` shows what the terms' goal asks for,
        /// without which the result earns as if the goal were missed; `artifacts` says where the
        /// checkpoints are found, in at most 256 bytes.
        #[ink(message)]
        #[allow(clippy::too_many_arguments)] // ink! makes the message's fields arguments.
        pub fn commit(
            &mut self,
            task: TaskId,
            terms_hash: Blake3,
            attempt: Attempt,
            commitment: Commitment,
            last: Opening,
            metric: Option<MetricProof>,
            artifacts: Vec<u8>,
        ) -> Result<(), Error> {
            let caller = self.caller();
            let at = self.moment();
            self.change(task, attempt, |_, current| {
                let claim = Claim {
                    commitment,
                    last,
                    metric,
                    artifacts,
                };
                let done = task::commit(current, caller, terms_hash, claim, at)?;
                Ok(((), done))
            })
        }

        /// Settles an attempt whose window is past and that no open challenge disputes. Anyone.
        #[ink(message)]
        pub fn finalize(&mut self, task: TaskId, attempt: Attempt) -> Result<(), Error> {
            let now = self.now();
            self.change(task, attempt, |_, current| {
                Ok(((), task::finalize(current, now)?))
            })
        }

        /// Ends an attempt that missed its commit deadline. Anyone.
        #[ink(message)]
        pub fn expire(&mut self, task: TaskId, attempt: Attempt) -> Result<(), Error> {
            let now = self.now();
            self.change(task, attempt, |config, current| {
                Ok(((), task::expire(config, current, now)?))
            })
        }

        /// Cancels an open task and refunds the reward. Only the submitter.
        #[ink(message)]
        pub fn cancel(&mut self, task: TaskId) -> Result<(), Error> {
            let mut record = self.get_task(task)?;
            let done = task::cancel(task, &mut record, self.caller())?;
            self.tasks.insert(task, &Cell(record));
            self.finish(done)
        }

        /// Pays the submitter what it is owed. Replies with the amount.
        #[ink(message)]
        pub fn withdraw_refund(&mut self, task: TaskId) -> Result<Balance, Error> {
            let mut record = self.get_task(task)?;
            let (amount, done) = withdraw::refund(task, &mut record, self.caller())?;
            self.tasks.insert(task, &Cell(record));
            self.finish(done)?;
            Ok(amount)
        }

        /// Pays the solver what it is owed. Replies with the amount.
        #[ink(message)]
        pub fn withdraw_reward(
            &mut self,
            task: TaskId,
            attempt: Attempt,
        ) -> Result<Balance, Error> {
            let mut record = self.get_attempt(task, attempt)?;
            let (amount, done) = withdraw::reward(task, attempt, &mut record, self.caller())?;
            self.attempts.insert((task, attempt), &Cell(record));
            self.finish(done)?;
            Ok(amount)
        }

        /// Sends what burns to an account that nobody has a key of, once it exceeds the
        /// existential deposit. Anyone. Replies with the amount.
        #[ink(message)]
        pub fn flush_burn(&mut self) -> Result<Balance, Error> {
            let existential = self.env().minimum_balance();
            let (amount, done) = withdraw::burn(&mut self.config.0, existential)?;
            self.finish(done)?;
            Ok(amount)
        }

        /// Removes a task that is over and owes nothing. Only the submitter.
        #[ink(message)]
        pub fn prune_task(&mut self, task: TaskId) -> Result<(), Error> {
            let done = withdraw::prune_task(task, &self.get_task(task)?, self.caller())?;
            self.tasks.remove(task);
            self.finish(done)
        }

        /// Removes an attempt that is over and owes nothing. Only its solver.
        #[ink(message)]
        pub fn prune_attempt(&mut self, task: TaskId, attempt: Attempt) -> Result<(), Error> {
            let record = self.get_attempt(task, attempt)?;
            let done = withdraw::prune_attempt(task, attempt, &record, self.caller())?;
            self.attempts.remove((task, attempt));
            self.finish(done)
        }

        /// Registers a dispute or a demand. Only the dispute contract.
        #[ink(message)]
        pub fn challenge_opened(
            &mut self,
            task: TaskId,
            attempt: Attempt,
            terms_hash: Blake3,
            trace: Blake3,
        ) -> Result<Challenged, Error> {
            self.only_dispute()?;
            let now = self.now();
            self.change(task, attempt, |_, current| {
                let Current { task, attempt, .. } = current;
                let reply = challenge::opened(task, attempt, terms_hash, trace, now)?;
                Ok((reply, Done::default()))
            })
        }

        /// Registers the end of a dispute or a demand. Only the dispute contract. Replies whether
        /// the challenger earns a share.
        #[ink(message)]
        pub fn challenge_closed(
            &mut self,
            task: TaskId,
            attempt: Attempt,
            outcome: Outcome,
        ) -> Result<bool, Error> {
            self.only_dispute()?;
            let now = self.now();
            self.change(task, attempt, |config, current| {
                challenge::closed(config, current, outcome, now)
            })
        }

        /// Pays one winner's share. Only the dispute contract, once for each share. Replies with
        /// the amount.
        #[ink(message)]
        pub fn pay_share(
            &mut self,
            task: TaskId,
            attempt: Attempt,
            winner: Account,
        ) -> Result<Balance, Error> {
            self.only_dispute()?;
            let mut record = self.get_attempt(task, attempt)?;
            let (amount, done) = challenge::pay_share(task, attempt, &mut record, winner)?;
            self.attempts.insert((task, attempt), &Cell(record));
            self.finish(done)?;
            Ok(amount)
        }

        /// How many tasks have been submitted: the next task's number.
        #[ink(message)]
        pub fn task_count(&self) -> TaskId {
            self.count
        }

        /// A task; `None` when it never was or is pruned.
        #[ink(message)]
        pub fn task(&self, task: TaskId) -> Option<TaskRecord> {
            self.get_task(task).ok()
        }

        /// An attempt; `None` when it never was or is pruned.
        #[ink(message)]
        pub fn attempt(&self, task: TaskId, attempt: Attempt) -> Option<AttemptRecord> {
            self.get_attempt(task, attempt).ok()
        }

        /// Tasks from number `from` on, and the attempts at them, as far as they are not pruned.
        #[ink(message)]
        pub fn list_tasks(&self, from: TaskId, limit: u32) -> TaskPage {
            let end = from
                .saturating_add(u64::from(limit.min(PAGE)))
                .min(self.count);
            let mut page = TaskPage {
                tasks: Vec::new(),
                next: from,
            };
            let mut records = 0;
            while page.next < end && records < PAGE {
                let id = page.next;
                let task = self.get_task(id).ok();
                let last = task.as_ref().map_or(LISTED_ATTEMPTS, |task| task.attempts);
                let attempts: Vec<_> = (1..=last)
                    .rev()
                    .take(LISTED_ATTEMPTS as usize)
                    .filter_map(|number| Some((number, self.get_attempt(id, number).ok()?)))
                    .collect();
                let found = task.iter().count() + attempts.len();
                if found > 0 {
                    records += found as u32;
                    page.tasks.push(ListedTask { id, task, attempts });
                }
                page.next += 1;
            }
            page
        }

        /// The price at which a task can be accepted now; `None` when it cannot.
        #[ink(message)]
        pub fn price(&self, task: TaskId) -> Option<Balance> {
            self.get_task(task).ok()?.price(self.now())
        }

        /// The contract's settings and totals.
        #[ink(message)]
        pub fn config(&self) -> Config {
            self.config.0
        }

        fn caller(&self) -> Account {
            *self.env().caller().as_ref()
        }

        fn now(&self) -> Millis {
            self.env().block_timestamp()
        }

        fn moment(&self) -> Moment {
            Moment {
                now: self.now(),
                block: self.env().block_number(),
            }
        }

        fn only_dispute(&self) -> Result<(), Error> {
            if self.config.0.dispute == Some(self.caller()) {
                Ok(())
            } else {
                Err(Error::NotDispute)
            }
        }

        fn get_task(&self, id: TaskId) -> Result<TaskRecord, Error> {
            let Cell(record) = self.tasks.get(id).ok_or(Error::NoTask)?;
            Ok(record)
        }

        fn get_attempt(&self, id: TaskId, number: Attempt) -> Result<AttemptRecord, Error> {
            let Cell(record) = self.attempts.get((id, number)).ok_or(Error::NoAttempt)?;
            Ok(record)
        }

        /// Changes a task and one of its attempts.
        fn change<T>(
            &mut self,
            id: TaskId,
            number: Attempt,
            change: impl FnOnce(&mut Config, Current) -> Result<(T, Done), Error>,
        ) -> Result<T, Error> {
            let mut task = self.get_task(id)?;
            let mut attempt = self.get_attempt(id, number)?;
            let current = Current {
                id,
                task: &mut task,
                number,
                attempt: &mut attempt,
            };
            let (reply, done) = change(&mut self.config.0, current)?;
            self.store(id, task, number, attempt);
            self.finish(done)?;
            Ok(reply)
        }

        fn store(&mut self, id: TaskId, task: TaskRecord, number: Attempt, attempt: AttemptRecord) {
            self.tasks.insert(id, &Cell(task));
            self.attempts.insert((id, number), &Cell(attempt));
        }

        /// Carries out what a message decided. An effect that fails undoes the whole message.
        fn finish(&mut self, done: Done) -> Result<(), Error> {
            for effect in done.effects {
                match effect {
                    Effect::Lock(owner, amount) => self.stake(&stake::Lock { owner, amount })?,
                    Effect::Unlock(owner, amount) => {
                        self.stake(&stake::Unlock { owner, amount })?
                    }
                    Effect::Slash(owner, amount) => self.stake(&stake::Slash { owner, amount })?,
                    Effect::Pay(to, amount) => self.pay(to, amount)?,
                }
            }
            for event in done.events {
                self.env().emit_event(Log {
                    subject: event.task(),
                    event,
                });
            }
            Ok(())
        }

        fn stake<M>(&self, message: &M) -> Result<(), Error>
        where
            M: Message<Reply = Result<(), stake::Error>>,
        {
            send(self.config.0.stake, message)
                .ok_or(Error::StakeCall)?
                .map_err(Error::Stake)
        }

        fn pay(&self, to: Account, amount: Balance) -> Result<(), Error> {
            if amount == 0 {
                return Ok(());
            }
            self.env()
                .transfer(to.into(), amount)
                .map_err(|_| Error::Transfer)
        }
    }
}
