//! The floor: what it costs to send a scenario's packets in ideal runs through the data plane's own ring, with
//! nothing else done, and the same with sealing.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kall_dataplane::io::affinity;
use kall_dataplane::io::clients::ClientSockets;
use kall_dataplane::io::udp::UdpSocket;
use kall_dataplane::io::uring::UringDriver;
use kall_dataplane::shard::TransmitBatch;
use kall_dataplane::srtp::{EgressGuard, MasterKey, Outbound, Profile};
use kall_dataplane::wire::rtp::{HeaderFields, write_header};

use crate::cpu_time::thread_cpu_time;

/// Datagrams that a sink takes at once.
const TAKE: usize = 1024;

/// Bytes of a plain header.
const HEADER: usize = 12;

/// What one stream is to each subscriber.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    /// Packets of a picture; they are one run.
    pub packets: usize,
    /// Of each packet before it is sealed.
    pub bytes: usize,
    /// Pictures in a second.
    pub per_second: u32,
}

/// Where what runs.
#[derive(Debug, Clone, Copy)]
pub struct Cpus {
    /// The sender.
    pub sender: usize,
    /// Whoever takes what is sent.
    pub sinks: usize,
}

/// What sending came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limit {
    /// Processor time of the sender.
    pub cpu: Duration,
    /// Packets that were sent.
    pub packets: u64,
}

impl AddAssign for Limit {
    fn add_assign(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.packets += other.packets;
    }
}

impl Limit {
    /// Nanoseconds.
    #[must_use]
    pub fn cpu_ns_per_packet(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.packets.max(1) as f64
    }
}

/// Sockets that are read all the time, and nothing is done with what they get.
pub struct Sinks {
    addresses: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Sinks {
    /// As many as there are subscribers, read on one CPU.
    ///
    /// # Errors
    /// What the kernel said: no ports or descriptors left.
    pub fn new(count: usize, cpu: usize) -> io::Result<Self> {
        let mut sockets = ClientSockets::new()?;
        for _ in 0..count {
            sockets.add(UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?)?;
        }
        let addresses = (0..count).map(|index| sockets.local(index)).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = thread::Builder::new().name("sinks".to_owned()).spawn(move || {
            affinity::pin(cpu);
            let mut ready = Vec::new();
            while !seen.load(Ordering::Relaxed) {
                // A failed wait would repeat; the next round sees the flag.
                if sockets.wait(Duration::from_millis(10), &mut ready).is_err() {
                    return;
                }
                for index in ready.drain(..) {
                    sockets.receive(index, TAKE, |_| {});
                }
            }
        })?;
        Ok(Self {
            addresses,
            stop,
            thread: Some(thread),
        })
    }

    /// Where they are.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One subscriber's keys.
struct Seal {
    outbound: Outbound,
    guard: EgressGuard,
}

impl Seal {
    fn new(profile: Profile, number: usize) -> Option<Self> {
        let byte = number as u8;
        let key = MasterKey::new(
            profile,
            &vec![byte; profile.key_len()],
            &vec![!byte; profile.salt_len()],
        )?;
        Some(Self {
            outbound: Outbound::new(&key),
            guard: EgressGuard::new(),
        })
    }
}

/// Sends the flows to all sinks at their own pace for `duration`: raw, or sealed with a key for each of them.
///
/// # Errors
/// What the kernel said: no ring, or no memory.
pub fn run(
    flows: &[Flow],
    sinks: &Sinks,
    profile: Option<Profile>,
    duration: Duration,
    cpu: usize,
) -> io::Result<Limit> {
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            affinity::pin(cpu);
            send(flows, sinks.addresses(), profile, duration)
        });
        sender
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the sender panicked")))
    })
}

fn send(
    flows: &[Flow],
    to: &[SocketAddr],
    profile: Option<Profile>,
    duration: Duration,
) -> io::Result<Limit> {
    let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let mut driver = UringDriver::new(socket).map_err(io::Error::other)?;
    let mut seals: Vec<Seal> = profile
        .into_iter()
        .flat_map(|profile| (0..to.len()).filter_map(move |number| Seal::new(profile, number)))
        .collect();
    let payload = [0x5a; 2_048];
    let mut batch = TransmitBatch::new();
    let mut index = 1_u64;
    let mut packets = 0;
    let start = Instant::now();
    let began = thread_cpu_time();
    // Streams are not in step, as those of different people.
    let mut due: Vec<Instant> = (0..flows.len())
        .map(|flow| start + Duration::from_millis(33) * flow as u32 / flows.len() as u32)
        .collect();
    while let Some((flow, at)) = due.iter().copied().enumerate().min_by_key(|(_, at)| *at)
        && at.duration_since(start) < duration
    {
        let now = Instant::now();
        if at > now {
            thread::sleep(at - now);
        }
        let shape = flows[flow];
        due[flow] += Duration::from_secs(1) / shape.per_second;
        for (number, address) in to.iter().enumerate() {
            if !batch.has_room_for(shape.packets) {
                driver.send(&batch);
                batch.clear();
            }
            for packet in 0..shape.packets {
                let slot = batch.spare();
                let fields = HeaderFields {
                    sequence: (index + packet as u64) as u16,
                    payload_type: 96,
                    ssrc: 1,
                    ..HeaderFields::default()
                };
                write_header(slot, &fields, &[]);
                slot[HEADER..shape.bytes].copy_from_slice(&payload[HEADER..shape.bytes]);
                let len = match seals.get_mut(number) {
                    Some(Seal { outbound, guard }) => outbound
                        .seal_rtp(guard, slot, HEADER, shape.bytes, index + packet as u64)
                        .map_err(io::Error::other)?,
                    None => shape.bytes,
                };
                batch.commit(len, *address, Ipv4Addr::UNSPECIFIED.into());
            }
        }
        driver.send(&batch);
        batch.clear();
        index += shape.packets as u64;
        packets += (shape.packets * to.len()) as u64;
    }
    Ok(Limit {
        cpu: thread_cpu_time().saturating_sub(began),
        packets,
    })
}

/// The same packets one by one with plain `sendto`, unsealed and unpaced: what a server without batches pays.
///
/// # Errors
/// What the kernel said.
pub fn sendto(bytes: usize, sinks: &Sinks, packets: u64, cpu: usize) -> io::Result<Limit> {
    let to = sinks.addresses();
    thread::scope(|scope| {
        let sender = scope.spawn(|| -> io::Result<Limit> {
            affinity::pin(cpu);
            let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            let payload = vec![0x5a; bytes];
            let began = thread_cpu_time();
            for address in to.iter().cycle().take(packets as usize) {
                // A full buffer somewhere is part of the job.
                let _ = socket.send_to(&payload, address);
            }
            Ok(Limit {
                cpu: thread_cpu_time().saturating_sub(began),
                packets,
            })
        });
        sender
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the sender panicked")))
    })
}
