//! What the engine asks about the running kernel, and the symbol side answers.

/// Who knows the functions of the running kernel.
pub trait KernelFunctions {
    /// Gives the address and the name of each to `each`, in the order of their addresses;
    /// of none where the kernel hides them.
    fn all(&self, each: &mut dyn FnMut(u64, &str));
}
