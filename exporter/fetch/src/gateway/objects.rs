//! `GetObject`, `HeadObject`, and the two questions about the bucket.

use futures::stream::{StreamExt, TryStreamExt};
use http_body_util::StreamBody;
use hyper::body::Frame;
use object_store::{Attribute, Attributes, ObjectMeta};
use s3s::dto::{
    ETag, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, ServerSideEncryption, StreamingBlob,
    Timestamp,
};
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::Gateway;
use super::access::opened;
use super::answer::{denied, refused};
use super::conditions::{Conditions, etag, timestamp};
use crate::metrics::{GATEWAY_BYTES, GATEWAY_CUT};
use crate::shelf::{self, Found};

impl Gateway {
    pub(super) async fn get(&self, mut request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let (scope, notes) = opened(&mut request)?;
        let input = request.input;
        let key = scope.allow_key(&input.key).ok_or_else(denied)?;
        no_version(input.version_id.as_deref())?;
        let store = self.services.store.as_ref();
        let conditions = Conditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        if !conditions.is_empty() {
            match shelf::head(store, &key).await {
                Ok((meta, _)) => conditions.check(&meta)?,
                Err(error) => return notes.nothing_from_shelf(&error),
            }
        }
        match shelf::get(store, &key, input.range).await {
            Ok(found) => self.send(found, input.range.is_some()),
            Err(error) => notes.nothing_from_shelf(&error),
        }
    }

    pub(super) async fn head(&self, mut request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let (scope, notes) = opened(&mut request)?;
        let input = request.input;
        let key = scope.allow_key(&input.key).ok_or_else(denied)?;
        no_version(input.version_id.as_deref())?;
        let (meta, attributes) = match shelf::head(self.services.store.as_ref(), &key).await {
            Ok(found) => found,
            Err(error) => return notes.nothing_from_shelf(&error),
        };
        let conditions = Conditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        conditions.check(&meta)?;
        let shown = self.shown(&meta, &attributes);
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(signed(meta.size)?),
            content_type: Some(shown.content_type),
            e_tag: shown.e_tag,
            last_modified: Some(shown.last_modified),
            server_side_encryption: shown.encryption,
            ..HeadObjectOutput::default()
        }))
    }

    fn send(&self, found: Found, is_part: bool) -> S3Result<S3Response<GetObjectOutput>> {
        let shown = self.shown(&found.meta, &found.attributes);
        let bytes = found.range.end - found.range.start;
        metrics::counter!(GATEWAY_BYTES).increment(bytes);
        let range = &found.range;
        let content_range =
            is_part.then(|| format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), found.meta.size));
        let key = found.meta.location;
        let frames = found.body.map_ok(Frame::data).inspect_err(move |error| {
            metrics::counter!(GATEWAY_CUT).increment(1);
            tracing::warn!(%key, %error, "an answer was cut: the store failed in the middle of an object");
        });
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            body: Some(StreamingBlob::from(Body::http_body_unsync(StreamBody::new(frames.boxed())))),
            content_length: Some(signed(bytes)?),
            content_range,
            content_type: Some(shown.content_type),
            e_tag: shown.e_tag,
            last_modified: Some(shown.last_modified),
            server_side_encryption: shown.encryption,
            ..GetObjectOutput::default()
        }))
    }

    fn shown(&self, meta: &ObjectMeta, attributes: &Attributes) -> Shown {
        let content_type =
            attributes.get(&Attribute::ContentType).map_or("binary/octet-stream", |value| value.as_ref());
        Shown {
            content_type: content_type.to_owned(),
            e_tag: etag(meta),
            last_modified: timestamp(meta, false),
            encryption: self.services.config.encryption.map(|kind| ServerSideEncryption::from_static(kind.name())),
        }
    }
}

/// What both `GetObject` and `HeadObject` say of an object.
struct Shown {
    content_type: String,
    e_tag: Option<ETag>,
    last_modified: Timestamp,
    encryption: Option<ServerSideEncryption>,
}

/// Objects are created once and never changed: there are no versions.
fn no_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null") => Ok(()),
        Some(_) => Err(refused(S3ErrorCode::NoSuchVersion, "The specified version does not exist.")),
    }
}

fn signed(bytes: u64) -> S3Result<i64> {
    i64::try_from(bytes).map_err(S3Error::internal_error)
}
