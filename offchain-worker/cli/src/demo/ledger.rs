//! Who had how much before and after, to the last unit.

use super::stage::{Person, Stage};
use crate::exit::BadResult;
use crate::money;
use crate::screen::Table;
use anyhow::{bail, Result};
use lockstep_agent::chain::{Balance, Funds};
use lockstep_agent::keys::{Account, Signer};
use lockstep_interface::BURN_ACCOUNT;
use serde::Serialize;
use std::fmt;

/// Everybody's money at one moment.
pub struct Snapshot {
    rows: Vec<(&'static str, Funds)>,
    issuance: Balance,
}

/// The difference between two moments.
#[derive(Serialize)]
pub struct Report {
    rows: Vec<Row>,
    issuance_before: String,
    issuance_after: String,
    transaction_fees: String,
    adds_up: bool,
}

#[derive(Serialize)]
struct Row {
    who: &'static str,
    before: String,
    after: String,
    change: String,
    held_for_storage: String,
}

impl Snapshot {
    /// Reads every account that takes part, and the contracts, and what was burned.
    pub fn take(stage: &Stage) -> Result<Snapshot> {
        let at = stage.contracts.addresses();
        let people = Person::ALL.map(|person| (person.name(), stage.signer(person).account()));
        let others = [
            ("everybody else", Signer::dev("Ferdie").account()),
            ("contract stake", at.stake),
            ("contract escrow", at.escrow),
            ("contract dispute", at.dispute),
            ("burned", BURN_ACCOUNT),
        ];
        let funds =
            |(name, account): &(&'static str, Account)| Ok((*name, stage.chain.funds(account)?));
        let rows: Result<Vec<_>> = people.iter().chain(&others).map(funds).collect();
        Ok(Snapshot {
            rows: rows?,
            issuance: stage.chain.issuance()?,
        })
    }

    fn total(&self) -> Balance {
        self.rows
            .iter()
            .map(|(_, funds)| funds.free + funds.held)
            .sum()
    }
}

impl Report {
    /// Compares two moments.
    pub fn new(before: &Snapshot, after: &Snapshot) -> Result<Report> {
        let mut rows = Vec::new();
        for ((who, was), (_, is)) in before.rows.iter().zip(&after.rows) {
            let (was, is_all) = (was.free + was.held, is.free + is.held);
            rows.push(Row {
                who,
                before: money::exact(was),
                after: money::exact(is_all),
                change: money::change(was, is_all),
                held_for_storage: money::exact(is.held),
            });
        }
        let (was, is) = (before.total(), after.total());
        rows.push(Row {
            who: "together",
            before: money::exact(was),
            after: money::exact(is),
            change: money::change(was, is),
            held_for_storage: money::exact(after.rows.iter().map(|(_, f)| f.held).sum()),
        });
        // Nobody else's money has changed, and what everybody together lost is no more: it went to
        // the chain for its transactions.
        let fees = before.issuance.checked_sub(after.issuance);
        let adds_up = fees.is_some() && fees == was.checked_sub(is);
        Ok(Report {
            rows,
            issuance_before: money::exact(before.issuance),
            issuance_after: money::exact(after.issuance),
            transaction_fees: money::exact(fees.unwrap_or_default()),
            adds_up,
        })
    }

    /// Refuses books that do not balance.
    pub fn check(&self) -> Result<()> {
        if !self.adds_up {
            bail!(BadResult("the balances do not add up".into()));
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&["", "before", "after", "change", "of it held for storage"]);
        for row in &self.rows {
            let (who, before, after) = (row.who.into(), row.before.clone(), row.after.clone());
            table.row(&[
                who,
                before,
                after,
                row.change.clone(),
                row.held_for_storage.clone(),
            ]);
        }
        for line in table.to_string().lines() {
            writeln!(f, "  {line}")?;
        }
        write!(
            f,
            "  money in existence: {} before, {} after; the chain's fees were {}",
            self.issuance_before, self.issuance_after, self.transaction_fees
        )
    }
}
