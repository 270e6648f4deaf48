//! A chain inside the process: the real contracts in the real contracts pallet, without a node,
//! a network or fees. One call makes one block.

mod disk;

use super::{
    Balance, Call, Chain, Error, Estimate, Event, Funds, Limits, Now, Receipt, Weight, UNIT,
};
use crate::keys::{Account, Signer};
use disk::{Disk, Image};
use ink_sandbox::frame_support::dispatch::DispatchClass;
use ink_sandbox::frame_support::sp_runtime::{DispatchError, TransactionOutcome};
use ink_sandbox::frame_support::storage::with_transaction;
use ink_sandbox::macros::{BlockBuilder, DefaultSandboxRuntime as Runtime, RuntimeEvent};
use ink_sandbox::pallet_contracts::{
    Code, CollectEvents, DebugInfo, Determinism, Event as ContractsEvent, ExecReturnValue,
    StorageDeposit,
};
use ink_sandbox::{
    frame_system, pallet_balances, pallet_contracts, pallet_timestamp, AccountId32,
    TestExternalities, Weight as GasWeight,
};
use lockstep_protocol::Hash;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

type System = frame_system::Pallet<Runtime>;
type Balances = pallet_balances::Pallet<Runtime>;
type Timestamp = pallet_timestamp::Pallet<Runtime>;
type Contracts = pallet_contracts::Pallet<Runtime>;
type BlockWeights = <Runtime as frame_system::Config>::BlockWeights;

/// What every development account owns in the beginning.
pub const ENDOWMENT: Balance = 1_000_000 * UNIT;

/// The development accounts that exist from the beginning.
pub const DEV_ACCOUNTS: [&str; 6] = ["Alice", "Bob", "Charlie", "Dave", "Eve", "Ferdie"];

/// Milliseconds between blocks when time is the chain's own.
pub const BLOCK_TIME: u64 = 1_000;

/// Most blocks that [`Embedded::advance`] makes.
const MOST_BLOCKS: u64 = 50;

/// Where a block's time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Time passes by [`BLOCK_TIME`] with each block and by [`Embedded::advance`].
    Own,
    /// The machine's time, plus whatever [`Embedded::advance`] added.
    Wall,
}

/// The chain. Several processes may use one folder: every operation locks it and sees what the
/// others did.
pub struct Embedded {
    clock: Clock,
    disk: Option<Disk>,
    state: Mutex<State>,
}

struct State {
    ext: TestExternalities,
    /// Blocks written so far by anybody; tells a stale memory from a fresh one.
    generation: u64,
    /// Milliseconds that the chain is ahead of the machine.
    ahead: u64,
    /// Bytes of the events' log.
    log: u64,
    events: Vec<Event>,
}

impl Embedded {
    /// A chain that lives in memory.
    pub fn in_memory(clock: Clock) -> Embedded {
        Embedded {
            clock,
            disk: None,
            state: Mutex::new(State::genesis()),
        }
    }

    /// The chain kept in `dir`, which is made when it does not exist.
    ///
    /// # Errors
    /// When the folder cannot be used or holds something damaged.
    pub fn open(dir: &Path, clock: Clock) -> Result<Embedded, Error> {
        let disk = Disk::open(dir)?;
        let chain = Embedded {
            clock,
            disk: Some(disk),
            state: Mutex::new(State::genesis()),
        };
        chain.with(|_| Ok(()))?;
        Ok(chain)
    }

    /// Lets `milliseconds` pass, in which blocks are made as on a chain at work.
    ///
    /// # Errors
    /// When the chain's folder cannot be written.
    pub fn advance(&self, milliseconds: u64) -> Result<Now, Error> {
        self.with(|state| {
            let blocks = (milliseconds / BLOCK_TIME).clamp(1, MOST_BLOCKS);
            // The last block may be long past where the machine's time goes on.
            let now = match self.clock {
                Clock::Own => state.last().time,
                Clock::Wall => self.next(state).time,
            };
            let end = now + milliseconds;
            for k in (0..blocks).rev() {
                let time = end - k * (milliseconds / blocks);
                state.block(time, || Ok(()))?;
            }
            state.ahead = end.saturating_sub(wall());
            Ok(state.last())
        })
    }

    /// Gives money out of nothing.
    ///
    /// # Errors
    /// When the chain's folder cannot be written.
    pub fn mint(&self, account: &Account, amount: Balance) -> Result<(), Error> {
        use ink_sandbox::frame_support::traits::fungible::Mutate;
        self.with(|state| {
            let time = self.next(state).time;
            state.block(time, || {
                Balances::mint_into(&AccountId32::new(*account), amount)
                    .map(drop)
                    .map_err(|e| Error::Failed(describe(e)))
            })
        })
    }

    /// Makes a block in which `operation` runs inside the runtime: whatever no message can do.
    ///
    /// # Errors
    /// When the chain's folder cannot be written.
    pub fn intervene<T>(&self, operation: impl FnOnce() -> T) -> Result<T, Error> {
        self.with(|state| {
            let time = self.next(state).time;
            state.block(time, || Ok(operation()))
        })
    }

    /// Runs an operation on the newest state, and keeps what it changed.
    fn with<T>(&self, run: impl FnOnce(&mut State) -> Result<T, Error>) -> Result<T, Error> {
        let mut state = self.lock();
        let Some(disk) = &self.disk else {
            return run(&mut state);
        };
        let _lock = disk.lock()?;
        match disk.generation()? {
            Some(generation) if generation != state.generation => {
                *state = State::from(disk.load()?);
            }
            _ => {}
        }
        let (generation, events) = (state.generation, state.events.len());
        let outcome = run(&mut state);
        if state.generation != generation || disk.generation()?.is_none() {
            let mut image = state.image();
            let saved = disk.save(&mut image, &state.events[events..]);
            state.log = image.log;
            if saved.is_err() {
                // The block did not happen: the next operation reads the folder again.
                state.generation = u64::MAX;
            }
            saved?;
        }
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic inside the pallet leaves at worst an unfinished overlay, which the next block
        // begins anew.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, state: &mut State) -> Now {
        let last = state.last();
        let time = match self.clock {
            Clock::Own => last.time + BLOCK_TIME,
            Clock::Wall => (wall() + state.ahead).max(last.time + 1),
        };
        Now {
            block: last.block + 1,
            time,
        }
    }
}

impl Chain for Embedded {
    fn now(&self) -> Result<Now, Error> {
        self.with(|state| Ok(self.next(state)))
    }

    fn funds(&self, account: &Account) -> Result<Funds, Error> {
        self.with(|state| {
            Ok(state.ext.execute_with(|| {
                let data = System::account(AccountId32::new(*account)).data;
                Funds {
                    free: data.free,
                    held: data.reserved,
                }
            }))
        })
    }

    fn issuance(&self) -> Result<Balance, Error> {
        self.with(|state| Ok(state.ext.execute_with(Balances::total_issuance)))
    }

    fn extrinsic_limit(&self) -> Result<Weight, Error> {
        Ok(from_gas(extrinsic_limit()))
    }

    fn estimate(&self, from: &Account, call: &Call) -> Result<Estimate, Error> {
        self.with(|state| {
            let time = self.next(state).time;
            let result = state.dry(time, || execute(from, call, extrinsic_limit(), None));
            let output = result.result.map_err(|e| Error::Failed(describe(e)))?;
            Ok(Estimate {
                weight: from_gas(result.gas_required),
                deposit: charged(&result.storage_deposit).max(0) as Balance,
                reverted: output.did_revert(),
                output: output.data,
            })
        })
    }

    fn submit(&self, signer: &Signer, call: &Call, limits: &Limits) -> Result<Receipt, Error> {
        self.with(|state| {
            let time = self.next(state).time;
            let gas = GasWeight::from_parts(limits.weight.ref_time, limits.weight.proof_size);
            let seen = state.events.len();
            let (weight, deposit) = state.block(time, || {
                let result = execute(&signer.account(), call, gas, Some(limits.deposit));
                let output = result.result.map_err(|e| Error::Failed(describe(e)))?;
                refuse_reverted(output)?;
                Ok((
                    from_gas(result.gas_consumed),
                    charged(&result.storage_deposit),
                ))
            })?;
            Ok(Receipt {
                at: state.last(),
                bytes: call.input.len(),
                weight,
                deposit,
                fee: 0,
                events: state.events[seen..].to_vec(),
            })
        })
    }

    fn deploy(
        &self,
        signer: &Signer,
        code: &[u8],
        input: &[u8],
        salt: &[u8],
    ) -> Result<(Account, Receipt), Error> {
        self.with(|state| {
            let time = self.next(state).time;
            let seen = state.events.len();
            let (account, weight, deposit) = state.block(time, || {
                let result = Contracts::bare_instantiate(
                    AccountId32::new(signer.account()),
                    0,
                    extrinsic_limit(),
                    None,
                    Code::Upload(code.to_vec()),
                    input.to_vec(),
                    salt.to_vec(),
                    DebugInfo::Skip,
                    CollectEvents::Skip,
                );
                let made = result.result.map_err(|e| Error::Failed(describe(e)))?;
                refuse_reverted(made.result)?;
                let account: Account = made.account_id.into();
                Ok((
                    account,
                    from_gas(result.gas_consumed),
                    charged(&result.storage_deposit),
                ))
            })?;
            let events = state.events[seen..].to_vec();
            let bytes = code.len() + input.len();
            Ok((
                account,
                Receipt {
                    at: state.last(),
                    bytes,
                    weight,
                    deposit,
                    fee: 0,
                    events,
                },
            ))
        })
    }

    fn events(&self, contract: &Account, block: u32) -> Result<Vec<Event>, Error> {
        self.with(|state| {
            // Events are kept in the order of blocks.
            let from = state.events.partition_point(|event| event.at.block < block);
            let till = state
                .events
                .partition_point(|event| event.at.block <= block);
            let events = state.events[from..till].iter();
            Ok(events
                .filter(|event| event.contract == *contract)
                .cloned()
                .collect())
        })
    }

    fn code_hash(&self, contract: &Account) -> Result<Option<Hash>, Error> {
        self.with(|state| {
            let hash = state
                .ext
                .execute_with(|| Contracts::code_hash(&AccountId32::new(*contract)));
            Ok(hash.map(|hash| hash.0))
        })
    }
}

impl State {
    fn genesis() -> State {
        let endowed = DEV_ACCOUNTS
            .iter()
            .map(|name| (AccountId32::new(Signer::dev(name).account()), ENDOWMENT))
            .collect();
        let mut ext = BlockBuilder::<Runtime>::new_ext(endowed);
        ext.execute_with(|| {
            Timestamp::set_timestamp(wall());
            BlockBuilder::<Runtime>::finalize_block(1);
        });
        let mut state = State {
            ext,
            generation: 0,
            ahead: 0,
            log: 0,
            events: Vec::new(),
        };
        state.settle();
        state
    }

    fn last(&mut self) -> Now {
        self.ext.execute_with(|| Now {
            block: System::block_number(),
            time: Timestamp::get(),
        })
    }

    /// Makes a block that holds one operation. A failed operation leaves no block.
    fn block<T>(
        &mut self,
        time: u64,
        operation: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut emitted = Vec::new();
        let outcome = self.ext.execute_with(|| {
            transaction(|| {
                begin(time);
                let outcome = operation();
                if outcome.is_err() {
                    return TransactionOutcome::Rollback(Ok(outcome));
                }
                emitted = emitted_events(Now {
                    block: System::block_number(),
                    time,
                });
                BlockBuilder::<Runtime>::finalize_block(System::block_number());
                TransactionOutcome::Commit(Ok(outcome))
            })
        })?;
        self.settle();
        self.events.extend(emitted);
        self.generation += 1;
        Ok(outcome)
    }

    /// Runs something as if in the next block and forgets it.
    fn dry<T>(&mut self, time: u64, operation: impl FnOnce() -> T) -> T {
        let mut result = None;
        self.ext.execute_with(|| {
            let run = || {
                begin(time);
                result = Some(operation());
                TransactionOutcome::Rollback(Ok::<(), DispatchError>(()))
            };
            with_transaction(run).expect("a rollback of an accepted outcome is no error")
        });
        result.expect("the operation ran")
    }

    fn settle(&mut self) {
        self.ext
            .commit_all()
            .expect("no transaction is open between blocks");
    }

    fn image(&self) -> Image {
        let mut nodes = self.ext.backend.backend_storage().clone();
        let nodes = nodes
            .drain()
            .into_iter()
            .filter(|(_, (_, count))| *count > 0);
        Image {
            generation: self.generation,
            log: self.log,
            ahead: self.ahead,
            root: self.ext.backend.root().0,
            nodes: nodes.collect(),
        }
    }
}

impl From<(Image, Vec<Event>)> for State {
    fn from((image, events): (Image, Vec<Event>)) -> State {
        State {
            ext: TestExternalities::from_raw_snapshot(
                image.nodes,
                image.root.into(),
                Default::default(),
            ),
            generation: image.generation,
            ahead: image.ahead,
            log: image.log,
            events,
        }
    }
}

fn transaction<T>(
    run: impl FnOnce() -> TransactionOutcome<Result<Result<T, Error>, DispatchError>>,
) -> Result<T, Error> {
    with_transaction(run).map_err(|e| Error::Failed(describe(e)))?
}

fn begin(time: u64) {
    let height = System::block_number() + 1;
    BlockBuilder::<Runtime>::initialize_block(height, Default::default());
    Timestamp::set_timestamp(time);
}

fn execute(
    from: &Account,
    call: &Call,
    gas: GasWeight,
    deposit: Option<Balance>,
) -> pallet_contracts::ContractExecResult<
    Balance,
    frame_system::EventRecord<RuntimeEvent, <Runtime as frame_system::Config>::Hash>,
> {
    Contracts::bare_call(
        AccountId32::new(*from),
        AccountId32::new(call.contract),
        call.value,
        gas,
        deposit,
        call.input.clone(),
        DebugInfo::Skip,
        CollectEvents::Skip,
        Determinism::Enforced,
    )
}

fn refuse_reverted(output: ExecReturnValue) -> Result<(), Error> {
    if output.did_revert() {
        return Err(Error::Reverted(output.data));
    }
    Ok(())
}

fn emitted_events(at: Now) -> Vec<Event> {
    let mut emitted = Vec::new();
    for record in System::events() {
        if let RuntimeEvent::Contracts(ContractsEvent::ContractEmitted { contract, data }) =
            record.event
        {
            let topics = record.topics.iter().map(|topic| topic.0).collect();
            emitted.push(Event {
                at,
                contract: contract.into(),
                topics,
                data,
            });
        }
    }
    emitted
}

fn extrinsic_limit() -> GasWeight {
    use ink_sandbox::frame_support::traits::Get;
    let weights: frame_system::limits::BlockWeights = BlockWeights::get();
    let class = weights.get(DispatchClass::Normal);
    let limit = class.max_extrinsic.unwrap_or(weights.max_block);
    // The sandbox does not bound proofs; a call's own bound must still leave room to add to.
    GasWeight::from_parts(limit.ref_time(), limit.proof_size().min(u64::MAX / 4))
}

fn from_gas(weight: GasWeight) -> Weight {
    Weight {
        ref_time: weight.ref_time(),
        proof_size: weight.proof_size(),
    }
}

fn charged(deposit: &StorageDeposit<Balance>) -> i128 {
    match deposit {
        StorageDeposit::Charge(amount) => *amount as i128,
        StorageDeposit::Refund(amount) => -(*amount as i128),
    }
}

fn describe(error: DispatchError) -> String {
    match error {
        DispatchError::Module(module) => match module.message {
            Some(message) => message.to_owned(),
            None => format!("{module:?}"),
        },
        other => format!("{other:?}"),
    }
}

fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |duration| duration.as_millis() as u64)
}
