//! millrace-exporter-write
