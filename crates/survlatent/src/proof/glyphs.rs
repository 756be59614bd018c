//! Letters of five by seven dots, for labels inside pictures of a few dozen pixels.

/// Width of a letter with the gap after it.
pub(super) const ADVANCE: usize = 6;
/// Height of a letter.
pub(super) const HEIGHT: usize = 7;

/// Rows of a letter from the top, the leftmost dot in bit 4; a blank for what is not drawn here.
fn rows(letter: char) -> [u8; HEIGHT] {
    match letter.to_ascii_uppercase() {
        'A' => [14, 17, 17, 31, 17, 17, 17],
        'B' => [30, 17, 17, 30, 17, 17, 30],
        'C' => [14, 17, 16, 16, 16, 17, 14],
        'D' => [30, 17, 17, 17, 17, 17, 30],
        'E' => [31, 16, 16, 30, 16, 16, 31],
        'F' => [31, 16, 16, 30, 16, 16, 16],
        'G' => [14, 17, 16, 23, 17, 17, 15],
        'H' => [17, 17, 17, 31, 17, 17, 17],
        'I' => [14, 4, 4, 4, 4, 4, 14],
        'J' => [7, 2, 2, 2, 2, 18, 12],
        'K' => [17, 18, 20, 24, 20, 18, 17],
        'L' => [16, 16, 16, 16, 16, 16, 31],
        'M' => [17, 27, 21, 21, 17, 17, 17],
        'N' => [17, 25, 21, 19, 17, 17, 17],
        'O' => [14, 17, 17, 17, 17, 17, 14],
        'P' => [30, 17, 17, 30, 16, 16, 16],
        'Q' => [14, 17, 17, 17, 21, 18, 13],
        'R' => [30, 17, 17, 30, 20, 18, 17],
        'S' => [15, 16, 16, 14, 1, 1, 30],
        'T' => [31, 4, 4, 4, 4, 4, 4],
        'U' => [17, 17, 17, 17, 17, 17, 14],
        'V' => [17, 17, 17, 17, 17, 10, 4],
        'W' => [17, 17, 17, 21, 21, 27, 17],
        'X' => [17, 17, 10, 4, 10, 17, 17],
        'Y' => [17, 17, 10, 4, 4, 4, 4],
        'Z' => [31, 1, 2, 4, 8, 16, 31],
        '0' => [14, 17, 19, 21, 25, 17, 14],
        '1' => [4, 12, 4, 4, 4, 4, 14],
        '2' => [14, 17, 1, 6, 8, 16, 31],
        '3' => [30, 1, 1, 14, 1, 1, 30],
        '4' => [2, 6, 10, 18, 31, 2, 2],
        '5' => [31, 16, 30, 1, 1, 17, 14],
        '6' => [6, 8, 16, 30, 17, 17, 14],
        '7' => [31, 1, 2, 4, 8, 8, 8],
        '8' => [14, 17, 17, 14, 17, 17, 14],
        '9' => [14, 17, 17, 15, 1, 2, 12],
        '.' => [0, 0, 0, 0, 0, 12, 12],
        ',' => [0, 0, 0, 0, 12, 4, 8],
        '/' => [1, 1, 2, 4, 8, 16, 16],
        '-' => [0, 0, 0, 31, 0, 0, 0],
        '+' => [0, 4, 4, 31, 4, 4, 0],
        '=' => [0, 0, 31, 0, 31, 0, 0],
        ':' => [0, 12, 12, 0, 12, 12, 0],
        '%' => [24, 25, 2, 4, 8, 19, 3],
        '(' => [2, 4, 8, 8, 8, 4, 2],
        ')' => [8, 4, 2, 2, 2, 4, 8],
        _ => [0; HEIGHT],
    }
}

/// Dots of a line of text as `(x, y)`, the first letter's upper left corner being `(0, 0)`.
pub(super) fn dots(text: &str) -> impl Iterator<Item = (usize, usize)> {
    text.chars().enumerate().flat_map(|(k, letter)| {
        rows(letter)
            .into_iter()
            .enumerate()
            .flat_map(move |(y, row)| {
                (0..5)
                    .filter(move |x| row & (16 >> x) != 0)
                    .map(move |x| (k * ADVANCE + x, y))
            })
    })
}

/// Width of a line of text in dots.
pub(super) fn width(text: &str) -> usize {
    (text.chars().count() * ADVANCE).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_differ_and_stay_in_their_cells() {
        let drawn: Vec<char> = ('A'..='Z')
            .chain('0'..='9')
            .chain("./-+=:%(),".chars())
            .collect();
        for (k, a) in drawn.iter().enumerate() {
            assert!(
                rows(*a).iter().any(|r| *r != 0) && rows(*a).iter().all(|r| *r < 32),
                "{a}"
            );
            assert!(drawn[..k].iter().all(|b| rows(*a) != rows(*b)), "{a}");
        }
        let l: Vec<_> = dots("L").collect();
        assert_eq!(l.len(), 11);
        assert!(l.contains(&(0, 0)) && l.contains(&(4, 6)) && !l.contains(&(4, 0)));
        assert_eq!(dots("il").map(|d| d.0).max(), Some(10));
        assert_eq!(width("il"), 11);
    }
}
