//! Escrow and the stake it commands, in memory. Every message keeps the books balanced.

use crate::logic::{
    challenge, owner,
    task::{self, Claim, Current, Moment},
    withdraw, Done, Effect,
};
use lockstep_interface::{
    escrow::{AttemptRecord, AttemptStatus, Challenged, Config, Error, Event, Outcome, TaskRecord},
    goal::{Goal, MetricProof, Side},
    stake, Account, Attempt, Balance, Bounds, Hash, Millis, Task, TaskId, Terms,
};
use lockstep_protocol::{
    task::{Commitment, TaskSpec},
    tree,
};
use std::collections::BTreeMap;

pub const DEPLOYER: Account = [1; 32];
pub const DISPUTE: Account = [2; 32];
pub const SUBMITTER: Account = [3; 32];
pub const SOLVER: Account = [4; 32];
pub const OTHER: Account = [5; 32];
pub const CHALLENGER: Account = [6; 32];

pub const EXISTENTIAL: Balance = 10;

#[derive(Clone)]
pub struct World {
    pub now: Millis,
    pub config: Config,
    pub count: TaskId,
    pub tasks: BTreeMap<TaskId, TaskRecord>,
    pub attempts: BTreeMap<(TaskId, Attempt), AttemptRecord>,
    /// Free and locked stake.
    pub stakes: BTreeMap<Account, (Balance, Balance)>,
    /// What escrow's account holds.
    pub balance: Balance,
    /// What escrow has paid to whom.
    pub paid: BTreeMap<Account, Balance>,
    pub events: Vec<Event>,
}

/// Terms in which every number differs, so that a mix-up shows.
pub fn terms() -> Terms {
    Terms {
        reward_floor: 100,
        reward_ceiling: 1100,
        stake: 2003,
        bond: 600,
        demand_fee: 7,
        ramp: 1000,
        open: 3000,
        work: 500,
        audit: 900,
        window: 300,
        replay: 10,
        clock: 70,
        increment: 5,
        min_blocks: 2,
        goal: None,
    }
}

/// At least 1 in slot 1, or a quarter of the price.
pub const GOAL: Goal = Goal {
    slot: 1,
    side: Side::AtLeast,
    threshold: 0x3f80_0000,
    otherwise: 250,
};

pub fn content(terms: Terms) -> Task {
    Task {
        spec: TaskSpec {
            program: [8; 32],
            nodes: 9,
            slots: 2,
            genesis: [9; 32],
            datasets: vec![],
            batch: 1,
            steps: 100,
            segment: 1,
            seed: 3,
        },
        terms,
    }
}

/// A claim of 100 checkpoints whose entries depend on `variant`.
pub fn claim(variant: u8) -> Claim {
    claim_of(variant, [variant ^ 99; 32])
}

fn claim_of(variant: u8, state: Hash) -> Claim {
    let mut states: Vec<Hash> = (0..99).map(|i| [variant ^ i as u8; 32]).collect();
    states.push(state);
    let file = states.concat();
    Claim {
        commitment: Commitment {
            trace: tree::hash(&file),
            state,
        },
        last: tree::prove_open(&file, 99 * 32),
        metric: None,
        artifacts: vec![],
    }
}

/// A claim whose final state holds `metric` in slot 1, with the proof of it.
pub fn scored(metric: f32) -> Claim {
    let metric = metric.to_bits();
    let file = [[5; 32], tree::hash(&metric.to_le_bytes())].concat();
    Claim {
        metric: Some(MetricProof {
            metric,
            slot: tree::prove_open(&file, 32),
        }),
        ..claim_of(0, tree::hash(&file))
    }
}

impl World {
    pub fn new() -> World {
        let bounds = Bounds {
            min_reward: 1,
            min_stake: 1,
            min_bond: 1,
            min_demand_fee: 1,
            min_open: 1,
            min_work: 1,
            min_window: 1,
            min_replay: 1,
            min_clock: 1,
            min_increment: 1,
            min_blocks: 1,
            max_time: 1 << 36,
            max_blocks: 100,
        };
        let mut world = World {
            now: 10_000,
            config: Config {
                deployer: DEPLOYER,
                stake: [7; 32],
                dispute: None,
                owner: DEPLOYER,
                heir: None,
                paused: false,
                bounds,
                burn: 0,
            },
            count: 0,
            tasks: BTreeMap::new(),
            attempts: BTreeMap::new(),
            stakes: BTreeMap::from([(SOLVER, (10_000, 0)), (OTHER, (10_000, 0))]),
            balance: 0,
            paid: BTreeMap::new(),
            events: vec![],
        };
        owner::appoint(&mut world.config, DEPLOYER, DISPUTE).unwrap();
        world
    }

    /// A world in which a task was submitted.
    pub fn with_task() -> World {
        let mut world = World::new();
        world.submit(SUBMITTER, terms(), 1100).unwrap();
        world
    }

    /// A world in which a solver has committed to `claim(0)` right after submission.
    pub fn with_commitment() -> World {
        let mut world = World::with_task();
        world.accept(0, SOLVER, 0).unwrap();
        world.commit(0, 1, SOLVER, 0).unwrap();
        world
    }

    pub fn hash(&self, id: TaskId) -> Hash {
        self.tasks.get(&id).map_or([0; 32], |task| task.terms_hash)
    }

    pub fn submit(
        &mut self,
        caller: Account,
        terms: Terms,
        value: Balance,
    ) -> Result<TaskId, Error> {
        let id = self.count;
        let content = content(terms);
        let at = self.at();
        let (record, done) = task::submit(&self.config, id, caller, value, content, vec![], at)?;
        let mut next = self.clone();
        next.balance += value;
        next.count += 1;
        next.tasks.insert(id, record);
        self.finish(next, done)?;
        Ok(id)
    }

    pub fn accept(
        &mut self,
        id: TaskId,
        caller: Account,
        min_price: Balance,
    ) -> Result<Attempt, Error> {
        let mut next = self.clone();
        let task = next.tasks.get_mut(&id).ok_or(Error::NoTask)?;
        let hash = task.terms_hash;
        let (record, done) = task::accept(id, task, caller, hash, min_price, self.now)?;
        let number = task.attempts;
        next.attempts.insert((id, number), record);
        self.finish(next, done)?;
        Ok(number)
    }

    pub fn commit(
        &mut self,
        id: TaskId,
        number: Attempt,
        caller: Account,
        variant: u8,
    ) -> Result<(), Error> {
        let hash = self.hash(id);
        self.commit_as(id, number, caller, hash, claim(variant))
    }

    pub fn commit_as(
        &mut self,
        id: TaskId,
        number: Attempt,
        caller: Account,
        hash: Hash,
        claim: Claim,
    ) -> Result<(), Error> {
        let at = self.at();
        self.change(id, number, |_, current| {
            let done = task::commit(current, caller, hash, claim, at)?;
            Ok(((), done))
        })
    }

    pub fn finalize(&mut self, id: TaskId, number: Attempt) -> Result<(), Error> {
        let now = self.now;
        self.change(id, number, |_, current| {
            Ok(((), task::finalize(current, now)?))
        })
    }

    pub fn expire(&mut self, id: TaskId, number: Attempt) -> Result<(), Error> {
        let now = self.now;
        self.change(id, number, |config, current| {
            Ok(((), task::expire(config, current, now)?))
        })
    }

    pub fn cancel(&mut self, id: TaskId, caller: Account) -> Result<(), Error> {
        let mut next = self.clone();
        let task = next.tasks.get_mut(&id).ok_or(Error::NoTask)?;
        let done = task::cancel(id, task, caller)?;
        self.finish(next, done)
    }

    pub fn challenge(&mut self, id: TaskId, number: Attempt) -> Result<Challenged, Error> {
        let trace = self
            .attempts
            .get(&(id, number))
            .map_or([0; 32], |a| a.commitment.trace);
        let hash = self.hash(id);
        self.challenge_as(id, number, hash, trace)
    }

    pub fn challenge_as(
        &mut self,
        id: TaskId,
        number: Attempt,
        hash: Hash,
        trace: Hash,
    ) -> Result<Challenged, Error> {
        let now = self.now;
        self.change(id, number, |_, current| {
            let Current { task, attempt, .. } = current;
            let reply = challenge::opened(task, attempt, hash, trace, now)?;
            Ok((reply, Done::default()))
        })
    }

    pub fn close(&mut self, id: TaskId, number: Attempt, outcome: Outcome) -> Result<bool, Error> {
        let now = self.now;
        self.change(id, number, |config, current| {
            challenge::closed(config, current, outcome, now)
        })
    }

    pub fn pay_share(
        &mut self,
        id: TaskId,
        number: Attempt,
        winner: Account,
    ) -> Result<Balance, Error> {
        let mut next = self.clone();
        let attempt = next
            .attempts
            .get_mut(&(id, number))
            .ok_or(Error::NoAttempt)?;
        let (amount, done) = challenge::pay_share(id, number, attempt, winner)?;
        self.finish(next, done)?;
        Ok(amount)
    }

    pub fn withdraw_refund(&mut self, id: TaskId, caller: Account) -> Result<Balance, Error> {
        let mut next = self.clone();
        let task = next.tasks.get_mut(&id).ok_or(Error::NoTask)?;
        let (amount, done) = withdraw::refund(id, task, caller)?;
        self.finish(next, done)?;
        Ok(amount)
    }

    pub fn withdraw_reward(
        &mut self,
        id: TaskId,
        number: Attempt,
        caller: Account,
    ) -> Result<Balance, Error> {
        let mut next = self.clone();
        let attempt = next
            .attempts
            .get_mut(&(id, number))
            .ok_or(Error::NoAttempt)?;
        let (amount, done) = withdraw::reward(id, number, attempt, caller)?;
        self.finish(next, done)?;
        Ok(amount)
    }

    pub fn flush_burn(&mut self) -> Result<Balance, Error> {
        let mut next = self.clone();
        let (amount, done) = withdraw::burn(&mut next.config, EXISTENTIAL)?;
        self.finish(next, done)?;
        Ok(amount)
    }

    pub fn prune_task(&mut self, id: TaskId, caller: Account) -> Result<(), Error> {
        let task = self.tasks.get(&id).ok_or(Error::NoTask)?;
        let done = withdraw::prune_task(id, task, caller)?;
        let mut next = self.clone();
        next.tasks.remove(&id);
        self.finish(next, done)
    }

    pub fn prune_attempt(
        &mut self,
        id: TaskId,
        number: Attempt,
        caller: Account,
    ) -> Result<(), Error> {
        let attempt = self.attempts.get(&(id, number)).ok_or(Error::NoAttempt)?;
        let done = withdraw::prune_attempt(id, number, attempt, caller)?;
        let mut next = self.clone();
        next.attempts.remove(&(id, number));
        self.finish(next, done)
    }

    /// Everything that somebody can withdraw or that burns, and what is held for rewards.
    fn owed(&self) -> Balance {
        let tasks: Balance = self.tasks.values().map(|t| t.held + t.owed).sum();
        let attempts: Balance = self.attempts.values().map(|a| a.pool + a.owed).sum();
        tasks + attempts + self.config.burn
    }

    fn change<T>(
        &mut self,
        id: TaskId,
        number: Attempt,
        change: impl FnOnce(&mut Config, Current) -> Result<(T, Done), Error>,
    ) -> Result<T, Error> {
        let mut next = self.clone();
        let current = Current {
            id,
            task: next.tasks.get_mut(&id).ok_or(Error::NoTask)?,
            number,
            attempt: next
                .attempts
                .get_mut(&(id, number))
                .ok_or(Error::NoAttempt)?,
        };
        let (reply, done) = change(&mut next.config, current)?;
        self.finish(next, done)?;
        Ok(reply)
    }

    fn finish(&mut self, mut next: World, done: Done) -> Result<(), Error> {
        for effect in done.effects {
            match effect {
                Effect::Lock(owner, amount) => {
                    let (free, locked) = next.stakes.entry(owner).or_default();
                    *free = free
                        .checked_sub(amount)
                        .ok_or(Error::Stake(stake::Error::NotFree))?;
                    *locked += amount;
                }
                Effect::Unlock(owner, amount) => {
                    let (free, locked) = next.stakes.entry(owner).or_default();
                    *locked -= amount;
                    *free += amount;
                }
                Effect::Slash(owner, amount) => {
                    next.stakes.entry(owner).or_default().1 -= amount;
                    next.balance += amount;
                }
                Effect::Pay(to, amount) => {
                    next.balance -= amount;
                    *next.paid.entry(to).or_default() += amount;
                }
            }
        }
        next.events.extend(done.events);
        next.check();
        *self = next;
        Ok(())
    }

    /// Invariant 4, and that locked stake is exactly that of attempts that can be slashed.
    fn check(&self) {
        assert_eq!(self.balance, self.owed(), "value in equals value out");
        for (owner, (_, locked)) in &self.stakes {
            let live = self.attempts.values().filter(|attempt| {
                let open = [AttemptStatus::Working, AttemptStatus::Committed];
                attempt.solver == *owner && open.contains(&attempt.status)
            });
            assert_eq!(*locked, live.map(|attempt| attempt.stake).sum::<Balance>());
        }
        for (id, task) in &self.tasks {
            let of_task = self.attempts.iter().filter(|((task, _), _)| task == id);
            let open: u32 = of_task.map(|(_, attempt)| attempt.challenges).sum();
            assert_eq!(task.challenges, open);
        }
    }

    fn at(&self) -> Moment {
        Moment {
            now: self.now,
            block: 1,
        }
    }
}
