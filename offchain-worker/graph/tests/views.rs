//! Reshapes, transposes, slices, padding and concatenation, alone and on top of each other.

mod support;

use lockstep_graph::{Graph, Value};
use lockstep_protocol::program::{Node, Program};
use support::{Bench, Operation, Tensor};

/// Checks a function that only moves elements: output element `at` is the input's element
/// `from(at)`, or 0.
fn check(
    name: &str,
    input: &[usize],
    output: &[usize],
    build: &dyn Fn(&mut Graph, Value) -> Value,
    from: &dyn Fn(&[usize]) -> Option<Vec<usize>>,
) {
    // Behind a function, so that the view is of an expression, and before one.
    for wrapped in [false, true] {
        let number = |x: f64| if wrapped { x.sin() } else { x };
        Operation {
            name,
            inputs: vec![Tensor::random(input, -1.0, 1.0, 1)],
            build: &|g, x| {
                let x = if wrapped { g.sin(x[0]) } else { x[0] };
                let y = build(g, x);
                g.mul(y, y)
            },
            forward: &|x| {
                Tensor::from_fn(output, |at| {
                    from(at).map_or(0.0, |at| number(x[0].at(&at)).powi(2))
                })
            },
            backward: &|x, up| {
                let mut dx = Tensor::zeros(input);
                for at in support::positions(output) {
                    if let Some(source) = from(&at) {
                        let value = x[0].at(&source);
                        let slope = if wrapped { value.cos() } else { 1.0 };
                        dx.add(&source, up.at(&at) * 2.0 * number(value) * slope);
                    }
                }
                vec![dx]
            },
        }
        .check(2e-6);
    }
}

fn unravel(mut offset: usize, shape: &[usize]) -> Vec<usize> {
    let mut at = vec![0; shape.len()];
    for (k, d) in shape.iter().enumerate().rev() {
        at[k] = offset % d;
        offset /= d;
    }
    at
}

fn ravel(at: &[usize], shape: &[usize]) -> usize {
    at.iter()
        .zip(shape)
        .fold(0, |offset, (i, d)| offset * d + i)
}

#[test]
fn reshapes_keep_the_order_of_elements() {
    let shapes: [[&[usize]; 2]; 6] = [
        [&[2, 12], &[2, 3, 4]],
        [&[2, 3, 4], &[24]],
        [&[6, 4], &[4, 6]],
        [&[1], &[]],
        [&[2, 1, 3], &[3, 2]],
        [&[8, 3], &[2, 1, 4, 3, 1]],
    ];
    for [from, to] in shapes {
        check("reshape", from, to, &|g, x| g.reshape(x, to), &|at| {
            Some(unravel(ravel(at, to), from))
        });
    }
}

#[test]
fn permutations_move_axes() {
    check(
        "transpose",
        &[3, 5],
        &[5, 3],
        &|g, x| g.transpose(x),
        &|at| Some(vec![at[1], at[0]]),
    );
    let order = [2, 0, 3, 1];
    check(
        "permute",
        &[2, 3, 4, 5],
        &[4, 2, 5, 3],
        &|g, x| g.permute(x, &order),
        &|at| {
            let mut from = vec![0; 4];
            for k in 0..4 {
                from[order[k]] = at[k];
            }
            Some(from)
        },
    );
}

#[test]
fn a_reshape_of_a_transpose_is_stored_in_between() {
    check(
        "transpose and flatten",
        &[3, 5],
        &[15],
        &|g, x| {
            let t = g.transpose(x);
            g.flatten(t, 0)
        },
        &|at| Some(vec![at[0] % 3, at[0] / 3]),
    );
}

#[test]
fn slices_and_padding_are_each_others_gradients() {
    check(
        "slice",
        &[4, 6],
        &[4, 3],
        &|g, x| g.slice(x, 1, 2, 3),
        &|at| Some(vec![at[0], at[1] + 2]),
    );
    check("pad", &[4, 3], &[7, 3], &|g, x| g.pad(x, 0, 2, 1), &|at| {
        let row = at[0].checked_sub(2).filter(|&r| r < 4)?;
        Some(vec![row, at[1]])
    });
    check(
        "slice of a pad of a slice",
        &[5, 5],
        &[4, 2],
        &|g, x| {
            let inner = g.slice(x, 0, 1, 3);
            let padded = g.pad(inner, 0, 1, 2);
            let narrow = g.slice(padded, 1, 3, 2);
            g.slice(narrow, 0, 0, 4)
        },
        &|at| {
            let row = at[0].checked_sub(1).filter(|&r| r < 3)?;
            Some(vec![row + 1, at[1] + 3])
        },
    );
    check(
        "pad of a reshaped pad",
        &[2, 3],
        &[3, 3, 3],
        &|g, x| {
            let padded = g.pad(x, 1, 0, 1);
            let split = g.reshape(padded, &[2, 2, 2]);
            let high = g.pad(split, 0, 1, 0);
            let wide = g.pad(high, 2, 1, 0);
            g.pad(wide, 1, 0, 1)
        },
        &|at| {
            let (i, j, k) = (at[0].checked_sub(1)?, at[1], at[2].checked_sub(1)?);
            (j < 2 && j * 2 + k < 3).then(|| vec![i, j * 2 + k])
        },
    );
}

#[test]
fn concatenation_of_a_few_and_of_many() {
    for count in [2usize, 3, 11, 70] {
        let extents: Vec<usize> = (0..count).map(|k| 1 + k % 3).collect();
        let total: usize = extents.iter().sum();
        let of = |position: usize| {
            let mut start = 0;
            for (k, &extent) in extents.iter().enumerate() {
                if position < start + extent {
                    return (k, position - start);
                }
                start += extent;
            }
            unreachable!()
        };
        let input = |k: usize| Tensor::random(&[2, extents[k], 2], -1.0, 1.0, k as u32);
        Operation {
            name: &format!("concatenation of {count}"),
            inputs: (0..count).map(input).collect(),
            build: &|g, x| g.concat(x, 1),
            forward: &|x| {
                Tensor::from_fn(&[2, total, 2], |at| {
                    let (k, inner) = of(at[1]);
                    x[k].at(&[at[0], inner, at[2]])
                })
            },
            backward: &|x, up| {
                let mut all: Vec<Tensor> = x.iter().map(|x| Tensor::zeros(&x.shape)).collect();
                for at in support::positions(&up.shape) {
                    let (k, inner) = of(at[1]);
                    all[k].add(&[at[0], inner, at[2]], up.at(&at));
                }
                all
            },
        }
        .check(2e-6);
    }
}

fn maps(program: &Program) -> usize {
    program
        .nodes
        .iter()
        .filter(|n| matches!(n, Node::Map(_)))
        .count()
}

#[test]
fn views_cost_no_node_of_their_own() {
    let mut bench = Bench::default();
    let x = bench.input(&Tensor::random(&[4, 6], -1.0, 1.0, 1));
    let g = &mut bench.graph;
    let t = g.transpose(x);
    let s = g.slice(t, 0, 1, 4);
    let w = g.broadcast(s, &[3, 4, 4]);
    let y = g.matmul(w, s);
    // One copy for the input and one contraction, which the output is.
    assert_eq!(maps(&bench.program(&[y])), 1);
}

#[test]
fn a_chain_of_functions_is_one_map() {
    let mut bench = Bench::default();
    let x = bench.input(&Tensor::random(&[4, 6], -1.0, 1.0, 1));
    let b = bench.input(&Tensor::random(&[6], -1.0, 1.0, 2));
    let g = &mut bench.graph;
    let y = g.add(x, b);
    let y = g.relu(y);
    let y = g.transpose(y);
    let y = g.scale(y, 3.0);
    let y = g.exp(y);
    assert_eq!(maps(&bench.program(&[y])), 3);
}
