//! Values as JSON: byte strings in hexadecimal, everything else by the names of the format.

use scale::{Decode, Encode};
use scale_info::form::PortableForm;
use scale_info::{
    Field, MetaType, PortableRegistry, Registry, TypeDef, TypeDefPrimitive, TypeInfo,
};
use serde_json::{json, Map, Value};

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A word in hexadecimal, as a number and not as bytes.
pub fn word(word: u32) -> String {
    format!("{word:08x}")
}

/// What an encoding says, read by the type's description and not by its decoder.
pub fn describe<T: Encode + TypeInfo + 'static>(value: &T) -> Value {
    let mut registry = Registry::new();
    let id = registry.register_type(&MetaType::new::<T>()).id;
    let bytes = value.encode();
    let mut input = bytes.as_slice();
    let described = Reader {
        types: registry.into(),
        input: &mut input,
    }
    .value(id);
    assert!(input.is_empty(), "the description covers the encoding");
    described
}

struct Reader<'a, 'b> {
    types: PortableRegistry,
    input: &'a mut &'b [u8],
}

impl Reader<'_, '_> {
    fn value(&mut self, id: u32) -> Value {
        let ty = self
            .types
            .resolve(id)
            .expect("the registry is complete")
            .clone();
        match &ty.type_def {
            TypeDef::Composite(_) if ty.path.ident().as_deref() == Some("Int") => {
                json!(self.read::<lockstep_protocol::encoding::Int>().0)
            }
            TypeDef::Composite(composite) => match &composite.fields[..] {
                [only] if only.name.is_none() => self.value(only.ty.id),
                fields => self.fields(fields),
            },
            TypeDef::Variant(variants) if ty.path.ident().as_deref() == Some("Option") => {
                match self.read::<u8>() {
                    0 => Value::Null,
                    _ => self.value(variants.variants[1].fields[0].ty.id),
                }
            }
            TypeDef::Variant(variants) => {
                let index = self.read::<u8>();
                let variant = variants.variants.iter().find(|v| v.index == index).unwrap();
                if variant.fields.is_empty() {
                    return json!(variant.name);
                }
                let fields = self.fields(&variant.fields);
                json!({ variant.name.as_str(): fields })
            }
            TypeDef::Sequence(sequence) => {
                let len = self.read::<scale::Compact<u32>>().0;
                self.list(len, sequence.type_param.id)
            }
            TypeDef::Array(array) => self.list(array.len, array.type_param.id),
            TypeDef::Compact(_) => json!(self.read::<scale::Compact<u64>>().0),
            TypeDef::Primitive(primitive) => match primitive {
                TypeDefPrimitive::Bool => json!(self.read::<bool>()),
                TypeDefPrimitive::U8 => json!(self.read::<u8>()),
                TypeDefPrimitive::U32 => json!(self.read::<u32>()),
                TypeDefPrimitive::U64 => json!(self.read::<u64>()),
                other => unreachable!("the protocol has no {other:?}"),
            },
            other => unreachable!("the protocol has no {other:?}"),
        }
    }

    fn fields(&mut self, fields: &[Field<PortableForm>]) -> Value {
        if fields.iter().all(|field| field.name.is_none()) {
            return fields.iter().map(|field| self.value(field.ty.id)).collect();
        }
        let named = fields
            .iter()
            .map(|field| (field.name.clone().unwrap(), self.value(field.ty.id)))
            .collect::<Map<_, _>>();
        Value::Object(named)
    }

    fn list(&mut self, len: u32, item: u32) -> Value {
        let item_type = &self.types.resolve(item).unwrap().type_def;
        if matches!(item_type, TypeDef::Primitive(TypeDefPrimitive::U8)) {
            let (bytes, rest) = self.input.split_at(len as usize);
            *self.input = rest;
            return json!(hex(bytes));
        }
        (0..len).map(|_| self.value(item)).collect()
    }

    fn read<T: Decode>(&mut self) -> T {
        T::decode(self.input).expect("an encoding decodes")
    }
}
