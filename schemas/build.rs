//! Compiles `proto/` to Rust, without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut alone = prost_build::Config::new();
    // Bodies are opaque and large: share the buffer they arrived in.
    alone.bytes(["."]);
    alone.compile_fds(protox::compile(["raw.proto", "access.proto"], ["proto"])?)?;
    let mut on_raw = prost_build::Config::new();
    on_raw.bytes(["."]).extern_path(".millrace.raw.v1", "crate::raw");
    on_raw.compile_fds(protox::compile(["enriched.proto"], ["proto"])?)?;
    Ok(())
}
