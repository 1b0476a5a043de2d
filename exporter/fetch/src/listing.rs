//! Listings in S3's order, page by page, over a store that lists folders in no order.

mod page;
mod position;
mod walk;

pub(crate) use page::{Page, page};
pub(crate) use position::After;
pub(crate) use walk::Walk;

#[cfg(test)]
mod tests;
