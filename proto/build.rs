//! Compiles the .proto files without a `protoc` on the machine.

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = ["sfu/v1/signal.proto", "sfu/v1/model.proto", "sfu/v1/encoder.proto"];
    let descriptors = protox::compile(files, ["proto"])?;
    let mut config = prost_build::Config::new();
    config.compile_fds(descriptors.clone())?;
    pbjson_build::Builder::new().register_descriptors(&descriptors.encode_to_vec())?.build(&[".sfu.v1"])?;
    Ok(())
}
