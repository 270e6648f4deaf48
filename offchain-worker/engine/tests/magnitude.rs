//! Greatest magnitudes of blocks: any order gives the bits of the sequential maximum.

mod common;

use common::*;
use lockstep_engine::cpu::describe;
use lockstep_protocol::program::*;

const GREATEST: [Op; 2] = [Op::FAbs(1), Op::FMax(0, 2)];

/// The greatest magnitude of every `run` elements along either axis of a matrix, whose last blocks
/// are filled up with `fill`.
fn blocks([rows, columns]: [u64; 2], run: u64, fill: u32, ops: [Op; 2]) -> Case {
    let mut rng = Rng(rows << 32 ^ columns << 8 ^ run);
    let mut sketch = Sketch::default();
    let tensor = rng.tensor(rows * columns, Rng::wild);
    let x = sketch.slot(&[rows, columns], Dtype::F32, tensor);
    for axis in 0..2u8 {
        let mut shape = [rows, columns];
        let along = Form::new(0, &[(axis, run as i64), (var::RED, 1)]);
        let mut forms = [out(0), out(1)];
        forms[axis as usize] = along;
        shape[axis as usize] = shape[axis as usize].div_ceil(run);
        let read = sketch.read(x, &[rows, columns], &forms, fill);
        let greatest = body(&shape, Dtype::F32, vec![read], &[], ops.to_vec());
        sketch.push(fold(greatest, &[run], Init::Word(0)));
    }
    sketch.finish()
}

#[test]
fn greatest_magnitudes_of_blocks_agree() {
    for (size, run) in [
        ([1, 1], 1),
        ([5, 300], 256),
        ([300, 5], 256),
        ([70, 40], 16),
        ([33, 65], 7),
        ([2, 1500], 40),
    ] {
        for ops in [GREATEST, [Op::FAbs(1), Op::FMax(2, 0)]] {
            agree(&blocks(size, run, 0, ops), &format!("{size:?} by {run}"));
        }
    }
}

#[test]
fn what_lies_outside_counts_as_the_protocol_says() {
    for fill in [1 << 31, 0x7f80_0000, 0x7fc0_0000, 0x4000_0000] {
        agree(&blocks([19, 23], 8, fill, GREATEST), &format!("{fill:x}"));
    }
}

#[test]
fn only_zeros_outside_are_skipped() {
    let kernels = |fill| {
        let description = describe(&blocks([19, 23], 8, fill, GREATEST).job.program);
        let folds = description.nodes.iter().filter(|node| node.reduction > 1);
        folds.map(|node| node.kernel).collect::<Vec<_>>()
    };
    assert_eq!(kernels(1 << 31), ["greatest magnitude"; 2]);
    assert_eq!(kernels(0x4000_0000), ["fold"; 2]);
}

#[test]
fn the_greatest_of_the_magnitudes_in_a_matrix_agrees() {
    // Two reduction dimensions, and elements that are neither rows nor columns.
    let mut rng = Rng(3);
    let mut sketch = Sketch::default();
    let shape = [6, 5, 40];
    let tensor = rng.tensor(shape.iter().product(), Rng::wild);
    let x = sketch.slot(&shape, Dtype::F32, tensor);
    for forms in [
        [red(0), out(0), red(1)],
        [out(0), red(0), red(1)],
        [red(1), red(0), out(0)],
    ] {
        let extent = |form: &Form| {
            let axis = forms.iter().position(|f| f == form);
            axis.map_or(1, |axis| shape[axis])
        };
        let read = sketch.read(x, &shape, &forms, 0);
        let outer = [extent(&out(0))];
        let greatest = body(&outer, Dtype::F32, vec![read], &[], GREATEST.to_vec());
        let steps = [extent(&red(0)), extent(&red(1))];
        sketch.push(fold(greatest, &steps, Init::Word(0)));
    }
    agree(&sketch.finish(), "matrix");
}
