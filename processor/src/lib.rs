//! millrace-processor
