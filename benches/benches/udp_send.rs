//! Sending to 64 subscribers: CPU of the sending thread per packet, and the ratio to a plain
//! `sendto`. The drivers are the data plane's own.
//!
//! The sinks are bound sockets nobody reads: after their buffers are full each packet is dropped
//! at the receiving end of loopback, so sending is what is left to measure.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use kall_benches::cpu_time::thread_cpu_time;
use kall_benches::ratio::{self, Row};
use kall_dataplane::io::syscall::SyscallDriver;
use kall_dataplane::io::udp;
use kall_dataplane::io::uring::UringDriver;
use kall_dataplane::shard::TransmitBatch;

const SUBSCRIBERS: usize = 64;
const PACKET_LEN: usize = 1200;

/// Packets of one row in one round.
const PACKETS: usize = 20_000;

/// Rounds that count.
const ROUNDS: usize = 9;

/// How many packets a subscriber gets in one turn.
const RUN_LENGTHS: [usize; 3] = [1, 2, 10];

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn sinks() -> io::Result<(Vec<UdpSocket>, Vec<SocketAddr>)> {
    let sockets: Vec<UdpSocket> = (0..SUBSCRIBERS)
        .map(|_| UdpSocket::bind(loopback()))
        .collect::<io::Result<_>>()?;
    let addresses = sockets
        .iter()
        .map(UdpSocket::local_addr)
        .collect::<io::Result<_>>()?;
    Ok((sockets, addresses))
}

/// One turn's output: `run` packets for each subscriber.
fn batch(to: &[SocketAddr], run: usize) -> TransmitBatch {
    let mut batch = TransmitBatch::new();
    for address in to {
        for number in 0..run {
            batch.spare()[..PACKET_LEN].fill(number as u8);
            batch.commit(PACKET_LEN, *address, Ipv4Addr::UNSPECIFIED.into());
        }
    }
    batch
}

/// Runs `turn`, which sends `packets` packets, until a round is full.
fn round(packets: usize, mut turn: impl FnMut()) -> (Duration, u64) {
    let turns = PACKETS.div_ceil(packets);
    let start = thread_cpu_time();
    for _ in 0..turns {
        turn();
    }
    (thread_cpu_time().saturating_sub(start), (turns * packets) as u64)
}

fn sendto(to: &[SocketAddr]) -> io::Result<Row<'_>> {
    let socket = UdpSocket::bind(loopback())?;
    let packet = [7; PACKET_LEN];
    Ok(Row::new("sendto, one by one", move || {
        round(to.len(), || {
            for address in to {
                // A full buffer somewhere is part of the job.
                let _ = socket.send_to(&packet, address);
            }
        })
    }))
}

fn syscall(to: &[SocketAddr], run: usize) -> io::Result<Row<'_>> {
    let mut driver = SyscallDriver::new(udp::UdpSocket::bind(loopback())?)?;
    let batch = batch(to, run);
    Ok(Row::new(format!("syscall driver, runs of {run}"), move || {
        round(to.len() * run, || driver.send(&batch))
    }))
}

fn uring(to: &[SocketAddr], run: usize) -> io::Result<Row<'_>> {
    let socket = udp::UdpSocket::bind(loopback())?;
    let mut driver = UringDriver::new(socket).map_err(io::Error::other)?;
    let batch = batch(to, run);
    Ok(Row::new(format!("io_uring driver, runs of {run}"), move || {
        round(to.len() * run, || driver.send(&batch))
    }))
}

/// The row that lost: each send is awaited, so each is a submission of its own.
fn tokio_uring(to: &[SocketAddr]) -> io::Result<Row<'_>> {
    let runtime = tokio_uring::Runtime::new(&tokio_uring::builder())?;
    let socket = runtime.block_on(tokio_uring::net::UdpSocket::bind(loopback()))?;
    let mut packet = vec![7; PACKET_LEN];
    Ok(Row::new("tokio-uring, awaited", move || {
        runtime.block_on(async {
            let turns = PACKETS.div_ceil(to.len());
            let start = thread_cpu_time();
            for _ in 0..turns {
                for address in to {
                    let (_, back) = socket.send_to(std::mem::take(&mut packet), *address).await;
                    packet = back;
                }
            }
            (thread_cpu_time().saturating_sub(start), (turns * to.len()) as u64)
        })
    }))
}

#[expect(clippy::print_stdout, reason = "a bench reports on standard output")]
fn main() -> io::Result<()> {
    // `cargo bench` says so; anything else that runs this target only wants to know that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let (_sockets, to) = sinks()?;
    let mut rows = vec![sendto(&to)?];
    for run in RUN_LENGTHS {
        rows.push(syscall(&to, run)?);
    }
    let mut ring_rows: Vec<_> = RUN_LENGTHS.iter().map(|run| uring(&to, *run)).collect();
    ring_rows.push(tokio_uring(&to));
    for row in ring_rows {
        match row {
            Ok(row) => rows.push(row),
            // A container may forbid the ring: the other rows still stand.
            Err(error) => println!("a row is missing: {error}"),
        }
    }
    let title = format!("udp_send: {PACKET_LEN} bytes to {SUBSCRIBERS} subscribers on loopback");
    let taken = ratio::measure(ROUNDS, &mut rows);
    println!("{}", ratio::table(&title, &taken));
    ratio::keep(&ratio::criterion_folder()?, "udp_send", &taken)
}
