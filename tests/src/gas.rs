//! What messages cost: computation, proof size and bytes sent.

use lockstep_agent::chain::Weight;
use std::collections::BTreeMap;
use std::fmt;

/// The highest figures of each kind of message.
#[derive(Clone, Debug, Default)]
pub struct Table(BTreeMap<String, Line>);

/// The highest figures of one kind of message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    /// How many there were.
    pub count: u32,
    /// Picoseconds of computation and bytes of storage proof.
    pub weight: Weight,
    /// Bytes of the call.
    pub bytes: usize,
}

impl Table {
    /// Counts a message.
    pub fn add(&mut self, kind: &str, weight: Weight, bytes: usize) {
        let line = self.0.entry(kind.to_owned()).or_default();
        line.take(Line {
            count: 1,
            weight,
            bytes,
        });
    }

    /// Every kind of message, in order of name.
    pub fn lines(&self) -> impl Iterator<Item = (&str, &Line)> {
        self.0.iter().map(|(kind, line)| (kind.as_str(), line))
    }
}

impl Line {
    fn take(&mut self, other: Line) {
        self.count += other.count;
        self.weight.ref_time = self.weight.ref_time.max(other.weight.ref_time);
        self.weight.proof_size = self.weight.proof_size.max(other.weight.proof_size);
        self.bytes = self.bytes.max(other.bytes);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| message | count | ref_time, G | proof, KiB | calldata, bytes |"
        )?;
        writeln!(f, "|---|--:|--:|--:|--:|")?;
        for (kind, line) in &self.0 {
            writeln!(
                f,
                "| {kind} | {} | {:.2} | {:.1} | {} |",
                line.count,
                line.weight.ref_time as f64 / 1e9,
                line.weight.proof_size as f64 / 1024.0,
                line.bytes
            )?;
        }
        Ok(())
    }
}
