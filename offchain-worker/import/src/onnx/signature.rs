//! What the dynamo exporter of PyTorch says about the tensors of a file.
//!
//! It leaves the signature of the exported program in the graph's metadata, a line for each tensor:
//! `p_fc_weight: PARAMETER target='fc.weight'`.

use super::proto::GraphProto;
use std::collections::HashSet;

const KEY: &str = "pkg.torch.export.ExportedProgram.graph_signature";

/// The tensors that are no parameters.
#[derive(Default)]
pub(super) struct Signature {
    /// Buffers and literals of the PyTorch model: nothing trains them.
    pub(super) untrained: HashSet<String>,
}

impl Signature {
    /// The signature in a graph's metadata; an empty one where there is none.
    pub(super) fn new(graph: &GraphProto) -> Signature {
        let entry = graph.metadata_props.iter().find(|entry| entry.key == KEY);
        let text = entry.map_or("", |entry| &entry.value);
        let inputs = text.split("# outputs").next().unwrap_or_default();
        Signature {
            untrained: inputs.lines().filter_map(untrained).collect(),
        }
    }

    /// A running statistic of a batch norm that the file does not hold: the exporter folded the
    /// batch norm into a neighbour.
    pub(super) fn folded(&self, held: impl Fn(&str) -> bool) -> Option<&str> {
        let running = |name: &&String| name.ends_with(".running_mean") && !held(name);
        let mut folded: Vec<&String> = self.untrained.iter().filter(running).collect();
        folded.sort_unstable();
        folded.first().map(|name| &name[..])
    }
}

/// The tensor that a line is about, where it is no parameter.
fn untrained(line: &str) -> Option<String> {
    let (_, kind) = line.split_once(": ")?;
    let target = ["BUFFER target='", "CONSTANT_TENSOR target='"]
        .iter()
        .find_map(|start| kind.strip_prefix(start))?;
    target.split('\'').next().map(str::to_string)
}
