//! The whole process: from checked settings to its end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crossbeam_channel::bounded;
use ring::rand::{SecureRandom, SystemRandom};
use tracing::{info, warn};

use super::clock::Clock;
use super::control::link::{End, Link};
use super::control::router::{Identity, Router};
use super::control::socket::Claim;
use super::crossing::Crossing;
use super::limits::{ARRIVAL_QUEUE, CORE_MESSAGE_QUEUE};
use super::tcp::gate::{self, Door, GateCounters};
use super::thread::{self, CoreSetup, IoKind};
use super::udp::UdpSocket;
use super::{addresses, affinity, panic, signals, uring};
use crate::config::{Config, IoChoice};
use crate::dtls;
use crate::lane::{self, Lanes};
use crate::shard::ShardConfig;

/// Runs the data plane until its end. Call it from the main thread, before any other is started.
///
/// # Errors
/// Why it could not start. Once it serves it does not fail: it ends, or aborts on a bug.
pub fn run(config: &Config) -> io::Result<End> {
    panic::install();
    affinity::keep_off(&config.cpus);
    signals::leave_session();
    let signals = signals::listen()?;
    // First of all, so that of two processes only one goes on to take ports.
    let claim = Claim::new(&config.control_socket)?;
    let io = choose_io(config.io)?;
    let sockets = bind_all(config)?;
    let listener = match config.tcp_port {
        0 => None,
        port => Some(gate::listen(SocketAddr::new(config.bind, port))?),
    };
    let ports: Vec<u16> = sockets.iter().map(|socket| socket.local().port()).collect();
    let clock = Clock::start();
    let (to_control, from_cores) = bounded(CORE_MESSAGE_QUEUE);
    let random = SystemRandom::new();
    let certificate = Arc::new(dtls::Identity::generate().map_err(io::Error::other)?);
    let mut cores = Vec::with_capacity(sockets.len());
    let (doors, arrivals): (Vec<_>, Vec<_>) = sockets.iter().map(|_| bounded(ARRIVAL_QUEUE)).unzip();
    let gate_counters = listener.is_some().then(Arc::<GateCounters>::default);
    let crossings = Crossing::between(sockets.len())
        .into_iter()
        .zip(lanes_between(sockets.len()));
    let places = sockets.into_iter().zip(&config.cpus).zip(arrivals).zip(crossings);
    for (index, (((socket, cpu), arrivals), (crossing, lanes))) in places.enumerate() {
        let shard = ShardConfig {
            // The configuration allows 64 cores.
            core: index as u8,
            udp_port: socket.local().port(),
            identity: Arc::clone(&certificate),
            wall: clock.wall(),
            seed: draw(&random)?,
        };
        cores.push(thread::spawn(CoreSetup {
            cpu: *cpu,
            io,
            socket,
            arrivals,
            gate: gate_counters.clone().filter(|_| index == 0),
            lanes,
            crossing,
            shard,
            stun: config.stun,
            clock,
            to_control: to_control.clone(),
        })?);
    }
    // Only cores speak on it from here on.
    drop(to_control);
    if let (Some(listener), Some(counters)) = (listener, gate_counters) {
        let wakers = cores.iter().map(|core| core.waker.clone());
        let doors = doors.into_iter().zip(wakers);
        gate::spawn(
            listener,
            doors.map(|(lane, waker)| Door { lane, waker }).collect(),
            counters,
        )?;
    }
    let identity = Identity {
        instance: u64::from_le_bytes(draw(&random)?),
        pid: std::process::id(),
        io: io.name(),
        udp_ports: ports,
        tcp_port: (config.tcp_port != 0).then_some(config.tcp_port),
        bind: config.bind,
        addresses: addresses::reachable(config.bind, &config.advertise)?,
    };
    info!(
        socket = %config.control_socket.display(), pid = identity.pid, io = identity.io,
        udp_ports = ?identity.udp_ports, tcp_port = ?identity.tcp_port, addresses = ?identity.addresses, "data plane ready"
    );
    let router = Router::new(identity);
    let link = Link::new(router, cores, from_cores, signals, config.orphan_timeout);
    let listener = claim.listen()?;
    let end = link.run(listener);
    claim.remove();
    end
}

/// The lanes of each core; a core that is alone has none.
fn lanes_between(cores: usize) -> Vec<Lanes> {
    if cores < 2 {
        return vec![Lanes::default()];
    }
    lane::mesh(cores)
}

/// Forced io_uring fails with the name of what is missing; `auto` says it in the log and goes on without.
fn choose_io(choice: IoChoice) -> io::Result<IoKind> {
    if choice == IoChoice::Syscall {
        return Ok(IoKind::Syscall);
    }
    match uring::probe() {
        Ok(()) => Ok(IoKind::IoUring),
        Err(missing) if choice == IoChoice::Auto => {
            warn!(%missing, "io_uring can't be used here; packets move by system calls");
            Ok(IoKind::Syscall)
        }
        Err(missing) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("dataplane.io = \"io_uring\": missing {missing}; set it to \"auto\" or \"syscall\""),
        )),
    }
}

/// Socket i on the i-th port, or each on any free one.
fn bind_all(config: &Config) -> io::Result<Vec<UdpSocket>> {
    (0..config.cpus.len())
        .map(|index| {
            // The configuration keeps the last port within 65535.
            let offset = if config.udp_port == 0 { 0 } else { index as u16 };
            UdpSocket::bind(SocketAddr::new(config.bind, config.udp_port + offset))
        })
        .collect()
}

/// Bytes from the operating system's generator.
fn draw<const N: usize>(random: &SystemRandom) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    random
        .fill(&mut bytes)
        .map_err(|_| io::Error::other("the operating system gives no randomness"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `io_uring_setup` on every architecture that came after it.
    const IO_URING_SETUP: u32 = 425;

    /// Runs `body` in a thread of its own that may not use io_uring, as in a container.
    fn without_io_uring<T: Send + 'static>(errno: i32, body: fn() -> T) -> T {
        let forbidden = move || {
            let statement = |code: u32, k: u32| libc::sock_filter {
                code: code as u16,
                jt: 0,
                jf: 0,
                k,
            };
            let mut filter = [
                // The number of the system call is the first field of seccomp_data.
                statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
                libc::sock_filter {
                    code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
                    jt: 0,
                    jf: 1,
                    k: IO_URING_SETUP,
                },
                statement(
                    libc::BPF_RET | libc::BPF_K,
                    libc::SECCOMP_RET_ERRNO | errno as u32,
                ),
                statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
            ];
            let program = libc::sock_fprog {
                len: filter.len() as u16,
                filter: filter.as_mut_ptr(),
            };
            // SAFETY: takes no pointers.
            let status = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
            assert_eq!(status, 0);
            // SAFETY: a live program of the length it says, copied before the call returns. It binds this
            // thread alone.
            let status = unsafe {
                libc::prctl(
                    libc::PR_SET_SECCOMP,
                    libc::SECCOMP_MODE_FILTER,
                    &raw const program,
                )
            };
            assert_eq!(status, 0, "{}", io::Error::last_os_error());
            body()
        };
        std::thread::spawn(forbidden).join().expect("no panic")
    }

    #[test]
    fn without_io_uring_auto_goes_on_and_force_says_what_is_missing() {
        for (errno, words) in [
            (libc::EPERM, "kernel.io_uring_disabled"),
            (libc::ENOSYS, "not in this kernel"),
            (libc::EINVAL, "Linux 6.1"),
        ] {
            let auto = without_io_uring(errno, || choose_io(IoChoice::Auto).map_err(|e| e.to_string()));
            assert_eq!(auto, Ok(IoKind::Syscall));
            let forced = without_io_uring(errno, || choose_io(IoChoice::IoUring).map_err(|e| e.to_string()));
            let message = forced.expect_err("refused");
            assert!(message.contains(words), "{message}");
            assert_eq!(message.lines().count(), 1);
        }
    }

    #[test]
    fn the_choice_is_kept_where_io_uring_works() {
        assert_eq!(choose_io(IoChoice::Syscall).ok(), Some(IoKind::Syscall));
        assert_eq!(choose_io(IoChoice::IoUring).ok(), Some(IoKind::IoUring));
        assert_eq!(choose_io(IoChoice::Auto).ok(), Some(IoKind::IoUring));
    }
}
