//! Tables: one line for each thing, for an eye or for `awk`.

use super::screen::{Screen, plain_line};
use comfy_table::{
    Cell as TableCell, Color, ColumnConstraint, Row, Table, Width, presets::NOTHING,
};

/// Between two columns.
const GAP: usize = 2;
/// A column that is cut to less says nothing.
const COLUMN_CHARS_MIN: usize = 6;
/// Words need more than names do.
const LAST_COLUMN_CHARS_MIN: usize = 16;

/// What one field of a table says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

/// How a field looks where there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    /// It went as it should.
    Good,
    /// It holds for something.
    Waiting,
    /// It needs a look.
    Bad,
}

impl Cell {
    pub(super) fn toned(text: impl Into<String>, tone: Tone) -> Cell {
        // A line break would tear the line apart.
        Cell { text: plain_line(&text.into()), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell::toned(text, Tone::Plain)
    }
}

/// A table that may grow: its columns never become narrower.
pub(super) struct Columns {
    header: &'static [&'static str],
    widths: Vec<usize>,
}

impl Columns {
    pub(super) fn new(header: &'static [&'static str]) -> Columns {
        Columns { header, widths: Vec::new() }
    }

    /// The rows, with the names of the columns above the first ones. The first column is what other
    /// commands take, so it is never cut.
    pub(super) fn lines(&mut self, rows: Vec<Vec<Cell>>, screen: Screen) -> String {
        let is_first = self.widths.is_empty();
        let mut table = Table::new();
        table.load_style(NOTHING);
        if screen.has_colours {
            table.enforce_styling()
        } else {
            table.force_no_tty()
        };
        let header: Vec<Cell> = self.header.iter().map(|it| Cell::from(*it)).collect();
        for row in is_first.then_some(header).into_iter().chain(rows) {
            let cells: Vec<TableCell> = row.into_iter().map(coloured).collect();
            let mut row = Row::from(cells);
            row.max_height(1);
            table.add_row(row);
        }
        let found = table.column_max_content_widths();
        self.widths.resize(found.len().max(self.widths.len()), 0);
        for (width, found) in self.widths.iter_mut().zip(found) {
            *width = (*width).max(found.into());
        }
        let fitting = fitted(&self.widths, screen.columns());
        for (column, width) in table.column_iter_mut().zip(fitting) {
            column.set_padding((0, u16::try_from(GAP).unwrap_or_default()));
            let width = u16::try_from(width + GAP).unwrap_or(u16::MAX);
            column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
        }
        table.trim_fmt() + "\n"
    }
}

fn coloured(Cell { text, tone }: Cell) -> TableCell {
    let cell = TableCell::new(text);
    match tone {
        Tone::Plain => cell,
        Tone::Good => cell.fg(Color::Green),
        Tone::Waiting => cell.fg(Color::Yellow),
        Tone::Bad => cell.fg(Color::Red),
    }
}

/// The last column gives way first, as it says most words; then the widest, until the line fits or
/// nothing is left to give.
fn fitted(widths: &[usize], columns: Option<usize>) -> Vec<usize> {
    let mut fitting = widths.to_vec();
    let Some(columns) = columns else { return fitting };
    let room = columns.saturating_sub(GAP * widths.len().saturating_sub(1));
    let over = |fitting: &[usize]| fitting.iter().sum::<usize>().saturating_sub(room);
    let excess = over(&fitting);
    if let Some(last) = fitting.iter_mut().skip(1).next_back() {
        *last -= excess.min(last.saturating_sub(LAST_COLUMN_CHARS_MIN));
    }
    while over(&fitting) > 0 {
        let widest = fitting.iter_mut().skip(1).max_by_key(|it| **it);
        match widest.filter(|it| **it > COLUMN_CHARS_MIN) {
            Some(widest) => *widest -= 1,
            None => break,
        }
    }
    fitting
}

/// A line cut to the terminal's width.
pub(super) fn cut(line: &str, columns: Option<usize>) -> String {
    match columns {
        Some(columns) if line.chars().count() > columns => {
            line.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[[&str; 3]]) -> Vec<Vec<Cell>> {
        rows.iter().map(|row| row.iter().map(|it| Cell::from(*it)).collect()).collect()
    }

    fn terminal(columns: usize) -> Screen {
        Screen { size: Some((columns, 24)), has_colours: false }
    }

    const HEADER: [&str; 3] = ["ID", "STATUS", "REASON"];
    const LONG: [[&str; 3]; 2] = [
        ["0198-the-id-of-a-saga", "waiting", "the customer asked for it on the telephone"],
        ["1", "x", ""],
    ];

    #[test]
    fn a_pipe_gets_every_word() {
        let told = Columns::new(&HEADER).lines(rows(&LONG), Screen::PIPE);
        let expected = "\
ID                     STATUS   REASON
0198-the-id-of-a-saga  waiting  the customer asked for it on the telephone
1                      x
";
        assert_eq!(told, expected);
    }

    #[test]
    fn a_terminal_gets_lines_that_fit_and_whole_ids() {
        let told = Columns::new(&HEADER).lines(rows(&LONG), terminal(50));
        assert!(told.lines().all(|it| it.chars().count() <= 50), "{told}");
        assert_eq!(told.lines().count(), 3, "{told}");
        assert!(
            told.contains("0198-the-id-of-a-saga  waiting  the") && told.contains('…'),
            "{told}"
        );
        let widths = [36, 13, 36, 7, 3, 7, 50];
        assert_eq!(fitted(&widths, Some(130)), [36, 13, 36, 7, 3, 7, 16], "keys stay whole");
        assert_eq!(fitted(&widths, Some(80)), [36, 6, 6, 6, 3, 6, 6], "as far as it goes");
        let told = Columns::new(&HEADER).lines(rows(&LONG), terminal(20));
        assert!(told.contains("0198-the-id-of-a-saga"), "{told}");
    }

    #[test]
    fn what_comes_later_stands_below_what_came_first() {
        let mut columns = Columns::new(&HEADER);
        let first = columns.lines(rows(&[["1", "waiting", "a"]]), Screen::PIPE);
        let second = columns.lines(rows(&[["2", "x", "b"]]), Screen::PIPE);
        assert_eq!(first + &second, "ID  STATUS   REASON\n1   waiting  a\n2   x        b\n");
    }

    #[test]
    fn colours_are_for_terminals_that_have_them() {
        let row = vec![vec![Cell::toned("attention", Tone::Bad)]];
        let coloured = Screen { has_colours: true, ..terminal(80) };
        assert!(Columns::new(&["STATUS"]).lines(row.clone(), coloured).contains('\u{1b}'));
        assert!(!Columns::new(&["STATUS"]).lines(row, terminal(80)).contains('\u{1b}'));
    }

    #[test]
    fn a_line_break_in_a_field_does_not_tear_the_line() {
        let told = Columns::new(&HEADER).lines(rows(&[["1", "a\nb", "c\td"]]), Screen::PIPE);
        assert_eq!(told.lines().count(), 2, "{told}");
    }
}
