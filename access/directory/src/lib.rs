//! millrace-directory
