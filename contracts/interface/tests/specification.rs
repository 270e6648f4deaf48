//! `docs/specification/contracts.md` describes exactly the messages, records, events and errors
//! of this crate.

use lockstep_interface::{dispute, escrow, goal, stake, terms, Signature};
use scale_info::{form::MetaForm, Field, MetaType, TypeDef, TypeInfo};
use std::{fs, path::Path};

/// The document, with every run of white space as one space.
fn document() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(root.join("docs/specification/contracts.md")).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The names of the arguments that stand in a row's third column.
fn arguments(column: &str) -> Vec<&str> {
    let names = column
        .split(", ")
        .filter_map(|item| item.split(": ").next());
    names
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn every_message_is_in_its_contract_s_table() {
    let document = document();
    let contracts: [(&str, &[Signature]); 3] = [
        ("stake", stake::MESSAGES),
        ("escrow", escrow::MESSAGES),
        ("dispute", dispute::MESSAGES),
    ];
    for (contract, messages) in contracts {
        let (_, table) = document
            .split_once(&format!("Messages of {contract}:"))
            .unwrap();
        let table = table.split("Messages of").next().unwrap();
        let rows = table.matches("` | `").count();
        assert_eq!(rows, messages.len(), "{contract}");
        for message in messages {
            let [a, b, c, d] = message.selector;
            let head = format!("| `{a:02x}{b:02x}{c:02x}{d:02x}` | `{}` |", message.name);
            let (_, rest) = table.split_once(&head).unwrap_or_else(|| panic!("{head}"));
            let column = rest.split('|').next().unwrap();
            assert_eq!(arguments(column), message.arguments, "{}", message.name);
        }
    }
}

/// A type by the name that the document gives it.
fn type_name(name: &str) -> String {
    let inside = |prefix: &str| name.strip_prefix(prefix)?.strip_suffix('>');
    match name {
        "Account" => "account".into(),
        "Hash" => "hash".into(),
        "Balance" => "u128".into(),
        "Millis" | "TaskId" | "DisputeId" | "DemandId" => "u64".into(),
        "Attempt" | "BlockNumber" => "u32".into(),
        "Vec<u8>" => "bytes".into(),
        "stake::Error" => "error of stake".into(),
        "escrow::Error" => "error of escrow".into(),
        _ => match inside("Option<") {
            Some(item) => format!("option of {}", type_name(item)),
            None => name.rsplit("::").next().unwrap().into(),
        },
    }
}

fn fields(fields: &[Field<MetaForm>]) -> String {
    let describe = |field: &Field<MetaForm>| {
        let ty = type_name(field.type_name.unwrap());
        match field.name {
            Some(name) => format!("{name}: {ty}"),
            None => ty,
        }
    };
    fields.iter().map(describe).collect::<Vec<_>>().join(", ")
}

/// What the document says of a type: one text for a structure, one for each variant.
fn described<T: TypeInfo + 'static>() -> Vec<String> {
    let ty = MetaType::new::<T>().type_info();
    let name = *ty.path.segments.last().unwrap();
    match &ty.type_def {
        TypeDef::Composite(record) => vec![format!("{name} = {}", fields(&record.fields))],
        TypeDef::Variant(variants) => {
            let texts = variants.variants.iter().map(|variant| {
                let head = format!("{} {}", variant.index, variant.name);
                match &variant.fields[..] {
                    [] => head,
                    [only] if only.name.is_none() => {
                        format!("{head}: {}", fields(&variant.fields))
                    }
                    named => format!("{head} {}", fields(named)),
                }
            });
            texts.collect()
        }
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn every_record_event_and_error_is_described() {
    let document = document().replace('`', "");
    let types = [
        described::<terms::Task>(),
        described::<terms::Terms>(),
        described::<terms::Bounds>(),
        described::<terms::TermsFault>(),
        described::<goal::Goal>(),
        described::<goal::Side>(),
        described::<goal::GoalFault>(),
        described::<goal::MetricProof>(),
        described::<stake::Staker>(),
        described::<stake::Config>(),
        described::<stake::Event>(),
        described::<stake::Error>(),
        described::<escrow::TaskStatus>(),
        described::<escrow::TaskRecord>(),
        described::<escrow::AttemptStatus>(),
        described::<escrow::AttemptRecord>(),
        described::<escrow::Outcome>(),
        described::<escrow::Challenged>(),
        described::<escrow::Config>(),
        described::<escrow::Event>(),
        described::<escrow::Error>(),
        described::<dispute::Share>(),
        described::<dispute::DisputeRecord>(),
        described::<dispute::DemandStatus>(),
        described::<dispute::DemandRecord>(),
        described::<dispute::Place>(),
        described::<dispute::Answer>(),
        described::<dispute::AnswerChunk>(),
        described::<dispute::Listed>(),
        described::<dispute::Config>(),
        described::<dispute::Event>(),
        described::<dispute::Error>(),
    ];
    for text in types.concat() {
        assert!(
            document.contains(&text),
            "docs/specification/contracts.md lacks: {text}"
        );
    }
}
