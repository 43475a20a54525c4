//! Shared pieces of the benches.

/// A thread pool with every core of the machine, or as many threads as `SAM3I_THREADS` says.
///
/// # Panics
/// If the pool cannot be started.
#[must_use]
pub fn pool() -> rayon::ThreadPool {
    let threads = std::env::var("SAM3I_THREADS").ok().and_then(|v| v.parse().ok()).unwrap_or(0);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start")
}

/// `len` values in [-1, 1) from a linear congruential sequence.
#[must_use]
pub fn sequence(len: usize) -> Vec<f32> {
    let mut state = 12345u32;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}
