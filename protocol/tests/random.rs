//! Random programs: they are valid, they use everything, and evaluator and referee agree on them.

use lockstep_protocol::eval::{self, Inputs};
use lockstep_protocol::program::{Access, Dtype, Fold, Form, Init, Node, Op, Program, Source};
use lockstep_protocol::random::{self, Case, Size};
use lockstep_protocol::referee::{self, Opened, Operand};
use lockstep_protocol::step::{self, Reads};
use lockstep_protocol::{tree, validate};
use proptest::prelude::*;
use scale::Encode;
use std::collections::BTreeSet;

/// Runs `steps` steps and gives each step's values to `each`.
fn run(case: &Case, steps: u32, mut each: impl FnMut(&[Vec<u8>])) {
    let mut state = case.state.clone();
    for step in 0..steps {
        let values = eval::run(&case.program, step, &case.inputs, &state);
        each(&values);
        state = values[case.program.next_state()].to_vec();
    }
}

#[test]
fn a_seed_determines_the_program_and_its_inputs() {
    let (a, b) = (
        random::program(7, Size::SMALL),
        random::program(7, Size::SMALL),
    );
    assert_eq!(a.program, b.program);
    assert_eq!(a.spec(4, 2), b.spec(4, 2));
    assert_ne!(random::program(8, Size::SMALL).program, a.program);
}

#[test]
fn random_programs_have_all_their_inputs_and_match_their_task() {
    for seed in 0..500 {
        let case = random::program(seed, Size::LARGE);
        assert_eq!(case.inputs.check(&case.program), Ok(()));
        assert_eq!(validate::spec(&case.program, &case.spec(3, 2)), Ok(()));
        let slots = case.program.slots as usize;
        assert_eq!(case.state.len(), slots);
        for (node, bytes) in case.program.nodes.iter().zip(&case.state) {
            assert_eq!(node.bytes(), bytes.len() as u64);
        }
    }
}

/// What the nodes of some programs are made of, by name.
fn features(program: &Program, found: &mut BTreeSet<String>) {
    let mut note = |feature: String| {
        found.insert(feature);
    };
    for node in &program.nodes {
        note(format!("output {:?}", node.dtype()));
        let (body, fold) = match node {
            Node::Source(source) => {
                let name = format!("{source:?}");
                note(name.split([' ', '{']).next().unwrap().to_string());
                continue;
            }
            Node::Map(body) => (body, None),
            Node::Fold(fold) => (&fold.body, Some(fold)),
        };
        let registers = body.reads.len() + body.values.len() + body.consts.len();
        note(format!("index words {}", body.index.len()));
        note(format!("long body {}", registers + body.ops.len() > 240));
        note(format!("dimensions {}", body.shape.len()));
        for op in &body.ops {
            note(format!("{op:?}").split('(').next().unwrap().to_string());
        }
        for access in node.accesses() {
            note(format!("axes {}", access.axes.len()));
            note(format!("read {:?}", access.dtype));
            for axis in &access.axes {
                note(format!("backwards {}", axis.stride.0 < 0));
            }
        }
        note(format!("accesses {}", node.accesses().count()));
        if let Some(fold) = fold {
            note(format!("guards {}", fold.when.len()));
            note(format!("reduction {}", fold.red.len()));
            note(format!("read init {}", matches!(fold.init, Init::Read(_))));
        }
    }
}

#[test]
fn random_programs_use_everything_there_is() {
    let mut found = BTreeSet::new();
    for seed in 0..1500 {
        features(&random::program(seed, Size::SMALL).program, &mut found);
    }
    let missing: Vec<String> = expected_features()
        .into_iter()
        .filter(|feature| !found.contains(feature))
        .collect();
    assert!(missing.is_empty(), "never generated: {missing:?}");
}

fn expected_features() -> Vec<String> {
    use scale::Decode;
    let ops = (0..35u8).map(|tag| {
        let op = Op::decode(&mut &[tag, 0, 0, 0][..]).unwrap();
        format!("{op:?}").split('(').next().unwrap().to_string()
    });
    let dtypes = ["F32", "I32", "U32", "U8", "I8", "U16"];
    let counts = |name: &'static str, n| (0..=n).map(move |k| format!("{name} {k}"));
    ops.chain(dtypes.iter().map(|d| format!("output {d}")))
        .chain(dtypes.iter().map(|d| format!("read {d}")))
        .chain(["State", "Batch", "Constant", "Step", "Seed"].map(String::from))
        .chain(counts("index words", 2))
        .chain(counts("axes", 6))
        .chain(counts("accesses", 8))
        .chain(counts("guards", 2))
        .chain(counts("reduction", 4).skip(1))
        .chain(counts("dimensions", 8).filter(|d| d.ends_with(['1', '2', '3', '4', '8'])))
        .chain(["guards 4", "long body true", "backwards true"].map(String::from))
        .chain(["read init true", "read init false"].map(String::from))
        .collect()
}

#[test]
fn random_accesses_fall_both_inside_and_outside() {
    struct Count<'a> {
        values: &'a [Vec<u8>],
        loads: u64,
    }
    impl Reads for Count<'_> {
        type Error = std::convert::Infallible;
        fn load(&mut self, _: usize, access: &Access, offset: u64) -> Result<u32, Self::Error> {
            self.loads += 1;
            let at = (offset * access.dtype.size()) as usize;
            Ok(access.dtype.load(&self.values[access.node as usize][at..]))
        }
    }
    let (mut loads, mut accesses) = (0, 0);
    for seed in 0..200 {
        let case = random::program(seed, Size::SMALL);
        run(&case, 1, |values| {
            for node in &case.program.nodes {
                if let Node::Map(body) = node {
                    let mut count = Count { values, loads: 0 };
                    for element in 0..node.len() {
                        let _ = step::map(body, element, &mut count);
                    }
                    loads += count.loads;
                    accesses += node.len() * node.accesses().count() as u64;
                }
            }
        });
    }
    let inside = loads as f64 / accesses as f64;
    assert!((0.5..0.95).contains(&inside), "{inside} of accesses load");
}

#[test]
fn random_values_are_not_all_alike() {
    let (mut alike, mut nans, mut total) = (0, 0, 0);
    for seed in 0..300 {
        let case = random::program(seed, Size::SMALL);
        run(&case, 1, |values| {
            for (node, bytes) in case.program.nodes.iter().zip(values) {
                let size = node.dtype().size() as usize;
                let mut elements = bytes.chunks(size);
                if node.len() < 8 || matches!(node, Node::Source(_)) {
                    continue;
                }
                total += 1;
                let first = elements.next().unwrap();
                alike += elements.all(|e| e == first) as u32;
                let nan = [0, 0, 0xc0, 0x7f];
                let is_nan = |e: &[u8]| node.dtype() == Dtype::F32 && e == nan;
                nans += bytes.chunks(size).all(is_nan) as u32;
            }
        });
    }
    assert!(
        alike * 5 < total * 2,
        "{alike} of {total} tensors are constant"
    );
    assert!(nans * 8 < total, "{nans} of {total} tensors are NaN only");
}

/// The openings that prove a step: one for each access that reads.
struct Recorder<'a> {
    values: &'a [Vec<u8>],
    trace: &'a [u8],
    operands: Vec<Option<Operand>>,
}

impl Reads for Recorder<'_> {
    type Error = std::convert::Infallible;
    fn load(&mut self, slot: usize, access: &Access, offset: u64) -> Result<u32, Self::Error> {
        let bytes = &self.values[access.node as usize];
        let at = offset * access.dtype.size();
        self.operands[slot] = Some(Operand {
            tensor: tree::prove_open(self.trace, access.node as u64 * 32),
            element: tree::prove_open(bytes, at),
        });
        Ok(access.dtype.load(&bytes[at as usize..]))
    }
}

/// Proves step `r` of `element` and lets the referee compute it from the openings alone.
fn referee_computes(
    program: &Program,
    node: &Node,
    values: &[Vec<u8>],
    trace: &[u8],
    (element, r): (u64, u64),
    before: Option<u32>,
) -> u32 {
    let mut recorder = Recorder {
        values,
        trace,
        operands: vec![None; node.accesses().count()],
    };
    let computed = match node {
        Node::Map(body) => step::map(body, element, &mut recorder),
        Node::Fold(fold) => match before {
            Some(acc) => Ok(acc),
            None => step::fold_init(fold, element, &mut recorder),
        }
        .and_then(|acc| step::fold_step(fold, element, r, acc, &mut recorder)),
        Node::Source(_) => panic!("a source computes nothing"),
    };
    let Ok(computed) = computed;
    let root = tree::hash(trace);
    let mut opened = Opened {
        trace: &root,
        nodes: program.nodes.len() as u32,
        operands: &recorder.operands,
    };
    let judged = referee::compute(node, element, r, before, &mut opened).expect("all is opened");
    assert_eq!(judged, computed);
    let bytes = node.encode().len() + recorder.operands.encode().len();
    assert!(bytes as u64 <= validate::cost(node, program.nodes.len() as u32).bytes);
    judged
}

fn stored(bytes: &[u8], dtype: Dtype, index: u64) -> u32 {
    let size = dtype.size() as usize;
    let mut word = [0; 4];
    word[..size].copy_from_slice(&bytes[index as usize * size..][..size]);
    u32::from_le_bytes(word)
}

#[test]
fn the_referee_computes_from_openings_what_the_evaluator_computes() {
    for seed in 0..60 {
        let case = random::program(seed, Size::SMALL);
        run(&case, 2, |values| {
            let trace: Vec<u8> = values.iter().flat_map(|v| tree::hash(v)).collect();
            for (node, bytes) in case.program.nodes.iter().zip(values) {
                if matches!(node, Node::Source(_)) {
                    continue;
                }
                let dtype = node.dtype();
                for element in [0, node.len() / 2, node.len() - 1] {
                    let judge = |r, before| {
                        let at = (element, r);
                        referee_computes(&case.program, node, values, &trace, at, before)
                    };
                    if let Node::Fold(Fold { .. }) = node {
                        let fold = eval::fold_trace(node, values, element);
                        let last = node.reduction() - 1;
                        for r in [0, last / 2, last] {
                            let before = r.checked_sub(1).map(|r| stored(&fold, dtype, r));
                            assert_eq!(judge(r, before), stored(&fold, dtype, r));
                        }
                        assert_eq!(stored(&fold, dtype, last), stored(bytes, dtype, element));
                    } else {
                        assert_eq!(judge(0, None), stored(bytes, dtype, element));
                    }
                }
            }
        });
    }
}

#[test]
fn random_invalid_programs_are_refused_for_many_reasons() {
    let mut reasons = BTreeSet::new();
    for seed in 0..1500 {
        let program = random::invalid(seed, Size::SMALL);
        let fault = validate::program(&program).unwrap_err().fault;
        let name = format!("{fault:?}");
        reasons.insert(name.split([' ', '{', '(']).next().unwrap().to_string());
    }
    assert!(reasons.len() >= 18, "only {reasons:?}");
}

/// Zeros for all that a changed program reads, unless that is too much.
fn zeros(program: &Program) -> Option<(Inputs, Vec<Vec<u8>>)> {
    let steps = |node: &Node| node.len().saturating_mul(node.reduction());
    let size = |node: &Node| match node {
        Node::Source(Source::Batch {
            batch, record_size, ..
        }) => *batch as u64 * *record_size as u64,
        _ => steps(node),
    };
    if program.nodes.iter().map(size).max() > Some(20_000) {
        return None;
    }
    let mut inputs = Inputs::default();
    for node in &program.nodes {
        if let Node::Source(source) = node {
            let zeros = |len: u64| std::sync::Arc::new(vec![0u8; len as usize]);
            match source {
                Source::Constant { hash, .. } => {
                    inputs.constants.insert(*hash, zeros(node.bytes()));
                }
                Source::Batch {
                    record_size,
                    dataset,
                    ..
                } => {
                    while inputs.datasets.len() <= *dataset as usize {
                        inputs.datasets.push(zeros(0));
                    }
                    let longest = (*inputs.datasets[*dataset as usize]).as_ref().len() as u64;
                    inputs.datasets[*dataset as usize] = zeros(longest.max(*record_size as u64));
                }
                _ => {}
            }
        }
    }
    let state = &program.nodes[..program.slots as usize];
    let state = state.iter().map(|node| vec![0; node.bytes() as usize]);
    Some((inputs, state.collect()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// Whatever the validator accepts can be evaluated: no offset leaves a tensor, no form
    /// overflows, no register is missing.
    #[test]
    fn a_changed_program_that_is_accepted_runs(seed in any::<u64>(), changes in 1u64..6) {
        let case = random::program(seed, Size::SMALL);
        let mut program = case.program;
        for change in 0..changes {
            random::mutate(seed ^ change, &mut program);
            if validate::program(&program).is_err() {
                return Ok(());
            }
        }
        // Constants that were reshaped and batches of another layout no longer have their bytes.
        if let Some((inputs, state)) = zeros(&program) {
            let values = eval::run(&program, 1, &inputs, &state);
            for (node, value) in program.nodes.iter().zip(values) {
                prop_assert_eq!(node.bytes(), value.len() as u64);
            }
        }
    }

    #[test]
    fn a_form_evaluates_to_its_sum(
        constant in -1000i64..1000,
        terms in prop::collection::vec((0u8..14, -1000i64..1000), 0..6),
        vars in any::<[i32; 14]>(),
    ) {
        let vars = vars.map(i64::from);
        let sum: i64 = terms.iter().map(|&(v, coef)| coef * vars[v as usize]).sum();
        prop_assert_eq!(Form::new(constant, &terms).eval(&vars), constant + sum);
    }
}
