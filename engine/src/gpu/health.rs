//! What went wrong on the device since somebody last looked: errors arrive by callback, from other threads.

use crate::{Error, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// Shared with the device's callbacks.
#[derive(Clone, Default)]
pub(super) struct Health(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    lost: Option<String>,
    failed: Option<String>,
    last: &'static str,
}

impl Health {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to a device.
    pub fn watch(&self, device: &wgpu::Device) {
        let health = self.clone();
        device.set_device_lost_callback(move |reason, message| {
            health.state().lost.get_or_insert(format!("{reason:?}: {message}"));
        });
        let health = self.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            health.state().failed.get_or_insert(error.to_string());
        }));
    }

    /// Remembers what was asked for last, for the message.
    pub fn note(&self, kernel: &'static str) {
        self.state().last = kernel;
    }

    /// Fails if the device was lost or something went wrong on it.
    pub fn check(&self) -> Result<()> {
        let mut state = self.state();
        let last = state.last;
        if let Some(reason) = &state.lost {
            return Err(Error::GpuLost { reason: reason.clone(), last });
        }
        match state.failed.take() {
            Some(reason) => Err(Error::Gpu { what: last.to_owned(), reason }),
            None => Ok(()),
        }
    }
}
