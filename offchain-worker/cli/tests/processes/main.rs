//! `lockstep` as a person or a script uses it: one process for each command.

mod bench;
mod commands;
mod devices;
mod goals;
mod home;
#[cfg(unix)]
mod kill;
mod report;
#[cfg(unix)]
mod service;
