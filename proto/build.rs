//! Compiles the contracts with protox, so that nobody needs `protoc`.

use std::{env, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 5] = [
    "voicebridge/types/v1/call.proto",
    "voicebridge/types/v1/event.proto",
    "voicebridge/media/v1/media.proto",
    "voicebridge/control/v1/call.proto",
    "voicebridge/control/v1/node.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=voicebridge");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
