//! Making a deployment step by step, and telling whether one is whole.

use super::{Addresses, Contracts, Error};
use crate::chain::bundle::{Bundle, Bundles};
use crate::chain::{instance_address, Chain, Receipt};
use crate::keys::{address, Account, Signer};
use lockstep_interface::{escrow, selector, stake, Bounds, Millis};
use scale::Encode;
use std::sync::Arc;

/// Steps of a deployment.
pub const STEPS: usize = 5;

/// One step of a deployment.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// Its number, from 1 to [`STEPS`].
    pub step: usize,
    /// What it does.
    pub what: &'static str,
    /// What the chain said; `None` when the step had been done before.
    pub receipt: Option<Receipt>,
}

impl Contracts {
    /// Deploys all three contracts and tells each its one caller: stake, escrow, dispute, then
    /// the two appointments. `done` hears of each step.
    ///
    /// After a failure the same call goes on where it stopped: the same signer, code, settings
    /// and salt lead to the same addresses, and what is there already is skipped.
    ///
    /// # Errors
    /// The first step that fails.
    pub fn deploy(
        chain: Arc<dyn Chain>,
        signer: &Signer,
        bundles: &Bundles,
        unbonding: Millis,
        bounds: &Bounds,
        salt: &[u8],
        done: &mut dyn FnMut(Deployed),
    ) -> Result<Contracts, Error> {
        let mut number = 0;
        let mut done = |what, receipt| {
            number += 1;
            done(Deployed {
                step: number,
                what,
                receipt,
            });
        };
        let mut instance = |what, bundle: &Bundle, arguments: &[u8]| {
            let input = [&selector("new")[..], arguments].concat();
            let expected = instance_address(&signer.account(), &bundle.code_hash, &input, salt);
            if chain.code_hash(&expected)?.is_some() {
                done(what, None);
                return Ok(expected);
            }
            let (account, receipt) = chain.deploy(signer, &bundle.wasm, &input, salt)?;
            done(what, Some(receipt));
            Ok::<Account, Error>(account)
        };
        let stake = instance("stake", &bundles.stake, &unbonding.encode())?;
        let escrow = instance("escrow", &bundles.escrow, &(stake, bounds).encode())?;
        let dispute = instance("dispute", &bundles.dispute, &escrow.encode())?;
        let at = Addresses {
            stake,
            escrow,
            dispute,
        };
        let contracts = Contracts::new(chain.clone(), at);

        let appointed = contracts.stake_config()?.escrow == Some(escrow);
        let appoint = || contracts.stake(signer, 0, &stake::Appoint { escrow });
        let receipt = unless(appointed, || Ok(appoint()?.1))?;
        done("stake.appoint", receipt);

        let appointed = contracts.escrow_config()?.dispute == Some(dispute);
        let appoint = || contracts.escrow(signer, 0, &escrow::Appoint { dispute });
        let receipt = unless(appointed, || Ok(appoint()?.1))?;
        done("escrow.appoint", receipt);
        Ok(contracts)
    }

    /// Checks that the three contracts are there, are the versions in `bundles`, and know each
    /// other.
    ///
    /// # Errors
    /// The first thing that is not so, or that the chain cannot be reached.
    pub fn verify(&self, bundles: &Bundles) -> Result<(), Error> {
        let Addresses {
            stake,
            escrow,
            dispute,
        } = self.at;
        self.verify_code("stake", stake, &bundles.stake)?;
        self.verify_code("escrow", escrow, &bundles.escrow)?;
        self.verify_code("dispute", dispute, &bundles.dispute)?;

        let config = self.escrow_config()?;
        let partners = [
            (
                "stake",
                stake,
                "escrow",
                self.stake_config()?.escrow,
                escrow,
            ),
            ("escrow", escrow, "stake", Some(config.stake), stake),
            ("escrow", escrow, "dispute", config.dispute, dispute),
            (
                "dispute",
                dispute,
                "escrow",
                Some(self.dispute_config()?.escrow),
                escrow,
            ),
        ];
        for (contract, at, partner, known, expected) in partners {
            if known != Some(expected) {
                let known = known.map_or("nobody".to_owned(), |known| address(&known));
                let expected = address(&expected);
                return Err(Error::Wiring {
                    contract,
                    address: address(&at),
                    reason: format!("its {partner} contract is {known}, not {expected}"),
                });
            }
        }
        Ok(())
    }

    fn verify_code(
        &self,
        contract: &'static str,
        at: Account,
        bundle: &Bundle,
    ) -> Result<(), Error> {
        match self.chain.code_hash(&at)? {
            Some(found) if found == bundle.code_hash => Ok(()),
            Some(found) => Err(Error::Version {
                contract,
                address: address(&at),
                reason: format!(
                    "its code hash is {}, this worker knows {}",
                    hex::encode(found),
                    hex::encode(bundle.code_hash)
                ),
            }),
            None => Err(Error::Missing {
                contract,
                address: address(&at),
            }),
        }
    }
}

fn unless(
    already: bool,
    act: impl FnOnce() -> Result<Receipt, Error>,
) -> Result<Option<Receipt>, Error> {
    if already {
        return Ok(None);
    }
    act().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::embedded::{Clock, Embedded};
    use crate::chain::{Balance, Call, Error as ChainError, Estimate, Event, Funds, Limits, Now};
    use crate::chain::{Hash, Weight};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A chain that takes only so many transactions.
    struct Failing {
        chain: Embedded,
        left: AtomicUsize,
    }

    impl Failing {
        fn spend(&self) -> Result<(), ChainError> {
            let less = |left: usize| left.checked_sub(1);
            self.left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
                .map(drop)
                .map_err(|_| ChainError::Rejected("enough".into()))
        }
    }

    impl Chain for Failing {
        fn now(&self) -> Result<Now, ChainError> {
            self.chain.now()
        }
        fn funds(&self, account: &Account) -> Result<Funds, ChainError> {
            self.chain.funds(account)
        }
        fn issuance(&self) -> Result<Balance, ChainError> {
            self.chain.issuance()
        }
        fn extrinsic_limit(&self) -> Result<Weight, ChainError> {
            self.chain.extrinsic_limit()
        }
        fn estimate(&self, from: &Account, call: &Call) -> Result<Estimate, ChainError> {
            self.chain.estimate(from, call)
        }
        fn submit(&self, by: &Signer, call: &Call, limits: &Limits) -> Result<Receipt, ChainError> {
            self.spend()?;
            self.chain.submit(by, call, limits)
        }
        fn deploy(
            &self,
            signer: &Signer,
            code: &[u8],
            input: &[u8],
            salt: &[u8],
        ) -> Result<(Account, Receipt), ChainError> {
            self.spend()?;
            self.chain.deploy(signer, code, input, salt)
        }
        fn events(&self, contract: &Account, block: u32) -> Result<Vec<Event>, ChainError> {
            self.chain.events(contract, block)
        }
        fn code_hash(&self, contract: &Account) -> Result<Option<Hash>, ChainError> {
            self.chain.code_hash(contract)
        }
    }

    fn attempt(chain: &Arc<Failing>, salt: &[u8]) -> (Result<Contracts, Error>, Vec<bool>) {
        let bundles = Bundles::shipped().unwrap();
        let mut skipped = Vec::new();
        let made = Contracts::deploy(
            chain.clone(),
            &Signer::dev("Alice"),
            &bundles,
            1_000,
            &Bounds::default(),
            salt,
            &mut |step| {
                assert_eq!(step.step, skipped.len() + 1);
                skipped.push(step.receipt.is_none());
            },
        );
        (made, skipped)
    }

    #[test]
    fn a_deployment_goes_on_where_it_stopped() {
        for first in 0..=STEPS {
            let chain = Arc::new(Failing {
                chain: Embedded::in_memory(Clock::Own),
                left: AtomicUsize::new(first),
            });
            let (made, skipped) = attempt(&chain, b"");
            assert_eq!(made.is_ok(), first == STEPS);
            assert_eq!(skipped, vec![false; first]);

            chain.left.store(STEPS - first, Ordering::Relaxed);
            let (made, skipped) = attempt(&chain, b"");
            let expected: Vec<bool> = (0..STEPS).map(|step| step < first).collect();
            assert_eq!(skipped, expected);
            made.unwrap().verify(&Bundles::shipped().unwrap()).unwrap();
        }
    }

    #[test]
    fn what_is_wrong_with_a_deployment_is_named() {
        let chain = Arc::new(Failing {
            chain: Embedded::in_memory(Clock::Own),
            left: AtomicUsize::new(2 * STEPS - 1),
        });
        let bundles = Bundles::shipped().unwrap();
        let whole = attempt(&chain, b"a").0.unwrap();
        whole.verify(&bundles).unwrap();

        let mut other = bundles.clone();
        other.escrow.code_hash[0] ^= 1;
        let fault = whole.verify(&other).unwrap_err();
        assert!(matches!(
            fault,
            Error::Version {
                contract: "escrow",
                ..
            }
        ));

        let nowhere = Addresses {
            dispute: [7; 32],
            ..whole.at
        };
        let fault = Contracts::new(chain.clone(), nowhere).verify(&bundles);
        assert!(matches!(
            fault.unwrap_err(),
            Error::Missing {
                contract: "dispute",
                ..
            }
        ));

        // All but the last appointment.
        let mut at = whole.at;
        let input = |arguments: &[u8]| [&selector("new")[..], arguments].concat();
        let alice = Signer::dev("Alice").account();
        assert!(attempt(&chain, b"b").0.is_err());
        let derive = |bundle: &Bundle, arguments: &[u8]| {
            instance_address(&alice, &bundle.code_hash, &input(arguments), b"b")
        };
        at.stake = derive(&bundles.stake, &1_000u64.encode());
        at.escrow = derive(&bundles.escrow, &(at.stake, Bounds::default()).encode());
        at.dispute = derive(&bundles.dispute, &at.escrow.encode());
        let fault = Contracts::new(chain.clone(), at).verify(&bundles);
        let fault = fault.unwrap_err();
        assert!(matches!(
            fault,
            Error::Wiring {
                contract: "escrow",
                ..
            }
        ));
        assert!(fault.to_string().contains("dispute contract is nobody"));

        let mixed = Addresses {
            stake: at.stake,
            ..whole.at
        };
        let fault = Contracts::new(chain, mixed).verify(&bundles);
        assert!(matches!(fault.unwrap_err(), Error::Wiring { .. }));
    }
}
