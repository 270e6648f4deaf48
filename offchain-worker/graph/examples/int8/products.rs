//! Matrix multiplication of bytes beside that of f32.

use crate::fastest;
use lockstep_engine::{
    cpu::{Cpu, Options, Simd},
    Job,
};
use lockstep_protocol::{
    eval::{Blob, Inputs},
    program::{var, Access, Axis, Body, Dim, Dtype, Fold, Form, Init, Node, Op, Program, Source},
};
use std::sync::Arc;

/// `c[m, n] = sum over k of a[m, k] * b[k, n]` of constants, on one thread.
fn product([m, n, k]: [u64; 3], simd: Simd, bytes: bool) -> Cpu {
    let (element, result, ops) = match bytes {
        true => (Dtype::I8, Dtype::I32, vec![Op::IMul(1, 2), Op::IAdd(0, 3)]),
        false => (Dtype::F32, Dtype::F32, vec![Op::FFma(1, 2, 0)]),
    };
    let mut inputs = Inputs::default();
    let mut constant = |rows: u64, columns: u64, factor: u32| {
        let number = |i: u64| (i as u32).wrapping_mul(factor) >> 24;
        let bytes: Vec<u8> = match bytes {
            true => (0..rows * columns).map(|i| number(i) as u8).collect(),
            false => (0..rows * columns)
                .flat_map(|i| (number(i) as f32 - 127.0).to_le_bytes())
                .collect(),
        };
        let hash = *blake3::hash(&bytes).as_bytes();
        inputs.constants.insert(hash, Arc::new(bytes) as Blob);
        Node::Source(Source::Constant {
            shape: vec![Dim(rows), Dim(columns)],
            dtype: element,
            hash,
        })
    };
    let (a, b) = (constant(m, k, 0x9e37_79b9), constant(k, n, 0x85eb_ca6b));
    let read = |node: u32, [(row, rows), (column, columns)]: [(u8, u64); 2]| Access {
        node,
        dtype: element,
        len: rows * columns,
        base: 0.into(),
        axes: [(row, rows, columns), (column, columns, 1)]
            .map(|(variable, extent, stride)| Axis {
                form: Form::var(variable),
                extent,
                stride: (stride as i64).into(),
            })
            .to_vec(),
        fill: 0,
    };
    let shape = vec![Dim(m), Dim(n)];
    let fold = Node::Fold(Fold {
        body: Body {
            shape: shape.clone(),
            dtype: result,
            index: vec![],
            reads: vec![
                read(1, [(0, m), (var::RED, k)]),
                read(2, [(var::RED, k), (1, n)]),
            ],
            values: vec![],
            consts: vec![],
            ops,
        },
        red: vec![Dim(k)],
        when: vec![],
        init: Init::Word(0),
    });
    let state = Node::Source(Source::State {
        shape,
        dtype: result,
    });
    let job = Job {
        program: Arc::new(Program {
            slots: 1,
            nodes: vec![state, a, b, fold],
        }),
        inputs,
    };
    let options = Options {
        threads: Some(1),
        simd: Some(simd),
        ..Options::default()
    };
    Cpu::new(job, options).expect("a valid program on this machine")
}

/// Prints how many products a second there are of each, for several sizes and instruction sets.
pub fn run() {
    println!("10^9 products a second: rows x columns x K");
    for simd in Simd::available() {
        for size in [
            [512, 512, 512],
            [1024, 1024, 1024],
            [2048, 2048, 2048],
            [512, 3072, 768],
            [512, 768, 3072],
            [768, 3072, 512],
        ] {
            let products = size.iter().product::<u64>();
            let engines = [false, true].map(|bytes| product(size, simd, bytes));
            let steps = match simd {
                Simd::Baseline => 1,
                _ => 20_000_000_000 / products,
            };
            let times = fastest(engines, steps as u32);
            let [floats, bytes] = times.map(|time| products as f64 / time);
            println!(
                "{simd} {size:?}: f32 {floats:.1}, int8 {bytes:.1}, {:.2}x",
                bytes / floats
            );
            if simd == Simd::Baseline {
                break;
            }
        }
    }
}
