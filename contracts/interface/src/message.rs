//! Messages as data: a struct's encoding is the argument list.

use alloc::vec::Vec;
use core::fmt;
use scale::{Decode, Encode};
use scale_info::TypeInfo;

/// A message of a contract. Its fields, in order, are the message's arguments.
pub trait Message: Encode {
    /// The message's name in the contract.
    const NAME: &'static str;
    /// The four bytes that begin a call.
    const SELECTOR: [u8; 4];
    /// What the contract returns.
    type Reply: Decode;

    /// The input of a call: the selector and the encoded arguments.
    fn call(&self) -> Vec<u8> {
        let mut input = Self::SELECTOR.to_vec();
        self.encode_to(&mut input);
        input
    }

    /// Decodes what a call of this message returned.
    ///
    /// # Errors
    /// When the contract could not read its input, or the output is of another form.
    fn reply(output: &[u8]) -> Result<Self::Reply, Garbled> {
        let mut rest = output;
        match Result::<Self::Reply, u8>::decode(&mut rest) {
            Ok(Ok(reply)) if rest.is_empty() => Ok(reply),
            Ok(Err(_)) => Err(Garbled::Input),
            _ => Err(Garbled::Output),
        }
    }
}

/// What a contract's metadata says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The message's name.
    pub name: &'static str,
    /// The four bytes that begin a call.
    pub selector: [u8; 4],
    /// The names of its arguments, in order.
    pub arguments: &'static [&'static str],
}

/// Why a reply cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Garbled {
    /// The contract did not understand its input.
    Input,
    /// The contract's output has another form than the interface says.
    Output,
}

impl fmt::Display for Garbled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Garbled::Input => "the contract did not understand the call: it is another version",
            Garbled::Output => "the contract's reply is of another form: it is another version",
        })
    }
}

impl core::error::Error for Garbled {}

/// How an event appears on the chain: the data of a contract's one event type.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Logged<Subject, Event> {
    /// Whom or what the event is about; also a topic, when there is one.
    pub subject: Option<Subject>,
    /// What happened.
    pub event: Event,
}

/// Defines messages: the name in the contract, then a struct of the arguments and the reply.
macro_rules! messages {
    ($(
        $(#[$doc:meta])*
        $name:literal $message:ident { $( $(#[$field_doc:meta])* $field:ident: $ty:ty, )* } -> $reply:ty;
    )*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, scale::Encode, scale::Decode, scale_info::TypeInfo)]
        pub struct $message { $( $(#[$field_doc])* pub $field: $ty, )* }

        impl $crate::Message for $message {
            const NAME: &'static str = $name;
            const SELECTOR: [u8; 4] = $crate::selector($name);
            type Reply = $reply;
        }
    )*
        /// Every message of the contract.
        pub const MESSAGES: &[$crate::Signature] = &[ $( $crate::Signature {
            name: $name,
            selector: $crate::selector($name),
            arguments: &[ $( stringify!($field) ),* ],
        } ),* ];
    };
}
