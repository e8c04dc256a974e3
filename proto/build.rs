//! Compiles the contracts with protox, so that nobody needs `protoc`, and has Debug hide what their options say is personal
//! or secret.

#[path = "build/redacted.rs"]
mod redacted;

use std::{env, fs, path::PathBuf};

use protox::prost_reflect::DescriptorPool;

const FILES: [&str; 10] = [
    "voicebridge/options/v1/options.proto",
    "voicebridge/types/v1/call.proto",
    "voicebridge/types/v1/event.proto",
    "voicebridge/media/v1/media.proto",
    "voicebridge/media/v1/registration.proto",
    "voicebridge/control/v1/call.proto",
    "voicebridge/control/v1/command.proto",
    "voicebridge/control/v1/keys.proto",
    "voicebridge/control/v1/node.proto",
    "voicebridge/control/v1/server.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=voicebridge");
    println!("cargo:rerun-if-changed=build");
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // As the compiler encodes it: prost's own types would drop the options of ours.
    let descriptors = compiler.encode_file_descriptor_set();
    let pool = DescriptorPool::decode(descriptors.as_slice())?;
    fs::write(out.join("descriptors.bin"), descriptors)?;
    let (hidden, sources) = redacted::write(&pool)?;
    for (package, source) in sources {
        fs::write(out.join(format!("{package}.redacted.rs")), source)?;
    }
    fs::write(out.join("registry.rs"), redacted::registry(&pool))?;
    // Ordered, so that the same message has the same bytes.
    tonic_prost_build::configure().btree_map(".").skip_debug(hidden).compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
