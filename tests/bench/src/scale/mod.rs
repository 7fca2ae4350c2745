//! The operator with thousands of objects, on a real API server and etcd, against bare clients that do the same.

mod bare;
pub mod churn;
pub mod cold;
mod fleet;
mod follow;
pub mod process;
mod stage;
pub mod steady;
pub mod verbs;

/// What can go wrong in a measurement.
type Fault = Box<dyn std::error::Error>;

fn block_on<T>(work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
