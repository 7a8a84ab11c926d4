//! Whoever looks for sagas finds what a look at every saga finds, page by page.

use super::{World, choose};
use crate::blame::checked;
use saga_core::{core::HeadQuery, head::Head, id::SagaId, journal::Fact};

impl World {
    pub(crate) fn search(&mut self, what: u8, which: u8) {
        let heads = self.heads();
        let mut query = HeadQuery { limit: 1 + usize::from(which % 5), ..HeadQuery::default() };
        let started = |at: u8| choose(&heads, at).map(|it| it.started_at);
        let mail = format!("m{}@example.com", which % 2);
        match what % 4 {
            0 => query.search = Some(mail.to_uppercase()),
            1 => query.search = choose(&heads, which).map(|it| it.key.clone()),
            2 => query.search = choose(&heads, which).map(|it| it.id.to_string()),
            _ => {
                query.started_from = started(which);
                query.started_before = started(what).filter(|_| what >= 128);
            }
        }
        let fits = |head: &Head| match &query.search {
            Some(_) if what.is_multiple_of(4) => self.mail_of(head) == Some(mail.clone()),
            Some(search) => head.key == *search || head.id.to_string() == *search,
            None => {
                query.started_from.is_none_or(|it| it <= head.started_at)
                    && query.started_before.is_none_or(|it| head.started_at < it)
            }
        };
        let expected: Vec<SagaId> = heads.iter().filter(|it| fits(it)).map(|it| it.id).collect();
        let found = self.pages(query.clone());
        checked("a_search_finds_what_is_there", || assert_eq!(found, expected, "{query:?}"));
    }

    fn pages(&self, mut query: HeadQuery) -> Vec<SagaId> {
        let mut found = Vec::new();
        loop {
            let page = self.desk.core().page(&query).expect("a memory store can be read");
            found.extend(page.heads.iter().map(|it| it.id));
            query.before = page.next;
            if query.before.is_none() {
                return found;
            }
        }
    }

    /// The mail of the order from which the saga comes, as far as its definition is there.
    fn mail_of(&self, head: &Head) -> Option<String> {
        let mut first = head.id;
        loop {
            let journal = self.journal(first);
            let Fact::Started(start) = &journal[0].fact else { panic!("a start comes first") };
            match start.origin {
                Some(origin) => first = origin,
                None => {
                    self.desk.registry().get("order").filter(|it| it.name == start.definition)?;
                    let mail = start.input.to_value().get("mail")?.as_str()?.to_lowercase();
                    return Some(mail);
                }
            }
        }
    }
}
