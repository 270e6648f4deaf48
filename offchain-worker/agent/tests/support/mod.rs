//! A task small enough to run in a blink and rich enough to be wrong in every way.
#![allow(dead_code)] // Each test file uses a part of it.

use lockstep_agent::local::Local;
use lockstep_agent::run::workload::{state_file, Workload};
use lockstep_agent::run::Device;
use lockstep_agent::store::Store;
use lockstep_engine::cpu::Options;
use lockstep_engine::device::Choice;
use lockstep_protocol::encoding::Int;
use lockstep_protocol::eval::Inputs;
use lockstep_protocol::program::{
    var, Access, Axis, Body, Dim, Dtype, Fold, Form, Init, Node, Op, Program, Source,
};
use lockstep_protocol::task::{Dataset, TaskSpec};
use std::path::Path;
use std::sync::Arc;

const BATCH: u64 = 2;
const IN: u64 = 40;
const OUT: u64 = 12;

/// One thread, so that tests do not fight for the machine.
pub fn device() -> Device {
    let options = Options {
        threads: Some(1),
        ..Options::default()
    };
    Device::Fast(Choice::Cpu, options)
}

pub fn store(dir: &Path) -> Store {
    Store::open(
        dir.join("store")
            .to_str()
            .expect("a temporary path is text"),
    )
    .unwrap()
}

pub fn local(dir: &Path) -> Arc<Local> {
    Arc::new(Local::open(&dir.join("local")).unwrap())
}

/// A linear model that learns something, and a counter.
pub fn workload(steps: u32, segment: u32) -> Workload {
    let dims = |shape: &[u64]| shape.iter().map(|n| Dim(*n)).collect::<Vec<_>>();
    let read = |node: u32, dtype: Dtype, shape: &[u64], vars: &[u8]| {
        let stride = |d: usize| shape[d + 1..].iter().product::<u64>() as i64;
        Access {
            node,
            dtype,
            len: shape.iter().product(),
            base: Int(0),
            axes: vars
                .iter()
                .enumerate()
                .map(|(d, v)| Axis {
                    form: Form::var(*v),
                    extent: shape[d],
                    stride: Int(stride(d)),
                })
                .collect(),
            fill: 0,
        }
    };
    let map = |shape: &[u64], dtype, reads, consts, ops| {
        Node::Map(Body {
            shape: dims(shape),
            dtype,
            index: vec![],
            reads,
            values: vec![],
            consts,
            ops,
        })
    };
    let dot = |shape: &[u64], over: u64, reads| {
        Node::Fold(Fold {
            body: Body {
                shape: dims(shape),
                dtype: Dtype::F32,
                index: vec![],
                reads,
                values: vec![],
                consts: vec![],
                ops: vec![Op::FFma(1, 2, 0)],
            },
            red: dims(&[over]),
            when: vec![],
            init: Init::Word(0),
        })
    };
    let f32 = Dtype::F32;
    let red = var::RED;
    let weights = [OUT, IN];
    let program = Program {
        slots: 2,
        nodes: vec![
            Node::Source(Source::State {
                shape: dims(&weights),
                dtype: f32,
            }),
            Node::Source(Source::State {
                shape: dims(&[1]),
                dtype: Dtype::U32,
            }),
            Node::Source(Source::Batch {
                dataset: 0,
                batch: BATCH as u32,
                record_size: IN as u32,
                offset: 0,
                fields: IN as u32,
                dtype: Dtype::U8,
            }),
            Node::Source(Source::Step),
            map(
                &[BATCH, IN],
                f32,
                vec![read(2, Dtype::U8, &[BATCH, IN], &[0, 1])],
                vec![(1.0f32 / 256.0).to_bits()],
                vec![Op::U32ToF32(0), Op::FMul(2, 1)],
            ),
            dot(
                &[BATCH, OUT],
                IN,
                vec![
                    read(4, f32, &[BATCH, IN], &[0, red]),
                    read(0, f32, &weights, &[1, red]),
                ],
            ),
            dot(
                &weights,
                BATCH,
                vec![
                    read(5, f32, &[BATCH, OUT], &[red, 0]),
                    read(4, f32, &[BATCH, IN], &[red, 1]),
                ],
            ),
            map(
                &weights,
                f32,
                vec![
                    read(0, f32, &weights, &[0, 1]),
                    read(6, f32, &weights, &[0, 1]),
                ],
                vec![(-0.01f32).to_bits()],
                vec![Op::FFma(2, 1, 0)],
            ),
            map(
                &[1],
                Dtype::U32,
                vec![
                    read(1, Dtype::U32, &[1], &[0]),
                    read(3, Dtype::U32, &[1], &[0]),
                ],
                vec![],
                vec![Op::IAdd(0, 1)],
            ),
        ],
    };
    let data: Vec<u8> = (0..30 * IN).map(|i| (i * 37 % 251) as u8).collect();
    let first: Vec<u8> = (0..OUT * IN)
        .flat_map(|i| ((i % 7) as f32 * 0.1 - 0.3).to_le_bytes())
        .collect();
    let genesis = vec![first, vec![0; 4]];
    let tensors: Vec<&[u8]> = genesis.iter().map(Vec::as_slice).collect();
    let spec = TaskSpec {
        program: program.root(),
        nodes: program.nodes.len() as u32,
        slots: program.slots,
        genesis: *blake3::hash(&state_file(&tensors)).as_bytes(),
        datasets: vec![Dataset {
            root: *blake3::hash(&data).as_bytes(),
            records: 30,
            record_size: IN as u32,
        }],
        batch: BATCH as u32,
        steps,
        segment,
        seed: 11,
    };
    let inputs = Inputs {
        seed: 11,
        datasets: vec![Arc::new(data)],
        constants: Default::default(),
    };
    Workload {
        spec,
        program: Arc::new(program),
        inputs,
        genesis,
    }
}
