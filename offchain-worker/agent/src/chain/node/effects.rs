//! What a transaction did, and what contracts emitted, read from the events of its block.

use super::any::AnyChain;
use super::reason::Reason;
use super::runtime::{unknown, Gas, Runtime};
use crate::chain::{Balance, Error, Event, Now, Weight};
use crate::keys::Account;
use subxt::events::{Event as Record, Phase};
use subxt::ext::scale_decode::{DecodeAsFields, DecodeAsType};
use subxt::utils::AccountId32;

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct ContractEmitted {
    contract: AccountId32,
    data: Vec<u8>,
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct Instantiated {
    deployer: AccountId32,
    contract: AccountId32,
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct CodeStored {
    deposit_held: Balance,
    uploader: AccountId32,
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct DepositMoved {
    from: AccountId32,
    to: AccountId32,
    amount: Balance,
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct FeePaid {
    who: AccountId32,
    actual_fee: Balance,
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct ExtrinsicSuccess {
    dispatch_info: DispatchInfo,
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct DispatchInfo {
    weight: Gas,
}

/// What a transaction did.
#[derive(Debug, Default)]
pub struct Effects {
    /// Why it failed, when it did.
    pub failure: Option<Reason>,
    /// Weight that it used.
    pub weight: Weight,
    /// Storage deposit that its signer was charged; negative when one was refunded.
    pub deposit: i128,
    /// Fee that its signer paid.
    pub fee: Balance,
    /// The instance that its signer made last.
    pub instance: Option<Account>,
    /// What contracts emitted.
    pub events: Vec<Event>,
}

impl Effects {
    /// Reads what transaction number `index` of a block did. `stored` are the block's events.
    ///
    /// # Errors
    /// When the events are of an unknown form.
    pub fn read(
        runtime: &Runtime,
        stored: Option<Vec<u8>>,
        index: u32,
        at: Now,
        signer: &Account,
    ) -> Result<Effects, Error> {
        let mut effects = Effects::default();
        let mut ended = false;
        for record in runtime.events(stored).iter() {
            let record = record.map_err(unknown)?;
            if record.phase() == Phase::ApplyExtrinsic(index) {
                ended |= effects.hear(runtime, &record, at, signer)?;
            }
        }
        if !ended {
            return Err(unknown("a transaction in a block has no outcome"));
        }
        Ok(effects)
    }

    /// Takes one event into account. Returns whether it is the last of a transaction.
    fn hear(
        &mut self,
        runtime: &Runtime,
        record: &Record<'_, AnyChain>,
        at: Now,
        signer: &Account,
    ) -> Result<bool, Error> {
        match (record.pallet_name(), record.event_name()) {
            ("Contracts", "ContractEmitted") => self.events.push(emitted(record, at)?),
            ("Contracts", "Instantiated") => {
                let made: Instantiated = fields(record)?;
                if made.deployer.0 == *signer {
                    self.instance = Some(made.contract.0);
                }
            }
            ("Contracts", "CodeStored") => {
                let stored: CodeStored = fields(record)?;
                if stored.uploader.0 == *signer {
                    self.deposit += stored.deposit_held as i128;
                }
            }
            ("Contracts", "StorageDepositTransferredAndHeld") => {
                let moved: DepositMoved = fields(record)?;
                if moved.from.0 == *signer {
                    self.deposit += moved.amount as i128;
                }
            }
            ("Contracts", "StorageDepositTransferredAndReleased") => {
                let moved: DepositMoved = fields(record)?;
                if moved.to.0 == *signer {
                    self.deposit -= moved.amount as i128;
                }
            }
            ("TransactionPayment", "TransactionFeePaid") => {
                let paid: FeePaid = fields(record)?;
                if paid.who.0 == *signer {
                    self.fee += paid.actual_fee;
                }
            }
            ("System", "ExtrinsicSuccess") => {
                let success: ExtrinsicSuccess = fields(record)?;
                self.weight = success.dispatch_info.weight.into();
                return Ok(true);
            }
            ("System", "ExtrinsicFailed") => {
                let mut error = record.field_bytes();
                self.failure = Some(Reason::decode(&mut error, runtime.metadata())?);
                return Ok(true);
            }
            _ => {}
        }
        Ok(false)
    }
}

/// What one contract emitted in a block. `stored` are the block's events.
///
/// # Errors
/// When the events are of an unknown form.
pub fn of_contract(
    runtime: &Runtime,
    stored: Option<Vec<u8>>,
    at: Now,
    contract: &Account,
) -> Result<Vec<Event>, Error> {
    let mut events = Vec::new();
    for record in runtime.events(stored).iter() {
        let record = record.map_err(unknown)?;
        if (record.pallet_name(), record.event_name()) == ("Contracts", "ContractEmitted") {
            events.push(emitted(&record, at)?);
        }
    }
    events.retain(|event| event.contract == *contract);
    Ok(events)
}

fn emitted(record: &Record<'_, AnyChain>, at: Now) -> Result<Event, Error> {
    let event: ContractEmitted = fields(record)?;
    Ok(Event {
        at,
        contract: event.contract.0,
        topics: record.topics().iter().map(|topic| topic.0).collect(),
        data: event.data,
    })
}

fn fields<T: DecodeAsFields>(record: &Record<'_, AnyChain>) -> Result<T, Error> {
    record.decode_fields_unchecked_as().map_err(unknown)
}
