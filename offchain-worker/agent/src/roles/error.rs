use super::Action;
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

/// Keeps the first error while everything else that may be due gets its turn, so that one dispute
/// that cannot be played costs no other.
#[derive(Default)]
pub(super) struct Postponed(Option<Error>);

impl Postponed {
    /// What was done, if anything; an error is kept for later. Being asked to stop is not
    /// postponed.
    pub(super) fn hear(
        &mut self,
        result: Result<Option<Action>, Error>,
    ) -> Result<Option<Action>, Error> {
        match result {
            Err(error @ Error::Run(run::Error::Interrupted)) => Err(error),
            Err(error) => {
                tracing::warn!(%error, "not possible now");
                self.0.get_or_insert(error);
                Ok(None)
            }
            done => done,
        }
    }

    /// The last thing done, or the error that was kept when nothing was.
    pub(super) fn last(
        self,
        result: Result<Option<Action>, Error>,
    ) -> Result<Option<Action>, Error> {
        match (result, self.0) {
            (Ok(None), Some(error)) => Err(error),
            (result, _) => result,
        }
    }
}
