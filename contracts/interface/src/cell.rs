//! Storage cells: records as values of ink! mappings, and calls from contract to contract.

use crate::{Account, Message};
use alloc::vec::Vec;
use ink::env::{
    call::{build_call, ExecutionInput, Selector},
    CallFlags, DefaultEnvironment,
};
use scale::{Decode, Encode, Error, Input, Output};
use scale_info::TypeInfo;

/// A record in storage, which occupies at least `SIZE` bytes whatever it holds, so that no
/// change of it moves a storage deposit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TypeInfo)]
pub struct Cell<T, const SIZE: usize = 0>(pub T);

impl<T: Encode, const SIZE: usize> Encode for Cell<T, SIZE> {
    fn encode_to<O: Output + ?Sized>(&self, dest: &mut O) {
        let mut bytes: Vec<u8> = self.0.encode();
        if bytes.len() < SIZE {
            bytes.resize(SIZE, 0);
        }
        dest.write(&bytes);
    }
}

impl<T: Encode, const SIZE: usize> scale::EncodeLike for Cell<T, SIZE> {}

impl<T: Encode + Decode, const SIZE: usize> Decode for Cell<T, SIZE> {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let value = T::decode(input)?;
        for _ in value.encoded_size()..SIZE {
            input.read_byte()?;
        }
        Ok(Cell(value))
    }
}

#[cfg(feature = "std")]
impl<T: TypeInfo + 'static, const SIZE: usize> ink::storage::traits::StorageLayout
    for Cell<T, SIZE>
{
    fn layout(key: &ink::primitives::Key) -> ink::metadata::layout::Layout {
        use ink::metadata::layout::{Layout, LayoutKey, LeafLayout};
        Layout::Leaf(LeafLayout::from_key::<Self>(LayoutKey::from(key)))
    }
}

/// Sends `message` to another contract; `None` when that contract trapped or is another version.
///
/// A callee cannot call back: the pallet refuses to enter a contract that is being called.
pub fn send<M: Message>(to: Account, message: &M) -> Option<M::Reply> {
    build_call::<DefaultEnvironment>()
        .call_v1(to.into())
        .call_flags(CallFlags::empty())
        .exec_input(ExecutionInput::new(Selector::new(M::SELECTOR)).push_arg(message))
        .returns::<M::Reply>()
        .try_invoke()
        .ok()?
        .ok()
}
