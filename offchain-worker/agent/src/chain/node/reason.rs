//! Why a call failed, in the chain's own words.

use super::runtime::unknown;
use crate::chain::Error;
use std::fmt;
use subxt::ext::scale_value::scale::decode_as_type;
use subxt::ext::scale_value::{At, Value, ValueDef};
use subxt::Metadata;

/// What the chain says of a failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The error, with the pallet or the kind that it belongs to: `Contracts::OutOfGas`.
    pub name: String,
    /// What the chain's metadata says about it.
    about: String,
}

impl Reason {
    /// Decodes a runtime's `DispatchError` from the start of `input`.
    ///
    /// # Errors
    /// When it is of an unknown form.
    pub fn decode(input: &mut &[u8], metadata: &Metadata) -> Result<Reason, Error> {
        let type_id = metadata
            .dispatch_error_ty()
            .ok_or_else(|| unknown("its metadata does not describe errors"))?;
        let error = decode_as_type(input, type_id, metadata.types()).map_err(unknown)?;
        Ok(module(&error, metadata).unwrap_or_else(|| Reason {
            name: path(&error),
            about: String::new(),
        }))
    }

    /// Whether the call failed since somebody has too little money.
    pub fn is_lack_of_funds(&self) -> bool {
        matches!(
            self.name.as_str(),
            "Contracts::StorageDepositNotEnoughFunds"
                | "Contracts::TransferFailed"
                | "Token::FundsUnavailable"
                | "Token::NotExpendable"
        )
    }

    /// Whether the contract itself undid the call.
    pub fn is_revert(&self) -> bool {
        self.name == "Contracts::ContractReverted"
    }

    fn advice(&self) -> Option<&'static str> {
        Some(match self.name.as_str() {
            "Contracts::StorageDepositLimitExhausted" => {
                "somebody changed the contract since the estimate; try again"
            }
            "Contracts::OutOfGas" => {
                "somebody changed the contract since the estimate, or the call does not fit into a block"
            }
            "Contracts::ContractNotFound" => {
                "no contract is there: is this the right network, and the right deployment?"
            }
            "Contracts::CodeRejected" => "this chain does not run contracts of ink! 5",
            "Contracts::CodeTooLarge" => "this chain takes only smaller contracts",
            "Contracts::DuplicateContract" => "it exists already; choose another salt",
            "Contracts::MigrationInProgress" => "the chain is being upgraded; try again later",
            _ => return None,
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if !self.about.is_empty() {
            write!(f, " ({})", self.about)?;
        }
        if let Some(advice) = self.advice() {
            write!(f, "; {advice}")?;
        }
        Ok(())
    }
}

/// The error of a pallet, which is kept as two numbers.
fn module(error: &Value<u32>, metadata: &Metadata) -> Option<Reason> {
    let module = error.at(0)?;
    let number = |value: Option<&Value<u32>>| u8::try_from(value?.as_u128()?).ok();
    let pallet = metadata.pallet_by_error_index(number(module.at("index"))?)?;
    let detail = module.at("error");
    let error = pallet.error_variant_by_index(number(detail.at(0)).or(number(detail))?)?;
    Some(Reason {
        name: format!("{}::{}", pallet.name(), error.name),
        about: sentence(&error.docs),
    })
}

/// The names of nested cases: `Token::FundsUnavailable`.
fn path(error: &Value<u32>) -> String {
    let ValueDef::Variant(case) = &error.value else {
        return error.to_string();
    };
    match error.at(0) {
        Some(inner) if matches!(inner.value, ValueDef::Variant(_)) => {
            format!("{}::{}", case.name, path(inner))
        }
        _ => case.name.clone(),
    }
}

/// The first sentence of a documentation.
fn sentence(docs: &[String]) -> String {
    let first = docs.iter().take_while(|line| !line.trim().is_empty());
    let text: Vec<&str> = first.map(|line| line.trim()).collect();
    let text = text.join(" ");
    let end = text.find(". ").unwrap_or(text.len());
    text[..end].trim_end_matches('.').to_owned()
}
