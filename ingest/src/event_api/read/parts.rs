//! What all levels share: bounded lists, unknown fields, and what is counted.

use crate::json::{Json, Kind, Value};
use crate::limits::{EVENTS_MAX, ITEMS_MAX, LIST_MAX};
use crate::problem::{Broken, Problem, Problems, out_of_range, wrong_type};

use super::super::batch::{Part, Unknown, Within};
use super::Stopped;

pub(super) const LIST: Broken = wrong_type("an array");
pub(super) const OBJECT: Broken = wrong_type("an object");
pub(super) const LONG_LIST: Broken = out_of_range("a list of at most 1000");

/// Counts what a body lists.
pub(super) struct Items(pub(super) usize);

impl Items {
    pub(super) fn one_more(&mut self) -> Result<(), Stopped> {
        self.0 += 1;
        if self.0 > ITEMS_MAX { Err(Stopped::TooMuch("The body lists more than 200000 things")) } else { Ok(()) }
    }

    /// One more visitor, snapshot or event, of which there are `so_far`.
    pub(super) fn one_more_of(&mut self, so_far: usize) -> Result<(), Stopped> {
        if so_far >= EVENTS_MAX {
            return Err(Stopped::TooMuch("The body has more than 10000 visitors, snapshots or events"));
        }
        self.one_more()
    }
}

pub(super) fn unknown<'a>(
    json: &mut Json<'a>,
    name: &'a str,
    within: Option<Within>,
    list: &mut Vec<Unknown<'a>>,
    items: &mut Items,
) -> Result<(), Stopped> {
    items.one_more()?;
    let mark = json.mark();
    json.value()?;
    list.push(Unknown { within, name, value: json.since(mark) });
    Ok(())
}

pub(super) fn open<T>(list: &[T]) -> Part {
    list.len()..list.len()
}

/// Reads a bounded list of objects; null is none.
pub(super) fn list<'a>(
    json: &mut Json<'a>,
    problems: &mut Problems,
    name: &'static str,
    mut item: impl FnMut(&mut Json<'a>, &mut Problems, usize) -> Result<(), Stopped>,
) -> Result<(), Stopped> {
    if json.kind() != Kind::Array {
        if json.value()? != Value::Null {
            problems.note(name, LIST);
        }
        return Ok(());
    }
    let mut index = 0;
    json.array(|json| {
        let at = index;
        index += 1;
        if at == LIST_MAX {
            problems.note(name, LONG_LIST);
        }
        if at >= LIST_MAX {
            json.value()?;
        } else if json.kind() == Kind::Object {
            item(json, problems, at)?;
        } else {
            json.value()?;
            problems.note(format!("{name}[{at}]"), OBJECT);
        }
        Ok::<_, Stopped>(())
    })
}

/// A problem of an item is a problem of the part it stands in.
pub(super) fn pass_up(of_item: Problems, of_part: &mut Problems, item: impl FnOnce() -> String) {
    if let Some(Problem { field, broken }) = of_item.into_first() {
        of_part.note(format!("{}.{field}", item()), broken);
    }
}
