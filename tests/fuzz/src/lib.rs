//! Hostile input, made by the million: targets that take any bytes, a mutator, and two ways to drive them. `cargo test`
//! runs every target over the kept corpus and a fixed number of mutants; `make fuzz` keeps mutants that reach new code.

pub mod bounded;
pub mod corpus;
pub mod coverage;
pub mod guided;
pub mod known;
pub mod mutate;
pub mod random;
pub mod seal;
pub mod shapes;
pub mod targets;

pub use targets::Target;
