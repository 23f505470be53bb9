//! A path between two network interfaces that is as bad as it is told to be, by the same model that
//! the simulations use ([`kall_tests::network`]).
//!
//! `link-emulator NEAR FAR` makes two TUN interfaces with these names in its own network namespace;
//! whoever started it moves and addresses them. What is sent into the one comes out of the other.
//! It is told what to do by lines on standard input, answers each with a line of JSON, and ends when
//! its input does. *Down* is from near to far:
//!
//! ```text
//! down rate_kbps = 300, queue = { ms = 200 }, delay_ms = 40, loss = { random = 0.05 }
//! up delay_ms = 40
//! stats
//! ```

mod command;
mod direction;

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use command::Command;
use direction::Direction;
use serde_json::{Value, json};
use tun_rs::{DeviceBuilder, SyncDevice};

/// Longest packet; interfaces have an MTU of 1500, but nothing stops them from having another.
const PACKET_MAX: usize = 1 << 16;

/// What the random parts of the directions begin with.
const SEEDS: [u64; 2] = [1, 2];

/// One direction, shared by the thread that takes packets in and the one that lets them out.
struct Shared {
    direction: Mutex<Direction>,
    changed: Condvar,
    started: Instant,
}

impl Shared {
    fn new(seed: u64, started: Instant) -> Arc<Self> {
        Arc::new(Self {
            direction: Mutex::new(Direction::new(seed)),
            changed: Condvar::new(),
            started,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Direction> {
        self.direction.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits for the next packet that arrives.
    fn next(&self) -> Vec<u8> {
        let mut direction = self.lock();
        loop {
            let now = self.now();
            if let Some(packet) = direction.arrived(now) {
                return packet;
            }
            let wait = direction.next_arrival().map(|at| at.saturating_sub(now));
            direction = match wait {
                Some(wait) => {
                    let waited = self.changed.wait_timeout(direction, wait);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self
                    .changed
                    .wait(direction)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn take_from(&self, device: &SyncDevice) -> io::Result<()> {
        let mut buffer = vec![0; PACKET_MAX];
        loop {
            let len = device.recv(&mut buffer)?;
            self.lock().send(self.now(), &buffer[..len]);
            self.changed.notify_one();
        }
    }

    fn give_to(&self, device: &SyncDevice) {
        loop {
            let packet = self.next();
            // An interface that is down refuses what it is given, as an unplugged cable would.
            if device.send(&packet).is_err() {
                self.lock().refused += 1;
            }
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            fail(&message);
            ExitCode::FAILURE
        }
    }
}

fn fail(message: &str) {
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(io::stderr(), "link-emulator: {message}");
}

fn run() -> Result<(), String> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let [near, far] = names.as_slice() else {
        return Err("usage: link-emulator NEAR FAR (names of the interfaces to make)".to_owned());
    };
    let [near, far] = [interface(near)?, interface(far)?];
    let started = Instant::now();
    let [down, up] = SEEDS.map(|seed| Shared::new(seed, started));
    connect(&near, &far, &down);
    connect(&far, &near, &up);
    answer(&json!({ "ready": true }))?;
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        answer(&obey(&line, &down, &up))?;
    }
    Ok(())
}

fn interface(name: &str) -> Result<Arc<SyncDevice>, String> {
    let made = DeviceBuilder::new().name(name).enable(false).build_sync();
    made.map(Arc::new)
        .map_err(|error| format!("interface {name}: {error}; it takes root and /dev/net/tun"))
}

/// Starts both ends of a direction. They run until the process ends, which a lost interface causes.
fn connect(from: &Arc<SyncDevice>, to: &Arc<SyncDevice>, path: &Arc<Shared>) {
    let (device, shared) = (from.clone(), path.clone());
    thread::spawn(move || {
        if let Err(error) = shared.take_from(&device) {
            fail(&format!("an interface is gone: {error}"));
            std::process::exit(1);
        }
    });
    let (device, shared) = (to.clone(), path.clone());
    thread::spawn(move || shared.give_to(&device));
}

fn obey(line: &str, down: &Shared, up: &Shared) -> Value {
    let shape = |path: &Shared, config| {
        path.lock().shape(config);
        json!({ "shaped": true })
    };
    match Command::parse(line) {
        Ok(Command::Down(config)) => shape(down, config),
        Ok(Command::Up(config)) => shape(up, config),
        Ok(Command::Stats) => {
            let [down, up] = [down, up].map(|path| path.lock().report(path.now()));
            json!({ "down": down, "up": up })
        }
        Err(error) => json!({ "error": error }),
    }
}

fn answer(value: &Value) -> Result<(), String> {
    let mut out = io::stdout().lock();
    writeln!(out, "{value}")
        .and_then(|()| out.flush())
        .map_err(|error| error.to_string())
}
