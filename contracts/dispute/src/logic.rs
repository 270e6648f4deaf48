//! What happens in disputes and demands. Every function checks and changes one record.

pub mod demand;
pub mod dispute;

#[cfg(test)]
mod tests;

use lockstep_interface::{dispute::Error, Balance, BlockNumber, Millis};

/// When and where a message is executed.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The block's timestamp.
    pub now: Millis,
    /// The block's height.
    pub block: BlockNumber,
}

/// Takes what waits to be burned, unless it is less than an account can hold.
pub fn take_burn(burn: &mut Balance, existential: Balance) -> Result<Balance, Error> {
    if *burn < existential {
        return Err(Error::Dust);
    }
    take(burn)
}

fn take(owed: &mut Balance) -> Result<Balance, Error> {
    match core::mem::take(owed) {
        0 => Err(Error::NothingOwed),
        amount => Ok(amount),
    }
}
