//! millrace-exporter-fetch
