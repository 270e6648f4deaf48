//! The challenger: runs other people's results again and disputes what is wrong.

mod audit;

pub use audit::Audit;

use super::{Action, Error, Fetched, Library, Money, Observer, Postponed, Worker};
use crate::local::Verdict;
use crate::run::files::Files;
use crate::run::training::Training;
use crate::store::Store;
use audit::Claim;
use lockstep_interface::dispute::{
    ClaimDemandShare, ClaimShare, Demand, DemandRecord, DemandStatus, DisputeRecord, ExpireDemand,
    Listed, Open, Prune, PruneDemand, Share, Withdraw, WithdrawFee,
};
use lockstep_interface::escrow::{AttemptRecord, AttemptStatus, TaskRecord};
use lockstep_interface::{Attempt, DemandId, DisputeId, TaskId};
use lockstep_protocol::game::{Game, Move, Side};
use lockstep_protocol::player::{self, Evidence};
use lockstep_protocol::tree;
use std::collections::{BTreeMap, BTreeSet};

/// The challenger.
pub struct Challenger {
    worker: Worker,
    audit: Audit,
    library: Library,
    /// The audit that is under way.
    checking: Option<Checking>,
    /// The files of attempts in dispute.
    cases: BTreeMap<(TaskId, Attempt), (Option<u32>, Files)>,
    /// Attempts that cannot be audited, so that each is reported once.
    given_up: BTreeSet<(TaskId, Attempt)>,
    /// Whether to look at commitments that are not disputed yet.
    audits: bool,
}

struct Checking {
    task: TaskId,
    attempt: Attempt,
    fetched: Fetched,
    store: Store,
    claim: Option<Claim>,
    /// Own run from the genesis; absent when only a sample is checked.
    own: Option<Training>,
    /// Segments still to check, last first.
    sample: Vec<u32>,
    of: u32,
}

impl Challenger {
    /// A challenger that checks as much as `audit` says.
    pub fn new(worker: Worker, audit: Audit) -> Challenger {
        Challenger {
            worker,
            audit,
            library: Library::default(),
            checking: None,
            cases: BTreeMap::new(),
            given_up: BTreeSet::new(),
            audits: true,
        }
    }

    /// Audits nothing more from now on; disputes and demands that were opened go on.
    pub fn audit_nothing(&mut self) {
        self.audits = false;
    }

    /// Makes the one move that is due; `None` when there is none. Disputes come first. A long
    /// audit is cut into segments, so that no dispute waits for it.
    ///
    /// # Errors
    /// When the chain, the store or the engine fails. The next call tries again.
    pub fn react(&mut self, observer: &mut dyn Observer) -> Result<Option<Action>, Error> {
        let me = self.worker.me();
        let mut postponed = Postponed::default();
        let mut disputed = BTreeSet::new();
        for listed in self.worker.contracts.disputes(0)? {
            if listed.challenger != me {
                continue;
            }
            disputed.insert((listed.task, listed.attempt));
            if let Some(record) = self.worker.contracts.dispute_record(listed.id)? {
                let moved = self.dispute(listed.id, &record);
                if let Some(action) = postponed.hear(moved)? {
                    return Ok(Some(action));
                }
            }
        }
        let mut demanded = BTreeSet::new();
        for listed in self.worker.contracts.demands(0)? {
            if listed.challenger != me {
                continue;
            }
            demanded.insert((listed.task, listed.attempt));
            if let Some(record) = self.worker.contracts.demand_record(listed.id)? {
                let seen_to = self.demand(listed.id, &record);
                if let Some(action) = postponed.hear(seen_to)? {
                    return Ok(Some(action));
                }
            }
        }
        let tasks = match self.audits {
            true => self.worker.contracts.tasks()?,
            false => Vec::new(),
        };
        let now = self.worker.contracts.now()?;
        for listed in tasks {
            let (Some(record), Some((number, attempt))) = (listed.task, listed.attempts.last())
            else {
                continue;
            };
            if *number != record.attempts {
                continue;
            }
            let task = listed.id;
            let key = (task, record.attempts);
            let open = attempt.status == AttemptStatus::Committed && now.time <= attempt.window_end;
            if !open || attempt.solver == me || disputed.contains(&key) {
                continue;
            }
            let asked = demanded.contains(&key);
            let looked = self.look_at(task, &record, attempt, asked, observer);
            if let Some(action) = postponed.hear(looked)? {
                return Ok(Some(action));
            }
        }
        postponed.last(Ok(None))
    }

    /// Audits a commitment a segment at a time, then disputes it when it is wrong.
    fn look_at(
        &mut self,
        task: TaskId,
        record: &TaskRecord,
        attempt: &AttemptRecord,
        asked: bool,
        observer: &mut dyn Observer,
    ) -> Result<Option<Action>, Error> {
        let number = record.attempts;
        let trace = attempt.commitment.trace;
        match self.worker.local.verdict(task, number, &trace)? {
            Some(Verdict::Clean) => return Ok(None),
            Some(Verdict::Wrong { .. }) => {
                let fetched = self.library.get(&self.worker, task, record)?;
                let bond = fetched.task.terms.bond;
                let message = Open {
                    task,
                    attempt: number,
                    content: fetched.task,
                    trace,
                };
                let (dispute, receipt) =
                    self.worker
                        .contracts
                        .dispute(&self.worker.signer, bond, &message)?;
                return Ok(Some(Action::Opened {
                    dispute,
                    task,
                    bond,
                    receipt,
                }));
            }
            None => {}
        }
        if self.given_up.contains(&(task, number)) {
            return Ok(None);
        }
        let ours = |c: &Checking| c.task == task && c.attempt == number;
        if !self.checking.as_ref().is_some_and(ours) {
            match self.begin(task, record, attempt, asked) {
                Ok(checking) => self.checking = Some(checking),
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => {
                    tracing::warn!(task, %error, "cannot be audited");
                    self.given_up.insert((task, number));
                    return Ok(None);
                }
            }
        }
        let device = self.worker.device;
        let Some(checking) = &mut self.checking else {
            unreachable!("the audit was begun above");
        };
        let under_check = checking.sampled();
        let withheld = match checking.advance(device, &trace, observer) {
            Ok(verdict) => {
                if let (Some(segment), None | Some(Verdict::Clean)) = (under_check, &verdict) {
                    self.worker
                        .local
                        .record_checked(task, number, &trace, segment)?;
                }
                if let Some(verdict) = verdict {
                    self.checking = None;
                    self.worker
                        .local
                        .record_verdict(task, number, &trace, &verdict)?;
                    return Ok(Some(Action::Audited {
                        task,
                        attempt: number,
                        verdict,
                    }));
                }
                let (done, of) = checking.done();
                return Ok(Some(Action::Checked { task, done, of }));
            }
            Err(Error::Store(error)) if checking.own.is_none() && !error.is_transient() => error,
            Err(error) => return Err(error),
        };
        // A sample needs the solver's checkpoints. When they are not to be had, make the solver
        // show a piece on chain, and run everything meanwhile.
        checking.run_all(device, &self.worker)?;
        if asked {
            return Ok(None);
        }
        self.ask(task, number, trace, withheld.to_string())
            .map(Some)
    }

    fn begin(
        &mut self,
        task: TaskId,
        record: &TaskRecord,
        attempt: &AttemptRecord,
        asked: bool,
    ) -> Result<Checking, Error> {
        let fetched = self.library.get(&self.worker, task, record)?;
        let published = self
            .worker
            .contracts
            .published(task, record.attempts, attempt.block)?;
        let store = self.worker.store.with_source(&published.artifacts)?;
        let trace = attempt.commitment.trace;
        let claim = match Claim::fetch(&store, &fetched.workload, &trace) {
            Ok(claim) => Some(claim),
            Err(error) => {
                tracing::warn!(task, %error, "the checkpoint trace is not to be had");
                None
            }
        };
        let secret = self.worker.signer.private_salt(&trace);
        let mut sample = self.audit.choose(fetched.workload.spec.segments(), &secret);
        let of = sample.len() as u32;
        let checked = self.worker.local.checked(task, record.attempts, &trace)?;
        sample.retain(|segment| !checked.contains(segment));
        // Whoever had to demand a checkpoint does not wait for the others to be withheld.
        let all = matches!(self.audit, Audit::Everything) || claim.is_none() || asked;
        let mut checking = Checking {
            task,
            attempt: record.attempts,
            of,
            fetched,
            store,
            claim,
            own: None,
            sample,
        };
        if all {
            checking.run_all(self.worker.device, &self.worker)?;
        }
        Ok(checking)
    }

    /// Demands a chunk of a withheld checkpoint.
    fn ask(
        &mut self,
        task: TaskId,
        attempt: Attempt,
        trace: lockstep_protocol::Hash,
        reason: String,
    ) -> Result<Action, Error> {
        let Some(checking) = &self.checking else {
            unreachable!("a demand follows from an audit");
        };
        let content = checking.fetched.task.clone();
        let spec = &content.spec;
        let [a, b, ..] = self.worker.signer.private_salt(&trace);
        let segment = u32::from(a) * spec.segments() / 256;
        let slot = u32::from(b) * spec.slots / 256;
        let fee = content.terms.demand_fee;
        let message = Demand {
            task,
            attempt,
            content,
            trace,
            segment,
            slot,
            chunk: 0,
        };
        let (demand, receipt) =
            self.worker
                .contracts
                .dispute(&self.worker.signer, fee, &message)?;
        Ok(Action::Demanded {
            demand,
            task,
            reason,
            receipt,
        })
    }

    fn dispute(&mut self, id: DisputeId, record: &DisputeRecord) -> Result<Option<Action>, Error> {
        let now = self.worker.contracts.now()?;
        match record.game.turn() {
            Some(Side::Challenger) => {
                if record.clocks.expired(Side::Challenger, now.time, now.block) {
                    return Ok(None);
                }
                let revealed = match self.worker.last_move(id, record)? {
                    Some(Move::Reveal(bytes)) => bytes,
                    _ => Vec::new(),
                };
                let (target, files) = self.case(record)?;
                let Some(mv) = player::challenge(&record.game, files, *target, &revealed)? else {
                    return Ok(None);
                };
                let own = own_part(&record.game, files, &mv)?;
                self.worker.play(id, record, mv, own).map(Some)
            }
            None if record.settled => self.collect_from(id, record),
            Some(Side::Defender) | None => self.worker.settle(id, record, now),
        }
    }

    /// Takes what is owed and nothing else; `None` when nothing is.
    ///
    /// # Errors
    /// When the chain fails.
    pub fn collect(&self) -> Result<Option<Action>, Error> {
        let (contracts, me) = (&self.worker.contracts, self.worker.me());
        for listed in contracts.disputes(0)? {
            if listed.challenger == me && !listed.open {
                if let Some(record) = contracts.dispute_record(listed.id)? {
                    if let Some(action) = self.collect_from(listed.id, &record)? {
                        return Ok(Some(action));
                    }
                }
            }
        }
        for listed in contracts.demands(0)? {
            if listed.challenger == me && !listed.open {
                if let Some(record) = contracts.demand_record(listed.id)? {
                    if let Some(action) = self.demand(listed.id, &record)? {
                        return Ok(Some(action));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Takes what a dispute that is over owes, and removes it.
    fn collect_from(&self, id: DisputeId, record: &DisputeRecord) -> Result<Option<Action>, Error> {
        let Worker {
            signer, contracts, ..
        } = &self.worker;
        if record.owed_challenger > 0 {
            let (amount, receipt) = contracts.dispute(signer, 0, &Withdraw { dispute: id })?;
            return Ok(Some(Action::Withdrew {
                money: Money::Bond,
                amount,
                receipt,
            }));
        }
        if record.share == Share::Earned {
            if !self.shares_payable(record.task, record.attempt)? {
                return self.clear_the_way(record.task, record.attempt);
            }
            let (amount, receipt) = contracts.dispute(signer, 0, &ClaimShare { dispute: id })?;
            return Ok(Some(Action::Withdrew {
                money: Money::Share,
                amount,
                receipt,
            }));
        }
        if record.owed_solver > 0 {
            return Ok(None);
        }
        let ((), receipt) = contracts.dispute(signer, 0, &Prune { dispute: id })?;
        Ok(Some(Action::Pruned {
            what: format!("dispute {id}"),
            receipt,
        }))
    }

    fn demand(&self, id: DemandId, record: &DemandRecord) -> Result<Option<Action>, Error> {
        let Worker {
            signer, contracts, ..
        } = &self.worker;
        let now = contracts.now()?;
        if record.status == DemandStatus::Waiting {
            if !record.expired(now.time, now.block) {
                return Ok(None);
            }
            let ((), receipt) = contracts.dispute(signer, 0, &ExpireDemand { demand: id })?;
            return Ok(Some(Action::ExpiredDemand {
                demand: id,
                receipt,
            }));
        }
        if record.owed_demander > 0 {
            let (amount, receipt) = contracts.dispute(signer, 0, &WithdrawFee { demand: id })?;
            return Ok(Some(Action::Withdrew {
                money: Money::Fee,
                amount,
                receipt,
            }));
        }
        if record.share == Share::Earned {
            if !self.shares_payable(record.task, record.attempt)? {
                return self.clear_the_way(record.task, record.attempt);
            }
            let message = ClaimDemandShare { demand: id };
            let (amount, receipt) = contracts.dispute(signer, 0, &message)?;
            return Ok(Some(Action::Withdrew {
                money: Money::Share,
                amount,
                receipt,
            }));
        }
        if record.owed_solver > 0 {
            return Ok(None);
        }
        // An answered demand stays until the audit it belongs to is over: it keeps the
        // challenger from asking again.
        let attempt = contracts.attempt(record.task, record.attempt)?;
        if attempt.is_some_and(|a| a.status == AttemptStatus::Committed) {
            return Ok(None);
        }
        let ((), receipt) = contracts.dispute(signer, 0, &PruneDemand { demand: id })?;
        Ok(Some(Action::Pruned {
            what: format!("demand {id}"),
            receipt,
        }))
    }

    /// Whether the shares of an attempt are payable: no challenge of it is open.
    fn shares_payable(&self, task: TaskId, attempt: Attempt) -> Result<bool, Error> {
        let record = self.worker.contracts.attempt(task, attempt)?;
        Ok(record.is_some_and(|record| record.challenges == 0))
    }

    /// Ends a challenge of others that is decided and that nobody ends, since it holds up the
    /// shares of an attempt; `None` when there is none.
    fn clear_the_way(&self, task: TaskId, attempt: Attempt) -> Result<Option<Action>, Error> {
        let Worker {
            signer, contracts, ..
        } = &self.worker;
        let now = contracts.now()?;
        let here =
            |listed: &Listed| listed.open && (listed.task, listed.attempt) == (task, attempt);
        for listed in contracts.disputes(0)?.into_iter().filter(here) {
            let Some(record) = contracts.dispute_record(listed.id)? else {
                continue;
            };
            let settled = self.worker.settle(listed.id, &record, now)?;
            if settled.is_some() {
                return Ok(settled);
            }
        }
        for Listed { id, .. } in contracts.demands(0)?.into_iter().filter(here) {
            let record = contracts.demand_record(id)?;
            if record.is_some_and(|record| record.expired(now.time, now.block)) {
                let message = ExpireDemand { demand: id };
                let ((), receipt) = contracts.dispute(signer, 0, &message)?;
                return Ok(Some(Action::ExpiredDemand {
                    demand: id,
                    receipt,
                }));
            }
        }
        Ok(None)
    }

    /// The files to dispute with, and the segment that is known to be wrong.
    fn case(&mut self, record: &DisputeRecord) -> Result<&mut (Option<u32>, Files), Error> {
        let key = (record.task, record.attempt);
        if !self.cases.contains_key(&key) {
            let case = self.prepare(record)?;
            self.cases.insert(key, case);
        }
        Ok(self
            .cases
            .get_mut(&key)
            .expect("the case was prepared above"))
    }

    fn prepare(&mut self, record: &DisputeRecord) -> Result<(Option<u32>, Files), Error> {
        let Worker {
            contracts,
            local,
            device,
            ..
        } = &self.worker;
        let missing = || Error::Run(crate::run::Error::NoFile("the disputed attempt".into()));
        let task = contracts.task(record.task)?.ok_or_else(missing)?;
        let attempt = contracts
            .attempt(record.task, record.attempt)?
            .ok_or_else(missing)?;
        let published = contracts.published(record.task, record.attempt, attempt.block)?;
        let trace = attempt.commitment.trace;
        let verdict = local.verdict(record.task, record.attempt, &trace)?;
        let device = *device;
        let fetched = self.library.get(&self.worker, record.task, &task)?;
        let store = self.worker.store.with_source(&published.artifacts)?;
        let (target, checkpoints) = match (Claim::fetch(&store, &fetched.workload, &trace), verdict)
        {
            (Ok(Claim { mut checkpoints }), Some(Verdict::Wrong { segment, state })) => {
                if let Some(entry) = checkpoints.get_mut(segment as usize) {
                    *entry = state;
                }
                (Some(segment), checkpoints)
            }
            _ => (
                None,
                self.worker
                    .local
                    .checkpoints(&fetched.workload.spec.hash())?,
            ),
        };
        let files = Files::new(fetched.workload, device, store, checkpoints, None)?;
        Ok((target, files))
    }
}

/// What the challenger has in place of the part that a move selects.
fn own_part(game: &Game, files: &mut Files, mv: &Move) -> Result<Option<Vec<u8>>, Error> {
    let search = &game.search;
    Ok(match mv {
        Move::SelectEntry { index, .. } => {
            let file = files.file(player::searched(game))?;
            let width = search.width as usize;
            let start = search.span.byte_range(search.len).start as usize + *index as usize * width;
            (*file)
                .as_ref()
                .get(start..start + width)
                .map(<[u8]>::to_vec)
        }
        Move::SelectSubtree { index, .. } => {
            let file = files.file(player::searched(game))?;
            let bytes = (*file).as_ref();
            let span = tree::frontier(search.span)[*index as usize];
            let range = span.byte_range(search.len);
            let part = &bytes[range.start as usize..range.end as usize];
            Some(tree::subtree(part, search.len, span).to_vec())
        }
        _ => None,
    })
}
