//! A pass: dispatches in order, recorded once, run by either device.

use std::sync::atomic::{AtomicU64, Ordering};

use unspoken_kernels::{Access, Kernel, Params, RawParams};

use super::{Buffer, DeviceError};

/// One kernel with its parameters and buffers.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// The kernel.
    pub kernel: Kernel,
    /// Its parameters.
    pub params: RawParams,
    /// Its bindings, in the order of [`Kernel::bindings`].
    pub buffers: Vec<Buffer>,
    /// Whether it may run beside the one before it: neither touches what the other writes, or the kernel itself waits before it
    /// does.
    pub beside: bool,
}

/// Dispatches in order; each sees what those before it wrote.
#[derive(Debug)]
pub struct Recording {
    /// A number that no other recording of the process has.
    #[cfg_attr(not(feature = "gpu"), allow(dead_code))]
    pub(super) id: u64,
    dispatches: Vec<Dispatch>,
    /// Where the dispatches begin that may run beside each other, while such are recorded.
    together: Option<usize>,
}

impl Default for Recording {
    fn default() -> Self {
        Self::new()
    }
}

impl Recording {
    /// An empty one.
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), dispatches: Vec::new(), together: None }
    }

    /// Adds a dispatch.
    ///
    /// # Errors
    /// A wrong number of bindings, or a written buffer bound twice.
    pub fn push(&mut self, kernel: Kernel, params: &impl Params, buffers: &[&Buffer]) -> Result<(), DeviceError> {
        let access = kernel.bindings();
        let fail = |message: String| Err(DeviceError::Kernel { kernel: kernel.name(), message });
        if access.len() != buffers.len() {
            return fail(format!("takes {} bindings, got {}", access.len(), buffers.len()));
        }
        for (i, a) in buffers.iter().enumerate() {
            let twice =
                access[i].access == Access::Write && buffers.iter().enumerate().any(|(j, b)| i != j && a.same(b));
            if twice {
                return fail(format!("binding {i} is written and bound twice"));
            }
        }
        let buffers = buffers.iter().map(|b| (*b).clone()).collect();
        let beside = self.together.is_some_and(|first| first < self.dispatches.len());
        self.dispatches.push(Dispatch { kernel, params: params.raw(), buffers, beside });
        Ok(())
    }

    /// Adds the dispatches that `record` does as some that may run beside each other: none touches a word that another
    /// one writes. A device that finds out for itself what depends on what takes no notice.
    ///
    /// # Errors
    /// Those of `record`.
    pub fn together<E>(&mut self, record: impl FnOnce(&mut Self) -> Result<(), E>) -> Result<(), E> {
        let before = self.together.replace(self.dispatches.len());
        let done = record(self);
        self.together = before;
        done
    }

    /// The dispatches.
    pub fn dispatches(&self) -> &[Dispatch] {
        &self.dispatches
    }
}
