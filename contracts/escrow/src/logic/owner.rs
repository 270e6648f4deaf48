//! What the deployer and the owner may do, none of which touches funds.

use super::Done;
use lockstep_interface::{
    escrow::{Config, Error, Event},
    Account,
};

/// Names the dispute contract, once.
pub fn appoint(config: &mut Config, caller: Account, dispute: Account) -> Result<Done, Error> {
    if caller != config.deployer {
        return Err(Error::NotDeployer);
    }
    if config.dispute.is_some() {
        return Err(Error::AlreadyAppointed);
    }
    config.dispute = Some(dispute);
    Ok(Done::default().event(Event::Appointed { dispute }))
}

/// Stops or resumes the intake of new tasks.
pub fn pause(config: &mut Config, caller: Account, paused: bool) -> Result<Done, Error> {
    only_owner(config, caller)?;
    config.paused = paused;
    Ok(Done::default().event(Event::Paused { paused }))
}

/// Offers ownership, or withdraws the offer.
pub fn offer(config: &mut Config, caller: Account, heir: Option<Account>) -> Result<Done, Error> {
    only_owner(config, caller)?;
    config.heir = heir;
    Ok(Done::default().event(Event::OwnershipOffered { heir }))
}

/// Takes offered ownership.
pub fn take(config: &mut Config, caller: Account) -> Result<Done, Error> {
    if config.heir != Some(caller) {
        return Err(Error::NotHeir);
    }
    config.owner = caller;
    config.heir = None;
    Ok(Done::default().event(Event::OwnershipTaken { owner: caller }))
}

fn only_owner(config: &Config, caller: Account) -> Result<(), Error> {
    if caller == config.owner {
        Ok(())
    } else {
        Err(Error::NotOwner)
    }
}
