use crate::args::KeysCommand;
use crate::context::Context;
use crate::screen::print_json;
use anyhow::{Context as _, Result};
use lockstep_agent::keys::{address, prompt, Signer};
use serde_json::json;

/// `lockstep keys`.
pub fn run(context: &Context, command: KeysCommand) -> Result<()> {
    let keyring = context.keyring();
    match command {
        KeysCommand::New { name } => {
            let (signer, phrase) = keyring.create(&name)?;
            if context.json {
                return print_json(&json!({
                    "name": name, "address": address(&signer.account()), "phrase": phrase,
                }));
            }
            show(&signer);
            println!(
                "\nIts mnemonic phrase, shown only now. Whoever has it has the key:\n\n  {phrase}"
            );
            Ok(())
        }
        KeysCommand::Import { name } => {
            let secret = prompt("mnemonic phrase or secret URI: ")
                .context("there is no terminal to type the secret at")?;
            let signer = keyring.import(&name, &secret)?;
            print(context, &[signer])
        }
        KeysCommand::Show { name } => print(context, &[keyring.load(&name)?]),
        KeysCommand::List => {
            let names = keyring.names()?;
            let signers: Result<Vec<Signer>, _> =
                names.iter().map(|name| keyring.load(name)).collect();
            print(context, &signers?)
        }
    }
}

fn print(context: &Context, signers: &[Signer]) -> Result<()> {
    if context.json {
        let list: Vec<_> = signers
            .iter()
            .map(|s| json!({ "name": s.name(), "address": address(&s.account()) }))
            .collect();
        return print_json(&list);
    }
    signers.iter().for_each(show);
    Ok(())
}

fn show(signer: &Signer) {
    println!("{:<16} {}", signer.name(), address(&signer.account()));
}
