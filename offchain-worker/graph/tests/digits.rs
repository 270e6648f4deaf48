use lockstep_graph::{training::metric, *};
use lockstep_protocol::{eval, program::Dtype};
use std::sync::Arc;

fn bytes() -> Vec<u8> {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/digits/train.bin")).unwrap()
}

#[test]
fn mlp() {
    let mut m = Model::training(1);
    let batch = 64;
    let field = |offset, count| Field { dataset: 0, batch, record_size: 65, offset, count, dtype: Dtype::U8 };
    let x = m.graph.field(field(0, 64));
    let labels = m.graph.field(field(64, 1));
    let labels = m.graph.reshape(labels, &[batch as usize]);
    let x = m.graph.to_f32(x);
    let x = m.graph.scale(x, 1.0 / 16.0);
    let h = m.linear("0", x, 128, &Initial::kaiming(64));
    let h = m.graph.relu(h);
    let h = m.linear("1", h, 64, &Initial::kaiming(128));
    let h = m.graph.relu(h);
    let y = m.linear("2", h, 10, &Initial::xavier(64, 10));
    let losses = m.graph.cross_entropy(y, labels);
    let hits = m.graph.hits(y, labels);
    let built = m
        .train(
            Objective { losses, hits: Some(hits) },
            &Training {
                optimizer: Optimizer::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0.01 },
                rates: Schedule::Cosine { end: 0.1 }.rates(0.003, 10, 300),
                clip: None,
            },
        )
        .unwrap();
    for (i, n) in built.program.nodes.iter().enumerate() {
        println!("{i} {:?}", n);
    }
    let inputs = eval::Inputs {
        seed: 1,
        datasets: vec![Arc::new(bytes())],
        constants: built.constants.iter().map(|(h, b)| (*h, Arc::new(b.clone()) as eval::Blob)).collect(),
    };
    inputs.check(&built.program).unwrap();
    let mut state = built.genesis();
    for step in 0..20 {
        let values = eval::run(&built.program, step, &inputs, &state);
        state = values[built.program.next_state()].to_vec();
        let get = |name| f32::from_le_bytes(state[built.slot(name).unwrap()][..4].try_into().unwrap());
        println!("{step} {} {}", get(metric::LOSS), get(metric::ACCURACY));
    }
}
