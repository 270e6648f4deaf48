//! ONNX files written by hand, field by field.

/// A graph in the making; its output is `y`.
pub struct Graph {
    bytes: Vec<u8>,
    pub opset: u64,
    pub producer: &'static str,
}

/// What an attribute of a node holds.
pub enum Attribute {
    Float(f32),
    Int(i64),
    Ints(Vec<i64>),
    Text(String),
}

impl Attribute {
    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Attribute::Float(x) => {
                varint(bytes, 2 << 3 | 5);
                bytes.extend(x.to_le_bytes());
            }
            Attribute::Int(n) => number(bytes, 3, *n),
            Attribute::Text(text) => field(bytes, 4, text.as_bytes()),
            Attribute::Ints(list) => list.iter().for_each(|&n| number(bytes, 8, n)),
        }
    }
}

/// Appends a number of the wire format.
pub fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn field(bytes: &mut Vec<u8>, tag: u64, content: &[u8]) {
    varint(bytes, tag << 3 | 2);
    varint(bytes, content.len() as u64);
    bytes.extend(content);
}

fn number(bytes: &mut Vec<u8>, tag: u64, value: i64) {
    varint(bytes, tag << 3);
    varint(bytes, value as u64);
}

fn message(fields: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = vec![];
    fields(&mut bytes);
    bytes
}

fn declaration(name: &str, element: i64, shape: &[i64]) -> Vec<u8> {
    let dims = message(|b| {
        for &d in shape {
            field(b, 1, &message(|b| number(b, 1, d)));
        }
    });
    typed(name, element, &dims)
}

fn typed(name: &str, element: i64, shape: &[u8]) -> Vec<u8> {
    let tensor = message(|b| {
        number(b, 1, element);
        field(b, 2, shape);
    });
    message(|b| {
        field(b, 1, name.as_bytes());
        field(b, 2, &message(|b| field(b, 1, &tensor)));
    })
}

impl Graph {
    pub fn new() -> Graph {
        Graph {
            bytes: vec![],
            opset: 18,
            producer: "",
        }
    }

    /// An input with this element type, in ONNX's numbers.
    pub fn input(&mut self, name: &str, element: i64, shape: &[i64]) {
        field(&mut self.bytes, 11, &declaration(name, element, shape));
    }

    /// An input of one axis whose extent has a name.
    pub fn named_input(&mut self, name: &str, element: i64, extent: &str) {
        let dim = message(|b| field(b, 2, extent.as_bytes()));
        let shape = message(|b| field(b, 1, &dim));
        field(&mut self.bytes, 11, &typed(name, element, &shape));
    }

    /// An initialiser.
    pub fn tensor(&mut self, name: &str, element: i64, shape: &[i64], raw: &[u8]) {
        let tensor = message(|b| {
            shape.iter().for_each(|&d| number(b, 1, d));
            number(b, 2, element);
            field(b, 8, name.as_bytes());
            field(b, 9, raw);
        });
        field(&mut self.bytes, 5, &tensor);
    }

    /// An initialiser that is a list of integers.
    pub fn integers(&mut self, name: &str, list: &[i64]) {
        let raw: Vec<u8> = list.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.tensor(name, 7, &[list.len() as i64], &raw);
    }

    /// An initialiser of floats.
    pub fn floats(&mut self, name: &str, shape: &[i64], list: &[f32]) {
        let raw: Vec<u8> = list.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.tensor(name, 1, shape, &raw);
    }

    /// An initialiser of floats in another file.
    pub fn external(
        &mut self,
        name: &str,
        shape: &[i64],
        location: &str,
        offset: u64,
        length: u64,
    ) {
        let entries = [
            ("location", location.to_string()),
            ("offset", offset.to_string()),
            ("length", length.to_string()),
        ];
        let tensor = message(|b| {
            shape.iter().for_each(|&d| number(b, 1, d));
            number(b, 2, 1);
            field(b, 8, name.as_bytes());
            for (key, value) in entries {
                let entry = message(|b| {
                    field(b, 1, key.as_bytes());
                    field(b, 2, value.as_bytes());
                });
                field(b, 13, &entry);
            }
            number(b, 14, 1);
        });
        field(&mut self.bytes, 5, &tensor);
    }

    /// A node with integer attributes.
    pub fn node(&mut self, operation: &str, inputs: &[&str], output: &str, ints: &[(&str, i64)]) {
        let ints: Vec<(&str, Attribute)> = ints
            .iter()
            .map(|&(name, value)| (name, Attribute::Int(value)))
            .collect();
        self.call(operation, inputs, &[output], &ints);
    }

    /// A node.
    pub fn call(
        &mut self,
        operation: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) {
        let node = message(|b| {
            inputs
                .iter()
                .for_each(|input| field(b, 1, input.as_bytes()));
            outputs
                .iter()
                .for_each(|output| field(b, 2, output.as_bytes()));
            field(b, 4, operation.as_bytes());
            for (name, value) in attributes {
                let attribute = message(|b| {
                    field(b, 1, name.as_bytes());
                    value.write(b);
                });
                field(b, 5, &attribute);
            }
        });
        field(&mut self.bytes, 1, &node);
    }

    /// The file of a model.
    pub fn file(&self) -> Vec<u8> {
        let mut graph = self.bytes.clone();
        field(&mut graph, 12, &declaration("y", 1, &[]));
        message(|b| {
            field(b, 2, self.producer.as_bytes());
            field(b, 8, &message(|b| number(b, 2, self.opset as i64)));
            field(b, 7, &graph);
        })
    }
}
