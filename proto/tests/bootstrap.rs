//! The committed code is what the `.proto` file says, and its field numbers are
//! the published ones.

use std::{fmt::Write, fs, path::Path};

use prost_types::FileDescriptorSet;

const PROTO: &str = "nxmesh/agent/v1/agent.proto";

fn descriptors() -> FileDescriptorSet {
    protox::compile([PROTO], [env!("CARGO_MANIFEST_DIR")]).expect("the .proto file is valid")
}

#[test]
fn generated_code_is_up_to_date() {
    let fresh = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .btree_map(".")
        .emit_rerun_if_changed(false)
        .out_dir(fresh.path())
        .compile_fds(descriptors())
        .unwrap();
    let name = "nxmesh.agent.v1.rs";
    let fresh = fs::read_to_string(fresh.path().join(name)).unwrap();
    // Not needed for these names, and this workspace has no `allow`.
    let fresh = fresh.replace("#[allow(non_camel_case_types)]", "");
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/generated").join(name);
    if fs::read_to_string(&committed).unwrap_or_default() != fresh {
        fs::write(&committed, fresh).unwrap();
        panic!("{} was out of date and is now written anew: commit it", committed.display());
    }
}

#[test]
fn field_numbers_are_the_published_ones() {
    let mut found = String::new();
    for file in descriptors().file {
        for message in &file.message_type {
            for field in &message.field {
                writeln!(found, "{}.{} = {}", message.name(), field.name(), field.number())
                    .unwrap();
            }
        }
        for list in &file.enum_type {
            for value in &list.value {
                writeln!(found, "{}.{} = {}", list.name(), value.name(), value.number()).unwrap();
            }
        }
        for service in &file.service {
            for method in &service.method {
                writeln!(
                    found,
                    "{}.{}({}) -> {}",
                    service.name(),
                    method.name(),
                    method.input_type(),
                    method.output_type()
                )
                .unwrap();
            }
        }
    }
    let golden = include_str!("field_numbers.txt");
    for line in golden.lines() {
        assert!(found.lines().any(|l| l == line), "{line} is gone: agents in the field rely on it");
    }
    for line in found.lines().filter(|l| !golden.lines().any(|g| g == *l)) {
        let number: u32 = line
            .rsplit(" = ")
            .next()
            .unwrap()
            .parse()
            .unwrap_or_else(|_| panic!("{line} is new: write it into tests/field_numbers.txt"));
        assert!(number >= 100, "{line}: additions take numbers from 100 up");
    }
}
