//! The committed bundles have exactly the messages that this crate describes.

use lockstep_interface::{dispute, escrow, stake, Signature};
use serde_json::Value;
use std::{fs, path::Path};

fn messages_of(contract: &str) -> Vec<(String, String, Vec<String>)> {
    let artifacts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../artifacts");
    let bundle = fs::read(artifacts.join(contract).with_extension("contract")).unwrap();
    let bundle: Value = serde_json::from_slice(&bundle).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let message = |message: &Value| {
        let arguments = message["args"].as_array().unwrap().iter();
        (
            text(&message["label"]),
            text(&message["selector"]),
            arguments.map(|argument| text(&argument["label"])).collect(),
        )
    };
    let messages = bundle["spec"]["messages"].as_array().unwrap();
    messages.iter().map(message).collect()
}

fn described(messages: &[Signature]) -> Vec<(String, String, Vec<String>)> {
    let describe = |message: &Signature| {
        let [a, b, c, d] = message.selector;
        (
            message.name.to_string(),
            format!("0x{a:02x}{b:02x}{c:02x}{d:02x}"),
            message
                .arguments
                .iter()
                .map(|name| name.to_string())
                .collect(),
        )
    };
    messages.iter().map(describe).collect()
}

#[test]
fn every_message_is_described_with_its_selector_and_arguments() {
    let contracts = [
        ("stake", stake::MESSAGES),
        ("escrow", escrow::MESSAGES),
        ("dispute", dispute::MESSAGES),
    ];
    for (contract, messages) in contracts {
        assert_eq!(described(messages), messages_of(contract), "{contract}");
    }
}
