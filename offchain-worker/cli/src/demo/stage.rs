//! The chain, the contracts and the people of the demonstration.

use super::{fresh_seed, Narrator};
use crate::money;
use crate::time;
use anyhow::Result;
use lockstep_agent::chain::bundle::Bundles;
use lockstep_agent::chain::contracts::Contracts;
use lockstep_agent::chain::embedded::{Clock, Embedded};
use lockstep_agent::chain::{Chain, UNIT};
use lockstep_agent::keys::{address, Signer};
use lockstep_agent::local::Local;
use lockstep_agent::pace::Pace;
use lockstep_agent::roles::solver::Appetite;
use lockstep_agent::roles::Worker;
use lockstep_agent::run::Device;
use lockstep_agent::store::Store;
use lockstep_interface::{dispute, escrow, stake, Millis};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often to look whether time has passed.
const LOOK: Duration = Duration::from_millis(250);

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
    /// The chain.
    pub chain: Arc<dyn Chain>,
    /// How long everything takes.
    pub pace: Pace,
    /// The chain once more, when its clock is ours.
    own: Option<Arc<Embedded>>,
    /// The deployed contracts.
    pub contracts: Contracts,
    /// What programs run on.
    pub device: Device,
    workers: Vec<Worker>,
    dir: PathBuf,
}

impl Stage {
    /// Deploys the contracts on `node`, or on a chain in memory.
    pub fn set(say: &Narrator, device: Device, node: Option<Arc<dyn Chain>>) -> Result<Stage> {
        let own = match node {
            Some(_) => None,
            None => Some(Arc::new(Embedded::in_memory(Clock::Own))),
        };
        let (chain, pace): (Arc<dyn Chain>, Pace) = match (node, &own) {
            (Some(node), _) => (node, Pace::seconds()),
            (None, Some(own)) => (own.clone(), Pace::hours()),
            (None, None) => unreachable!("without a node the chain is our own"),
        };
        let salt = format!("demo {}", fresh_seed());
        let bundles = Bundles::shipped()?;
        let deployer = Signer::dev(Person::Deployer.account());
        let limit = chain.extrinsic_limit()?.ref_time;
        let contracts = Contracts::deploy(
            chain.clone(),
            &deployer,
            &bundles,
            pace.unbonding,
            &pace.bounds,
            salt.as_bytes(),
            &mut |step| {
                let Some(receipt) = step.receipt else {
                    return;
                };
                let share = receipt.weight.ref_time as f64 / limit as f64 * 100.0;
                say.line(format!(
                    "deployer: {:<14} {:>5.1} KiB, {share:.2}% of an extrinsic's weight, deposit {}",
                    step.what,
                    receipt.bytes as f64 / 1024.0,
                    money::show(receipt.deposit.unsigned_abs()),
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
            pace,
            own,
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

    /// Lets time pass: at once where the clock is ours, by waiting where it is not.
    pub fn pass(&self, milliseconds: Millis) -> Result<()> {
        if let Some(own) = &self.own {
            own.advance(milliseconds)?;
            return Ok(());
        }
        let end = self.chain.now()?.time + milliseconds;
        while self.chain.now()?.time <= end {
            std::thread::sleep(LOOK);
        }
        Ok(())
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
        self.pass(self.pace.unbonding + 1)?;
        self.contracts.stake(solver, 0, &stake::Withdraw {})?;
        self.contracts.stake(cheat, 0, &stake::Withdraw {})?;
        say.line(format!(
            "solver: withdraws its stake of {} after {} of unbonding",
            money::show(amount),
            time::show(self.pace.unbonding)
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
