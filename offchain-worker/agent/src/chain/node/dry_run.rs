//! Calls that are tried without being made: the runtime interface `ContractsApi`.
//!
//! Its answers end with the events of the call since version 2; nothing after the result is read,
//! so that both versions do.

use super::reason::Reason;
use super::runtime::{unknown, Runtime};
use crate::chain::{Balance, Call, Error, Estimate, Weight};
use crate::keys::Account;
use scale::{Compact, Decode, Encode};
use subxt::utils::H256;

/// The function that tries a call.
pub const CALL: &str = "ContractsApi_call";

/// The function that tries to make an instance.
pub const INSTANTIATE: &str = "ContractsApi_instantiate";

/// The bit by which a contract says that it undoes the call.
const REVERT: u32 = 1;

/// A contract's code.
#[derive(Encode)]
pub enum Code<'a> {
    /// To be uploaded.
    #[codec(index = 0)]
    Upload(&'a [u8]),
    /// Uploaded before, by its hash.
    #[codec(index = 1)]
    Existing(H256),
}

#[derive(Decode)]
struct Answer {
    _consumed: (Compact<u64>, Compact<u64>),
    required: (Compact<u64>, Compact<u64>),
    deposit: Deposit,
    debug: Vec<u8>,
}

#[derive(Decode)]
enum Deposit {
    #[codec(index = 0)]
    Refund(Balance),
    #[codec(index = 1)]
    Charge(Balance),
}

impl Deposit {
    fn charged(&self) -> i128 {
        match self {
            Deposit::Charge(amount) => *amount as i128,
            Deposit::Refund(amount) => -(*amount as i128),
        }
    }
}

#[derive(Decode)]
struct Returned {
    flags: u32,
    data: Vec<u8>,
}

/// What a call would come to.
#[derive(Debug)]
pub struct Trial {
    /// Weight and deposit that it needs.
    pub estimate: Estimate,
    /// Why it fails, when it does; then the output is empty.
    pub failure: Option<Failure>,
}

/// Why a call would fail.
#[derive(Debug)]
pub struct Failure {
    /// In the chain's words.
    pub reason: Reason,
    /// In the contract's words, when it said any.
    pub debug: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.reason)?;
        if !self.debug.is_empty() {
            write!(f, ": {}", self.debug)?;
        }
        Ok(())
    }
}

/// What is asked about a call: neither weight nor deposit are limited.
pub fn call_question(from: &Account, call: &Call) -> Vec<u8> {
    let (gas, deposit) = (NO_LIMIT, NO_LIMIT);
    let input = &call.input;
    (from, &call.contract, call.value, gas, deposit, input).encode()
}

/// What is asked about an instance.
pub fn instance_question(from: &Account, code: Code<'_>, input: &[u8], salt: &[u8]) -> Vec<u8> {
    let value: Balance = 0;
    (from, value, NO_LIMIT, NO_LIMIT, code, input, salt).encode()
}

const NO_LIMIT: Option<()> = None;

/// Reads the answer to either question. The address of an instance, which follows what its
/// constructor returned, is read from the transaction's events instead.
///
/// # Errors
/// When it is of an unknown form.
pub fn answer(mut bytes: &[u8], runtime: &Runtime) -> Result<Trial, Error> {
    let input = &mut bytes;
    let answer = Answer::decode(input).map_err(unknown)?;
    let failed = bool::decode(input).map_err(unknown)?;
    let (returned, failure) = if failed {
        let reason = Reason::decode(input, runtime.metadata())?;
        let debug = String::from_utf8_lossy(&answer.debug).trim().to_owned();
        (None, Some(Failure { reason, debug }))
    } else {
        (Some(Returned::decode(input).map_err(unknown)?), None)
    };
    let (reverted, output) = returned.map_or((false, Vec::new()), |returned| {
        (returned.flags & REVERT != 0, returned.data)
    });
    Ok(Trial {
        estimate: Estimate {
            weight: Weight {
                ref_time: answer.required.0 .0,
                proof_size: answer.required.1 .0,
            },
            deposit: answer.deposit.charged().max(0) as Balance,
            reverted,
            output,
        },
        failure,
    })
}
