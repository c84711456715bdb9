//! Tables without borders, aligned by what is seen, each row in one tone. On a terminal that is too narrow columns go that
//! tell nothing, then those that are needed least, and which of them went is told.

use comfy_table::{ColumnConstraint, ContentArrangement, Table as Layout, Width, presets};

use super::{Style, Tone};
use crate::view::clean;

/// Longest cell, characters; more is cut with an ellipsis, `--json` has it whole. Prose is not cut.
const CELL_MAX: usize = 60;
/// Between two columns.
const GAP: usize = 2;
/// Least width of prose.
const PROSE_MIN: usize = 20;

/// A table that is being filled.
pub struct Table<'a> {
    columns: &'a [&'a str],
    /// Columns that may go, the first first.
    spare: &'a [&'a str],
    /// The last column holds sentences.
    prose: bool,
    /// The column holds more than dashes.
    tells: Vec<bool>,
    layout: Layout,
    tones: Vec<Tone>,
}

impl<'a> Table<'a> {
    /// A table with these column names, of which some may go where there is no room, the first first.
    pub fn new(columns: &'a [&'a str], spare: &'a [&'a str]) -> Self {
        let mut layout = Layout::new();
        layout.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        layout.set_header(columns);
        Self { columns, spare, prose: false, tells: vec![false; columns.len()], layout, tones: Vec::new() }
    }

    /// A table whose last column holds sentences: they go on in the next line where there is no room.
    pub fn with_prose(columns: &'a [&'a str], spare: &'a [&'a str]) -> Self {
        Self { prose: true, ..Self::new(columns, spare) }
    }

    /// Adds a row; every cell is escaped here, whatever it holds. No first cell is empty.
    pub fn row(&mut self, tone: Tone, cells: Vec<String>) {
        for (tells, cell) in self.tells.iter_mut().zip(&cells) {
            *tells |= cell != "-";
        }
        let last = self.columns.len() - 1;
        let shown = |(at, cell): (usize, &String)| {
            let cell = clean(cell);
            if self.prose && at == last { cell.into_owned() } else { cut(&cell) }
        };
        self.layout.add_row(cells.iter().enumerate().map(shown).collect::<Vec<_>>());
        self.tones.push(tone);
    }

    /// The text, a line for each row but where prose goes on.
    pub fn render(mut self, style: Style) -> String {
        for column in self.layout.column_iter_mut() {
            column.set_padding((0, GAP as u16));
        }
        let left_out = style.width.map(|width| self.fit(width)).unwrap_or_default();
        let mut out = String::new();
        let mut tones = self.tones.iter().copied();
        let mut tone = Tone::Faint;
        for (at, line) in self.layout.lines().enumerate() {
            if at > 0 && !line.starts_with(' ') {
                tone = tones.next().unwrap_or(Tone::Plain);
            }
            out.push_str(&style.paint(tone, line.trim_end()));
            out.push('\n');
        }
        if !left_out.is_empty() {
            let told = format!("no room for {}: a wider terminal or --json has them", left_out.join(", "));
            out.push_str(&style.paint(Tone::Faint, &told));
            out.push('\n');
        }
        out
    }

    /// Makes it as wide as a terminal, as far as that goes; gives the columns that tell something and had to go.
    fn fit(&mut self, width: usize) -> Vec<&'a str> {
        let widths: Vec<usize> =
            self.layout.column_max_content_widths().iter().map(|wide| usize::from(*wide)).collect();
        let Some((last, prose)) = widths.len().checked_sub(1).zip(widths.last().copied()) else { return Vec::new() };
        let mut needs = widths.iter().map(|wide| wide + GAP).sum::<usize>().saturating_sub(GAP);
        if self.prose {
            needs = needs.saturating_sub(prose) + prose.min(PROSE_MIN);
        }
        let dumb = (0..last).filter(|at| !self.tells[*at]);
        let spare = self.spare.iter().filter_map(|name| self.columns.iter().position(|column| column == name));
        let mut left_out = Vec::new();
        for at in dumb.chain(spare).collect::<Vec<_>>() {
            let Some(column) = self.layout.column_mut(at).filter(|column| column.constraint().is_none()) else {
                continue;
            };
            if needs <= width {
                break;
            }
            column.set_constraint(ColumnConstraint::Hidden);
            needs = needs.saturating_sub(widths[at] + GAP);
            left_out.extend(self.tells[at].then_some(self.columns[at]));
        }
        let room = width.saturating_sub(needs) + prose.min(PROSE_MIN);
        if let Some(column) = self.layout.column_mut(last).filter(|_| self.prose && prose > room) {
            // The gap behind a column counts as part of it.
            column.set_constraint(ColumnConstraint::Absolute(Width::Fixed((room + GAP) as u16)));
        }
        left_out
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(CELL_MAX) {
        None => text.to_owned(),
        Some(_) => text.chars().take(CELL_MAX - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table<'a>() -> Table<'a> {
        let mut table = Table::with_prose(&["NAME", "ROLE", "ID", "WHY"], &["ID"]);
        let why = "a sentence that is longer than many a terminal is wide";
        for name in ["one", "two"] {
            table.row(Tone::Bad, vec![name.into(), "-".into(), "x".repeat(20), why.into()]);
        }
        table
    }

    #[test]
    fn a_table_is_whole_where_nothing_bounds_it() {
        let text = table().render(Style::default());
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("ROLE") && text.contains(" is wide\n"), "{text}");
    }

    #[test]
    fn a_narrow_terminal_gets_less_and_is_told() {
        for width in [40, 60, 80] {
            let text = table().render(Style { colour: false, width: Some(width) });
            assert!(text.lines().take(5).all(|line| line.chars().count() <= width), "{width}\n{text}");
            assert!(text.contains("two") && text.contains("WHY"), "{width}\n{text}");
            assert_eq!(text.contains("no room for ID:"), width == 40, "{width}\n{text}");
            assert_eq!(text.contains("ROLE"), width > 40, "what tells nothing goes untold\n{text}");
        }
    }

    #[test]
    fn a_row_that_goes_on_keeps_its_tone() {
        let text = table().render(Style { colour: true, width: Some(60) });
        assert!(text.lines().skip(1).all(|line| line.starts_with("\x1b[31m")), "{text:?}");
    }
}
