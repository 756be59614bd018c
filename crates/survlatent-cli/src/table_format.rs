//! The table alone, in a form for a manuscript: `--format`.

use clap::Args;
use survlatent::cox_survival::Table;

/// How a table is written when it is to stand alone.
#[derive(Args)]
pub(crate) struct TableFormat {
    /// Print the table alone, as text, markdown, html, latex or csv
    #[arg(long, value_name = "F", value_parser = ["text", "markdown", "html", "latex", "csv"], hide_possible_values = true, conflicts_with = "json")]
    format: Option<String>,
}

impl TableFormat {
    /// Whether the table is to stand alone.
    pub(crate) fn wanted(&self) -> bool {
        self.format.is_some()
    }

    /// The table as it was asked for, if it was.
    pub(crate) fn of(&self, table: impl FnOnce() -> Table) -> Option<String> {
        let format = self.format.as_deref()?;
        let table = table();
        Some(match format {
            "markdown" => table.markdown(),
            "html" => table.html(),
            "latex" => table.latex(),
            "csv" => table.csv(),
            _ => table.to_string(),
        })
    }
}
