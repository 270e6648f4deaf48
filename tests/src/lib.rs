//! What the tests of the contracts stand on: a chain with the three contracts and people on it
//! ([`World`]), the verbs of a task's life ([`life`]), games between strategies ([`games`]), and
//! the books that must balance whatever happens ([`books`]).
#![warn(missing_docs)]

pub mod books;
pub mod games;
pub mod gas;
pub mod life;
pub mod live;
pub mod programs;
pub mod world;

pub use life::Job;
pub use world::World;
