//! The table of `stats`.

use f2b_protocol::Value;

use super::Charset;
use super::python::items;

/// What a table is drawn with.
struct Lines {
    /// Between columns.
    bar: char,
    /// Below the head and the last row.
    double: char,
    /// Where the line between the heads begins, and where it crosses a bar.
    left: char,
    crossing: char,
    /// Where the line below the heads and the one below the rows cross a bar.
    below_head: char,
    bottom: char,
    /// Between the numbers of a column.
    thin_bar: char,
    /// Between the heads.
    thin: char,
}

const ASCII: Lines = Lines {
    bar: '|',
    double: '-',
    left: '|',
    crossing: 'x',
    below_head: 'x',
    bottom: '-',
    thin_bar: '|',
    thin: '-',
};

const UTF8: Lines = Lines {
    bar: '║',
    double: '═',
    left: '╟',
    crossing: '╫',
    below_head: '╬',
    bottom: '╩',
    thin_bar: '│',
    thin: '─',
};

const COLUMNS: usize = 6;

/// Columns are never narrower.
const MIN_WIDTHS: [usize; COLUMNS] = [8, 8, 3, 3, 3, 3];

/// A row a jail; `None` for a response that is no dictionary of such rows.
pub(super) fn render(response: &Value, charset: Charset) -> Option<String> {
    let rows = match response {
        Value::Dict(entries) => entries.iter().map(row).collect::<Option<Vec<_>>>()?,
        Value::None | Value::Bool(false) | Value::Int(0) => Vec::new(),
        other if items(other).is_some_and(|items| items.is_empty()) => Vec::new(),
        _ => return None,
    };
    if rows.is_empty() {
        return Some("No jails found.".into());
    }
    let lines = match charset {
        Charset::Ascii => ASCII,
        Charset::Utf8 => UTF8,
    };
    Some(Table { widths: widths(&rows), lines }.draw(&rows))
}

type Row = [String; COLUMNS];

/// `name: [backend, (failed now, in total), (banned now, in total)]`
fn row((name, stats): &(Value, Value)) -> Option<Row> {
    let [backend, failed, banned] = stats.as_items()? else { return None };
    let ([failed, all_failed], [banned, all_banned]) = (failed.as_items()?, banned.as_items()?) else {
        return None;
    };
    Some([name, backend, failed, all_failed, banned, all_banned].map(Value::to_text))
}

fn widths(rows: &[Row]) -> [usize; COLUMNS] {
    let mut widths = MIN_WIDTHS;
    for row in rows {
        for (width, text) in widths.iter_mut().zip(row) {
            *width = text.chars().count().max(*width);
        }
    }
    widths
}

struct Table {
    widths: [usize; COLUMNS],
    lines: Lines,
}

impl Table {
    fn draw(&self, rows: &[Row]) -> String {
        let [jail, backend, filter, actions] = self.column_widths();
        let Lines { bar, left, crossing, thin, .. } = self.lines;
        let lines = |n: usize| String::from(thin).repeat(n);
        let mut table = vec![
            format!(
                " {:jail$} {bar} {:backend$} {bar} {:filter$} {bar} {:actions$}",
                "", "", "Filter", "Actions"
            ),
            format!(
                " {:jail$} {bar} {:backend$} {left}{thin}{}{thin}{crossing}{thin}{}{thin}",
                "Jail",
                "Backend",
                lines(filter),
                lines(actions)
            ),
            self.row(&["", "", "cur", "tot", "cur", "tot"].map(String::from)),
            self.rule(self.lines.below_head),
        ];
        table.extend(rows.iter().map(|row| self.row(row)));
        table.push(self.rule(self.lines.bottom));
        table.join("\n")
    }

    /// Two numbers share a column.
    fn column_widths(&self) -> [usize; 4] {
        let [jail, backend, failed, all_failed, banned, all_banned] = self.widths;
        [jail, backend, failed + all_failed + 3, banned + all_banned + 3]
    }

    fn row(&self, [jail, backend, failed, all_failed, banned, all_banned]: &Row) -> String {
        let [w0, w1, w2, w3, w4, w5] = self.widths;
        let Lines { bar, thin_bar, .. } = self.lines;
        format!(
            " {jail:w0$} {bar} {backend:w1$} {bar} {failed:>w2$} {thin_bar} {all_failed:>w3$} \
             {bar} {banned:>w4$} {thin_bar} {all_banned:>w5$}"
        )
    }

    fn rule(&self, crossing: char) -> String {
        let double = self.lines.double;
        let parts = self.column_widths().map(|width| String::from(double).repeat(width));
        let joint: String = [double, crossing, double].into_iter().collect();
        format!("{double}{}{double}", parts.join(&joint))
    }
}
