//! YAML as sops reads and writes it (sops, `stores/yaml`, on go.yaml.in/yaml/v3): the parser is `saphyr-parser`, comments
//! are read from between its events, scalars are resolved and printed as that library does.

mod build;
mod comments;
mod print;
mod quote;
mod scalar;
mod style;

pub(crate) use build::parse;
pub(crate) use print::{emit, emit_indented, indentation};
