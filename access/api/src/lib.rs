//! millrace-access-api
