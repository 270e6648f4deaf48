//! The metadata of the embedded chain's runtime, which takes no real transactions, with the form
//! of real transactions added to it.

use ink_sandbox::macros::DefaultSandboxRuntime as SandboxRuntime;
use scale::{Decode, Encode};
use scale_info::form::PortableForm;
use scale_info::{
    Field, Path, PortableType, Type, TypeDef, TypeDefArray, TypeDefPrimitive, TypeDefVariant,
    Variant,
};
use subxt::ext::frame_metadata::v14::{RuntimeMetadataV14, SignedExtensionMetadata};
use subxt::ext::frame_metadata::{RuntimeMetadata, RuntimeMetadataPrefixed};

/// The metadata of a chain with contracts.
pub fn whole() -> Vec<u8> {
    let mut metadata = sandbox();
    sign(&mut metadata);
    encode(metadata)
}

/// The metadata of a chain without.
pub fn without_contracts() -> Vec<u8> {
    let mut metadata = sandbox();
    metadata.pallets.retain(|pallet| pallet.name != "Contracts");
    sign(&mut metadata);
    encode(metadata)
}

fn sandbox() -> RuntimeMetadataV14 {
    let bytes = SandboxRuntime::metadata().encode();
    match RuntimeMetadataPrefixed::decode(&mut &bytes[..]).unwrap().1 {
        RuntimeMetadata::V14(metadata) => metadata,
        other => panic!("the sandbox has metadata of version {}", other.version()),
    }
}

fn encode(metadata: RuntimeMetadataV14) -> Vec<u8> {
    RuntimeMetadataPrefixed::from(metadata).encode()
}

/// Adds sr25519 signatures, eras, nonces and the versions to transactions. The signer is a bare
/// account, as on chains without address look-up.
fn sign(metadata: &mut RuntimeMetadataV14) {
    let byte = find(metadata, |ty| {
        matches!(ty.type_def, TypeDef::Primitive(TypeDefPrimitive::U8))
    });
    let word = find(metadata, |ty| {
        matches!(ty.type_def, TypeDef::Primitive(TypeDefPrimitive::U32))
    });
    let unit = find(metadata, |ty| match &ty.type_def {
        TypeDef::Tuple(tuple) => tuple.fields.is_empty(),
        _ => false,
    });
    let hash = find(metadata, |ty| {
        ty.path.segments == ["primitive_types", "H256"]
    });

    let bytes = add(metadata, TypeDefArray::new(64, byte.into()).into());
    let field = Field::new(None, bytes.into(), None, Vec::new());
    let sr25519 = Variant {
        name: "Sr25519".to_owned(),
        fields: vec![field],
        index: 1,
        docs: Vec::new(),
    };
    let signature = add(metadata, TypeDefVariant::new([sr25519]).into());

    let extrinsic = metadata.extrinsic.ty.id as usize;
    let parameters = &mut metadata.types.types[extrinsic].ty.type_params;
    let parameter = parameters.iter_mut().find(|p| p.name == "Signature");
    parameter.unwrap().ty = Some(signature.into());
    let extension = |name: &str, ty: u32, additional: u32| SignedExtensionMetadata {
        identifier: name.to_owned(),
        ty: ty.into(),
        additional_signed: additional.into(),
    };
    metadata.extrinsic.signed_extensions = vec![
        extension("CheckSpecVersion", unit, word),
        extension("CheckGenesis", unit, hash),
        extension("CheckMortality", word, hash),
        extension("CheckNonce", word, unit),
    ];
}

fn find(metadata: &RuntimeMetadataV14, wanted: impl Fn(&Type<PortableForm>) -> bool) -> u32 {
    let mut types = metadata.types.types.iter();
    types.find(|ty| wanted(&ty.ty)).unwrap().id
}

fn add(metadata: &mut RuntimeMetadataV14, definition: TypeDef<PortableForm>) -> u32 {
    let id = metadata.types.types.len() as u32;
    let ty = Type::new(Path::default(), Vec::new(), definition, Vec::new());
    metadata.types.types.push(PortableType { id, ty });
    id
}
