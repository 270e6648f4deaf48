//! Elements by index along any axis, against loops in f64.

mod support;

use lockstep_protocol::program::Dtype;
use support::{positions, Bench, Operation, Tensor};

/// The gradient of a gather: what came to each element of a tensor of shape `from`, where
/// `source` says which element of it each one of the result is.
fn scattered(from: &[usize], up: &Tensor, source: impl Fn(&[usize]) -> Vec<usize>) -> Tensor {
    let mut gradient = Tensor::zeros(from);
    for at in positions(&up.shape) {
        gradient.add(&source(&at), up.at(&at));
    }
    gradient
}

#[test]
fn a_gather_along_any_axis_reads_slices_and_its_gradient_scatters() {
    let picked = [2usize, 0, 2, 1];
    for axis in 0..3 {
        let from = [3, 4, 5];
        let shape = [&from[..axis], &[2, 2], &from[axis + 1..]].concat();
        // Where an element of the result comes from.
        let source = |at: &[usize]| {
            let k = picked[at[axis] * 2 + at[axis + 1]];
            [&at[..axis], &[k], &at[axis + 2..]].concat()
        };
        Operation {
            name: &format!("gather along {axis}"),
            inputs: vec![Tensor::random(&from, -1.0, 1.0, 1)],
            build: &|g, x| {
                let bytes = picked.iter().map(|&k| k as u8).collect();
                let ids = g.constant(&[2, 2], Dtype::U8, bytes);
                g.gather(x[0], axis, ids)
            },
            forward: &|x| Tensor::from_fn(&shape, |at| x[0].at(&source(at))),
            backward: &|_, up| vec![scattered(&from, up, source)],
        }
        .check(2e-6);
    }
}

#[test]
fn elements_gathered_one_by_one_scatter_back_and_the_rest_stays() {
    let picked = [3i32, 0, 1, 1, 2, 3];
    for axis in 0..2 {
        let from = if axis == 1 { [3, 4] } else { [4, 3] };
        let shape = if axis == 1 { [2, 3] } else { [3, 2] };
        let source = |at: &[usize]| {
            let mut from = at.to_vec();
            from[axis] = picked[at[0] * shape[1] + at[1]] as usize;
            from
        };
        Operation {
            name: &format!("gather elements along {axis}"),
            inputs: vec![Tensor::random(&from, -1.0, 1.0, 1)],
            build: &|g, x| {
                let bytes = picked.iter().flat_map(|k| k.to_le_bytes()).collect();
                let ids = g.constant(&shape, Dtype::I32, bytes);
                g.gather_elements(x[0], axis, ids)
            },
            forward: &|x| Tensor::from_fn(&shape, |at| x[0].at(&source(at))),
            backward: &|_, up| vec![scattered(&from, up, source)],
        }
        .check(2e-6);
    }
}

#[test]
fn a_position_out_of_range_reads_zero_and_moves_nothing() {
    let mut bench = Bench::default();
    let x = bench.input(&Tensor::random(&[2, 3], 1.0, 2.0, 1));
    let ids = bench.words(&[2, 1], &[3, u32::MAX]);
    let y = bench.graph.gather_elements(x, 1, ids);
    let loss = bench.graph.sum(y, &[0, 1]);
    let gradient = bench.graph.gradients(loss, &[x])[0];
    let got = bench.numbers(&[y, gradient]);
    assert_eq!(got[0].data, [0.0; 2]);
    assert_eq!(got[1].data, [0.0; 6]);
}
