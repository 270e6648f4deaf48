//! What happens to stake. Every function checks, changes one record, and says what happened.

use lockstep_interface::{
    stake::{Config, Error, Event, Staker},
    Account, Balance, Millis,
};

/// Names escrow, once.
pub fn appoint(config: &mut Config, caller: Account, escrow: Account) -> Result<Event, Error> {
    if caller != config.deployer {
        return Err(Error::NotDeployer);
    }
    if config.escrow.is_some() {
        return Err(Error::AlreadyAppointed);
    }
    config.escrow = Some(escrow);
    Ok(Event::Appointed { escrow })
}

/// Adds free stake.
pub fn deposit(
    config: &Config,
    staker: &mut Staker,
    owner: Account,
    amount: Balance,
) -> Result<Event, Error> {
    if config.escrow.is_none() {
        return Err(Error::NotAppointed);
    }
    if amount == 0 {
        return Err(Error::Zero);
    }
    staker.free += amount;
    Ok(Event::Deposited { owner, amount })
}

/// Starts unbonding free stake; all that is unbonding waits the whole delay from `now`.
pub fn request_unbond(
    config: &Config,
    staker: &mut Staker,
    owner: Account,
    amount: Balance,
    now: Millis,
) -> Result<Event, Error> {
    if amount == 0 {
        return Err(Error::Zero);
    }
    staker.free = staker.free.checked_sub(amount).ok_or(Error::NotFree)?;
    staker.unbonding += amount;
    staker.release = now.saturating_add(config.delay);
    Ok(Event::UnbondRequested {
        owner,
        amount,
        release: staker.release,
    })
}

/// Makes unbonding stake free again.
pub fn cancel_unbond(staker: &mut Staker, owner: Account) -> Result<Event, Error> {
    let amount = take_unbonding(staker)?;
    staker.free += amount;
    Ok(Event::UnbondCancelled { owner, amount })
}

/// Releases unbonded stake for payment. Without any, it succeeds only for an empty record, which
/// the owner thereby gives up.
pub fn withdraw(staker: &mut Staker, owner: Account, now: Millis) -> Result<Event, Error> {
    if now < staker.release {
        return Err(Error::TooEarly);
    }
    let amount = if is_empty(staker) {
        0
    } else {
        take_unbonding(staker)?
    };
    Ok(Event::Withdrawn { owner, amount })
}

/// Locks free stake.
pub fn lock(staker: &mut Staker, owner: Account, amount: Balance) -> Result<Event, Error> {
    staker.free = staker.free.checked_sub(amount).ok_or(Error::NotFree)?;
    staker.locked += amount;
    Ok(Event::Locked { owner, amount })
}

/// Makes locked stake free.
pub fn unlock(staker: &mut Staker, owner: Account, amount: Balance) -> Result<Event, Error> {
    staker.locked = staker.locked.checked_sub(amount).ok_or(Error::NotLocked)?;
    staker.free += amount;
    Ok(Event::Unlocked { owner, amount })
}

/// Takes locked stake.
pub fn slash(staker: &mut Staker, owner: Account, amount: Balance) -> Result<Event, Error> {
    staker.locked = staker.locked.checked_sub(amount).ok_or(Error::NotLocked)?;
    Ok(Event::Slashed { owner, amount })
}

/// Whether a record holds nothing.
pub fn is_empty(staker: &Staker) -> bool {
    *staker == Staker::default()
}

fn take_unbonding(staker: &mut Staker) -> Result<Balance, Error> {
    staker.release = 0;
    match core::mem::take(&mut staker.unbonding) {
        0 => Err(Error::NotUnbonding),
        amount => Ok(amount),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Account = [1; 32];
    const ESCROW: Account = [2; 32];
    const DEPLOYER: Account = [3; 32];

    fn config() -> Config {
        Config {
            deployer: DEPLOYER,
            escrow: Some(ESCROW),
            delay: 100,
        }
    }

    fn staked(free: Balance) -> Staker {
        Staker {
            free,
            ..Staker::default()
        }
    }

    fn total(staker: &Staker) -> Balance {
        staker.free + staker.locked + staker.unbonding
    }

    #[test]
    fn escrow_is_appointed_once_and_by_the_deployer_only() {
        let mut config = Config {
            escrow: None,
            ..config()
        };
        assert_eq!(appoint(&mut config, OWNER, ESCROW), Err(Error::NotDeployer));
        assert!(appoint(&mut config, DEPLOYER, ESCROW).is_ok());
        assert_eq!(
            appoint(&mut config, DEPLOYER, OWNER),
            Err(Error::AlreadyAppointed)
        );
        assert_eq!(config.escrow, Some(ESCROW));
    }

    #[test]
    fn nothing_is_deposited_before_escrow_is_appointed_nor_is_zero() {
        let mut staker = Staker::default();
        let unappointed = Config {
            escrow: None,
            ..config()
        };
        assert_eq!(
            deposit(&unappointed, &mut staker, OWNER, 5),
            Err(Error::NotAppointed)
        );
        assert_eq!(deposit(&config(), &mut staker, OWNER, 0), Err(Error::Zero));
        assert!(is_empty(&staker));
    }

    #[test]
    fn locked_or_unbonding_stake_can_be_neither_locked_nor_unbonded_again() {
        let mut staker = staked(10);
        lock(&mut staker, OWNER, 6).unwrap();
        request_unbond(&config(), &mut staker, OWNER, 3, 0).unwrap();
        assert_eq!(lock(&mut staker, OWNER, 2), Err(Error::NotFree));
        assert_eq!(
            request_unbond(&config(), &mut staker, OWNER, 2, 0),
            Err(Error::NotFree)
        );
        assert_eq!(total(&staker), 10);
    }

    #[test]
    fn a_second_request_makes_everything_wait_again() {
        let mut staker = staked(10);
        request_unbond(&config(), &mut staker, OWNER, 9, 0).unwrap();
        request_unbond(&config(), &mut staker, OWNER, 1, 99).unwrap();
        assert_eq!(
            withdraw(&mut staker, OWNER, 100),
            Err(Error::TooEarly),
            "the first part's delay is not enough"
        );
        let paid = withdraw(&mut staker, OWNER, 199).unwrap();
        assert_eq!(
            paid,
            Event::Withdrawn {
                owner: OWNER,
                amount: 10
            }
        );
        assert!(is_empty(&staker));
    }

    #[test]
    fn an_unbonding_that_was_cancelled_cannot_be_withdrawn() {
        let mut staker = staked(10);
        request_unbond(&config(), &mut staker, OWNER, 10, 0).unwrap();
        cancel_unbond(&mut staker, OWNER).unwrap();
        assert_eq!(staker, staked(10));
        assert_eq!(withdraw(&mut staker, OWNER, 1000), Err(Error::NotUnbonding));
        assert_eq!(cancel_unbond(&mut staker, OWNER), Err(Error::NotUnbonding));
    }

    #[test]
    fn a_record_that_was_slashed_to_nothing_can_be_given_up() {
        let mut staker = staked(10);
        lock(&mut staker, OWNER, 10).unwrap();
        slash(&mut staker, OWNER, 10).unwrap();
        assert!(withdraw(&mut staker, OWNER, 0).is_ok());
    }

    #[test]
    fn a_record_with_free_stake_cannot_be_given_up() {
        let mut staker = staked(1);
        assert_eq!(withdraw(&mut staker, OWNER, 1000), Err(Error::NotUnbonding));
        assert_eq!(staker, staked(1));
    }

    #[test]
    fn no_more_is_unlocked_or_slashed_than_is_locked() {
        let mut staker = staked(10);
        lock(&mut staker, OWNER, 4).unwrap();
        assert_eq!(unlock(&mut staker, OWNER, 5), Err(Error::NotLocked));
        assert_eq!(slash(&mut staker, OWNER, 5), Err(Error::NotLocked));
        slash(&mut staker, OWNER, 3).unwrap();
        unlock(&mut staker, OWNER, 1).unwrap();
        assert_eq!(staker, staked(7));
    }

    #[test]
    fn amounts_beyond_the_stake_never_wrap() {
        let mut staker = staked(10);
        assert_eq!(lock(&mut staker, OWNER, Balance::MAX), Err(Error::NotFree));
        assert_eq!(
            request_unbond(&config(), &mut staker, OWNER, Balance::MAX, 0),
            Err(Error::NotFree)
        );
        let endless = Config {
            delay: Millis::MAX,
            ..config()
        };
        request_unbond(&endless, &mut staker, OWNER, 1, 5).unwrap();
        assert_eq!(staker.release, Millis::MAX);
    }
}
