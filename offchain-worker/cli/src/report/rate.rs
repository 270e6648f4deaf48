//! The learning rate of every step, as the program itself has it.
//!
//! A schedule is a constant of which a step reads the element at its own number. Adam's bias
//! corrections are such constants too, and known by their form.

use lockstep_protocol::eval::Inputs;
use lockstep_protocol::program::{var, Access, Dtype, Fold, Node, Program, Source};
use std::collections::BTreeSet;

/// How far a table may be from a bias correction, as a part of it, and still be one.
const CLOSE: f64 = 1e-3;

/// The learning rate of every step; `None` when no constant of the program changes with the step
/// but those that correct biases.
pub fn rates(program: &Program, inputs: &Inputs, steps: u32) -> Option<Vec<f64>> {
    tables(program)
        .into_iter()
        .filter_map(|access| evaluate(program, inputs, access, steps))
        .find(|rates| !corrects_bias(rates))
}

/// Reads of constants at the number of the step, one for each constant.
fn tables(program: &Program) -> Vec<&Access> {
    let is = |access: &Access, wanted: fn(&Source) -> bool| {
        let node = program.nodes.get(access.node as usize);
        matches!(node, Some(Node::Source(source)) if wanted(source))
    };
    let bodies = program.nodes.iter().filter_map(|node| match node {
        Node::Source(_) => None,
        Node::Map(body) | Node::Fold(Fold { body, .. }) => Some(body),
    });
    let mut seen = BTreeSet::new();
    let mut tables = Vec::new();
    for body in bodies {
        let words: Vec<u8> = (0..body.index.len())
            .filter(|k| is(&body.index[*k], |s| matches!(s, Source::Step)))
            .map(|k| var::INDEX + k as u8)
            .collect();
        for access in body.reads.iter().filter(|access| at_word(access, &words)) {
            let constant = is(access, |s| {
                matches!(
                    s,
                    Source::Constant {
                        dtype: Dtype::F32,
                        ..
                    }
                )
            });
            if constant && seen.insert(access.node) {
                tables.push(access);
            }
        }
    }
    tables
}

/// Whether the place of a read is one of the index words `words` and nothing else.
fn at_word(access: &Access, words: &[u8]) -> bool {
    let mut terms = access.axes.iter().flat_map(|axis| &axis.form.terms);
    let by_word = terms.next().is_some_and(|term| words.contains(&term.var));
    by_word && terms.next().is_none()
}

/// The table at every step.
fn evaluate(program: &Program, inputs: &Inputs, access: &Access, steps: u32) -> Option<Vec<f64>> {
    let Node::Source(Source::Constant { hash, .. }) = &program.nodes[access.node as usize] else {
        return None;
    };
    let blob = inputs.constants.get(hash)?;
    let bytes: &[u8] = (**blob).as_ref();
    let size = access.dtype.size() as usize;
    let at = |step: u32| {
        let mut vars = [0; var::END as usize];
        vars[var::INDEX as usize..].fill(i64::from(step));
        let word = match lockstep_protocol::step::address(access, &vars) {
            Some(offset) => access.dtype.load(bytes.get(offset as usize * size..)?),
            None => access.fill,
        };
        Some(f64::from(f32::from_bits(word)))
    };
    (0..steps).map(at).collect()
}

/// Whether a table is `1 / (1 - beta^t)` for some beta and t from 1 on.
fn corrects_bias(table: &[f64]) -> bool {
    let Some(first) = table.first().filter(|first| **first > 1.0) else {
        return false;
    };
    let beta = 1.0 - 1.0 / first;
    let mut power = 1.0;
    table.iter().all(|value| {
        power *= beta;
        let correction = 1.0 / (1.0 - power);
        (value / correction - 1.0).abs() < CLOSE
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_graph::recipe::Recipe;
    use std::path::Path;

    /// The rates of the digits' recipe with another schedule, from its program alone.
    fn rates_of(schedule: &str) -> Option<Vec<f64>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits");
        let text = std::fs::read_to_string(folder.join("mlp.toml")).unwrap();
        let text = text.replace("kind = \"cosine\"\nwarmup = 20\nend = 0.05", schedule);
        let task = Recipe::from_toml(&text).unwrap().build(&folder).unwrap();
        let blob = |bytes: &Vec<u8>| std::sync::Arc::new(bytes.clone()) as _;
        let inputs = Inputs {
            constants: task
                .built
                .constants
                .iter()
                .map(|(h, b)| (*h, blob(b)))
                .collect(),
            ..Inputs::default()
        };
        rates(&task.built.program, &inputs, task.steps)
    }

    #[test]
    fn a_warmed_up_cosine_is_read_from_the_program() {
        let rates = rates_of("kind = \"cosine\"\nwarmup = 20\nend = 0.05").unwrap();
        assert_eq!(rates.len(), 400);
        let expected = lockstep_graph::Schedule::Cosine { end: 0.05 }.rates(0.005, 20, 400);
        let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
        assert_eq!(rates, expected);
    }

    #[test]
    fn a_constant_rate_is_not_mistaken_for_a_bias_correction() {
        assert_eq!(rates_of("kind = \"constant\""), None);
    }

    #[test]
    fn bias_corrections_are_known_by_their_form() {
        let table = |beta: f64| (1..50).map(move |t| 1.0 / (1.0 - beta.powi(t)));
        assert!(corrects_bias(&table(0.9).collect::<Vec<_>>()));
        assert!(corrects_bias(&table(0.999).collect::<Vec<_>>()));
        assert!(!corrects_bias(&[1.5, 1.5, 1.5]));
        assert!(!corrects_bias(&[0.01, 0.02]));
    }
}
