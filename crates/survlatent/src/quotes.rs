//! Quotation marks of a CSV file that swallow rows.
//!
//! A mark at the beginning of a cell goes on to the next mark, over line breaks and commas. One that is
//! there by mistake makes one row of many, and the patients between the two are gone.

use crate::error::{Error, Result};

/// Refuses a file that ends within a cell in quotation marks.
pub(crate) fn closed(bytes: &[u8]) -> Result<()> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let (mut opened, mut open) = (0, false);
    // A mark opens a cell at its beginning; behind one that closes it, it stands for a mark.
    let (mut begins, mut closes) = (true, false);
    for (at, &byte) in text.iter().enumerate() {
        match (byte, open) {
            (b'"', true) => (open, closes) = (false, true),
            (_, true) => {}
            (b'"', false) if begins || closes => {
                opened = if begins { at } else { opened };
                (open, begins, closes) = (true, false, false);
            }
            (_, false) => (begins, closes) = (byte == b',' || ends_line(byte), false),
        }
    }
    if open {
        let line = 1 + line_breaks(&text[..opened]);
        return Err(Error::Quote { line, last: None });
    }
    Ok(())
}

/// Refuses a cell over several lines that read as rows of a table of `width` columns: a note of several
/// lines is fine, rows between two stray marks are not. `line` is the record's.
pub(crate) fn within_a_row(record: &csv::ByteRecord, line: u64, width: usize) -> Result<()> {
    if !record.as_slice().iter().any(|&byte| ends_line(byte)) {
        return Ok(());
    }
    let mut line = line;
    for (before, cell) in record.iter().enumerate() {
        let breaks = line_breaks(cell);
        // A row that has lost or won cells needs no more than a row's commas to be suspicious.
        let whole = record.len() == width;
        if breaks > 0 && commas(cell) + 1 >= width && (!whole || are_rows(cell, before, width)) {
            let last = Some(line + breaks);
            return Err(Error::Quote { line, last });
        }
        line += breaks;
    }
    Ok(())
}

/// Whether the lines of the cell behind `before` others, with what stands before and after it, have the
/// commas of as many rows.
fn are_rows(cell: &[u8], before: usize, width: usize) -> bool {
    let lines: Vec<&[u8]> = cell.split(|&byte| ends_line(byte)).collect();
    let [first, inner @ .., last] = &lines[..] else {
        return false;
    };
    // The second half of a CRLF and empty lines are none.
    let mut inner = inner.iter().filter(|line| !line.trim_ascii().is_empty());
    before + commas(first) + 1 >= width
        && commas(last) >= before
        && inner.all(|line| commas(line) + 1 >= width)
}

fn commas(text: &[u8]) -> usize {
    text.split(|&byte| byte == b',').count() - 1
}

fn ends_line(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// LF, CR, or both as one.
fn line_breaks(text: &[u8]) -> u64 {
    let ends = text.iter().filter(|&&byte| ends_line(byte)).count();
    let both = text.windows(2).filter(|pair| pair == b"\r\n").count();
    (ends - both) as u64
}

#[cfg(test)]
mod tests {
    use crate::Table;
    use crate::error::Error;

    fn refused(csv: &str) -> Option<(u64, Option<u64>)> {
        match Table::from_csv(csv.as_bytes()) {
            Err(Error::Quote { line, last }) => Some((line, last)),
            Err(error) => panic!("{error}"),
            Ok(_) => None,
        }
    }

    #[test]
    fn a_mark_that_nothing_closes_is_refused() {
        let rows = "id,t,cell\n1,5,a\n2,8,\"abc\n3,9,b\n4,7,c\n";
        assert_eq!(refused(rows), Some((3, None)));
        assert_eq!(refused(&rows.replace('\n', "\r\n")), Some((3, None)));
        assert_eq!(refused(&rows.replace('\n', "\r")), Some((3, None)));
        assert_eq!(refused("id,t\n1,5\n\n2,\"8"), Some((4, None)));
        assert_eq!(refused("\u{feff}\"id,t\n1,5\n"), Some((1, None)));
        // A row that has lost cells, too.
        assert_eq!(refused("id,t,cell\n1,\"5,a\n2,8,b\n"), Some((2, None)));
        let message = Table::from_csv(rows.as_bytes()).unwrap_err().to_string();
        assert_eq!(
            message,
            "line 3: a quotation mark opens a cell that no other closes"
        );
    }

    #[test]
    fn rows_between_two_marks_are_refused() {
        let rows = "id,t,cell\n1,5,a\n2,8,\"tall\n3,9,b\n4,7,\"big\n5,1,c\n";
        assert_eq!(refused(rows), Some((3, Some(5))));
        assert_eq!(refused(&rows.replace('\n', "\r\n")), Some((3, Some(5))));
        assert_eq!(refused(&rows.replace('\n', "\n\n")), Some((5, Some(9))));
        assert_eq!(refused(&rows.replace("\"big", "big\"")), Some((3, Some(5))));
        // In the first column, in one between, in two, over the header, over a cell with a comma.
        assert_eq!(refused("id,t\n\"1,5\n2\",8\n"), Some((2, Some(3))));
        assert_eq!(refused("i,t,c\n1,\"5,a\n2,8\",b\n"), Some((2, Some(3))));
        assert_eq!(refused("i,t,c\n\"1,5,a\n2,8,b\"\n"), Some((2, Some(3))));
        assert_eq!(refused("i,\"t,c\n2,8\",b\n3,1,c\n"), Some((1, Some(2))));
        let comma = "i,t,c\n1,5,\"x\n2,6,\"\"\n3,\"a,b\",z\"\n";
        assert!(Table::from_csv(comma.as_bytes()).is_err());
        let message = Table::from_csv(rows.as_bytes()).unwrap_err().to_string();
        assert!(message.contains("goes on to line 5"), "{message}");
    }

    #[test]
    fn notes_of_several_lines_and_marks_within_cells_are_read() {
        for good in [
            "id,t,note\n1,5,\"fell, twice\nsince May\n\nno pain\"\n2,6,\"\"\n",
            "note,id,t\n\"first\r\nsecond\",1,5\r\nx,2,6\r\n",
            "id,t,\"age\n(years)\"\n1,5,60\n2,6,61\n",
            "id,t,note\n1,5,5\" tall\n2,6,a \"\"b\n",
            "id,t,note\n1,5,\"he said \"\"no\"\"\"\n2,6,\"a\"b\n",
        ] {
            assert_eq!(refused(good), None, "{good}");
            assert_eq!(Table::from_csv(good.as_bytes()).unwrap().n(), 2);
        }
    }

    proptest::proptest! {
        /// A closed file takes a row more; an open one takes it into its last cell.
        #[test]
        fn the_csv_crate_agrees(text in "[a\",\n\r]{0,16}") {
            let longer = format!("{text}\nx");
            let mut reader = csv::ReaderBuilder::new();
            let mut reader = reader.flexible(true).has_headers(false).from_reader(longer.as_bytes());
            let last = reader.records().last().unwrap().unwrap();
            let read = last.iter().eq(["x"]);
            proptest::prop_assert_eq!(super::closed(text.as_bytes()).is_ok(), read);
        }
    }
}
