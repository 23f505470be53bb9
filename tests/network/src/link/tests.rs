use super::*;

const PACKETS: u64 = 20_000;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn first(link: &mut Link, now: Duration, bytes: usize) -> Option<Duration> {
    link.send(now, bytes).first.ok()
}

/// A packet each millisecond, and when each arrived first.
fn stream(config: &LinkConfig, seed: u64) -> (Vec<Option<Duration>>, Stats) {
    let mut link = Link::new(config.clone(), seed);
    let arrivals = (0..PACKETS).map(|n| first(&mut link, ms(n), 1000)).collect();
    (arrivals, link.stats())
}

fn delays(arrivals: &[Option<Duration>]) -> Vec<Duration> {
    let sent = (0..).map(ms);
    arrivals
        .iter()
        .zip(sent)
        .filter_map(|(at, sent)| Some((*at)? - sent))
        .collect()
}

#[test]
fn a_perfect_link_delivers_at_once() {
    let mut link = Link::new(LinkConfig::default(), 1);
    for at in [0, 0, 5] {
        let arrivals = link.send(ms(at), 1500);
        assert_eq!(
            arrivals,
            Arrivals {
                first: Ok(ms(at)),
                duplicate: None
            }
        );
        assert_eq!(arrivals.into_iter().collect::<Vec<_>>(), [ms(at)]);
    }
}

#[test]
fn a_packet_takes_its_time_and_waits_for_those_before_it() {
    let config = LinkConfig {
        rate: Some(Rate::constant(1_000_000)),
        delay: ms(20),
        ..LinkConfig::default()
    };
    let mut link = Link::new(config, 1);
    // 1000 bytes take 8 ms at 1 Mbit/s.
    assert_eq!(first(&mut link, ms(0), 1000), Some(ms(28)));
    assert_eq!(first(&mut link, ms(0), 1000), Some(ms(36)));
    assert_eq!(link.queueing_delay(ms(4)), ms(12));
    assert_eq!(link.backlog(ms(4)), 1500);
    // Idle time is not saved up.
    assert_eq!(first(&mut link, ms(100), 1000), Some(ms(128)));
    link.set_rate(ms(100), 500_000);
    assert_eq!(first(&mut link, ms(200), 1000), Some(ms(236)));
}

#[test]
fn a_planned_step_counts_for_what_waits() {
    let mut rate = Rate::constant(1_000_000);
    rate.set(ms(4), 500_000);
    let config = LinkConfig {
        rate: Some(rate),
        ..LinkConfig::default()
    };
    let mut link = Link::new(config, 1);
    // Half of it at 1 Mbit/s, and the other half at half of that.
    assert_eq!(first(&mut link, ms(0), 1000), Some(ms(12)));
}

#[test]
fn a_full_queue_drops_what_comes_last() {
    let with = |queue| {
        let rate = Some(Rate::constant(1_000_000));
        Link::new(
            LinkConfig {
                rate,
                queue,
                ..LinkConfig::default()
            },
            1,
        )
    };
    let mut bytes = with(Queue::Bytes(2500));
    assert!(first(&mut bytes, ms(0), 1000).is_some());
    assert!(first(&mut bytes, ms(0), 1000).is_some());
    assert_eq!(bytes.send(ms(0), 1000).first, Err(Drop::Queue));
    // A smaller one still fits, and later the larger.
    assert!(first(&mut bytes, ms(0), 500).is_some());
    assert!(first(&mut bytes, ms(8), 1000).is_some());
    assert_eq!(bytes.stats().queue_drops, 1);

    let mut delay = with(Queue::Delay(ms(10)));
    assert!(first(&mut delay, ms(0), 1000).is_some());
    assert!(first(&mut delay, ms(0), 1000).is_some());
    assert_eq!(delay.send(ms(0), 1).first, Err(Drop::Queue));
    assert!(first(&mut delay, ms(6), 1).is_some());
}

#[test]
fn an_outage_holds_packets_until_the_rate_is_back() {
    let mut rate = Rate::constant(0);
    rate.set(ms(500), 1_000_000);
    let mut link = Link::new(
        LinkConfig {
            rate: Some(rate),
            ..LinkConfig::default()
        },
        1,
    );
    assert_eq!(first(&mut link, ms(0), 1000), Some(ms(508)));
    let forever = LinkConfig {
        rate: Some(Rate::constant(0)),
        ..LinkConfig::default()
    };
    assert_eq!(Link::new(forever, 1).send(ms(0), 1).first, Err(Drop::Queue));
}

#[test]
fn another_config_lets_nothing_overtake() {
    let config = LinkConfig {
        rate: Some(Rate::constant(1_000_000)),
        delay: ms(20),
        ..LinkConfig::default()
    };
    let mut link = Link::new(config, 1);
    assert_eq!(first(&mut link, ms(0), 1000), Some(ms(28)));
    link.set_config(LinkConfig::default());
    assert_eq!(first(&mut link, ms(1), 1000), Some(ms(28)));
    assert_eq!(first(&mut link, ms(30), 1000), Some(ms(30)));
}

#[test]
fn jitter_delays_in_order_unless_it_may_reorder() {
    let config = LinkConfig {
        delay: ms(10),
        jitter: ms(5),
        ..LinkConfig::default()
    };
    let (ordered, _) = stream(&config, 3);
    assert!(ordered.is_sorted(), "nothing overtakes");
    let free = LinkConfig {
        jitter_reorders: true,
        ..config
    };
    let (arrivals, _) = stream(&free, 3);
    assert!(!arrivals.is_sorted(), "some overtake");
    let delays = delays(&arrivals);
    assert!(delays.iter().all(|delay| (ms(10)..=ms(30)).contains(delay)));
    // The mean of half a normal distribution is 0.8 deviations.
    let mean = delays.iter().sum::<Duration>().div_f64(delays.len() as f64);
    assert!((ms(13)..ms(15)).contains(&mean), "{mean:?}");
}

#[test]
fn loss_is_on_the_wire_and_has_its_share() {
    let config = LinkConfig {
        rate: Some(Rate::constant(10_000_000)),
        loss: Loss::Random(0.2),
        ..LinkConfig::default()
    };
    let (arrivals, stats) = stream(&config, 5);
    let lost = arrivals.iter().filter(|at| at.is_none()).count() as u64;
    assert_eq!(lost, stats.wire_losses);
    assert_eq!(stats.queue_drops, 0);
    assert!((PACKETS * 18 / 100..PACKETS * 22 / 100).contains(&lost), "{lost}");
    let mut lossy = Link::new(
        LinkConfig {
            loss: Loss::Random(1.0),
            ..config
        },
        5,
    );
    assert_eq!(lossy.send(ms(0), 1000).first, Err(Drop::Wire));
    assert!(
        lossy.queueing_delay(ms(0)) > Duration::ZERO,
        "what is lost was sent"
    );
    lossy.set_loss(Loss::None);
    assert!(first(&mut lossy, ms(1), 1000).is_some());
}

#[test]
fn reordering_holds_some_back_and_leaves_the_rest_in_order() {
    let config = LinkConfig {
        reorder: 0.05,
        held_back: ms(20),
        ..LinkConfig::default()
    };
    let (arrivals, stats) = stream(&config, 9);
    let late = delays(&arrivals).iter().filter(|delay| !delay.is_zero()).count() as u64;
    assert!((PACKETS * 4 / 100..PACKETS * 6 / 100).contains(&late), "{late}");
    assert_eq!(late, stats.held_back);
    assert!(delays(&arrivals).iter().all(|delay| *delay <= ms(20)));
    assert!(!arrivals.is_sorted());
}

#[test]
fn duplicates_come_after_the_first() {
    let config = LinkConfig {
        duplicate: 0.1,
        jitter: ms(3),
        jitter_reorders: true,
        ..LinkConfig::default()
    };
    let mut link = Link::new(config, 2);
    let mut twice = 0;
    for n in 0..PACKETS {
        let arrivals = link.send(ms(n), 100);
        let first = arrivals.first.expect("nothing is lost");
        assert!(arrivals.duplicate.is_none_or(|at| at >= first));
        twice += u64::from(arrivals.duplicate.is_some());
    }
    assert!(
        (PACKETS * 9 / 100..PACKETS * 11 / 100).contains(&twice),
        "{twice}"
    );
    assert_eq!(link.stats().duplicates, twice);
}

#[test]
fn a_seed_is_a_run_and_properties_do_not_disturb_each_other() {
    let config = LinkConfig {
        jitter: ms(4),
        loss: Loss::Bursty {
            enter: 0.02,
            leave: 0.3,
            good: 0.001,
            bad: 0.6,
        },
        reorder: 0.02,
        held_back: ms(15),
        duplicate: 0.01,
        ..LinkConfig::default()
    };
    assert_eq!(stream(&config, 4), stream(&config, 4));
    assert_ne!(stream(&config, 4), stream(&config, 5));
    let lost =
        |arrivals: &[Option<Duration>]| -> Vec<bool> { arrivals.iter().map(Option::is_none).collect() };
    let calm = LinkConfig {
        jitter: Duration::ZERO,
        reorder: 0.0,
        ..config.clone()
    };
    assert_eq!(lost(&stream(&config, 4).0), lost(&stream(&calm, 4).0));
}

#[test]
fn a_config_is_read_from_a_file() {
    let text = r#"
        rate_kbps = [[0, 1000], [20, 2500]]
        queue = { ms = 300 }
        delay_ms = 25
        jitter_ms = 1.5
        loss = { bursty = { enter = 0.01, leave = 0.25, good = 0.0, bad = 0.5 } }
        reorder = 0.01
        held_back_ms = 30
    "#;
    let read: LinkConfig = toml::from_str(text).expect("a legal config");
    let mut rate = Rate::constant(1_000_000);
    rate.set(Duration::from_secs(20), 2_500_000);
    let expected = LinkConfig {
        rate: Some(rate),
        queue: Queue::Delay(ms(300)),
        delay: ms(25),
        jitter: Duration::from_micros(1500),
        loss: Loss::Bursty {
            enter: 0.01,
            leave: 0.25,
            good: 0.0,
            bad: 0.5,
        },
        reorder: 0.01,
        held_back: ms(30),
        ..LinkConfig::default()
    };
    assert_eq!(read, expected);
    for wrong in [
        "speed = 3",
        "delay_ms = -1",
        "rate_kbps = []",
        "rate_kbps = [[5, 1], [5, 2]]",
        "queue = { packets = 3 }",
    ] {
        assert!(toml::from_str::<LinkConfig>(wrong).is_err(), "{wrong}");
    }
}
