use crate::args::StakeCommand;
use crate::context::Context;
use crate::money;
use crate::screen::print_json;
use anyhow::Result;
use lockstep_interface::stake::{Deposit, RequestUnbond, Withdraw};
use serde_json::json;

/// `lockstep stake`.
pub fn run(context: &Context, command: StakeCommand) -> Result<()> {
    let contracts = context.contracts()?;
    let signer = context.signer()?;
    match command {
        StakeCommand::Deposit { amount } => {
            contracts.stake(&signer, amount, &Deposit {})?;
        }
        StakeCommand::Unbond { amount } => {
            contracts.stake(&signer, 0, &RequestUnbond { amount })?;
        }
        StakeCommand::Withdraw => {
            contracts.stake(&signer, 0, &Withdraw {})?;
        }
        StakeCommand::Show => {}
    }
    let staker = contracts.staker(signer.account())?;
    if context.json {
        return print_json(&json!({
            "free": staker.free.to_string(),
            "locked": staker.locked.to_string(),
            "unbonding": staker.unbonding.to_string(),
            "release": staker.release,
        }));
    }
    println!("free       {}", money::show(staker.free));
    println!("locked     {}", money::show(staker.locked));
    println!("unbonding  {}", money::show(staker.unbonding));
    if staker.unbonding > 0 {
        let now = contracts.now()?.time;
        let hours = staker.release.saturating_sub(now) as f64 / 3_600_000.0;
        println!("           can be withdrawn in {hours:.1} h");
    }
    Ok(())
}
