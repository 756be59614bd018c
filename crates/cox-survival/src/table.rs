//! One table, several ways to write it.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::error::{Result, check_length};
use crate::text_table;

/// The printed table of a result, as plain text ([`Display`](fmt::Display)), Markdown, HTML, LaTeX or
/// CSV. The first column holds names, the others numbers as they are printed.
///
/// ```
/// use cox_survival::{KaplanMeier, Surv};
/// let surv = Surv::new(&[1.0, 2.0, 4.0], &[true, false, true])?;
/// let table = KaplanMeier::new().fit(&surv)?.table();
/// assert_eq!(table.csv().lines().next(), Some(",n,events,median,0.95LCL,0.95UCL"));
/// assert!(table.markdown().starts_with("|  | n | events |"));
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Every row must have as many cells as the header.
    pub(crate) fn new(header: &[&str], rows: Vec<Vec<String>>) -> Self {
        Self {
            header: header.iter().map(|&h| h.to_owned()).collect(),
            rows,
        }
    }

    /// The same from rows of which the first is the header.
    pub(crate) fn headed(rows: Vec<Vec<String>>) -> Self {
        let mut rows = rows.into_iter();
        Self {
            header: rows.next().unwrap_or_default(),
            rows: rows.collect(),
        }
    }

    /// A table of one's own, its cells as they are to be printed.
    ///
    /// # Errors
    /// [`Error::Length`](crate::Error::Length) for a row without as many cells as the header.
    pub fn from_cells(header: Vec<String>, rows: Vec<Vec<String>>) -> Result<Self> {
        for row in &rows {
            check_length("row of a table", row.len(), header.len())?;
        }
        Ok(Self { header, rows })
    }

    /// Names of the columns.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// The cells, row by row.
    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    fn all(&self) -> impl Iterator<Item = &Vec<String>> {
        std::iter::once(&self.header).chain(&self.rows)
    }

    /// As a Markdown table, numbers to the right.
    pub fn markdown(&self) -> String {
        let cell = |text: &String| {
            text.replace('\\', "\\\\")
                .replace('|', "\\|")
                .replace('\n', " ")
        };
        // Writing to a string cannot fail.
        let mut out = String::new();
        for (k, row) in self.all().enumerate() {
            let cells: Vec<String> = row.iter().map(cell).collect();
            let _ = writeln!(out, "| {} |", cells.join(" | "));
            if k == 0 {
                out += "|---|";
                out += &"---:|".repeat(row.len().saturating_sub(1));
                out.push('\n');
            }
        }
        out
    }

    /// As an HTML `table` element.
    pub fn html(&self) -> String {
        let escape = |text: &String| {
            let text = text
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;");
            text.replace('"', "&quot;")
        };
        let line = |row: &Vec<String>, name: &str| {
            let cells = row
                .iter()
                .map(|text| format!("<{name}>{}</{name}>", escape(text)));
            format!("<tr>{}</tr>\n", cells.collect::<String>())
        };
        let body: String = self.rows.iter().map(|row| line(row, "td")).collect();
        let head = line(&self.header, "th");
        format!("<table>\n<thead>\n{head}</thead>\n<tbody>\n{body}</tbody>\n</table>\n")
    }

    /// As a LaTeX `tabular` with the rules of `booktabs`.
    pub fn latex(&self) -> String {
        let escape = |text: &String| {
            let mut out = String::new();
            for c in text.chars() {
                match c {
                    '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                        out.push('\\');
                        out.push(c);
                    }
                    '\\' => out += "\\textbackslash{}",
                    '^' => out += "\\textasciicircum{}",
                    '~' => out += "\\textasciitilde{}",
                    '<' | '>' => {
                        let _ = write!(out, "${c}$");
                    }
                    c => out.push(c),
                }
            }
            out
        };
        let line = |row: &Vec<String>| {
            let cells: Vec<String> = row.iter().map(escape).collect();
            format!("{} \\\\\n", cells.join(" & "))
        };
        let columns = "r".repeat(self.header.len().saturating_sub(1));
        let body: String = self.rows.iter().map(line).collect();
        let head = line(&self.header);
        format!(
            "\\begin{{tabular}}{{l{columns}}}\n\\toprule\n{head}\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n"
        )
    }

    /// As comma-separated values, quoted where needed (RFC 4180).
    pub fn csv(&self) -> String {
        let cell = |text: &String| {
            if text.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", text.replace('"', "\"\""))
            } else {
                text.clone()
            }
        };
        let line = |row: &Vec<String>| row.iter().map(cell).collect::<Vec<_>>().join(",") + "\n";
        self.all().map(line).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header: Vec<&str> = self.header.iter().map(String::as_str).collect();
        text_table::write(f, &header, &self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        Table::new(
            &["", "n_1"],
            vec![row(["a|b & \"c\"", "1"]), row(["x<5, y", "22"])],
        )
    }

    #[test]
    fn every_way_escapes_what_it_must() {
        let t = table();
        assert_eq!(
            t.to_string(),
            "          n_1\na|b & \"c\"   1\nx<5, y     22\n"
        );
        assert_eq!(
            t.markdown(),
            "|  | n_1 |\n|---|---:|\n| a\\|b & \"c\" | 1 |\n| x<5, y | 22 |\n"
        );
        assert_eq!(t.csv(), ",n_1\n\"a|b & \"\"c\"\"\",1\n\"x<5, y\",22\n");
        assert_eq!(
            t.html(),
            "<table>\n<thead>\n<tr><th></th><th>n_1</th></tr>\n</thead>\n<tbody>\n\
             <tr><td>a|b &amp; &quot;c&quot;</td><td>1</td></tr>\n\
             <tr><td>x&lt;5, y</td><td>22</td></tr>\n</tbody>\n</table>\n"
        );
        assert_eq!(
            t.latex(),
            "\\begin{tabular}{lr}\n\\toprule\n & n\\_1 \\\\\n\\midrule\na|b \\& \"c\" & 1 \\\\\n\
             x$<$5, y & 22 \\\\\n\\bottomrule\n\\end{tabular}\n"
        );
        assert_eq!((t.header().len(), t.rows().len()), (2, 2));
        let (header, mut rows) = (t.header().to_vec(), t.rows().to_vec());
        assert_eq!(Table::from_cells(header.clone(), rows.clone()), Ok(t));
        rows[1].pop();
        let short = Table::from_cells(header, rows);
        assert!(matches!(short, Err(crate::Error::Length { found: 1, .. })));
    }
}
