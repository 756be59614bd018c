//! Lists of numbers on the command line.

use std::str::FromStr;

/// `0-15,42` and the like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Numbers(pub(crate) Vec<u32>);

/// More than anybody waits for.
const LONGEST: usize = 1_000_000;

impl FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.trim()
                .parse::<u32>()
                .map_err(|_| format!("`{text}` is not a whole number from 0 to {}", u32::MAX))
        };
        let mut numbers = Vec::new();
        for part in text.split(',') {
            let (low, high) = match part.trim().split_once('-') {
                // A sign, not a range.
                Some(("", _)) | None => (number(part)?, number(part)?),
                Some((low, high)) => (number(low)?, number(high)?),
            };
            if low > high {
                return Err(format!("the range `{part}` runs backwards"));
            }
            if (high - low) as usize >= LONGEST - numbers.len().min(LONGEST) {
                return Err(format!("more than {LONGEST} numbers"));
            }
            numbers.extend(low..=high);
        }
        Ok(Self(numbers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges() {
        let parse = |text: &str| text.parse::<Numbers>().map(|list| list.0);
        assert_eq!(parse("0-3,42").unwrap(), [0, 1, 2, 3, 42]);
        assert_eq!(parse("7").unwrap(), [7]);
        assert_eq!(parse("4294967295, 1 - 2").unwrap(), [u32::MAX, 1, 2]);
        assert_eq!(parse("5-5,5").unwrap(), [5, 5]);
        for bad in [
            "",
            "a",
            "3-1",
            "1-",
            "-1",
            "1,,2",
            "1.5",
            "4294967296",
            "0-4294967295",
            "1-2-3",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
