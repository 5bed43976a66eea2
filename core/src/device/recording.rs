//! A pass: dispatches in order, recorded once, run by either device.

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
}

/// Dispatches in order; each sees what those before it wrote.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    dispatches: Vec<Dispatch>,
}

impl Recording {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
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
        self.dispatches.push(Dispatch { kernel, params: params.raw(), buffers });
        Ok(())
    }

    /// The dispatches.
    pub fn dispatches(&self) -> &[Dispatch] {
        &self.dispatches
    }
}
