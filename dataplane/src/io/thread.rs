//! One thread per core: pinned, with everything of the core built on it.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use tracing::{error, info};

use super::affinity;
use super::clock::Clock;
use super::crossing::Crossing;
use super::driver::{Command, Core, Driver};
use super::limits::COMMAND_QUEUE;
use super::outbox::{CoreMessage, Outbox};
use super::syscall::SyscallDriver;
use super::tcp::Accepted;
use super::tcp::gate::GateCounters;
use super::tcp::set::ConnectionSet;
use super::udp::UdpSocket;
use super::uring::UringDriver;
use super::wake::Waker;
use crate::lane::Lanes;
use crate::shard::{Shard, ShardConfig};

/// Which driver the cores use; decided once, before any of them starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoKind {
    /// [`SyscallDriver`].
    Syscall,
    /// [`UringDriver`].
    IoUring,
}

impl IoKind {
    /// As in `HelloAnswer::io`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Syscall => "syscall",
            Self::IoUring => "io_uring",
        }
    }
}

/// What a core's thread starts from.
pub struct CoreSetup {
    /// CPU id to pin it to.
    pub cpu: usize,
    /// Which driver.
    pub io: IoKind,
    /// Its bound socket.
    pub socket: UdpSocket,
    /// Where its connections come from.
    pub arrivals: Receiver<Accepted>,
    /// The gate's counters, for the one core that reports them.
    pub gate: Option<Arc<GateCounters>>,
    /// Its lanes to and from the other cores.
    pub lanes: Lanes,
    /// How it ends their sleep, and they its own.
    pub crossing: Crossing,
    /// Its shard's settings.
    pub shard: ShardConfig,
    /// Whether it answers bare Binding requests.
    pub stun: bool,
    /// The process's clock.
    pub clock: Clock,
    /// The way to the control thread.
    pub to_control: Sender<CoreMessage>,
}

/// The control thread's hold on a core.
#[derive(Debug)]
pub struct CoreHandle {
    /// Its command lane; [`Self::waker`] after each.
    pub commands: Sender<Command>,
    /// Ends its sleep.
    pub waker: Waker,
    /// The thread.
    pub thread: JoinHandle<()>,
}

/// Starts a core and waits until its driver stands.
///
/// # Errors
/// The thread or its driver could not be made.
pub fn spawn(setup: CoreSetup) -> io::Result<CoreHandle> {
    let (commands, lane) = bounded(COMMAND_QUEUE);
    let (ready, started) = bounded(1);
    let core = setup.shard.core;
    let thread = std::thread::Builder::new()
        .name(format!("core-{core}"))
        .spawn(move || run(setup, lane, &ready))?;
    let waker = started
        .recv_timeout(super::limits::START_TIMEOUT)
        .map_err(|_| io::Error::other(format!("core {core} did not start")))??;
    Ok(CoreHandle {
        commands,
        waker,
        thread,
    })
}

fn run(setup: CoreSetup, lane: Receiver<Command>, ready: &Sender<io::Result<Waker>>) {
    let CoreSetup {
        cpu,
        io: kind,
        socket,
        arrivals,
        gate,
        lanes,
        crossing,
        shard,
        stun,
        clock,
        to_control,
    } = setup;
    affinity::pin(cpu);
    let core = shard.core;
    let local = socket.local();
    // The ring belongs to the thread that makes it, so the driver is built here and not by the caller.
    let driver = match kind {
        IoKind::Syscall => SyscallDriver::new(socket).map(Driver::Syscall),
        IoKind::IoUring => UringDriver::new(socket)
            .map(Driver::Uring)
            .map_err(io::Error::other),
    };
    let parts = driver.and_then(|driver| Ok((driver, ConnectionSet::new(arrivals)?)));
    let (driver, connections) = match parts {
        Ok(parts) => parts,
        Err(error) => {
            // The starter has either this error or given up already.
            let _ = ready.send(Err(error));
            return;
        }
    };
    info!(core, cpu, %local, io = kind.name(), "core started");
    crossing.open(driver.waker());
    let _ = ready.send(Ok(driver.waker()));
    let outbox = Outbox::new(core, to_control.clone());
    let mut shard = Shard::new(shard, clock.now());
    shard.connect_lanes(lanes);
    if stun {
        shard.answer_bare_stun();
    }
    let ended = Core::new(shard, driver, connections, gate, (crossing, lane, outbox), clock)
        .and_then(|mut core_loop| core_loop.run());
    if let Err(error) = ended {
        // A core that can't wait can't forward; its sessions are lost. The supervisor starts anew.
        error!(core, %error, "the core's driver failed");
        std::process::abort();
    }
    let _ = to_control.send(CoreMessage::Stopped { core });
}
