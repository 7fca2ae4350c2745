//! What tests and the demo stand on: the tools `make tools` provides, a Kubernetes control plane of one's own and a node
//! for it, processes that end with their owner, ports nobody else gets, and waiting with a deadline. Knows nothing of
//! Touchseal itself.

pub mod browser;
pub mod cgroup;
pub mod cluster;
pub mod drawn;
pub mod faults;
pub mod line;
pub mod node;
pub mod poll;
pub mod ports;
pub mod process;
pub mod scratch;
pub mod tools;
