//! Compiles the contracts with protox, so that nobody needs `protoc`.

use std::{env, fs, path::PathBuf};

const FILES: [&str; 7] = [
    "voicebridge/options/v1/options.proto",
    "voicebridge/types/v1/call.proto",
    "voicebridge/types/v1/event.proto",
    "voicebridge/media/v1/media.proto",
    "voicebridge/control/v1/call.proto",
    "voicebridge/control/v1/keys.proto",
    "voicebridge/control/v1/node.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=voicebridge");
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // As the compiler encodes it: prost's own types would drop the options of ours.
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
