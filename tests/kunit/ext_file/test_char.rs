// SPDX-License-Identifier: GPL-2.0

//! Character devices that are unregistered while they are open.

use crate::support::*;
use kernel::{
    fmt,
    fs,
    new_condvar,
    new_mutex,
    prelude::*,
    seq_file::SeqFile,
    sync::{
        poll::PollTable,
        Arc,
        CondVar,
        Mutex, //
    }, //
};
use kernel_ext::{
    char_device::{
        Call,
        OpenFile,
        Options,
        Registration, //
    },
    poll::{
        PollEvent,
        PollEvents, //
    },
};

/// Adds the argument to the number of the device.
const ADD: u32 = 1;
/// Sleeps until the device goes.
const SLEEP: u32 = 2;
/// Number of the file, counted from 1.
const NUMBER: u32 = 3;

struct State {
    sleeping: bool,
    going: bool,
}

#[pin_data]
struct TestDevice {
    base: usize,
    opened: Counter,
    /// Files that were released.
    released: Counter,
    /// Calls that have ended, when the device went.
    ended: Counter,
    shutdowns: Counter,
    open_fails: bool,
    #[pin]
    state: Mutex<State>,
    #[pin]
    changed: CondVar,
    _drop: CountDrop,
}

impl TestDevice {
    fn new(base: usize, open_fails: bool, drops: &Counter) -> Result<Arc<Self>> {
        let (opened, released) = (Counter::new()?, Counter::new()?);
        let (ended, shutdowns) = (Counter::new()?, Counter::new()?);

        Arc::pin_init(
            pin_init!(Self {
                base,
                opened,
                released,
                ended,
                shutdowns,
                open_fails,
                state <- new_mutex!(State { sleeping: false, going: false }),
                changed <- new_condvar!(),
                _drop: CountDrop(drops.clone()),
            }),
            GFP_KERNEL,
        )
    }

    fn wait_for_sleeper(&self) {
        let mut state = self.state.lock();

        while !state.sleeping {
            self.changed.wait(&mut state);
        }
    }
}

struct TestFile {
    number: u32,
    _released: CountDrop,
}

#[vtable]
impl OpenFile for TestFile {
    type Device = TestDevice;

    fn open(device: &Arc<TestDevice>, _file: &fs::File) -> impl PinInit<Self, Error> {
        if device.open_fails {
            return Err(EDOM);
        }
        device.opened.increment();
        Ok(Self {
            number: device.opened.get(),
            _released: CountDrop(device.released.clone()),
        })
    }

    fn ioctl(call: &Call<'_, Self>, cmd: u32, arg: usize) -> Result<isize> {
        match cmd {
            ADD => Ok((call.device.base + arg) as isize),
            NUMBER => Ok(call.data.number as isize),
            SLEEP => {
                let mut state = call.device.state.lock();

                state.sleeping = true;
                call.device.changed.notify_all();
                while !state.going {
                    call.device.changed.wait(&mut state);
                }
                drop(state);
                kernel::time::delay::fsleep(kernel::time::Delta::from_millis(50));
                call.device.ended.increment();
                Ok(0)
            }
            _ => Err(ENOTTY),
        }
    }

    fn poll(_call: &Call<'_, Self>, _table: PollTable<'_>) -> PollEvents {
        PollEvent::Out.into()
    }

    fn show_fdinfo(call: &Call<'_, Self>, m: &SeqFile) {
        kernel::seq_print!(m, "base:\t{}\n", call.device.base);
    }

    fn shutdown(device: &TestDevice) {
        device.shutdowns.increment();
        device.state.lock().going = true;
        device.changed.notify_all();
    }
}

fn register(name: fmt::Arguments<'_>, device: &Arc<TestDevice>) -> Result<Registration<TestFile>> {
    Registration::new::<kernel::device::Normal>(Options { name, mode: 0 }, None, device.clone())
}

#[kunit_tests(ext_file_char)]
mod tests {
    use super::*;
    use crate::thread::Thread;
    use kernel::sync::aref::ARef;

    const NODE: &CStr = c"/dev/ext_file_test0";

    /// EPOLLOUT; EPOLLERR and EPOLLHUP.
    const READY: u32 = 4;
    const GONE: u32 = 0x18;

    #[test]
    fn calls() -> Result {
        let drops = Counter::new()?;
        let device = TestDevice::new(40, false, &drops)?;
        let registration = register(fmt!("ext_file_test{}", 0), &device)?;
        let (a, b) = (open(NODE)?, open(NODE)?);

        check!(registration.name() == c"ext_file_test0");
        check!(registration.node().name() == c"ext_file_test0");
        check_eq!(a.ioctl(ADD, 2), Ok(42));
        check_eq!(a.compat_ioctl(ADD, 3), Ok(43));
        check_eq!((a.ioctl(NUMBER, 0), b.ioctl(NUMBER, 0)), (Ok(1), Ok(2)));
        check_eq!(a.ioctl(99, 0), Err(ENOTTY));
        check_eq!(a.poll(), READY);
        check_eq!(&*a.fdinfo()?, b"base:\t40\n");
        check_eq!(device.shutdowns.get(), 0);
        Ok(())
    }

    #[test]
    fn several_devices() -> Result {
        let drops = Counter::new()?;
        let first = TestDevice::new(100, false, &drops)?;
        let second = TestDevice::new(200, false, &drops)?;
        let _first = register(fmt!("ext_file_test0"), &first)?;
        let registration = register(fmt!("ext_file_test{}", 1), &second)?;
        let (a, b) = (open(NODE)?, open(c"/dev/ext_file_test1")?);

        check_eq!((a.ioctl(ADD, 1), b.ioctl(ADD, 1)), (Ok(101), Ok(201)));
        drop(registration);
        check_eq!((a.ioctl(ADD, 1), b.ioctl(ADD, 1)), (Ok(101), Err(ENODEV)));
        Ok(())
    }

    #[test]
    fn open_fails() -> Result {
        let drops = Counter::new()?;
        let before = module_references();
        let device = TestDevice::new(0, true, &drops)?;
        let _registration = register(fmt!("ext_file_test0"), &device)?;

        check!(matches!(open(NODE), Err(err) if err == EDOM));
        check_eq!(module_references(), before);
        check_eq!(device.released.get(), 0);
        Ok(())
    }

    #[test]
    fn file_holds_the_module() -> Result {
        let drops = Counter::new()?;
        let before = module_references();
        let device = TestDevice::new(0, false, &drops)?;
        let registration = register(fmt!("ext_file_test0"), &device)?;

        check_eq!(module_references(), before);
        let file = open(NODE)?;
        check_eq!(module_references(), before + 1);
        drop(registration);
        check_eq!(module_references(), before + 1);
        drop(file);
        check_eq!(module_references(), before);
        Ok(())
    }

    #[test]
    fn unregistered_while_open() -> Result {
        let drops = Counter::new()?;
        let device = TestDevice::new(1, false, &drops)?;
        let released = device.released.clone();
        let shutdowns = device.shutdowns.clone();
        let registration = register(fmt!("ext_file_test0"), &device)?;
        let file = open(NODE)?;

        drop(device);
        drop(registration);
        check_eq!(shutdowns.get(), 1);
        check!(matches!(open(NODE), Err(err) if err == ENOENT));
        check_eq!(file.ioctl(ADD, 1), Err(ENODEV));
        check_eq!(file.compat_ioctl(ADD, 1), Err(ENODEV));
        check_eq!(file.poll(), GONE);
        check_eq!(&*file.fdinfo()?, b"");
        check_eq!((released.get(), drops.get()), (0, 0));

        drop(file);
        flush_files();
        check_eq!((released.get(), drops.get()), (1, 1));
        Ok(())
    }

    #[test]
    fn unregistering_waits_for_calls() -> Result {
        let drops = Counter::new()?;
        let device = TestDevice::new(1, false, &drops)?;
        let registration = register(fmt!("ext_file_test0"), &device)?;
        let file = open(NODE)?;
        let theirs: ARef<fs::File> = file.clone();
        let thread = Thread::spawn(move || theirs.ioctl(SLEEP, 0))?;

        device.wait_for_sleeper();
        check_eq!(device.ended.get(), 0);
        drop(registration);
        // Woken up, and waited for.
        check_eq!(device.ended.get(), 1);
        check_eq!(thread.join()?, Ok(0));
        check_eq!(file.ioctl(ADD, 1), Err(ENODEV));
        Ok(())
    }

    #[test]
    fn races() -> Result {
        let drops = Counter::new()?;

        for round in 0..50 {
            let device = TestDevice::new(round, false, &drops)?;
            let registration = register(fmt!("ext_file_test0"), &device)?;
            let thread = Thread::spawn(move || -> Result {
                // Ends when the node or the device has gone.
                loop {
                    let file = match open(NODE) {
                        Err(err) if err == ENOENT || err == ENODEV || err == ENXIO => break Ok(()),
                        file => file?,
                    };
                    match file.ioctl(ADD, 1) {
                        Err(err) if err == ENODEV => break Ok(()),
                        sum => check_eq!(sum, Ok(round + 1)),
                    }
                }
            })?;

            if round % 2 == 0 {
                kernel::time::delay::fsleep(kernel::time::Delta::from_millis(1));
            }
            drop(registration);
            thread.join()??;
            flush_files();
            check_eq!(device.opened.get(), device.released.get());
        }
        check_eq!(drops.get(), 50);
        Ok(())
    }
}
