//! Tables without borders, aligned by what is seen, each row in one tone.

use comfy_table::{ContentArrangement, Table as Layout, presets};

use super::{Style, Tone};
use crate::view::clean;

/// Longest cell, characters; more is cut with an ellipsis, `--json` has it whole.
const CELL_MAX: usize = 60;

/// A table that is being filled.
pub struct Table {
    layout: Layout,
    tones: Vec<Tone>,
}

impl Table {
    /// A table with these column names.
    pub fn new(columns: &[&str]) -> Self {
        let mut layout = Layout::new();
        layout.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        layout.set_header(columns);
        Self { layout, tones: Vec::new() }
    }

    /// Adds a row; every cell is escaped here, whatever it holds.
    pub fn row(&mut self, tone: Tone, cells: Vec<String>) {
        self.layout.add_row(cells.iter().map(|cell| cut(&clean(cell))));
        self.tones.push(tone);
    }

    /// The text, a line for each row.
    pub fn render(mut self, style: Style) -> String {
        for column in self.layout.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let mut out = String::new();
        for (at, line) in self.layout.lines().enumerate() {
            let tone = at.checked_sub(1).and_then(|row| self.tones.get(row)).copied().unwrap_or(Tone::Faint);
            out.push_str(&style.paint(tone, line.trim_end()));
            out.push('\n');
        }
        out
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(CELL_MAX) {
        None => text.to_owned(),
        Some(_) => text.chars().take(CELL_MAX - 1).chain(['…']).collect(),
    }
}
