//! Durations as people write them: `90s`, `5m`, `2h 30m`, `7d`.

use lockstep_interface::Millis;
use std::time::Duration;

/// Reads a duration.
///
/// # Errors
/// What is wrong with the text.
pub fn parse(text: &str) -> Result<Millis, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write durations like 90s, 5m, 24h or 7d"))?;
    Millis::try_from(duration.as_millis()).map_err(|_| "the duration is too long".into())
}

/// Writes a duration, to the second when it is longer than one.
pub fn show(millis: Millis) -> String {
    let shown = match millis {
        0..1000 => millis,
        _ => millis - millis % 1000,
    };
    humantime::format_duration(Duration::from_millis(shown)).to_string()
}

/// Writes what was measured or reckoned in seconds: microseconds and milliseconds of what is short.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        ..1e-3 => format!("{:.0}us", seconds * 1e6),
        ..1.0 => format!("{:.1}ms", seconds * 1e3),
        // Beyond 2^64 milliseconds the cast gives the greatest number.
        _ => show((seconds * 1e3) as Millis),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_people_write_them() {
        assert_eq!(parse("90s"), Ok(90_000));
        assert_eq!(parse("1h 30m"), Ok(5_400_000));
        assert_eq!(show(5_400_001), "1h 30m");
        assert_eq!(show(250), "250ms");
        assert_eq!(show(0), "0s");
        assert_eq!(seconds(0.000_042), "42us");
        assert_eq!(seconds(0.0425), "42.5ms");
        assert_eq!(seconds(150.4), "2m 30s");
        assert!(parse("5").unwrap_err().contains("24h"));
        assert!(parse("9999999999999999y").is_err());
    }
}
