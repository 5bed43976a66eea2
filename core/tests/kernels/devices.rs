//! Buffers and passes of the devices.

use std::sync::Arc;

use unspoken::device::{Buffer, CpuDevice, Device, DeviceError, Recording};
use unspoken_kernels::{Kernel, params};

use crate::harness::{Random, devices, floats, plain};

#[test]
fn buffers_begin_zeroed_and_keep_words() {
    for device in devices() {
        let buffer = device.alloc(7).unwrap();
        assert_eq!(device.read(&buffer, 0..7).unwrap(), [0; 7], "{}", device.name());
        device.write(&buffer, 2, &[1, u32::MAX]).unwrap();
        assert_eq!(device.read(&buffer, 1..5).unwrap(), [0, 1, u32::MAX, 0], "{}", device.name());
        assert_eq!(device.read(&buffer, 3..3).unwrap(), [0; 0]);
        let empty = device.alloc(0).unwrap();
        assert!(empty.is_empty() && device.read(&empty, 0..0).unwrap().is_empty());
        // Longer than the pieces that are read at a time.
        let n = (5 << 20) + 3;
        let long = device.alloc(n).unwrap();
        let words: Vec<u32> = (0..n as u32).collect();
        device.write(&long, 0, &words).unwrap();
        assert!(device.read(&long, 0..n).unwrap() == words, "{}", device.name());
    }
}

#[test]
fn wrong_ranges_and_sizes_are_refused() {
    for device in devices() {
        let buffer = device.alloc(8).unwrap();
        assert!(matches!(device.write(&buffer, 7, &[1, 2]), Err(DeviceError::OutOfRange { .. })));
        assert!(matches!(device.write(&buffer, usize::MAX, &[1]), Err(DeviceError::OutOfRange { .. })));
        assert!(matches!(device.read(&buffer, 3..9), Err(DeviceError::OutOfRange { .. })));
        let refused = device.alloc(usize::MAX / 16);
        let expected = matches!(refused, Err(DeviceError::TooLarge { .. } | DeviceError::OutOfMemory { .. }));
        assert!(expected, "{}: {refused:?}", device.name());
        // It is still of use.
        assert_eq!(device.read(&buffer, 0..8).unwrap(), [0; 8]);
    }
}

#[test]
fn buffers_of_another_device_are_refused() {
    let foreign = plain().alloc(4).unwrap();
    // The CPU devices share their memory, so only others can tell.
    for device in devices().iter().filter(|d| !matches!(d, Device::Cpu(_))) {
        assert!(matches!(device.read(&foreign, 0..4), Err(DeviceError::ForeignBuffer)));
        assert!(matches!(device.write(&foreign, 0, &[1]), Err(DeviceError::ForeignBuffer)));
        let own = device.alloc(4).unwrap();
        assert!(!own.same(&foreign));
        let mut recording = Recording::new();
        recording.push(Kernel::Add, &params::Add { n: 4, alpha: 1.0 }, &[&own, &foreign]).unwrap();
        assert!(matches!(device.run(&recording), Err(DeviceError::ForeignBuffer)));
        assert!(matches!(plain().read(&own, 0..4), Err(DeviceError::ForeignBuffer)));
    }
}

/// A chain in which each dispatch needs what the one before wrote, longer than the first room for parameters.
#[test]
fn dispatches_see_what_earlier_ones_wrote() {
    let n = 300;
    let start = Random::new(1).floats(n);
    let run = |device: &unspoken::device::Device| {
        let (a, b) = (device.alloc(n).unwrap(), device.alloc(n).unwrap());
        device.write_f32(&a, 0, &start).unwrap();
        let mut recording = Recording::new();
        for i in 0..400 {
            let alpha = if i % 2 == 0 { 0.5 } else { -0.5 };
            let p = params::Add { n: n as u32, alpha };
            let bound = if i % 2 == 0 { [&b, &a] } else { [&a, &b] };
            recording.push(Kernel::Add, &p, &bound).unwrap();
            // A dispatch with nothing to do is nothing.
            recording.push(Kernel::Add, &params::Add { n: 0, alpha }, &bound).unwrap();
        }
        // The same recording may run again.
        device.run(&recording).unwrap();
        device.run(&recording).unwrap();
        device.read(&a, 0..n).unwrap()
    };
    let want = run(plain());
    for device in devices() {
        crate::harness::close(floats(&run(device)), floats(&want), 1e-4, 0.0, &|| device.name().into());
    }
}

/// A kernel that would write past its buffer stops all threads of the team, says so, and leaves a device that works.
/// The third time on, a GPU runs what it encoded ahead: that must see new inputs, and be no other pass.
#[test]
fn passes_come_again_with_other_inputs() {
    for device in devices() {
        let add = |alpha: f32, x: &Buffer, y: &Buffer| {
            let mut rec = Recording::new();
            rec.push(Kernel::Add, &params::Add { n: 4, alpha }, &[x, y]).unwrap();
            rec
        };
        let (x, y, z) = (device.alloc(4).unwrap(), device.alloc(4).unwrap(), device.alloc(4).unwrap());
        let run = |rec: &Recording, seen: &Buffer, range: std::ops::Range<usize>| {
            let words = device.run_and_read(rec, seen, range).unwrap();
            floats(&words).to_vec()
        };
        device.write_f32(&z, 0, &[0.5; 4]).unwrap();
        let (twice, thrice, other) = (add(2.0, &x, &y), add(3.0, &x, &y), add(3.0, &x, &z));
        let less = add(-1.0, &x, &z);
        for i in 0..5 {
            device.write_f32(&y, 0, &[1.0, 2.0, 3.0, 4.0]).unwrap();
            for _ in 0..3 {
                device.write_f32(&x, 0, &[i as f32; 4]).unwrap();
                assert_eq!(run(&twice, &x, 1..3), [i as f32 + 4.0, i as f32 + 6.0], "{}", device.name());
            }
            // Another reading, other parameters, other buffers.
            assert_eq!(run(&twice, &x, 3..4), [i as f32 + 16.0]);
            assert_eq!(run(&thrice, &x, 3..4), [i as f32 + 28.0]);
            assert_eq!(run(&other, &x, 3..4), [i as f32 + 29.5]);
            (0..3).for_each(|_| device.run(&less).unwrap());
            assert_eq!(floats(&device.read(&x, 3..4).unwrap()), [i as f32 + 28.0]);
        }
        // One that has grown since is not what was encoded.
        let mut grows = add(1.0, &x, &y);
        (0..3).for_each(|_| drop(run(&grows, &x, 0..1)));
        grows.push(Kernel::Fill, &params::Fill { n: 4, offset: 0, value: 7.0 }, &[&x]).unwrap();
        assert_eq!(run(&grows, &x, 0..1), [7.0], "{}", device.name());
        // Longer readings and recordings than ever move what the commands of before are bound to.
        let rec = add(1.0, &x, &y);
        (0..3).for_each(|_| drop(run(&rec, &x, 0..1)));
        let long = device.alloc(1 << 16).unwrap();
        assert!(device.read(&long, 0..1 << 16).unwrap().iter().all(|word| *word == 0));
        device.write_f32(&x, 0, &[1.0; 4]).unwrap();
        assert_eq!(run(&rec, &x, 0..1), [2.0], "{}", device.name());
        let mut many = Recording::new();
        (0..1000).for_each(|_| many.push(Kernel::Add, &params::Add { n: 4, alpha: 0.25 }, &[&x, &y]).unwrap());
        (0..3).for_each(|_| drop(run(&rec, &x, 0..1)));
        device.write_f32(&x, 0, &[0.0; 4]).unwrap();
        assert_eq!(run(&many, &x, 0..1), [250.0]);
        assert_eq!(run(&rec, &x, 0..1), [251.0]);
        // What no pass uses any more is gone, and another buffer is another one.
        (0..3).for_each(|_| drop(run(&rec, &x, 0..1)));
        drop((rec, twice, thrice, other, less, grows, x));
        let x = device.alloc(4).unwrap();
        assert_eq!(run(&add(1.0, &x, &y), &x, 0..4), [1.0, 2.0, 3.0, 4.0], "{}", device.name());
    }
}

#[test]
fn a_kernel_that_fails_stops_all_threads() {
    let fill = |n| params::Fill { n, offset: 0, value: 2.0 };
    for threads in [1, 2, 3] {
        let device = Device::Cpu(Arc::new(CpuDevice::new(Some(threads)).unwrap()));
        let buffer = device.alloc(6).unwrap();
        let mut wrong = Recording::new();
        wrong.push(Kernel::Fill, &fill(6), &[&buffer]).unwrap();
        wrong.push(Kernel::Fill, &fill(7), &[&buffer]).unwrap();
        wrong.push(Kernel::Fill, &fill(6), &[&buffer]).unwrap();
        let failed = device.run(&wrong);
        assert!(matches!(&failed, Err(DeviceError::Kernel { kernel: "fill", message }) if message.contains("outside")));
        let mut right = Recording::new();
        right.push(Kernel::Fill, &fill(6), &[&buffer]).unwrap();
        device.run(&right).unwrap();
        assert_eq!(device.read_f32(&buffer, 0..6).unwrap(), [2.0; 6]);
    }
}

#[cfg(feature = "gpu")]
#[test]
fn a_lost_device_says_so() {
    use unspoken::device::{WgpuDevice, adapters};
    for i in 0..adapters().len() {
        let gpu = Arc::new(WgpuDevice::open_adapter(i).unwrap());
        let device = Device::Gpu(gpu.clone());
        let buffer = device.alloc(4).unwrap();
        gpu.destroy();
        let mut recording = Recording::new();
        recording.push(Kernel::Fill, &params::Fill { n: 4, offset: 0, value: 1.0 }, &[&buffer]).unwrap();
        assert!(matches!(device.run(&recording), Err(DeviceError::Lost(_))));
        assert!(matches!(device.read(&buffer, 0..4), Err(DeviceError::Lost(_))));
        assert!(matches!(device.write(&buffer, 0, &[1]), Err(DeviceError::Lost(_))));
        assert!(matches!(device.alloc(4), Err(DeviceError::Lost(_))));
    }
}

#[cfg(feature = "gpu")]
#[test]
fn auto_takes_no_software_gpu() {
    use unspoken::device::{Device, DeviceChoice, adapters};
    let found = adapters();
    let device = Device::open(DeviceChoice::Auto, Some(1)).unwrap();
    assert_eq!(matches!(device, Device::Gpu(_)), found.iter().any(|a| a.is_real()));
    match Device::open(DeviceChoice::Gpu, None) {
        Ok(Device::Gpu(gpu)) => assert_eq!(gpu.info(), &found[0]),
        Ok(other) => panic!("{} is no GPU", other.name()),
        Err(e) => assert!(found.is_empty() && matches!(e, DeviceError::NoGpu(_)), "{e}"),
    }
}
