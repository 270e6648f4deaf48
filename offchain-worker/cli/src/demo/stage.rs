//! The chain, the contracts and the people of the demonstration.

use super::Narrator;
use crate::money::{self, UNIT};
use anyhow::Result;
use lockstep_agent::chain::bundle::Bundles;
use lockstep_agent::chain::contracts::Contracts;
use lockstep_agent::chain::embedded::{Clock, Embedded};
use lockstep_agent::chain::Chain;
use lockstep_agent::keys::{address, Signer};
use lockstep_agent::local::Local;
use lockstep_agent::roles::solver::Appetite;
use lockstep_agent::roles::Worker;
use lockstep_agent::run::Device;
use lockstep_agent::store::Store;
use lockstep_interface::{dispute, escrow, stake, Bounds, Terms};
use std::path::PathBuf;
use std::sync::Arc;

const HOUR: u64 = 3_600_000;
const UNBONDING: u64 = 7 * 24 * HOUR;

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Person {
    /// Deploys the contracts.
    Deployer,
    /// Offers the tasks.
    Submitter,
    /// Trains honestly.
    Solver,
    /// Does not.
    Cheat,
    /// Checks.
    Challenger,
}

impl Person {
    /// Everybody.
    pub const ALL: [Person; 5] = [
        Person::Deployer,
        Person::Submitter,
        Person::Solver,
        Person::Cheat,
        Person::Challenger,
    ];

    /// What the demonstration calls them.
    pub fn name(self) -> &'static str {
        match self {
            Person::Deployer => "deployer",
            Person::Submitter => "submitter",
            Person::Solver => "solver",
            Person::Cheat => "cheat",
            Person::Challenger => "challenger",
        }
    }

    fn account(self) -> &'static str {
        match self {
            Person::Deployer => "Alice",
            Person::Submitter => "Bob",
            Person::Solver => "Charlie",
            Person::Cheat => "Dave",
            Person::Challenger => "Eve",
        }
    }
}

/// Everything that the acts need.
pub struct Stage {
    /// The chain itself, to let time pass.
    pub chain: Arc<Embedded>,
    /// The deployed contracts.
    pub contracts: Contracts,
    /// What programs run on.
    pub device: Device,
    workers: Vec<Worker>,
    dir: PathBuf,
}

impl Stage {
    /// Starts a chain in memory and deploys the contracts on it.
    pub fn set(say: &Narrator, device: Device) -> Result<Stage> {
        let chain = Arc::new(Embedded::in_memory(Clock::Own));
        let bundles = Bundles::shipped()?;
        let deployer = Signer::dev(Person::Deployer.account());
        let limit = chain.extrinsic_limit()?.ref_time;
        let contracts = Contracts::deploy(
            chain.clone(),
            &deployer,
            &bundles,
            UNBONDING,
            &Bounds::default(),
            b"demo",
            &mut |step| {
                let share = step.receipt.weight.ref_time as f64 / limit as f64 * 100.0;
                say.line(format!(
                    "deployer: {:<14} {:>5.1} KiB, {share:.2}% of an extrinsic's weight, deposit {}",
                    step.what,
                    step.receipt.bytes as f64 / 1024.0,
                    money::show(step.receipt.deposit.unsigned_abs()),
                ));
            },
        )?;
        let at = contracts.addresses();
        for (name, account) in [
            ("stake", at.stake),
            ("escrow", at.escrow),
            ("dispute", at.dispute),
        ] {
            say.line(say.paint.dim(format!("{name} at {}", address(&account))));
        }
        let dir = std::env::temp_dir().join(format!("lockstep-demo-{}", std::process::id()));
        let hire = |person: Person| {
            let own = dir.join(person.name());
            Ok(Worker {
                signer: Signer::dev(person.account()),
                contracts: contracts.clone(),
                store: Store::open(&own.join("store").display().to_string())?,
                local: Arc::new(Local::open(&own)?),
                device,
            })
        };
        let workers: Result<Vec<Worker>> = Person::ALL.into_iter().map(hire).collect();
        Ok(Stage {
            chain,
            workers: workers?,
            contracts,
            device,
            dir,
        })
    }

    /// Somebody's worker, with artifacts and memory of their own.
    pub fn worker(&self, person: Person) -> Worker {
        self.workers[person as usize].clone()
    }

    /// Somebody's key.
    pub fn signer(&self, person: Person) -> &Signer {
        &self.workers[person as usize].signer
    }

    /// What is offered.
    pub fn terms(&self) -> Terms {
        Terms {
            reward_floor: 10 * UNIT,
            reward_ceiling: 20 * UNIT,
            stake: 100 * UNIT,
            bond: 30 * UNIT,
            demand_fee: UNIT,
            ramp: HOUR,
            open: 24 * HOUR,
            work: 6 * HOUR,
            audit: 24 * HOUR,
            window: 24 * HOUR,
            replay: HOUR / 60,
            clock: 4 * HOUR,
            increment: HOUR / 60,
            min_blocks: 10,
        }
    }

    /// What solvers want: anything that pays, for a stake they can afford.
    pub fn appetite(&self) -> Appetite {
        Appetite {
            min_price: UNIT,
            top_up: 1000 * UNIT,
            ..Appetite::default()
        }
    }

    /// The solver takes its stake home, and the cheat the storage of a stake that it lost.
    pub fn retire(&self, say: &Narrator) -> Result<()> {
        let (solver, cheat) = (self.signer(Person::Solver), self.signer(Person::Cheat));
        let amount = self.contracts.staker(solver.account())?.free;
        self.contracts
            .stake(solver, 0, &stake::RequestUnbond { amount })?;
        self.chain.advance(UNBONDING + 1)?;
        self.contracts.stake(solver, 0, &stake::Withdraw {})?;
        self.contracts.stake(cheat, 0, &stake::Withdraw {})?;
        say.line(format!(
            "solver: withdraws its stake of {} after {} days of unbonding",
            money::show(amount),
            UNBONDING / HOUR / 24
        ));
        Ok(())
    }

    /// Burns what waits to be burned.
    pub fn flush_burns(&self) -> Result<()> {
        let signer = self.signer(Person::Deployer);
        if self.contracts.escrow_config()?.burn > 0 {
            self.contracts.escrow(signer, 0, &escrow::FlushBurn {})?;
        }
        if self.contracts.dispute_config()?.burn > 0 {
            self.contracts.dispute(signer, 0, &dispute::FlushBurn {})?;
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What is left behind is in the machine's folder for such things.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
