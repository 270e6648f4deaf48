//! Models, their gradients, and their lowering to programs.
#![warn(missing_docs)]
