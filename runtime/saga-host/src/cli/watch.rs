//! A list, once or for as long as one looks at it.

use super::{
    client::{Client, Items, PAGE_ITEMS_MAX},
    commands::Asker,
    lists::{List, ListRow},
    problem::CliError,
    screen::{Screen, complain, json_line, print, print_json, while_watched},
    table::Columns,
};
use chrono::Utc;
use serde_json::value::RawValue;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How often one looks again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long one looks for items that pass a filter, once there was time to find them all.
const LOOK_FOR_MAX: Duration = Duration::from_millis(500);
/// Items that can come between two looks and still all be shown.
const NEW_ITEMS_MAX: usize = 2_000;

/// Prints the list.
pub(super) async fn once(
    asker: &Asker,
    client: &Client,
    list: &List,
    limit: usize,
) -> Result<(), CliError> {
    let found = client.list(&list.path, &list.query, limit, |_| false).await?;
    if asker.options.json {
        let text = serde_json::to_string(&found).map_err(|_| CliError::not_json())?;
        return print_json(&text);
    }
    let rows = rows(list, &found)?.into_iter().map(|it| it.cells).collect::<Vec<_>>();
    if rows.is_empty() {
        return print(&format!("{}\n", list.empty));
    }
    print(&Columns::new(list.header).lines(rows, asker.screen))?;
    if found.next.is_some() {
        complain(&asker.program, "there are more: raise --limit");
    }
    Ok(())
}

/// Prints the list, and again what is new in it, until Ctrl-C.
pub(super) async fn on_and_on(
    asker: &Asker,
    client: &Client,
    list: &List,
    limit: usize,
) -> Result<(), CliError> {
    match asker.screen.size {
        Some(_) if !asker.options.json => while_watched(redraw(asker, client, list, limit)).await,
        _ => while_watched(append(asker, client, list, limit)).await,
    }
}

fn rows(list: &List, found: &Items) -> Result<Vec<ListRow>, CliError> {
    let now = Utc::now();
    found.items.iter().map(|it| (list.row)(it.get(), now)).collect()
}

/// What was seen of each item.
type Known = BTreeMap<String, String>;

/// One line for each item that is new or has changed, the newest last.
async fn append(asker: &Asker, client: &Client, list: &List, limit: usize) -> Result<(), CliError> {
    let mut columns = Columns::new(list.header);
    let mut known: Option<Known> = None;
    let mut line = Line::new(asker, client);
    loop {
        match look_again(client, list, limit, known.as_ref()).await {
            Err(error) if error.is_for_now() && line.is_worth_waiting() => line.lost(&error),
            found => {
                let found = found?;
                line.back();
                let before = known.take().unwrap_or_default();
                let seen = known.insert(Known::new());
                let mut text = String::new();
                for (item, row) in found.items.iter().zip(rows(list, &found)?).rev() {
                    if before.get(&row.id) != Some(&row.stamp) {
                        text += &match asker.options.json {
                            true => json_line(item.get()) + "\n",
                            false => columns.lines(vec![row.cells], asker.screen),
                        };
                    }
                    seen.insert(row.id, row.stamp);
                }
                print(&text)?;
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The newest items. Between two looks more can come than one page holds: they stand between the
/// newest and the newest that is known.
async fn look_again(
    client: &Client,
    list: &List,
    limit: usize,
    known: Option<&Known>,
) -> Result<Items, CliError> {
    let Some(known) = known else {
        return client.list(&list.path, &list.query, limit, |_| false).await;
    };
    let is_known = |item: &RawValue| {
        (list.row)(item.get(), Utc::now()).is_ok_and(|it| known.contains_key(&it.id))
    };
    let overlaps = |found: &Items| found.items.iter().any(|it| is_known(it));
    let found = client.list(&list.path, &list.query, limit, |_| true).await?;
    if found.items.len() < limit.min(PAGE_ITEMS_MAX) || overlaps(&found) {
        return Ok(found);
    }
    let mut found = client.list(&list.path, &list.query, NEW_ITEMS_MAX, overlaps).await?;
    let newer = found.items.iter().position(|it| is_known(it)).unwrap_or(found.items.len());
    found.items.truncate(newer.max(limit));
    Ok(found)
}

/// The newest, in the place of those of a second ago.
async fn redraw(asker: &Asker, client: &Client, list: &List, limit: usize) -> Result<(), CliError> {
    let mut line = Line::new(asker, client);
    let mut drawn = 0;
    loop {
        // A filter that few items pass would look through all of them each second.
        let (began, has_looked) = (Instant::now(), line.has_answered);
        let is_enough = |_: &Items| has_looked && LOOK_FOR_MAX < began.elapsed();
        match client.list(&list.path, &list.query, limit, is_enough).await {
            Err(error) if error.is_for_now() && line.is_worth_waiting() => {
                line.lost(&error);
                drawn = 0;
            }
            found => {
                let found = found?;
                if line.back() {
                    drawn = 0;
                }
                let rows: Vec<_> = rows(list, &found)?.into_iter().map(|it| it.cells).collect();
                // The window may have another size than a second ago.
                let screen = Screen::of_stdout();
                let text = match rows.is_empty() {
                    true => format!("{}\n", list.empty),
                    false => Columns::new(list.header).lines(rows, screen),
                };
                let lines = fitting(&text, screen.size.map_or(usize::MAX, |it| it.1));
                print(&over(drawn, &lines))?;
                drawn = lines.len();
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// As many lines as the terminal has room for, with a word on the rest.
fn fitting(text: &str, screen_rows: usize) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    // The cursor stands in the line below.
    let room = screen_rows.saturating_sub(1).max(2);
    if lines.len() <= room {
        return lines.into_iter().map(str::to_owned).collect();
    }
    let rest = format!("… and {} more", lines.len() - (room - 1));
    lines[..room - 1].iter().map(|it| (*it).to_owned()).chain([rest]).collect()
}

/// Draws over so many lines. Wrapping is off meanwhile, so that each line is one.
fn over(drawn: usize, lines: &[String]) -> String {
    let up = if drawn > 0 { format!("\x1b[{drawn}A") } else { String::new() };
    let lines: String = lines.iter().map(|it| format!("{it}\n")).collect();
    format!("\x1b[?7l{up}\x1b[0J{lines}\x1b[?7h")
}

/// The line to the runtime: says once that it is lost, and once that it is back.
pub(super) struct Line<'a> {
    asker: &'a Asker,
    url: &'a str,
    has_answered: bool,
    is_lost: bool,
}

impl<'a> Line<'a> {
    pub(super) fn new(asker: &'a Asker, client: &'a Client) -> Line<'a> {
        Line { asker, url: client.url(), has_answered: false, is_lost: false }
    }

    /// Whoever never answered may not be there at all: that is an error at once.
    pub(super) fn is_worth_waiting(&self) -> bool {
        self.has_answered
    }

    pub(super) fn lost(&mut self, error: &CliError) {
        if !self.is_lost {
            complain(&self.asker.program, &format!("{error}; trying until it is back"));
        }
        self.is_lost = true;
    }

    /// Whether it was lost before.
    pub(super) fn back(&mut self) -> bool {
        self.has_answered = true;
        let was_lost = std::mem::take(&mut self.is_lost);
        if was_lost {
            complain(&self.asker.program, &format!("the runtime at {} is back", self.url));
        }
        was_lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_drawn_over_and_never_overflows() {
        assert_eq!(fitting("a\nb\n", 3), ["a", "b"]);
        assert_eq!(fitting("a\nb\nc\nd\n", 4), ["a", "b", "… and 2 more"]);
        let lines = ["a".to_owned(), "b".to_owned()];
        assert_eq!(over(0, &lines), "\x1b[?7l\x1b[0Ja\nb\n\x1b[?7h");
        assert_eq!(over(3, &lines[..1]), "\x1b[?7l\x1b[3A\x1b[0Ja\n\x1b[?7h");
    }
}
