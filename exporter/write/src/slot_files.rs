//! Rows of one account's slot, in order, to files: by folder, and within a folder by the plan's bounds.

use millrace_schemas::export::Plan;
use millrace_schemas::layout::{AccountId, Codec, ExportType, Slot, date_prefix, folder, folder_other, part_name};

use crate::error::Error;
use crate::file::{FileHead, FileWriter, Finished};
use crate::limits;
use crate::rows::StoredRow;
use crate::sort_key;

/// A finished file and where it belongs.
pub(crate) struct Made {
    pub(crate) account: AccountId,
    pub(crate) of_type: ExportType,
    /// Empty where the type has none.
    pub(crate) folder: String,
    pub(crate) key: String,
    pub(crate) file: Finished,
}

/// Whose rows, and by which rules.
#[derive(Clone, Copy)]
pub(crate) struct Of<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) account: &'a AccountId,
    /// How long the account's part of the keys is.
    pub(crate) account_key_bytes: usize,
    pub(crate) slot: Slot,
    pub(crate) codec: Codec,
}

/// Takes the rows of a slot in order and gives a file whenever one is complete.
pub(crate) struct SlotFiles<'a> {
    of: Of<'a>,
    /// The type at hand and how many folders it has had.
    of_type: Option<(ExportType, u32)>,
    /// What the keys of the folder at hand begin with.
    prefix: Vec<u8>,
    folder: String,
    is_other: bool,
    /// Files of the folder so far.
    number: u32,
    open: Option<Open>,
}

/// The file at hand. Bounds are counted in rows and in the bytes of their records, so they say the same in every release.
struct Open {
    head: FileHead,
    writer: Option<FileWriter>,
    rows: u64,
    bytes: u64,
    pending: Vec<StoredRow>,
    pending_bytes: usize,
}

impl<'a> SlotFiles<'a> {
    pub(crate) fn new(of: Of<'a>) -> Self {
        Self { of, of_type: None, prefix: Vec::new(), folder: String::new(), is_other: false, number: 0, open: None }
    }

    /// Adds a row; gives the file that was complete before it.
    pub(crate) async fn add(&mut self, row: StoredRow) -> Result<Option<Made>, Error> {
        let mut made = None;
        if self.prefix.is_empty() || !row.key.starts_with(&self.prefix) {
            made = self.enter(&row).await?;
        } else if self.open.as_ref().is_some_and(|open| open.is_full_before(&row, self.of.plan)) {
            made = self.end_file().await?;
        }
        let open =
            self.open.get_or_insert_with(|| Open::new(&self.of, self.of_type.map_or(ExportType::Events, |(of, _)| of)));
        open.add(row).await?;
        Ok(made)
    }

    /// Gives the last file.
    pub(crate) async fn finish(mut self) -> Result<Option<Made>, Error> {
        self.end_file().await
    }

    /// Goes on to the folder of `row`. Rows of all names beyond the cap share one folder, and its files.
    async fn enter(&mut self, row: &StoredRow) -> Result<Option<Made>, Error> {
        let not_a_key = || Error::Encode("a row's key is none".to_owned());
        let next = sort_key::folder(&row.key, self.of.account_key_bytes).ok_or_else(not_a_key)?;
        let before = self.of_type.filter(|(of_type, _)| *of_type == next.of_type).map_or(0, |(_, folders)| folders);
        self.prefix = row.key[..next.prefix].to_vec();
        if before > self.of.plan.folders_per_slot && self.is_other {
            let full = self.open.as_ref().is_some_and(|open| open.is_full_before(row, self.of.plan));
            return if full { self.end_file().await } else { Ok(None) };
        }
        let made = self.end_file().await?;
        self.of_type = Some((next.of_type, before + 1));
        self.number = 0;
        self.is_other = before >= self.of.plan.folders_per_slot;
        self.folder = match next.of_type.folder_key() {
            Some(key) if self.is_other => folder_other(key),
            Some(key) => folder(key, next.name.as_deref()),
            None => String::new(),
        };
        Ok(made)
    }

    async fn end_file(&mut self) -> Result<Option<Made>, Error> {
        let (Some(open), Some((of_type, _))) = (self.open.take(), self.of_type) else { return Ok(None) };
        let file = open.finish().await?;
        let of = &self.of;
        let day = date_prefix(of.account, of_type, of.slot.date());
        let slash = if self.folder.is_empty() { "" } else { "/" };
        let name = part_name(of.slot, self.number, of.plan.generation, of.codec);
        let key = format!("{day}{}{slash}{name}", self.folder);
        self.number += 1;
        Ok(Some(Made { account: of.account.clone(), of_type, folder: self.folder.clone(), key, file }))
    }
}

impl Open {
    fn new(of: &Of<'_>, of_type: ExportType) -> Self {
        let head = FileHead { of_type, log_id: of.plan.log_id.clone(), slot: of.slot, codec: of.codec };
        Self { head, writer: None, rows: 0, bytes: 0, pending: Vec::new(), pending_bytes: 0 }
    }

    fn is_full_before(&self, row: &StoredRow, plan: &Plan) -> bool {
        self.rows >= plan.rows_per_file
            || (self.rows > 0 && self.bytes + row.payload.len() as u64 > plan.bytes_per_file)
    }

    async fn add(&mut self, row: StoredRow) -> Result<(), Error> {
        self.rows += 1;
        self.bytes += row.payload.len() as u64;
        self.pending_bytes += row.payload.len();
        self.pending.push(row);
        if self.pending.len() >= limits::BATCH_ROWS || self.pending_bytes >= limits::BATCH_BYTES {
            let writer = self.encode().await?;
            self.writer = Some(writer);
        }
        Ok(())
    }

    async fn finish(self) -> Result<Finished, Error> {
        let Self { head, writer, pending, .. } = self;
        blocking(move || encoded(writer, &head, &pending)?.finish()).await
    }

    /// Encoding takes a processor for a while: not on a thread that serves others.
    async fn encode(&mut self) -> Result<FileWriter, Error> {
        let (rows, writer, head) = (std::mem::take(&mut self.pending), self.writer.take(), self.head.clone());
        self.pending_bytes = 0;
        blocking(move || encoded(writer, &head, &rows)).await
    }
}

fn encoded(writer: Option<FileWriter>, head: &FileHead, rows: &[StoredRow]) -> Result<FileWriter, Error> {
    let mut writer = writer.map_or_else(|| FileWriter::new(head), Ok)?;
    writer.add(rows)?;
    Ok(writer)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Encode(error.to_string()))?
}
