//! BLAKE3 of a state on the device.

use crate::{dims, seconds};
use lockstep_engine::cuda::{Cuda, Gpu};
use lockstep_engine::{Engine, Job};
use lockstep_protocol::encoding::Int;
use lockstep_protocol::eval::Inputs;
use lockstep_protocol::program::*;
use serde_json::{json, Value};
use std::error::Error;
use std::sync::Arc;

/// The hash of a state of one large tensor.
pub fn times(device: u32) -> Result<Vec<Value>, Box<dyn Error>> {
    println!("\n| bytes hashed | GB/s | ms |\n|---|---|---|");
    let mut rows = Vec::new();
    for bytes in [1u64 << 20, 1 << 26, 1 << 30] {
        let shape = dims(&[bytes / 4]);
        let dtype = Dtype::U32;
        let state = Node::Source(Source::State {
            shape: shape.clone(),
            dtype,
        });
        let whole = Access {
            node: 0,
            dtype,
            len: bytes / 4,
            base: Int(0),
            axes: vec![Axis {
                form: Form::var(0),
                extent: bytes / 4,
                stride: Int(1),
            }],
            fill: 0,
        };
        let copy = Node::Map(Body {
            shape,
            dtype,
            index: Vec::new(),
            reads: vec![whole],
            values: Vec::new(),
            consts: Vec::new(),
            ops: Vec::new(),
        });
        let job = Job {
            program: Arc::new(Program {
                slots: 1,
                nodes: vec![state, copy],
            }),
            inputs: Inputs::default(),
        };
        let engine = Cuda::new(job, Gpu::open(device)?)?;
        let time = seconds(|| {
            engine.hashes();
            Ok(())
        })?;
        let speed = bytes as f64 / time / 1e9;
        println!("| {bytes} | {speed:.1} | {:.3} |", time * 1e3);
        rows.push(json!({ "bytes": bytes, "seconds": time, "gbps": speed }));
    }
    Ok(rows)
}
