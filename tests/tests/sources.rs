//! A solver refuses a task whose files are not exactly what the task says, however well they
//! hash: what it cannot open, it could not defend.

use lockstep_agent::run::workload::Workload;
use lockstep_agent::store::Store;
use lockstep_graph::lower::copy;
use lockstep_protocol::eval::Blob;
use lockstep_protocol::program::{Dim, Node, Source};
use lockstep_protocol::random::Case;
use lockstep_protocol::rehearsal::sample;
use lockstep_protocol::task::TaskSpec;
use lockstep_protocol::tree;
use std::sync::Arc;

/// Node 3 of the sample task is a constant, node 2 a batch of dataset 0.
const CONSTANT: usize = 3;

/// Publishes a task and fetches it as a solver does before it accepts.
fn accepts(case: &Case, change: impl FnOnce(&mut TaskSpec)) -> bool {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let store = Store::open(dir.path().to_str().expect("its path is text")).expect("it opens");
    let mut spec = case.spec(10, 2);
    change(&mut spec);
    let workload = Workload {
        spec: spec.clone(),
        program: Arc::new(case.program.clone()),
        inputs: case.inputs.clone(),
        genesis: case.state.clone(),
    };
    workload.publish(&store).expect("the files are published");
    Workload::fetch(&store, &spec).is_ok()
}

/// The same bytes, shorter or longer by `change`.
fn resized(bytes: &[u8], change: isize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().saturating_add_signed(change), 0);
    bytes
}

/// Has the sample task's constant node name other bytes, by their true hash.
fn with_constant(bytes: Vec<u8>) -> Case {
    let mut case = sample::case();
    let Node::Source(Source::Constant { hash, .. }) = &mut case.program.nodes[CONSTANT] else {
        panic!("the node is a constant")
    };
    *hash = tree::hash(&bytes);
    case.inputs.constants = [(*hash, Arc::new(bytes) as Blob)].into();
    case
}

fn constant(case: &Case) -> Vec<u8> {
    let mut constants = case.inputs.constants.values();
    let blob = constants.next().expect("the sample has a constant");
    (**blob).as_ref().to_vec()
}

#[test]
fn the_sample_task_as_it_is_is_accepted() {
    let case = sample::case();
    assert!(accepts(&case, |_| {}));
    assert!(accepts(&with_constant(constant(&case)), |_| {}));
}

#[test]
fn a_constant_that_is_an_element_or_a_byte_too_long_or_short_is_refused() {
    let right = constant(&sample::case());
    for change in [-4, -1, 1, 4, 1024] {
        let case = with_constant(resized(&right, change));
        assert!(!accepts(&case, |_| {}), "{change}");
    }
}

#[test]
fn a_constant_that_a_second_node_declares_with_another_length_is_refused() {
    // The same hash for two shapes: one of the nodes can never be opened.
    for len in [299, 301, 1] {
        let mut case = sample::case();
        let Node::Source(Source::Constant { dtype, hash, .. }) = case.program.nodes[CONSTANT]
        else {
            panic!("the node is a constant")
        };
        // Nodes 4 and 5, the step and the seed, make room for it.
        case.program.nodes.truncate(2);
        let source = |len| {
            let shape = vec![Dim(len)];
            Node::Source(Source::Constant { shape, dtype, hash })
        };
        case.program.nodes.extend([source(300), source(len)]);
        case.program.nodes.extend(identities(&case));
        assert!(!accepts(&case, |_| {}), "{len}");
    }
}

/// Nodes that copy the state.
fn identities(case: &Case) -> Vec<Node> {
    let state = &case.program.nodes[..case.program.slots as usize];
    state
        .iter()
        .zip(0..)
        .map(|(node, n)| copy(node, n))
        .collect()
}

#[test]
fn a_first_state_with_an_element_too_many_or_few_is_refused() {
    for slot in 0..2 {
        for change in [-4, -1, 1, 4] {
            let mut case = sample::case();
            case.state[slot] = resized(&case.state[slot], change);
            assert!(!accepts(&case, |_| {}), "slot {slot}: {change}");
        }
    }
}

#[test]
fn a_first_state_with_a_tensor_too_many_or_few_is_refused() {
    let mut case = sample::case();
    case.state.push(vec![0; 4]);
    assert!(!accepts(&case, |_| {}));
    case.state.truncate(1);
    assert!(!accepts(&case, |_| {}));
}

#[test]
fn a_dataset_with_a_record_or_a_byte_too_many_or_few_is_refused() {
    let record = sample::case().record_sizes[0] as isize;
    for change in [-record, -1, 1, record] {
        let mut case = sample::case();
        let records = case.spec(10, 2).datasets[0].records;
        let bytes = resized((*case.inputs.datasets[0]).as_ref(), change);
        case.inputs.datasets[0] = Arc::new(bytes);
        let accepted = accepts(&case, |spec| spec.datasets[0].records = records);
        assert!(!accepted, "{change}");
    }
}

#[test]
fn a_dataset_of_another_record_size_or_batch_than_the_program_reads_is_refused() {
    let case = sample::case();
    for change in [-1i32, 1, 4] {
        let accepted = accepts(&case, |spec| {
            let size = &mut spec.datasets[0].record_size;
            *size = size.saturating_add_signed(change);
        });
        assert!(!accepted, "{change}");
    }
    for batch in [1, 2, 4] {
        assert!(!accepts(&case, |spec| spec.batch = batch), "{batch}");
    }
    assert!(!accepts(&case, |spec| spec.datasets.clear()));
}
