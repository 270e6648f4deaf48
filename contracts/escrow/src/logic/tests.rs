//! A world of records in memory, in which messages are played; then what must hold in it.

mod goals;
mod life;
mod money;
mod random;
mod world;
