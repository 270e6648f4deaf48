//! Programs written by hand, and the comparison of the CPU engine with the reference.
#![allow(dead_code)] // Every test file takes what it needs.

use lockstep_engine::cpu::{Cpu, Options, Simd};
use lockstep_engine::{reference::Reference, Engine, Job};
use lockstep_protocol::encoding::Int;
use lockstep_protocol::eval::{self, Inputs};
use lockstep_protocol::program::*;
use lockstep_protocol::random::{self, Size};
use lockstep_protocol::tree;
use std::sync::Arc;

/// A program with everything that a step of it needs.
pub struct Case {
    pub job: Job,
    pub state: Vec<Vec<u8>>,
}

impl Case {
    /// A random valid program.
    pub fn random(seed: u64, size: Size) -> Case {
        let random::Case {
            program,
            inputs,
            state,
            ..
        } = random::program(seed, size);
        let program = Arc::new(program);
        Case {
            job: Job { program, inputs },
            state,
        }
    }
}

/// Programs per test; `LOCKSTEP_CASES` asks for more.
pub fn cases(usual: u64) -> u64 {
    let asked = std::env::var("LOCKSTEP_CASES").ok();
    asked.map_or(usual, |n| n.parse().expect("LOCKSTEP_CASES is a number"))
}

/// Every configuration of the CPU engine that this machine has, for one and two threads.
pub fn configurations() -> Vec<Options> {
    let simds = Simd::available();
    simds
        .into_iter()
        .flat_map(|simd| {
            [1, 2].map(|threads| Options {
                threads: Some(threads),
                simd: Some(simd),
                // So small that even tiny programs are cut into tasks.
                grain: 1,
            })
        })
        .collect()
}

/// Checks that every configuration of the CPU engine computes the reference's bytes.
pub fn agree(case: &Case, what: &str) {
    let engines = configurations().into_iter().map(|options| {
        let cpu = Cpu::new(case.job.clone(), options).expect("a valid job");
        (format!("{options:?}"), cpu)
    });
    agrees(case, what, engines);
}

/// Checks that engines compute the reference's bytes: of every node, of the state after each of
/// three steps, and of fold traces.
pub fn agrees<E: Engine>(case: &Case, what: &str, engines: impl IntoIterator<Item = (String, E)>) {
    let program = &case.job.program;
    let want = eval::run(program, 5, &case.job.inputs, &case.state);
    let mut reference = Reference::new(case.job.clone()).expect("a valid job");
    reference.load(&case.state).expect("a state of the program");
    let mut states = Vec::new();
    for step in 5..8 {
        reference.step(step);
        let state: Vec<Vec<u8>> = reference.state().iter().map(|s| s.to_vec()).collect();
        states.push(state);
    }
    for (name, mut engine) in engines {
        engine.load(&case.state).expect("a state of the program");
        let mut seen = 0;
        engine.trace(5, &mut |node, bytes| {
            assert_eq!(node, seen, "nodes come in order");
            seen += 1;
            same(bytes, &want[node as usize], || {
                format!(
                    "{what}: {name}: node {node}: {:?}",
                    program.nodes[node as usize]
                )
            });
        });
        assert_eq!(seen as usize, program.nodes.len());
        for (n, node) in program.nodes.iter().enumerate() {
            if n % 5 == 2 {
                let tensor = engine.tensor(5, n as u32);
                same(&tensor, &want[n], || format!("{what}: tensor {n}"));
            }
            if matches!(node, Node::Fold(_)) && node.reduction() < 1000 {
                for element in [0, node.len() / 2, node.len() - 1] {
                    let trace = engine.fold(5, n as u32, element);
                    let want = eval::fold_trace(node, &want, element);
                    same(&trace, &want, || format!("{what}: fold {n} at {element}"));
                }
            }
        }
        for (k, state) in states.iter().enumerate() {
            engine.step(5 + k as u32);
            for (slot, (got, want)) in engine.state().iter().zip(state).enumerate() {
                same(got, want, || {
                    format!("{what}: {name}: slot {slot} after step {k}")
                });
            }
            let hashes = state.iter().map(|bytes| tree::hash(bytes));
            assert!(
                engine.hashes().into_iter().eq(hashes),
                "{what}: {name}: hashes"
            );
        }
    }
}

fn same(got: &[u8], want: &[u8], what: impl Fn() -> String) {
    assert_eq!(got.len(), want.len(), "{}: length", what());
    if let Some(at) = (0..got.len()).find(|i| got[*i] != want[*i]) {
        let word = at / 4 * 4;
        panic!(
            "{}: byte {at} differs: {:02x?} instead of {:02x?}",
            what(),
            &got[word..(word + 4).min(got.len())],
            &want[word..(word + 4).min(want.len())]
        );
    }
}

/// A generator of test data (splitmix64).
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// A number around 1, sometimes a zero of either sign or a subnormal.
    pub fn tame(&mut self) -> u32 {
        match self.below(24) {
            0 => 0x8000_0000,
            1 => 0,
            2 => self.next() as u32 & 0x807f_ffff,
            _ => {
                let r = self.next();
                (r as u32 & 0x807f_ffff) | ((120 + (r >> 32) as u32 % 12) << 23)
            }
        }
    }

    /// Any bit pattern: infinities, NaN payloads, subnormals and both zeros often.
    pub fn wild(&mut self) -> u32 {
        const EDGES: [u32; 10] = [
            0,
            1 << 31,
            1,
            0x7f80_0000,
            0xff80_0000,
            0x7fc0_0000,
            0xffc1_2345,
            0x7f80_0001,
            0x7f7f_ffff,
            0x0080_0000,
        ];
        match self.below(6) {
            0 => EDGES[self.below(10) as usize],
            1 => self.next() as u32,
            _ => self.tame(),
        }
    }

    pub fn tensor(&mut self, len: u64, mut word: impl FnMut(&mut Rng) -> u32) -> Vec<u8> {
        (0..len).flat_map(|_| word(self).to_le_bytes()).collect()
    }

    /// Bytes, now and then only extreme ones.
    pub fn bytes(&mut self, len: u64) -> Vec<u8> {
        let extremes = self.below(3) == 0;
        let byte = |rng: &mut Rng| match extremes {
            true => [0x80, 0x7f, 0x81, 0, 0xff][rng.below(5) as usize],
            false => rng.next() as u8,
        };
        (0..len).map(|_| byte(self)).collect()
    }
}

/// Builds a program around nodes under test: state slots first, then the nodes, then copies of the
/// slots so that there is a next state.
#[derive(Default)]
pub struct Sketch {
    pub nodes: Vec<Node>,
    pub state: Vec<Vec<u8>>,
    pub inputs: Inputs,
}

impl Sketch {
    /// A state slot; all of them come before any other node.
    pub fn slot(&mut self, shape: &[u64], dtype: Dtype, bytes: Vec<u8>) -> u32 {
        let shape = dims(shape);
        self.state.push(bytes);
        self.push(Node::Source(Source::State { shape, dtype }))
    }

    pub fn push(&mut self, node: Node) -> u32 {
        self.nodes.push(node);
        self.nodes.len() as u32 - 1
    }

    /// The tensor `node`, seen as row-major `shape`, at the position that `forms` give.
    pub fn read(&self, node: u32, shape: &[u64], forms: &[Form], fill: u32) -> Access {
        let source = &self.nodes[node as usize];
        let mut stride = source.len() as i64;
        let axes = shape
            .iter()
            .zip(forms)
            .map(|(extent, form)| {
                stride /= *extent as i64;
                Axis {
                    form: form.clone(),
                    extent: *extent,
                    stride: Int(stride),
                }
            })
            .collect();
        Access {
            node,
            dtype: source.dtype(),
            len: source.len(),
            base: Int(0),
            axes,
            fill,
        }
    }

    /// `c[m, n]` from blocks of `run` steps, each with a scale for its row and one for its column;
    /// once for each of `starts`, from which the sums of blocks start. Adds four slots. `forward`
    /// is the order of the two factors and of the two scales.
    pub fn quantised(
        &mut self,
        [m, n, k]: [u64; 3],
        run: u64,
        forward: [bool; 2],
        word: fn(&mut Rng) -> u32,
        starts: &[u32],
    ) -> Vec<u32> {
        let blocks = k.div_ceil(run);
        let mut rng = Rng(m << 30 ^ n << 10 ^ k ^ run << 50);
        let a = self.slot(&[m, k], Dtype::I8, rng.bytes(m * k));
        let b = self.slot(&[k, n], Dtype::I8, rng.bytes(k * n));
        let of_rows = self.slot(&[m, blocks], Dtype::F32, rng.tensor(m * blocks, word));
        let of_cols = self.slot(&[blocks, n], Dtype::F32, rng.tensor(blocks * n, word));
        let position = Form::new(0, &[(0, run as i64), (var::RED, 1)]);
        let mut factors = vec![
            self.read(a, &[m, k], &[out(1), position.clone()], 0),
            self.read(b, &[k, n], &[position.clone(), out(2)], 0),
        ];
        if !forward[0] {
            factors.reverse();
        }
        let ops = vec![Op::IMul(1, 2), Op::IAdd(0, 3)];
        let sums = self.push(Node::Fold(Fold {
            body: body(&[blocks, m, n], Dtype::I32, factors, &[], ops),
            red: dims(&[run]),
            when: vec![Guard {
                form: position,
                lo: 0.into(),
                hi: (k as i64).into(),
            }],
            init: Init::Word(0),
        }));
        let mut reads = vec![
            self.read(sums, &[blocks, m, n], &[red(0), out(0), out(1)], 0),
            self.read(of_rows, &[m, blocks], &[out(0), red(0)], 0),
            self.read(of_cols, &[blocks, n], &[red(0), out(1)], 0),
        ];
        if !forward[1] {
            reads.swap(1, 2);
        }
        let ops = vec![Op::I32ToF32(1), Op::FMul(2, 3), Op::FFma(4, 5, 0)];
        let scaled = body(&[m, n], Dtype::F32, reads, &[], ops);
        let sum = |start: &u32| self.push(fold(scaled.clone(), &[blocks], Init::Word(*start)));
        starts.iter().map(sum).collect()
    }

    /// The case, with every slot's next state a copy of it (f32 slots come out canonical).
    pub fn finish(mut self) -> Case {
        let slots = self.state.len();
        for slot in 0..slots {
            let (shape, dtype) = (self.nodes[slot].shape(), self.nodes[slot].dtype());
            let extents: Vec<u64> = shape.iter().map(|d| d.0).collect();
            let forms: Vec<Form> = (0..shape.len()).map(|d| Form::var(d as u8)).collect();
            let reads = vec![self.read(slot as u32, &extents, &forms, 0)];
            self.push(Node::Map(body(&extents, dtype, reads, &[], vec![])));
        }
        self.case()
    }

    /// The case, whose next state is what the last nodes give, one for each slot.
    pub fn case(self) -> Case {
        let program = Program {
            slots: self.state.len() as u32,
            nodes: self.nodes,
        };
        Case {
            job: Job {
                program: Arc::new(program),
                inputs: self.inputs,
            },
            state: self.state,
        }
    }
}

pub fn dims(shape: &[u64]) -> Vec<Dim> {
    shape.iter().map(|d| Dim(*d)).collect()
}

pub fn body(shape: &[u64], dtype: Dtype, reads: Vec<Access>, consts: &[u32], ops: Vec<Op>) -> Body {
    Body {
        shape: dims(shape),
        dtype,
        index: Vec::new(),
        reads,
        values: Vec::new(),
        consts: consts.to_vec(),
        ops,
    }
}

pub fn fold(body: Body, red: &[u64], init: Init) -> Node {
    Node::Fold(Fold {
        body,
        red: dims(red),
        when: Vec::new(),
        init,
    })
}

/// Output coordinate `d`.
pub fn out(d: u8) -> Form {
    Form::var(d)
}

/// Reduction coordinate `d`.
pub fn red(d: u8) -> Form {
    Form::var(var::RED + d)
}
