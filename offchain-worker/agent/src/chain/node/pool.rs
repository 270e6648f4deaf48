//! What a node says when it is offered a transaction.

use subxt::rpcs::UserError;

/// What became of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The pool has it now, or had it before.
    Taken,
    /// Its nonce has been used.
    Stale,
    /// Another transaction in the pool has its nonce.
    Rivalled,
    /// It was signed for another block or another version of the runtime.
    Outdated,
    /// The account cannot pay the fee.
    Unpaid,
    /// The pool is full, or will not look at it for a while.
    Busy,
    /// It can never be included.
    Refused(String),
}

/// Numbers of `sc-rpc-api`'s errors.
mod code {
    pub const INVALID: i32 = 1010;
    pub const BANNED: i32 = 1012;
    pub const IMPORTED: i32 = 1013;
    pub const LOW_PRIORITY: i32 = 1014;
    pub const DROPPED: i32 = 1016;
}

impl Verdict {
    /// Reads a node's refusal.
    pub fn of(said: &UserError) -> Verdict {
        let detail = said.data.as_ref().map_or("", |data| data.get());
        let whole = || {
            let text = format!("{} {}", said.message, detail.trim_matches('"'));
            Verdict::Refused(text.trim().to_owned())
        };
        match said.code {
            code::IMPORTED => Verdict::Taken,
            code::LOW_PRIORITY => Verdict::Rivalled,
            code::BANNED | code::DROPPED => Verdict::Busy,
            code::INVALID if detail.contains("outdated") => Verdict::Stale,
            code::INVALID if detail.contains("Inability to pay") => Verdict::Unpaid,
            code::INVALID
                if detail.contains("bad signature") || detail.contains("ancient birth block") =>
            {
                Verdict::Outdated
            }
            _ => whole(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::to_raw_value;

    fn refusal(code: i32, message: &str, data: Option<&str>) -> Verdict {
        Verdict::of(&UserError {
            code,
            message: message.to_owned(),
            data: data.map(|data| to_raw_value(data).unwrap()),
        })
    }

    #[test]
    fn the_refusals_of_a_node_are_recognised() {
        let invalid = |data| refusal(1010, "Invalid Transaction", Some(data));
        assert_eq!(invalid("Transaction is outdated"), Verdict::Stale);
        assert_eq!(
            invalid("Inability to pay some fees (e.g. account balance too low)"),
            Verdict::Unpaid
        );
        assert_eq!(
            invalid("Transaction has a bad signature"),
            Verdict::Outdated
        );
        assert_eq!(
            invalid("Transaction has an ancient birth block"),
            Verdict::Outdated
        );
        assert_eq!(
            invalid("Transaction would exhaust the block limits"),
            Verdict::Refused(
                "Invalid Transaction Transaction would exhaust the block limits".into()
            )
        );
        assert_eq!(
            refusal(1013, "Transaction is already imported", None),
            Verdict::Taken
        );
        assert_eq!(
            refusal(1014, "Priority is too low: (10 vs 10)", None),
            Verdict::Rivalled
        );
        assert_eq!(
            refusal(1012, "Transaction is temporarily banned", None),
            Verdict::Busy
        );
        assert_eq!(refusal(1016, "Immediately Dropped", None), Verdict::Busy);
    }
}
