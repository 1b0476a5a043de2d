//! `ListObjects` and `ListObjectsV2`.

use millrace_directory::scope::{AllowedPrefix, Scope};
use object_store::ObjectMeta;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{
    CommonPrefix, EncodingType, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
    ObjectStorageClass,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::Gateway;
use super::access::opened;
use super::answer::{Notes, denied, refused};
use super::conditions::{etag, timestamp};
use super::continuation::Listing;
use crate::limits::{DELIMITER_BYTES_MAX, LIST_KEYS_MAX};
use crate::listing::{After, Page, page};

/// What `encoding-type=url` leaves as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'/').remove(b'*');

/// What both kinds of listing ask for.
struct Asked {
    scope: Scope,
    notes: Notes,
    prefix: AllowedPrefix,
    delimiter: Option<String>,
    most: usize,
    encoded: bool,
}

impl Asked {
    fn new(
        opened: (Scope, Notes),
        prefix: Option<&str>,
        delimiter: Option<String>,
        most: Option<i32>,
        encoding: Option<&EncodingType>,
    ) -> S3Result<Self> {
        let (scope, notes) = opened;
        let prefix = scope.allow_prefix(prefix.unwrap_or_default()).ok_or_else(denied)?;
        let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty());
        if delimiter.as_ref().is_some_and(|delimiter| delimiter.len() > DELIMITER_BYTES_MAX) {
            return Err(refused(S3ErrorCode::InvalidArgument, "The delimiter is too long."));
        }
        let most = usize::try_from(most.unwrap_or(LIST_KEYS_MAX as i32))
            .map_err(|_| refused(S3ErrorCode::InvalidArgument, "max-keys must not be negative."))?;
        let encoded = match encoding.map(EncodingType::as_str) {
            None => false,
            Some(EncodingType::URL) => true,
            Some(_) => return Err(refused(S3ErrorCode::InvalidArgument, "encoding-type must be url.")),
        };
        Ok(Self { scope, notes, prefix, delimiter, most: most.min(LIST_KEYS_MAX), encoded })
    }

    /// Text as the client wants to read it.
    fn text(&self, text: &str) -> String {
        if self.encoded { utf8_percent_encode(text, PLAIN).to_string() } else { text.to_owned() }
    }

    /// A key or group of the store as the client wants to read it.
    fn key(&self, key: &str) -> String {
        self.text(&self.prefix.to_client(key))
    }

    fn contents(&self, objects: Vec<ObjectMeta>) -> Vec<Object> {
        let object = |meta: ObjectMeta| Object {
            key: Some(self.key(meta.location.as_ref())),
            size: i64::try_from(meta.size).ok(),
            e_tag: etag(&meta),
            last_modified: Some(timestamp(&meta, false)),
            storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
            ..Object::default()
        };
        objects.into_iter().map(object).collect()
    }

    fn common_prefixes(&self, groups: &[String]) -> Vec<CommonPrefix> {
        groups.iter().map(|group| CommonPrefix { prefix: Some(self.key(group)) }).collect()
    }

    fn encoding_type(&self) -> Option<EncodingType> {
        self.encoded.then(|| EncodingType::from_static(EncodingType::URL))
    }
}

impl Gateway {
    pub(super) async fn list_v1(
        &self,
        mut request: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let opened = opened(&mut request)?;
        let input = request.input;
        let asked =
            Asked::new(opened, input.prefix.as_deref(), input.delimiter, input.max_keys, input.encoding_type.as_ref())?;
        let page = self.page(&asked, after(&asked, input.marker.as_deref())).await?;
        // Without a delimiter the last key is the next marker, and S3 leaves it to the client to see that.
        let next = page.next.as_ref().filter(|_| asked.delimiter.is_some());
        let next_marker = next.and_then(|after| match after {
            After::Start => None,
            After::Key(text) | After::Group(text) => Some(asked.key(text)),
        });
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(asked.text(&input.prefix.unwrap_or_default())),
            marker: Some(asked.text(&input.marker.unwrap_or_default())),
            max_keys: Some(asked.most as i32),
            is_truncated: Some(page.next.is_some()),
            next_marker,
            common_prefixes: Some(asked.common_prefixes(&page.groups)),
            delimiter: asked.delimiter.as_deref().map(|delimiter| asked.text(delimiter)),
            encoding_type: asked.encoding_type(),
            contents: Some(asked.contents(page.objects)),
            ..ListObjectsOutput::default()
        }))
    }

    pub(super) async fn list_v2(
        &self,
        mut request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let opened = opened(&mut request)?;
        let input = request.input;
        let asked =
            Asked::new(opened, input.prefix.as_deref(), input.delimiter, input.max_keys, input.encoding_type.as_ref())?;
        let services = &self.services;
        let listing = Listing {
            bucket: &services.config.bucket,
            scope: &asked.scope,
            prefix: &asked.prefix,
            delimiter: asked.delimiter.as_deref(),
        };
        let after = match input.continuation_token.as_deref() {
            Some(token) => listing
                .position(token, &services.keys, services.clock.now_ms())
                .ok_or_else(|| refused(S3ErrorCode::InvalidArgument, "The continuation token provided is incorrect"))?,
            None => after(&asked, input.start_after.as_deref()),
        };
        let page = self.page(&asked, after).await?;
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(asked.text(&input.prefix.unwrap_or_default())),
            start_after: input.start_after.map(|position| asked.text(&position)),
            continuation_token: input.continuation_token,
            next_continuation_token: page.next.as_ref().map(|after| listing.token(after, &services.keys)),
            is_truncated: Some(page.next.is_some()),
            max_keys: Some(asked.most as i32),
            key_count: i32::try_from(page.objects.len() + page.groups.len()).ok(),
            common_prefixes: Some(asked.common_prefixes(&page.groups)),
            delimiter: asked.delimiter.as_deref().map(|delimiter| asked.text(delimiter)),
            encoding_type: asked.encoding_type(),
            contents: Some(asked.contents(page.objects)),
            ..ListObjectsV2Output::default()
        }))
    }

    async fn page(&self, asked: &Asked, after: After) -> Result<Page, S3Error> {
        let store = self.services.store.as_ref();
        let page = page(store, &asked.scope, &asked.prefix, asked.delimiter.as_deref(), after, asked.most).await;
        page.map_err(|error| asked.notes.store_failed(&error))
    }
}

/// A position the client named in its own spelling.
fn after(asked: &Asked, position: Option<&str>) -> After {
    match position {
        None | Some("") => After::Start,
        Some(position) => After::Key(asked.prefix.from_client(position)),
    }
}
