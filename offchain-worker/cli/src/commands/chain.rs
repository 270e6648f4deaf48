use crate::args::ChainCommand;
use crate::context::Context;
use crate::money;
use crate::screen::print_json;
use anyhow::Result;
use lockstep_agent::chain::{Chain, Now};
use lockstep_agent::keys::{address, parse_address};
use serde_json::json;

/// `lockstep chain`.
pub fn run(context: &Context, command: ChainCommand) -> Result<()> {
    match command {
        ChainCommand::Now => show(context, context.chain()?.now()?),
        ChainCommand::Advance { minutes } => {
            show(context, context.embedded()?.advance(minutes * 60_000)?)
        }
        ChainCommand::Fund { who, amount } => {
            let chain = context.embedded()?;
            let account = match parse_address(&who) {
                Some(account) => account,
                None => context.keyring().load(&who)?.account(),
            };
            chain.mint(&account, amount)?;
            let free = chain.funds(&account)?.free;
            if context.json {
                return print_json(&json!({
                    "address": address(&account), "free": free.to_string(),
                }));
            }
            println!("{} has {}", address(&account), money::show(free));
            Ok(())
        }
    }
}

fn show(context: &Context, now: Now) -> Result<()> {
    if context.json {
        return print_json(&json!({ "block": now.block, "time": now.time }));
    }
    println!("block {}, {} ms since 1970", now.block, now.time);
    Ok(())
}
