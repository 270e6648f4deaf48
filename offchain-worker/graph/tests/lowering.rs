//! What programs look like: the order of sums, the place of the state, sharing, and limits.

mod support;

use lockstep_graph::{lower::lower, Graph, Value};
use lockstep_protocol::program::{limits, Dtype, Node, Program};
use support::{assert_close, Bench, Tensor};

/// A sum in lanes, as the documentation of lowering states it.
fn lanes(terms: &[f32]) -> f32 {
    if terms.len() <= 64 {
        return terms.iter().fold(0.0, |sum, x| sum + x);
    }
    let count = 32 * terms.len().div_ceil(32 * 4096);
    let lane = |l: usize| {
        terms
            .iter()
            .skip(l)
            .step_by(count)
            .fold(0.0, |sum, x| sum + x)
    };
    lanes(&(0..count).map(lane).collect::<Vec<f32>>())
}

#[test]
fn long_sums_run_in_lanes_bit_for_bit() {
    for terms in [1, 2, 63, 64, 65, 96, 1000, 1024, 140_001] {
        let x = Tensor::random(&[terms], -1.0, 1.0, terms as u32);
        let mut bench = Bench::default();
        let value = bench.input(&x);
        let sum = bench.graph.sum(value, &[0]);
        let got = bench.numbers(&[sum])[0].data[0] as f32;
        let numbers: Vec<f32> = x.data.iter().map(|&x| x as f32).collect();
        assert_eq!(got.to_bits(), lanes(&numbers).to_bits(), "{terms} terms");
    }
}

#[test]
fn a_contraction_walks_its_terms_in_order_with_one_rounding_each() {
    let (a, b) = (
        Tensor::random(&[1, 500], -1.0, 1.0, 1),
        Tensor::random(&[500, 1], -1.0, 1.0, 2),
    );
    let mut bench = Bench::default();
    let values = [bench.input(&a), bench.input(&b)];
    let y = bench.graph.matmul(values[0], values[1]);
    let got = bench.numbers(&[y])[0].data[0] as f32;
    let terms = a.data.iter().zip(&b.data);
    let want = terms.fold(0f32, |sum, (&a, &b)| (a as f32).mul_add(b as f32, sum));
    assert_eq!(got.to_bits(), want.to_bits());
}

fn deepest(program: &Program) -> u64 {
    program.nodes.iter().map(Node::reduction).max().unwrap()
}

#[test]
fn a_contraction_that_is_too_deep_is_cut_into_chunks() {
    // With a divisor near, without one, and over two axes.
    for (left, right, subscripts) in [
        (&[2usize, 40_000][..], &[40_000usize, 1][..], "mk,kn->mn"),
        (&[1, 32_771], &[32_771, 2], "mk,kn->mn"),
        (&[300, 2, 101], &[300, 101, 1], "imk,ikn->mn"),
    ] {
        let (a, b) = (
            Tensor::random(left, -1.0, 1.0, 1),
            Tensor::random(right, -1.0, 1.0, 2),
        );
        let mut bench = Bench::default();
        let values = [bench.input(&a), bench.input(&b)];
        let y = bench.graph.einsum(subscripts, values[0], values[1]);
        let shape = bench.graph.shape(y).to_vec();
        let want = Tensor::from_fn(&shape, |at| match left.len() {
            2 => (0..left[1])
                .map(|k| a.at(&[at[0], k]) * b.at(&[k, at[1]]))
                .sum(),
            _ => {
                let row = |i: usize| (0..left[2]).map(move |k| (i, k));
                let terms = (0..left[0]).flat_map(row);
                terms
                    .map(|(i, k)| a.at(&[i, at[0], k]) * b.at(&[i, k, at[1]]))
                    .sum()
            }
        });
        let mut other = Bench::default();
        let values = [other.input(&a), other.input(&b)];
        let y2 = other.graph.einsum(subscripts, values[0], values[1]);
        assert!(deepest(&other.program(&[y2])) <= 1 << 14);
        assert_close(subscripts, &bench.numbers(&[y])[0], &want, 1e-5);
    }
}

/// Two states and their next values by `step`.
fn pair(step: impl Fn(&mut Graph, [Value; 2]) -> [Value; 2]) -> Program {
    let mut graph = Graph::new();
    let (first, a) = graph.state(&[3], Dtype::F32);
    let (second, b) = graph.state(&[3], Dtype::F32);
    let [next_a, next_b] = step(&mut graph, [a, b]);
    lower(&graph, &[(first, next_a), (second, next_b)]).unwrap()
}

fn run(program: &Program, a: [f32; 3], b: [f32; 3]) -> Vec<Vec<f64>> {
    let state = [a, b].map(|x| x.iter().flat_map(|x| x.to_le_bytes()).collect());
    let inputs = lockstep_protocol::eval::Inputs::default();
    let values = lockstep_protocol::eval::run(program, 0, &inputs, &state);
    values[program.next_state()]
        .iter()
        .map(|bytes| support::floats(bytes))
        .collect()
}

#[test]
fn states_may_stay_and_change_places() {
    let (a, b) = ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]);
    assert_eq!(
        run(&pair(|_, ab| ab), a, b),
        [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    );
    assert_eq!(
        run(&pair(|_, [a, b]| [b, a]), a, b),
        [[4.0, 5.0, 6.0], [1.0, 2.0, 3.0]]
    );
    let same = pair(|g, [a, b]| [g.add(a, b); 2]);
    assert_eq!(run(&same, a, b), [[5.0, 7.0, 9.0]; 2]);
}

#[test]
fn a_next_value_that_others_need_is_where_they_can_read_it() {
    let (a, b) = ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]);
    // The second from the first: read where it stands.
    let later = pair(|g, [a, b]| {
        let sum = g.add(a, b);
        [sum, g.mul(sum, sum)]
    });
    assert_eq!(later.nodes.len(), 4);
    assert_eq!(run(&later, a, b), [[5.0, 7.0, 9.0], [25.0, 49.0, 81.0]]);
    // The first from the second: stands earlier, and is copied to its place.
    let earlier = pair(|g, [a, b]| {
        let sum = g.add(a, b);
        [g.mul(sum, sum), sum]
    });
    assert_eq!(earlier.nodes.len(), 5);
    assert_eq!(run(&earlier, a, b), [[25.0, 49.0, 81.0], [5.0, 7.0, 9.0]]);
    // A node between the two needs the first.
    let between = pair(|g, [a, b]| {
        let sum = g.add(a, b);
        let total = g.sum(sum, &[0]);
        [sum, g.div(sum, total)]
    });
    let thirds = [5.0f32 / 21.0, 7.0 / 21.0, 9.0 / 21.0].map(f64::from);
    assert_eq!(run(&between, a, b), [[5.0, 7.0, 9.0], thirds]);
}

#[test]
fn equal_values_are_one_node_and_unread_ones_none() {
    let program = pair(|g, [a, b]| {
        let (x, y) = (g.softmax(a, 0), g.softmax(a, 0));
        g.tanh(b);
        [g.add(x, b), g.sub(y, b)]
    });
    let exps = |n: &&Node| matches!(n, Node::Map(body) if body.ops.len() > 8);
    assert_eq!(program.nodes.iter().filter(exps).count(), 1);
    let mut read = vec![false; program.nodes.len()];
    for node in &program.nodes {
        node.accesses()
            .for_each(|access| read[access.node as usize] = true);
    }
    for (k, read) in read.iter().enumerate() {
        assert!(
            *read || program.next_state().contains(&k) || k < 2,
            "nobody reads node {k}"
        );
    }
}

#[test]
fn the_same_graph_gives_the_same_program() {
    let build = || {
        pair(|g, [a, b]| {
            let y = g.softmax(a, 0);
            let y = g.dropout(y, 0.5, 3);
            let loss = g.mean_squared_error(y, b);
            let gradients = g.gradients(loss, &[a, b]);
            [gradients[0], gradients[1]]
        })
    };
    assert_eq!(build().root(), build().root());
}

#[test]
fn an_expression_too_large_for_a_map_is_cut() {
    let mut bench = Bench::default();
    let inputs: Vec<Tensor> = (0..30)
        .map(|k| Tensor::random(&[5], -1.0, 1.0, k))
        .collect();
    let values: Vec<Value> = inputs.iter().map(|x| bench.input(x)).collect();
    let g = &mut bench.graph;
    // More operands than a map reads, and more operations than it holds.
    let wide = values.iter().copied().reduce(|a, b| g.add(a, b)).unwrap();
    let long = (0..12).fold(wide, |x, _| {
        let x = g.gelu(x);
        g.sin(x)
    });
    let got = bench.numbers(&[wide, long]);
    let mut want = Tensor::zeros(&[5]);
    for x in &inputs {
        support::positions(&[5])
            .iter()
            .for_each(|at| want.add(at, x.at(at)));
    }
    assert_close("the wide one", &got[0], &want, 1e-6);
    let gelu = |x: f64| x * (1.0 + support::erf(x / 2f64.sqrt())) / 2.0;
    let want = want.map(|x| (0..12).fold(x, |x, _| gelu(x).sin()));
    assert_close("the long one", &got[1], &want, 1e-5);
}

#[test]
fn every_body_keeps_within_the_limits() {
    let mut bench = Bench::default();
    let inputs: Vec<Value> = (0..12)
        .map(|k| bench.input(&Tensor::random(&[3], 0.5, 1.0, k)))
        .collect();
    let g = &mut bench.graph;
    let mut x = inputs[0];
    for &y in &inputs[1..] {
        let (sum, product) = (g.add(x, y), g.mul(x, y));
        let (sum, product) = (g.gelu(sum), g.sigmoid(product));
        let (sum, product) = (g.tanh(sum), g.log(product));
        x = g.sub(sum, product);
    }
    let loss = g.sum(x, &[0]);
    let gradients = g.gradients(loss, &inputs);
    let program = bench.program(&gradients);
    for node in &program.nodes {
        if let Node::Map(body) = node {
            let operands = body.reads.len() + body.values.len() + body.consts.len();
            assert!(operands + body.ops.len() <= limits::REGISTERS);
            assert!(body.reads.len() <= limits::READS);
        }
    }
}
