//! The description of a program names what will run, how, and in how much memory.

mod common;

use common::*;
use lockstep_engine::cpu::describe;
use lockstep_protocol::program::*;

#[test]
fn kernels_costs_and_unread_nodes_are_named() {
    let (m, n, k) = (8, 16, 4);
    let mut sketch = Sketch::default();
    let a = sketch.slot(&[m, k], Dtype::F32, vec![0; 4 * (m * k) as usize]);
    let b = sketch.slot(&[k, n], Dtype::F32, vec![0; 4 * (k * n) as usize]);
    let ids = sketch.slot(&[k], Dtype::U32, vec![0; 4 * k as usize]);
    let reads = vec![
        sketch.read(a, &[m, k], &[out(0), red(0)], 0),
        sketch.read(b, &[k, n], &[red(0), out(1)], 0),
    ];
    let product = body(&[m, n], Dtype::F32, reads, &[], vec![Op::FFma(1, 2, 0)]);
    let product = sketch.push(fold(product, &[k], Init::Word(0)));
    let read = sketch.read(b, &[k, n], &[red(0), out(1)], 0);
    let mut gradient = body(&[m, n], Dtype::F32, vec![read], &[], vec![Op::FAdd(0, 1)]);
    gradient.index = vec![sketch.read(ids, &[k], &[red(0)], 0)];
    let scatter = sketch.push(Node::Fold(Fold {
        body: gradient,
        red: dims(&[k]),
        when: vec![Guard {
            form: Form::new(0, &[(0, -1), (var::INDEX, 1)]),
            lo: 0.into(),
            hi: 1.into(),
        }],
        init: Init::Word(0),
    }));
    let program = sketch.finish().job.program;
    let description = describe(&program);
    let nodes = &description.nodes;
    let [product, scatter] = [product, scatter].map(|node| &nodes[node as usize]);
    assert_eq!(product.kernel, "contraction");
    assert_eq!(product.steps, m * n * k);
    assert_eq!(product.flops, 2 * m * n * k);
    assert_eq!(product.bytes, 4 * m * n);
    assert_eq!(product.traffic, 4 * (m * n + m * k + k * n));
    assert_eq!(scatter.kernel, "scatter");
    assert!(!product.runs && !scatter.runs, "nothing reads them");
    assert_eq!(nodes[0].kernel, "state");
    let last = &nodes[nodes.len() - 1];
    assert_eq!((last.kernel, last.runs), ("map", true));
    let state: u64 = nodes[..3].iter().map(|node| node.bytes).sum();
    assert_eq!(description.memory.state, 2 * state);
    assert_eq!(description.memory.buffers, 0);
    assert_eq!(description.flops, 0);
}
