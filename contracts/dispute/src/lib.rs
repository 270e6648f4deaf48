//! The dispute contract. [`logic`] says what happens in disputes and demands, this file who may
//! ask. The rules of the game itself are those of the protocol.
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
pub use contract::{Dispute, DisputeRef};

/// Bytes of a dispute's record at its longest, which it occupies from the start.
const DISPUTE_BYTES: usize = 568;

#[ink::contract]
mod contract {
    use crate::logic::{
        demand::{self, Asked},
        dispute, take_burn, Moment,
    };
    use crate::DISPUTE_BYTES;
    use ink::{prelude::vec::Vec, storage::Mapping};
    use lockstep_interface::{
        cell::{send, Cell},
        dispute::{
            Answer, Config, DemandRecord, DemandStatus, DisputeRecord, Error, Event, Listed, Share,
            PAGE,
        },
        escrow::{self, Challenged, Outcome},
        Account, Attempt, DemandId, DisputeId, Hash as Blake3, Message, Task, TaskId, BURN_ACCOUNT,
    };
    use lockstep_protocol::game::{Move, Phase, Side};

    /// Disputes and demands by number.
    #[ink(storage)]
    pub struct Dispute {
        config: Cell<Config>,
        dispute_count: DisputeId,
        demand_count: DemandId,
        disputes: Mapping<DisputeId, Cell<DisputeRecord, DISPUTE_BYTES>>,
        demands: Mapping<DemandId, Cell<DemandRecord>>,
    }

    /// Something happened.
    #[ink(event)]
    pub struct Log {
        /// The task whose result is challenged.
        #[ink(topic)]
        subject: Option<TaskId>,
        /// What happened.
        event: Event,
    }

    impl Dispute {
        /// A contract that settles through `escrow`.
        #[ink(constructor)]
        pub fn new(escrow: Account) -> Self {
            Dispute {
                config: Cell(Config { escrow, burn: 0 }),
                dispute_count: 0,
                demand_count: 0,
                disputes: Mapping::default(),
                demands: Mapping::default(),
            }
        }

        /// Disputes a commitment and posts the bond, exactly. `content` is the task as it was
        /// submitted, `trace` the checkpoint trace that the challenger means.
        #[ink(message, payable)]
        pub fn open(
            &mut self,
            task: TaskId,
            attempt: Attempt,
            content: Task,
            trace: Blake3,
        ) -> Result<DisputeId, Error> {
            let challenged = self.register(task, attempt, &content, trace)?;
            let challenger = self.caller();
            let value = self.env().transferred_value();
            let at = self.moment();
            let record =
                dispute::open(task, attempt, &content, challenger, value, &challenged, at)?;
            let id = self.dispute_count;
            self.dispute_count += 1;
            self.disputes.insert(id, &Cell(record));
            let event = Event::Opened {
                dispute: id,
                task,
                attempt,
                challenger,
            };
            self.log(task, event);
            Ok(id)
        }

        /// Makes a move. Only the side whose turn it is, while its clock runs. `position` is the
        /// hash of the position that the move answers.
        #[ink(message)]
        pub fn play(
            &mut self,
            dispute: DisputeId,
            position: Blake3,
            mv: Move,
        ) -> Result<(), Error> {
            let mut record = self.get_dispute(dispute)?;
            let at = self.moment();
            let side = dispute::play(&mut record, self.caller(), &position, &mv, at)?;
            let position = record.game.position - 1;
            let event = match record.game.phase {
                Phase::Over(outcome) => Event::Decided {
                    dispute,
                    position,
                    side,
                    outcome,
                },
                _ => Event::Moved {
                    dispute,
                    position,
                    side,
                    mv,
                },
            };
            self.log(record.task, event);
            self.disputes.insert(dispute, &Cell(record));
            Ok(())
        }

        /// Settles a dispute that a move has decided, or whose mover's clock has expired: divides
        /// the bond and tells escrow. Anyone.
        #[ink(message)]
        pub fn settle(&mut self, dispute: DisputeId) -> Result<(), Error> {
            let mut record = self.get_dispute(dispute)?;
            let at = self.moment();
            let outcome = dispute::settle(&mut record, &mut self.config.0.burn, at)?;
            let told = match outcome.winner {
                Side::Challenger => Outcome::Wrong,
                Side::Defender => Outcome::Upheld,
            };
            record.share = self.unregister(record.task, record.attempt, told)?;
            let event = Event::Settled {
                dispute,
                outcome,
                to_challenger: record.owed_challenger,
                to_solver: record.owed_solver,
                burned: record.bond - record.owed_challenger - record.owed_solver,
            };
            self.log(record.task, event);
            self.disputes.insert(dispute, &Cell(record));
            Ok(())
        }

        /// Asks the solver to post one chunk of a checkpoint and pays the fee, exactly.
        #[ink(message, payable)]
        #[allow(clippy::too_many_arguments)]
        pub fn demand(
            &mut self,
            task: TaskId,
            attempt: Attempt,
            content: Task,
            trace: Blake3,
            segment: u32,
            slot: u32,
            chunk: u64,
        ) -> Result<DemandId, Error> {
            let challenged = self.register(task, attempt, &content, trace)?;
            let demander = self.caller();
            let value = self.env().transferred_value();
            let asked = Asked {
                segment,
                slot,
                chunk,
            };
            let at = self.moment();
            let record = demand::ask(
                task,
                attempt,
                &content,
                demander,
                value,
                asked,
                &challenged,
                at,
            )?;
            let id = self.demand_count;
            self.demand_count += 1;
            self.demands.insert(id, &Cell(record));
            let event = Event::Demanded {
                demand: id,
                task,
                attempt,
                demander,
                segment,
                slot,
                chunk,
            };
            self.log(task, event);
            Ok(id)
        }

        /// Answers a demand. Only the attempt's solver, while the clock runs.
        #[ink(message)]
        pub fn answer(&mut self, demand: DemandId, answer: Answer) -> Result<(), Error> {
            let mut record = self.get_demand(demand)?;
            demand::answer(&mut record, self.caller(), &answer, self.moment())?;
            self.unregister(record.task, record.attempt, Outcome::Upheld)?;
            self.demands.insert(demand, &Cell(record));
            let data = answer.chunk.map(|chunk| chunk.data.chunk);
            self.log(record.task, Event::Answered { demand, data });
            Ok(())
        }

        /// Ends a demand whose clock has expired: the attempt is slashed. Anyone.
        #[ink(message)]
        pub fn expire_demand(&mut self, demand: DemandId) -> Result<(), Error> {
            let mut record = self.get_demand(demand)?;
            demand::expire(&mut record, self.moment())?;
            record.share = self.unregister(record.task, record.attempt, Outcome::Withheld)?;
            self.demands.insert(demand, &Cell(record));
            self.log(record.task, Event::DemandFailed { demand });
            Ok(())
        }

        /// Pays the caller what a dispute that is over owes it. Replies with the amount.
        #[ink(message)]
        pub fn withdraw(&mut self, dispute: DisputeId) -> Result<Balance, Error> {
            let mut record = self.get_dispute(dispute)?;
            let to = self.caller();
            let amount = dispute::withdraw(&mut record, to)?;
            let task = record.task;
            self.disputes.insert(dispute, &Cell(record));
            self.pay(to, amount)?;
            let event = Event::Withdrawn {
                dispute,
                to,
                amount,
            };
            self.log(task, event);
            Ok(amount)
        }

        /// Pays the caller what a demand that is over owes it. Replies with the amount.
        #[ink(message)]
        pub fn withdraw_fee(&mut self, demand: DemandId) -> Result<Balance, Error> {
            let mut record = self.get_demand(demand)?;
            let to = self.caller();
            let amount = demand::withdraw(&mut record, to)?;
            self.demands.insert(demand, &Cell(record));
            self.pay(to, amount)?;
            self.log(record.task, Event::FeeWithdrawn { demand, to, amount });
            Ok(amount)
        }

        /// Pays the challenger its share of the slashed stake, once no challenge of the attempt
        /// is open. Replies with the amount; escrow reports it.
        #[ink(message)]
        pub fn claim_share(&mut self, dispute: DisputeId) -> Result<Balance, Error> {
            let mut record = self.get_dispute(dispute)?;
            dispute::take_share(&mut record, self.caller())?;
            let (task, attempt, winner) = (record.task, record.attempt, record.challenger);
            self.disputes.insert(dispute, &Cell(record));
            self.escrow(&escrow::PayShare {
                task,
                attempt,
                winner,
            })
        }

        /// As `claim_share`, for a demand.
        #[ink(message)]
        pub fn claim_demand_share(&mut self, demand: DemandId) -> Result<Balance, Error> {
            let mut record = self.get_demand(demand)?;
            demand::take_share(&mut record, self.caller())?;
            self.demands.insert(demand, &Cell(record));
            self.escrow(&escrow::PayShare {
                task: record.task,
                attempt: record.attempt,
                winner: record.demander,
            })
        }

        /// Sends what burns to an account that nobody has a key of, once it exceeds the
        /// existential deposit. Anyone. Replies with the amount.
        #[ink(message)]
        pub fn flush_burn(&mut self) -> Result<Balance, Error> {
            let existential = self.env().minimum_balance();
            let amount = take_burn(&mut self.config.0.burn, existential)?;
            self.pay(BURN_ACCOUNT, amount)?;
            self.env().emit_event(Log {
                subject: None,
                event: Event::Burned { amount },
            });
            Ok(amount)
        }

        /// Removes a dispute that is over and owes nothing. Only the challenger.
        #[ink(message)]
        pub fn prune(&mut self, dispute: DisputeId) -> Result<(), Error> {
            let record = self.get_dispute(dispute)?;
            dispute::check_prune(&record, self.caller())?;
            self.disputes.remove(dispute);
            self.log(record.task, Event::Pruned { dispute });
            Ok(())
        }

        /// Removes a demand that is over and owes nothing. Only the demander.
        #[ink(message)]
        pub fn prune_demand(&mut self, demand: DemandId) -> Result<(), Error> {
            let record = self.get_demand(demand)?;
            demand::check_prune(&record, self.caller())?;
            self.demands.remove(demand);
            self.log(record.task, Event::DemandPruned { demand });
            Ok(())
        }

        /// How many disputes were opened: the next dispute's number.
        #[ink(message)]
        pub fn dispute_count(&self) -> DisputeId {
            self.dispute_count
        }

        /// How many demands were made: the next demand's number.
        #[ink(message)]
        pub fn demand_count(&self) -> DemandId {
            self.demand_count
        }

        /// A dispute; `None` when it never was or is pruned.
        #[ink(message)]
        pub fn dispute(&self, dispute: DisputeId) -> Option<DisputeRecord> {
            self.get_dispute(dispute).ok()
        }

        /// A demand; `None` when it never was or is pruned.
        #[ink(message)]
        pub fn demand_record(&self, demand: DemandId) -> Option<DemandRecord> {
            self.get_demand(demand).ok()
        }

        /// The disputes with numbers `from..from + limit` that are not pruned, at most 64.
        #[ink(message)]
        pub fn list_disputes(&self, from: DisputeId, limit: u32) -> Vec<Listed> {
            page(from, limit, self.dispute_count)
                .filter_map(|id| {
                    let record = self.get_dispute(id).ok()?;
                    Some(Listed {
                        id,
                        task: record.task,
                        attempt: record.attempt,
                        solver: record.solver,
                        challenger: record.challenger,
                        open: !record.settled,
                    })
                })
                .collect()
        }

        /// The demands with numbers `from..from + limit` that are not pruned, at most 64.
        #[ink(message)]
        pub fn list_demands(&self, from: DemandId, limit: u32) -> Vec<Listed> {
            page(from, limit, self.demand_count)
                .filter_map(|id| {
                    let record = self.get_demand(id).ok()?;
                    Some(Listed {
                        id,
                        task: record.task,
                        attempt: record.attempt,
                        solver: record.solver,
                        challenger: record.demander,
                        open: record.status == DemandStatus::Waiting,
                    })
                })
                .collect()
        }

        /// The contract's settings and totals.
        #[ink(message)]
        pub fn config(&self) -> Config {
            self.config.0
        }

        fn caller(&self) -> Account {
            *self.env().caller().as_ref()
        }

        fn moment(&self) -> Moment {
            Moment {
                now: self.env().block_timestamp(),
                block: self.env().block_number(),
            }
        }

        fn get_dispute(&self, id: DisputeId) -> Result<DisputeRecord, Error> {
            let Cell(record) = self.disputes.get(id).ok_or(Error::NoDispute)?;
            Ok(record)
        }

        fn get_demand(&self, id: DemandId) -> Result<DemandRecord, Error> {
            let Cell(record) = self.demands.get(id).ok_or(Error::NoDemand)?;
            Ok(record)
        }

        /// Has escrow check and count a new challenge.
        fn register(
            &self,
            task: TaskId,
            attempt: Attempt,
            content: &Task,
            trace: Blake3,
        ) -> Result<Challenged, Error> {
            self.escrow(&escrow::ChallengeOpened {
                task,
                attempt,
                terms_hash: content.hash(),
                trace,
            })
        }

        /// Tells escrow how a challenge ended.
        fn unregister(
            &self,
            task: TaskId,
            attempt: Attempt,
            outcome: Outcome,
        ) -> Result<Share, Error> {
            let earned = self.escrow(&escrow::ChallengeClosed {
                task,
                attempt,
                outcome,
            })?;
            Ok(if earned { Share::Earned } else { Share::None })
        }

        fn escrow<M, T>(&self, message: &M) -> Result<T, Error>
        where
            M: Message<Reply = Result<T, escrow::Error>>,
        {
            send(self.config.0.escrow, message)
                .ok_or(Error::EscrowCall)?
                .map_err(Error::Escrow)
        }

        fn pay(&self, to: Account, amount: Balance) -> Result<(), Error> {
            self.env()
                .transfer(to.into(), amount)
                .map_err(|_| Error::Transfer)
        }

        fn log(&self, task: TaskId, event: Event) {
            self.env().emit_event(Log {
                subject: Some(task),
                event,
            });
        }
    }

    fn page(from: u64, limit: u32, count: u64) -> impl Iterator<Item = u64> {
        from..from.saturating_add(u64::from(limit.min(PAGE))).min(count)
    }
}
