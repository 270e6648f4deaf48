//! Every node's value in a step, and every fold's traces.

use crate::json::hex;
use crate::samples::{self, Sample};
use lockstep_protocol::eval::{fold_trace, run};
use lockstep_protocol::program::Node;
use lockstep_protocol::random::Case;
use lockstep_protocol::tree;
use scale::Encode;
use serde_json::{json, Value};

/// Longer values are given by their hash alone.
const SHOWN: usize = 2048;

/// Random programs.
const RANDOM: u64 = 8;

pub fn vectors() -> Value {
    let fixed = [
        (samples::small(), 5),
        (samples::deep(), 2),
        (samples::wide(), 1),
        (samples::functions(), 1),
    ];
    let random = (0..RANDOM).map(|seed| (samples::random(seed), 2));
    fixed
        .into_iter()
        .chain(random)
        .map(|(sample, steps)| program(sample, steps))
        .collect()
}

fn program(sample: Sample, steps: u32) -> Value {
    let Case {
        program,
        inputs,
        mut state,
        ..
    } = sample.case();
    inputs.check(&program).expect("the sample has its inputs");
    let steps = (0..steps).map(|step| {
        let values = run(&program, step, &inputs, &state);
        state = values[program.next_state()].to_vec();
        let traces = program.nodes.iter().zip(0..).flat_map(|(node, n)| {
            let elements = match node {
                Node::Fold(_) => node.len(),
                _ => 0,
            };
            let values = &values;
            (0..elements).map(move |element| {
                let trace = shown(&fold_trace(node, values, element));
                json!({ "node": n, "element": element, "trace": trace })
            })
        });
        json!({
            "step": step,
            "values": values.iter().map(|value| shown(value)).collect::<Value>(),
            "traces": traces.collect::<Value>(),
        })
    });
    let steps: Value = steps.collect();
    json!({
        "name": sample.name,
        "slots": program.slots,
        "nodes": program.nodes.iter().map(|node| hex(&node.encode())).collect::<Value>(),
        "seed": sample.seed,
        "datasets": sample
            .datasets
            .iter()
            .map(|(file, record_size)| json!({ "file": hex(file), "record_size": record_size }))
            .collect::<Value>(),
        "constants": sample.constants.iter().map(|file| hex(file)).collect::<Value>(),
        "genesis": sample.genesis.iter().map(|tensor| shown_or_rule(tensor)).collect::<Value>(),
        "steps": steps,
    })
}

fn shown(bytes: &[u8]) -> Value {
    let mut value = json!({ "blake3": hex(&tree::hash(bytes)) });
    if bytes.len() <= SHOWN {
        value["hex"] = json!(hex(bytes));
    }
    value
}

/// A tensor's bytes, or its length when byte i is i modulo 251.
fn shown_or_rule(bytes: &[u8]) -> Value {
    if bytes.len() <= SHOWN {
        return json!({ "hex": hex(bytes) });
    }
    assert!(bytes
        .iter()
        .enumerate()
        .all(|(i, byte)| *byte == (i % 251) as u8));
    json!({ "length": bytes.len() })
}
