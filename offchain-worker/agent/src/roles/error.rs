use crate::chain::contracts;
use crate::{local, run, store};

/// Why a role could not make its move. Nothing was lost; the next `react` tries again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A contract refused, or the chain failed.
    #[error(transparent)]
    Contracts(#[from] contracts::Error),
    /// The task cannot be run here.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// An artifact cannot be had or kept.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The local database failed.
    #[error(transparent)]
    Local(#[from] local::Error),
}

impl Error {
    /// Whether trying again later can help without anybody's doing.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Contracts(error) => error.is_transient(),
            Error::Run(error) => error.is_transient(),
            Error::Store(error) => error.is_transient(),
            Error::Local(_) => false,
        }
    }
}
