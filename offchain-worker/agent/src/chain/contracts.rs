//! The three contracts, as a worker talks to them: messages in, replies and refusals out.

mod deployment;

pub use deployment::{Deployed, STEPS};

use super::{Balance, Call, Chain, Error as ChainError, Limits, Now, Receipt};
use crate::keys::{address, Account, Signer};
use lockstep_interface::dispute::{self, DemandRecord, DisputeRecord, Listed, PAGE};
use lockstep_interface::escrow::{self, AttemptRecord, ListedTask, TaskRecord};
use lockstep_interface::stake::{self, Staker};
use lockstep_interface::{Attempt, DemandId, DisputeId, Logged, Message, Task, TaskId};
use scale::Decode;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

/// Where the contracts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// The stake contract.
    #[serde(with = "as_address")]
    pub stake: Account,
    /// The escrow contract.
    #[serde(with = "as_address")]
    pub escrow: Account,
    /// The dispute contract.
    #[serde(with = "as_address")]
    pub dispute: Account,
}

/// Why a message had no effect.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The contract refused it.
    #[error("[M01] `{message}` was refused: {reason}")]
    Refused {
        /// The message.
        message: &'static str,
        /// What the contract said.
        reason: String,
    },
    /// The contract's answer means nothing here.
    #[error("[M02] the contract at {contract} is not the one that this worker knows: {reason}")]
    Other {
        /// Its address.
        contract: String,
        /// What is wrong.
        reason: String,
    },
    /// No contract is where one should be.
    #[error("[M03] there is no contract at {address}, where {contract} should be; is this the network that it was deployed on, and are the addresses those that `lockstep deploy` wrote?")]
    Missing {
        /// Which contract.
        contract: &'static str,
        /// Where.
        address: String,
    },
    /// A contract is not the one that this worker was built with.
    #[error("[M04] the {contract} contract at {address} is another version: {reason}; use the lockstep release that deployed it, or deploy anew")]
    Version {
        /// Which contract.
        contract: &'static str,
        /// Where.
        address: String,
        /// Which code is there, and which was expected.
        reason: String,
    },
    /// The contracts do not belong together.
    #[error("[M05] the {contract} contract at {address} belongs to others: {reason}; run the same `lockstep deploy` again to finish a deployment, or check the addresses")]
    Wiring {
        /// Which contract.
        contract: &'static str,
        /// Where.
        address: String,
        /// Whom it knows, and whom it should.
        reason: String,
    },
    /// The chain failed.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

impl Error {
    /// Whether trying again later can help without anybody's doing.
    pub fn is_transient(&self) -> bool {
        matches!(self, Error::Chain(error) if error.is_transient())
    }
}

/// A client of one deployment. Cloning shares the chain.
#[derive(Clone)]
pub struct Contracts {
    chain: Arc<dyn Chain>,
    at: Addresses,
    /// All tasks below are pruned.
    first_task: Arc<AtomicU64>,
}

/// A task, with what was said when it was submitted.
#[derive(Clone, Debug)]
pub struct Submission {
    /// What is to be computed and what is offered.
    pub task: Task,
    /// Where the submitter says the files are.
    pub artifacts: String,
}

/// A commitment, with what was said when it was made.
#[derive(Clone, Debug)]
pub struct Published {
    /// Where the solver says the checkpoints are.
    pub artifacts: String,
}

impl Contracts {
    /// The contracts at known addresses.
    pub fn new(chain: Arc<dyn Chain>, at: Addresses) -> Contracts {
        Contracts {
            chain,
            at,
            first_task: Arc::default(),
        }
    }

    /// Where the contracts are.
    pub fn addresses(&self) -> &Addresses {
        &self.at
    }

    /// The chain below.
    pub fn chain(&self) -> &Arc<dyn Chain> {
        &self.chain
    }

    /// Height and time that a message sent now would see.
    ///
    /// # Errors
    /// When the chain cannot be reached.
    pub fn now(&self) -> Result<Now, Error> {
        Ok(self.chain.now()?)
    }

    /// Sends a message to the stake contract.
    ///
    /// # Errors
    /// When it is refused or the chain fails.
    pub fn stake<M, T, E>(
        &self,
        signer: &Signer,
        value: Balance,
        message: &M,
    ) -> Result<(T, Receipt), Error>
    where
        M: Message<Reply = Result<T, E>>,
        E: Display,
    {
        self.send(signer, self.at.stake, value, message)
    }

    /// Sends a message to the escrow contract.
    ///
    /// # Errors
    /// When it is refused or the chain fails.
    pub fn escrow<M, T, E>(
        &self,
        signer: &Signer,
        value: Balance,
        message: &M,
    ) -> Result<(T, Receipt), Error>
    where
        M: Message<Reply = Result<T, E>>,
        E: Display,
    {
        self.send(signer, self.at.escrow, value, message)
    }

    /// Sends a message to the dispute contract.
    ///
    /// # Errors
    /// When it is refused or the chain fails.
    pub fn dispute<M, T, E>(
        &self,
        signer: &Signer,
        value: Balance,
        message: &M,
    ) -> Result<(T, Receipt), Error>
    where
        M: Message<Reply = Result<T, E>>,
        E: Display,
    {
        self.send(signer, self.at.dispute, value, message)
    }

    /// An account's stake.
    ///
    /// # Errors
    /// When the chain cannot be reached.
    pub fn staker(&self, owner: Account) -> Result<Staker, Error> {
        Ok(self
            .read(self.at.stake, &stake::GetStaker { owner })?
            .unwrap_or_default())
    }

    /// The stake contract's settings.
    ///
    /// # Errors
    /// When the chain cannot be reached.
    pub fn stake_config(&self) -> Result<stake::Config, Error> {
        self.read(self.at.stake, &stake::GetConfig {})
    }

    /// The escrow contract's settings and totals.
    ///
    /// # Errors
    /// When the chain cannot be reached.
    pub fn escrow_config(&self) -> Result<escrow::Config, Error> {
        self.read(self.at.escrow, &escrow::GetConfig {})
    }

    /// The dispute contract's settings and totals.
    ///
    /// # Errors
    /// When the chain cannot be reached.
    pub fn dispute_config(&self) -> Result<dispute::Config, Error> {
        self.read(self.at.dispute, &dispute::GetConfig {})
    }

    /// How many tasks have been submitted.
    ///
    /// # Errors
    /// When the chain cannot be reached.
    pub fn task_count(&self) -> Result<TaskId, Error> {
        self.read(self.at.escrow, &escrow::GetTaskCount {})
    }

    /// A task; `None` when it never was or is pruned.
    ///
    /// # Errors
    /// When the chain cannot be reached.
    pub fn task(&self, task: TaskId) -> Result<Option<TaskRecord>, Error> {
        self.read(self.at.escrow, &escrow::GetTask { task })
    }

    /// An attempt; `None` when it never was or is pruned.
    ///
    /// # Errors
    /// When the chain cannot be reached.
    pub fn attempt(&self, task: TaskId, attempt: Attempt) -> Result<Option<AttemptRecord>, Error> {
        self.read(self.at.escrow, &escrow::GetAttempt { task, attempt })
    }

    /// All tasks that are not pruned, and the attempts at them, each task's earliest first.
    ///
    /// # Errors
    /// When the chain cannot be reached.
    pub fn tasks(&self) -> Result<Vec<ListedTask>, Error> {
        let count = self.task_count()?;
        let mut from = self.first_task.load(Ordering::Relaxed);
        let mut tasks = Vec::new();
        while from < count {
            let limit = escrow::PAGE;
            let page = self.read(self.at.escrow, &escrow::ListTasks { from, limit })?;
            tasks.extend(page.tasks);
            if page.next <= from {
                return Err(self.other(self.at.escrow, "a page of tasks has no end"));
            }
            from = page.next;
        }
        for listed in &mut tasks {
            listed.attempts.reverse();
        }
        // What is pruned stays pruned.
        let first = tasks.first().map_or(count, |listed| listed.id);
        self.first_task.store(first, Ordering::Relaxed);
        Ok(tasks)
    }

    /// The price at which a task can be accepted now.
    ///
    /// # Errors
    /// When the chain cannot be reached.
    pub fn price(&self, task: TaskId) -> Result<Option<Balance>, Error> {
        self.read(self.at.escrow, &escrow::GetPrice { task })
    }

    /// A dispute; `None` when it never was or is pruned.
    ///
    /// # Errors
    /// When the chain cannot be reached.
    pub fn dispute_record(&self, dispute: DisputeId) -> Result<Option<DisputeRecord>, Error> {
        self.read(self.at.dispute, &dispute::GetDispute { dispute })
    }

    /// A demand; `None` when it never was or is pruned.
    ///
    /// # Errors
    /// When the chain cannot be reached.
    pub fn demand_record(&self, demand: DemandId) -> Result<Option<DemandRecord>, Error> {
        self.read(self.at.dispute, &dispute::GetDemand { demand })
    }

    /// All disputes from number `from` that are not pruned.
    ///
    /// # Errors
    /// When the chain cannot be reached.
    pub fn disputes(&self, from: DisputeId) -> Result<Vec<Listed>, Error> {
        let count = self.read(self.at.dispute, &dispute::GetDisputeCount {})?;
        let page = |from| {
            self.read(
                self.at.dispute,
                &dispute::ListDisputes { from, limit: PAGE },
            )
        };
        pages(from, count, page)
    }

    /// All demands from number `from` that are not pruned.
    ///
    /// # Errors
    /// When the chain cannot be reached.
    pub fn demands(&self, from: DemandId) -> Result<Vec<Listed>, Error> {
        let count = self.read(self.at.dispute, &dispute::GetDemandCount {})?;
        let page = |from| self.read(self.at.dispute, &dispute::ListDemands { from, limit: PAGE });
        pages(from, count, page)
    }

    /// A task in full, from the event of its submission, which must have the record's hash.
    ///
    /// # Errors
    /// When the chain cannot be reached or has no such event.
    pub fn submission(&self, task: TaskId, record: &TaskRecord) -> Result<Submission, Error> {
        let events = self.escrow_events(record.block)?;
        let found = events.into_iter().find_map(|(_, event)| match event {
            escrow::Event::Submitted {
                task: id,
                content,
                artifacts,
                ..
            } if id == task => Some(Submission {
                task: content,
                artifacts: text(artifacts),
            }),
            _ => None,
        });
        found
            .filter(|found| found.task.hash() == record.terms_hash)
            .ok_or_else(|| self.other(self.at.escrow, "the event of a submission is missing"))
    }

    /// What a solver said when it committed, in block `from` or later. An attempt's record names
    /// the block; when the record has been removed, every later block is searched, which takes
    /// long on a live chain.
    ///
    /// # Errors
    /// When the chain cannot be reached or has no such event.
    pub fn published(&self, task: TaskId, attempt: Attempt, from: u32) -> Result<Published, Error> {
        let mut end = from.saturating_add(1);
        let mut block = from;
        while block < end {
            for (_, event) in self.escrow_events(block)? {
                match event {
                    escrow::Event::Committed {
                        task: id,
                        attempt: number,
                        artifacts,
                        ..
                    } if id == task && number == attempt => {
                        return Ok(Published {
                            artifacts: text(artifacts),
                        })
                    }
                    _ => {}
                }
            }
            if block == from {
                end = self.now()?.block;
            }
            block += 1;
        }
        Err(self.other(self.at.escrow, "the event of a commitment is missing"))
    }

    /// Escrow's events in a block.
    ///
    /// # Errors
    /// When the chain cannot be reached or has forgotten the block's state.
    pub fn escrow_events(&self, block: u32) -> Result<Vec<(Now, escrow::Event)>, Error> {
        self.events(self.at.escrow, block)
    }

    /// The dispute contract's events in a block.
    ///
    /// # Errors
    /// When the chain cannot be reached or has forgotten the block's state.
    pub fn dispute_events(&self, block: u32) -> Result<Vec<(Now, dispute::Event)>, Error> {
        self.events(self.at.dispute, block)
    }

    fn send<M, T, E>(
        &self,
        signer: &Signer,
        contract: Account,
        value: Balance,
        message: &M,
    ) -> Result<(T, Receipt), Error>
    where
        M: Message<Reply = Result<T, E>>,
        E: Display,
    {
        let call = Call {
            contract,
            value,
            input: message.call(),
        };
        let estimate = self.chain.estimate(&signer.account(), &call)?;
        let reply = M::reply(&estimate.output)
            .map_err(|garbled| self.other(contract, &garbled.to_string()))?;
        let reply = reply.map_err(|error| Error::Refused {
            message: M::NAME,
            reason: error.to_string(),
        })?;
        let limits = Limits {
            weight: estimate.weight.with_margin(),
            deposit: estimate.deposit,
        };
        let receipt = self.chain.submit(signer, &call, &limits)?;
        tracing::debug!(
            message = M::NAME,
            by = signer.name(),
            block = receipt.at.block,
            ref_time = receipt.weight.ref_time,
            bytes = call.input.len(),
            "sent"
        );
        Ok((reply, receipt))
    }

    fn read<M: Message>(&self, contract: Account, message: &M) -> Result<M::Reply, Error> {
        let call = Call {
            contract,
            value: 0,
            input: message.call(),
        };
        let estimate = self.chain.estimate(&READER, &call)?;
        M::reply(&estimate.output).map_err(|garbled| self.other(contract, &garbled.to_string()))
    }

    fn events<E: Decode>(&self, contract: Account, block: u32) -> Result<Vec<(Now, E)>, Error> {
        let events = self.chain.events(&contract, block)?.into_iter();
        events
            .map(|event| {
                let logged = Logged::<TaskId, E>::decode(&mut &event.data[..])
                    .map_err(|_| self.other(contract, "an event does not decode"))?;
                Ok((event.at, logged.event))
            })
            .collect()
    }

    fn other(&self, contract: Account, reason: &str) -> Error {
        Error::Other {
            contract: address(&contract),
            reason: reason.to_owned(),
        }
    }
}

/// Who reads. A getter does not look at its caller.
const READER: Account = [0; 32];

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn pages(
    from: u64,
    count: u64,
    mut page: impl FnMut(u64) -> Result<Vec<Listed>, Error>,
) -> Result<Vec<Listed>, Error> {
    let mut listed = Vec::new();
    let mut next = from;
    while next < count {
        listed.extend(page(next)?);
        next += u64::from(PAGE);
    }
    Ok(listed)
}

mod as_address {
    use crate::keys::{address, parse_address, Account};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(account: &Account, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&address(account))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Account, D::Error> {
        let text = String::deserialize(from)?;
        parse_address(&text).ok_or_else(|| D::Error::custom("not an address"))
    }
}
