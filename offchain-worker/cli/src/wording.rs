//! Disputes in words.

use lockstep_protocol::game::{File, Game, Move, Outcome, Reason, Side};
use lockstep_protocol::program::{Dim, Dtype, Fold, Node, Program};

/// Who plays a side.
pub fn side(side: Side) -> &'static str {
    match side {
        Side::Defender => "solver",
        Side::Challenger => "challenger",
    }
}

/// How a dispute ended in position `game`.
pub fn outcome(program: &Program, game: &Game, outcome: &Outcome) -> String {
    let who = side(outcome.winner);
    let dtype = node(program, game.node).map_or(Dtype::F32, Node::dtype);
    let scalar = matches!(game.search.file, File::Tensor | File::Fold);
    match outcome.reason {
        Reason::Disproven { found } if scalar => format!(
            "the contract executed the step itself: it is {}, the solver claimed {}; the {who} wins",
            value(dtype, found),
            value(dtype, game.claim),
        ),
        Reason::Disproven { .. } => {
            format!("the contract compared the two hashes: they differ; the {who} wins")
        }
        Reason::Proven => format!("the contract found the claim right; the {who} wins"),
        Reason::MalformedNode => format!("the program has a malformed node; the {who} wins"),
        Reason::Timeout => format!("the other side's clock ran out; the {who} wins"),
    }
}

/// A move in position `game`. `own` is what the mover has in place of what it selects.
pub fn played(program: &Program, game: &Game, mv: &Move, own: Option<&[u8]>) -> String {
    let file = file(game.search.file);
    match mv {
        Move::Reveal(bytes) if game.search.span.count == 1 => {
            let entries = bytes.len() / (game.search.width as usize).max(1);
            format!("reveals {entries} entries of the {file}")
        }
        Move::Reveal(bytes) => {
            format!("reveals {} subtrees of the {file}", bytes.len() / 32)
        }
        Move::SelectSubtree {
            index,
            value: theirs,
            ..
        } => compared(program, &format!("subtree {index}"), game, theirs, own),
        Move::SelectEntry { index, chunk } => {
            let (at, theirs) = selected(game, *index, chunk);
            compared(program, &entry(game, at), game, theirs, own)
        }
        Move::OpenSteps { .. } => format!(
            "names its step trace of segment {} ({} steps)",
            game.segment,
            game.segment_steps()
        ),
        Move::OpenNodes { .. } => {
            format!(
                "names its node trace of step {} ({} nodes)",
                game.step, game.frame.nodes
            )
        }
        Move::DisputeNodes => "says that a node of it is wrong".into(),
        Move::DisputeState => "says that it does not end in the claimed state".into(),
        Move::OpenNode { .. } => {
            let node = node(program, game.node).map_or(String::new(), kind);
            format!("shows node {} of the program: {node}", game.node)
        }
        Move::ShowSlot(_) => format!("shows slot {} at the end of the trace", game.node),
        Move::OpenFold { .. } => format!(
            "names its fold trace of element {} ({} steps)",
            game.element, game.reduction
        ),
        Move::Prove { operands, .. } => {
            let shown = operands.iter().flatten().count();
            format!("shows {shown} operands; the contract executes the scalar step")
        }
        Move::ProveRecord { .. } => "shows the record of the dataset".into(),
    }
}

/// The number in its file of an entry that is selected from a chunk, and what the solver claims
/// for it.
pub fn selected<'a>(game: &Game, index: u32, chunk: &'a [u8]) -> (u64, &'a [u8]) {
    let width = game.search.width as usize;
    let start = index as usize * width;
    let first = game.search.span.byte_range(game.search.len).start / width as u64;
    let theirs = chunk.get(start..start + width).unwrap_or_default();
    (first + u64::from(index), theirs)
}

/// Entry `at` of the file that is searched.
pub fn entry(game: &Game, at: u64) -> String {
    match game.search.file {
        File::Checkpoints => format!("checkpoint {at}"),
        File::Steps => format!("step {}", u64::from(game.step) + at),
        File::Nodes => format!("node {at}"),
        File::State => format!("slot {at}"),
        File::Tensor => format!("element {at}"),
        File::Fold => format!("r = {at}"),
    }
}

/// An entry of the file that is searched, or of its tree: the number it is, or the beginning of a
/// hash.
pub fn content(program: &Program, game: &Game, bytes: &[u8]) -> String {
    let dtype = match game.search.file {
        File::Tensor | File::Fold if game.search.span.count == 1 => {
            node(program, game.node).map(Node::dtype)
        }
        _ => None,
    };
    match dtype {
        Some(dtype) if bytes.len() == dtype.size() as usize => {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            value(dtype, u32::from_le_bytes(word))
        }
        _ => hex::encode(&bytes[..bytes.len().min(6)]),
    }
}

/// What a node is: its kind and dimensions.
pub fn kind(node: &Node) -> String {
    match node {
        Node::Source(_) => format!("source {}", shape(&node.shape())),
        Node::Map(body) => format!("map {}, {} operations", shape(&body.shape), body.ops.len()),
        Node::Fold(Fold { body, red, .. }) => {
            format!("fold {} over {}", shape(&body.shape), shape(red))
        }
    }
}

/// Dimensions: `64x128`.
pub fn shape(dims: &[Dim]) -> String {
    let dims: Vec<String> = dims.iter().map(|d| d.0.to_string()).collect();
    dims.join("x")
}

/// A stored element; of a float its bits too, since two that differ may be written alike.
pub fn value(dtype: Dtype, bits: u32) -> String {
    match dtype {
        Dtype::F32 => {
            let x = f32::from_bits(bits);
            let plain = x == 0.0 || (1e-3..1e6).contains(&x.abs());
            let shown = if plain {
                x.to_string()
            } else {
                format!("{x:e}")
            };
            format!("{shown} ({bits:08x})")
        }
        Dtype::I32 => (bits as i32).to_string(),
        Dtype::I8 => (bits as i8).to_string(),
        Dtype::U32 | Dtype::U8 | Dtype::U16 => bits.to_string(),
    }
}

fn compared(
    program: &Program,
    name: &str,
    game: &Game,
    theirs: &[u8],
    own: Option<&[u8]>,
) -> String {
    let theirs = content(program, game, theirs);
    match own {
        Some(own) => {
            let own = content(program, game, own);
            format!("selects {name}: solver {theirs}, challenger {own}")
        }
        None => format!("selects {name}: solver {theirs}"),
    }
}

fn node(program: &Program, index: u32) -> Option<&Node> {
    program.nodes.get(index as usize)
}

fn file(file: File) -> &'static str {
    match file {
        File::Checkpoints => "checkpoint trace",
        File::Steps => "step trace",
        File::Nodes => "node trace",
        File::State => "state",
        File::Tensor => "node's tensor",
        File::Fold => "fold trace",
    }
}
