//! Amounts of money as people write them.

use lockstep_agent::chain::{Balance, DECIMALS, UNIT};

/// An amount in tokens, with as many digits as it needs: `12.5`.
pub fn show(amount: Balance) -> String {
    let (whole, part) = (amount / UNIT, amount % UNIT);
    if part == 0 {
        return grouped(whole);
    }
    let digits = format!("{part:0DECIMALS$}");
    format!("{}.{}", grouped(whole), digits.trim_end_matches('0'))
}

/// An amount in tokens with all its digits.
pub fn exact(amount: Balance) -> String {
    format!("{}.{:0DECIMALS$}", grouped(amount / UNIT), amount % UNIT)
}

/// A difference in tokens with all its digits and its sign.
pub fn change(before: Balance, after: Balance) -> String {
    match after.checked_sub(before) {
        Some(0) => "0".into(),
        Some(more) => format!("+{}", exact(more)),
        None => format!("-{}", exact(before - after)),
    }
}

/// Parses an amount in tokens such as `12.5`.
pub fn parse(text: &str) -> Result<Balance, String> {
    let wrong =
        || format!("`{text}` is not an amount such as 12.5, with at most {DECIMALS} decimals");
    let plain = text.replace(['_', ','], "");
    let (whole, part) = plain.split_once('.').unwrap_or((&plain, ""));
    if whole.is_empty()
        || part.len() > DECIMALS
        || !(whole.to_owned() + part)
            .bytes()
            .all(|b| b.is_ascii_digit())
    {
        return Err(wrong());
    }
    let digits = format!("{whole}{part:0<DECIMALS$}");
    digits.parse().map_err(|_| wrong())
}

fn grouped(number: Balance) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (k, digit) in digits.chars().enumerate() {
        if k > 0 && (digits.len() - k).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_parses_again() {
        for amount in [0, 1, UNIT, 12 * UNIT + UNIT / 2, 1_234_567 * UNIT + 89] {
            assert_eq!(parse(&show(amount)), Ok(amount), "{amount}");
            assert_eq!(parse(&exact(amount)), Ok(amount), "{amount}");
        }
        assert_eq!(show(1_234_567 * UNIT + UNIT / 4), "1,234,567.25");
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", "x", "1.2.3", "-1", "0.0000000000001", "1e3"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
