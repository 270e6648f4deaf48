//! NVIDIA GPUs through the driver, which is loaded when it is first needed.

use super::codegen::{Launch, Machine, Source};
use super::device::{Device, Memory};
use super::nvrtc::{Compiled, Nvrtc, Target};
use super::ptx;
use crate::Error;
use cudarc::driver::{result, sys, DriverError};
use rayon::prelude::*;
use std::collections::HashMap;
use std::ffi::{c_void, CString};
use std::sync::{Arc, Mutex};

/// Bytes of each of the two buffers through which the host sends.
const STAGE: usize = 4 << 20;

/// Entry points that are compiled together; such parts are compiled at the same time.
const PART: usize = 12;

/// Bytes of shared memory that a block may have without asking for more.
const FREE_SHARED: u32 = 48 << 10;

/// A GPU with a stream, on which everything happens in order.
pub struct Gpu {
    ordinal: u32,
    name: String,
    nvrtc: Nvrtc,
    target: Target,
    machine: Machine,
    stages: Mutex<Stages>,
    stream: sys::CUstream,
    context: Arc<Context>,
}

// SAFETY: the driver's handles may be used from any thread on which the context is current, and
// every call makes it so first. Nothing else is behind the pointers.
unsafe impl Send for Gpu {}

/// The device's primary context.
struct Context {
    device: sys::CUdevice,
    context: sys::CUcontext,
}

// SAFETY: as for `Gpu`; the driver serialises calls on a context.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    fn bind(&self) -> Result<(), Error> {
        // SAFETY: the context is retained until this is dropped.
        unsafe { result::ctx::set_current(self.context) }.map_err(driver)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: retained once in `Gpu::open`. There is nobody to tell of a failure.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

/// Page-locked host memory, written in turn. A buffer is free again once the copy that followed
/// its last use is done.
struct Stages {
    buffers: [(*mut u8, sys::CUevent); 2],
    next: usize,
}

/// Memory of a GPU.
pub struct GpuMemory {
    address: u64,
    context: Arc<Context>,
}

impl Memory for GpuMemory {
    fn address(&self) -> u64 {
        self.address
    }
}

impl Drop for GpuMemory {
    fn drop(&mut self) {
        // Freeing waits for the device. There is nobody to tell of a failure.
        if self.context.bind().is_ok() {
            // SAFETY: allocated in `allocate` and freed only here.
            let _ = unsafe { result::free_sync(self.address) };
        }
    }
}

/// Kernels on a GPU.
pub struct GpuModule {
    modules: Vec<sys::CUmodule>,
    functions: HashMap<String, sys::CUfunction>,
    context: Arc<Context>,
}

// SAFETY: as for `Gpu`.
unsafe impl Send for GpuModule {}

impl Drop for GpuModule {
    fn drop(&mut self) {
        if self.context.bind().is_ok() {
            for module in &self.modules {
                // SAFETY: loaded in `compile` and unloaded only here.
                let _ = unsafe { result::module::unload(*module) };
            }
        }
    }
}

/// A recorded sequence of launches.
pub struct GpuGraph {
    graph: sys::CUgraph,
    executable: sys::CUgraphExec,
    context: Arc<Context>,
}

// SAFETY: as for `Gpu`.
unsafe impl Send for GpuGraph {}

impl Drop for GpuGraph {
    fn drop(&mut self) {
        if self.context.bind().is_ok() {
            // SAFETY: made in `record` and destroyed only here.
            unsafe {
                let _ = result::graph::exec_destroy(self.executable);
                let _ = result::graph::destroy(self.graph);
            }
        }
    }
}

fn driver(error: DriverError) -> Error {
    Error::Device(format!("the CUDA driver reports {error}"))
}

impl Gpu {
    /// The GPU of this number, with the compiler that its kernels need.
    ///
    /// # Errors
    /// What was looked for, when the driver, the GPU or the compiler is not there.
    pub fn open(ordinal: u32) -> Result<Gpu, Error> {
        // SAFETY: loading the driver runs its initialisers, which set up its own memory.
        if !unsafe { sys::is_culib_present() } {
            return Err(Error::Device(
                "there is no NVIDIA driver: looked for libcuda.so and libcuda.so.1 where the \
                 system's loader looks; install the driver, or use --device cpu"
                    .into(),
            ));
        }
        result::init().map_err(|error| {
            Error::Device(format!(
                "the NVIDIA driver is there and cannot be used: {error}"
            ))
        })?;
        let count = result::device::get_count().map_err(driver)?;
        if i64::from(ordinal) >= i64::from(count) {
            return Err(Error::Device(format!(
                "there is no cuda:{ordinal}: the driver shows {count} GPUs, numbered from 0"
            )));
        }
        let nvrtc = Nvrtc::load()?;
        let device = result::device::get(ordinal as i32).map_err(driver)?;
        // SAFETY: the device has just been got; the context is released by `Context`.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(driver)?;
        let context = Arc::new(Context { device, context });
        context.bind()?;
        let attribute = |attribute| {
            // SAFETY: the device has just been got.
            unsafe { result::device::get_attribute(device, attribute) }.map_err(driver)
        };
        use sys::CUdevice_attribute_enum as Attribute;
        let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let processors = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
        let kind = result::stream::StreamKind::NonBlocking;
        Ok(Gpu {
            ordinal,
            name: result::device::get_name(device).map_err(driver)?,
            target: nvrtc.target(major * 10 + minor)?,
            nvrtc,
            machine: Machine {
                multiprocessors: processors.max(1) as u64,
                capability: (major * 10 + minor) as u32,
                shape: None,
            },
            stages: Mutex::new(Stages::new()?),
            stream: result::stream::create(kind).map_err(driver)?,
            context,
        })
    }
}

impl Gpu {
    /// The same GPU, which takes the tiles of this number wherever it can.
    pub fn with_shape(mut self, shape: usize) -> Gpu {
        self.machine.shape = Some(shape);
        self
    }
}

/// Compiles a part of a source, and looks at what the compiler made of it.
fn compile_part(nvrtc: Nvrtc, target: Target, text: &str) -> Result<Compiled, Error> {
    let compiled = nvrtc.compile(text, target)?;
    match ptx::offence(&compiled.ptx) {
        None => Ok(compiled),
        Some((line, instruction)) => Err(Error::Device(format!(
            "the compiler wrote an instruction that may change bits, in line {line} of its PTX: \
             {instruction}; use another version of NVRTC than {:?}, or --device cpu",
            nvrtc.version()
        ))),
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // There is nobody to tell of a failure.
        if self.synchronize().is_ok() {
            let stages = self.stages.get_mut().unwrap_or_else(|e| e.into_inner());
            // SAFETY: all were made in `open`, and nothing that was asked for uses them any more.
            unsafe {
                for (buffer, event) in stages.buffers {
                    let _ = result::free_host(buffer.cast());
                    let _ = result::event::destroy(event);
                }
                let _ = result::stream::destroy(self.stream);
            }
        }
    }
}

impl Stages {
    fn new() -> Result<Stages, Error> {
        let buffer = || -> Result<(*mut u8, sys::CUevent), Error> {
            let flags = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING;
            let event = result::event::create(flags).map_err(driver)?;
            // SAFETY: nothing is asked of the memory's contents.
            let memory = unsafe { result::malloc_host(STAGE, 0) }.map_err(driver)?;
            Ok((memory.cast(), event))
        };
        Ok(Stages {
            buffers: [buffer()?, buffer()?],
            next: 0,
        })
    }

    /// Sends at most [`STAGE`] bytes.
    ///
    /// # Safety
    /// `to` has room for them, and the stream's context is current.
    unsafe fn send(&mut self, to: u64, bytes: &[u8], stream: sys::CUstream) -> Result<(), Error> {
        let (buffer, event) = self.buffers[self.next];
        self.next = 1 - self.next;
        // An event that was never recorded counts as done.
        result::event::synchronize(event).map_err(driver)?;
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer, bytes.len());
        let staged = std::slice::from_raw_parts(buffer, bytes.len());
        result::memcpy_htod_async(to, staged, stream).map_err(driver)?;
        result::event::record(event, stream).map_err(driver)
    }
}

impl Device for Gpu {
    type Memory = GpuMemory;
    type Module = GpuModule;
    type Graph = GpuGraph;

    fn name(&self) -> String {
        format!("cuda:{} {}", self.ordinal, self.name)
    }

    fn machine(&self) -> Machine {
        self.machine
    }

    fn allocate(&self, bytes: u64) -> Result<GpuMemory, Error> {
        self.context.bind()?;
        let bytes = bytes.max(1) as usize;
        let none = |error: DriverError| {
            let left = result::mem_get_info().map_or(0, |(free, _)| free);
            Error::Device(format!(
                "{} has no {bytes} bytes for the task's values, {left} are free: {error}",
                self.name()
            ))
        };
        // SAFETY: the memory is written before it is used, in the stream's order.
        let address = unsafe { result::malloc_sync(bytes) }.map_err(none)?;
        let memory = GpuMemory {
            address,
            context: self.context.clone(),
        };
        // SAFETY: it has just been allocated with this size.
        unsafe { result::memset_d8_async(address, 0, bytes, self.stream) }.map_err(driver)?;
        Ok(memory)
    }

    fn compile(&self, source: &Source) -> Result<GpuModule, Error> {
        let parts: Vec<_> = source.entries.chunks(PART).collect();
        let (nvrtc, target) = (self.nvrtc, self.target);
        let compiled: Vec<Compiled> = parts
            .par_iter()
            .map(|entries| compile_part(nvrtc, target, &source.text(*entries)))
            .collect::<Result<_, _>>()?;
        self.context.bind()?;
        let mut kernels = GpuModule {
            modules: Vec::new(),
            functions: HashMap::new(),
            context: self.context.clone(),
        };
        for (entries, compiled) in parts.into_iter().zip(compiled) {
            // SAFETY: the image is machine code, or text that ends with a zero byte.
            let module = unsafe { result::module::load_data(compiled.image.as_ptr().cast()) };
            let module = module.map_err(driver)?;
            kernels.modules.push(module);
            for (launch, _) in entries {
                let name = CString::new(launch.entry.as_str()).expect("names have no zero byte");
                // SAFETY: the module is loaded.
                let function = unsafe { result::module::get_function(module, name) };
                let function = function.map_err(driver)?;
                if launch.shared > FREE_SHARED {
                    let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
                    let bytes = launch.shared as i32;
                    // SAFETY: the function has just been got.
                    unsafe { result::function::set_function_attribute(function, attribute, bytes) }
                        .map_err(driver)?;
                }
                kernels.functions.insert(launch.entry.clone(), function);
            }
        }
        Ok(kernels)
    }

    fn synchronize(&self) -> Result<(), Error> {
        self.context.bind()?;
        // SAFETY: the stream lives as long as the GPU.
        unsafe { result::stream::synchronize(self.stream) }.map_err(driver)
    }

    unsafe fn upload(&self, to: u64, bytes: &[u8]) -> Result<(), Error> {
        self.context.bind()?;
        let mut stages = self.stages.lock().unwrap_or_else(|e| e.into_inner());
        for (part, bytes) in bytes.chunks(STAGE).enumerate() {
            stages.send(to + (part * STAGE) as u64, bytes, self.stream)?;
        }
        Ok(())
    }

    unsafe fn download(&self, from: u64, bytes: &mut [u8]) -> Result<(), Error> {
        self.context.bind()?;
        result::memcpy_dtoh_async(bytes, from, self.stream).map_err(driver)?;
        self.synchronize()
    }

    unsafe fn copy(&self, from: u64, to: u64, bytes: u64) -> Result<(), Error> {
        self.context.bind()?;
        result::memcpy_dtod_async(to, from, bytes as usize, self.stream).map_err(driver)
    }

    unsafe fn launch(
        &self,
        module: &GpuModule,
        launch: &Launch,
        pointers: &[u64],
    ) -> Result<(), Error> {
        self.context.bind()?;
        let [x, y, z] = launch.grid;
        let mut arguments: Vec<*mut c_void> = pointers
            .iter()
            .map(|pointer| (pointer as *const u64).cast_mut().cast())
            .collect();
        result::launch_kernel(
            module.functions[&launch.entry],
            (x, y, z),
            (launch.block, 1, 1),
            launch.shared,
            self.stream,
            &mut arguments,
        )
        .map_err(driver)
    }

    fn record(
        &self,
        run: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<Option<GpuGraph>, Error> {
        self.context.bind()?;
        // SAFETY: the stream lives as long as the GPU; what is recorded is ended before anything
        // else is asked of it.
        unsafe {
            let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
            result::stream::begin_capture(self.stream, mode).map_err(driver)?;
            let ran = run();
            let graph = result::stream::end_capture(self.stream).map_err(driver);
            ran?;
            let graph = graph?;
            let flags = sys::CUgraphInstantiate_flags(0);
            let executable = result::graph::instantiate(graph, flags);
            let executable = executable.map_err(|error| {
                let _ = result::graph::destroy(graph);
                driver(error)
            })?;
            Ok(Some(GpuGraph {
                graph,
                executable,
                context: self.context.clone(),
            }))
        }
    }

    unsafe fn replay(&self, graph: &GpuGraph) -> Result<(), Error> {
        self.context.bind()?;
        result::graph::launch(graph.executable, self.stream).map_err(driver)
    }
}
