//! Who is heard of a room, and who speaks.

use super::*;

/// What most people send: own sound, and three slots for that of others.
fn member(name: &str) -> Vec<MediaLine> {
    let own = publishing("0", Source::Microphone, &format!("{name}_mic"), &[]);
    let slots = ["2", "3", "4"].map(|mid| slot(mid, Kind::Audio));
    [own].into_iter().chain(slots).collect()
}

/// A room whose members send a packet of sound each 20 ms.
struct Talk {
    world: World,
    people: Vec<Peer>,
    seq: u64,
}

impl Talk {
    fn of(people: u16) -> Self {
        let mut world = World::new();
        let join = |index| world.join("rm_1", 1000 + index, member(&format!("p{index}")));
        Self {
            people: (0..people).map(join).collect(),
            world,
            seq: 0,
        }
    }

    /// So many packets of everybody, of a quiet room but for those named: -95 dBov, or theirs.
    fn packets(&mut self, count: usize, speakers: &[(usize, u8)]) {
        for _ in 0..count {
            self.seq += 1;
            for index in 0..self.people.len() {
                let loud = speakers.iter().find(|(speaker, _)| *speaker == index);
                let level = [loud.map_or(95, |(_, level)| *level)];
                let extensions: &[(u8, &[u8])] = &[(MID_ID, b"0"), (LEVEL_ID, &level)];
                let payload = [index as u8, self.seq as u8];
                let media = opus(self.seq, extensions, &payload);
                self.world.send(&mut self.people[index], media);
            }
            self.world.pass(20);
        }
    }

    /// Whose packets somebody got since the last look.
    fn heard(&mut self, listener: usize) -> Vec<usize> {
        let mut heard: Vec<usize> = self
            .world
            .media_of(&mut self.people[listener])
            .iter()
            .map(|got| usize::from(got.payload[0]))
            .collect();
        heard.sort_unstable();
        heard.dedup();
        heard
    }

    fn forget(&mut self) {
        for index in 0..self.people.len() {
            self.heard(index);
        }
        self.world.events.clear();
    }

    fn speakers(&self) -> Vec<String> {
        let events = self.world.events.iter();
        events
            .filter_map(|event| match event {
                Event::ActiveSpeaker { track, .. } => Some(track.to_string()),
                _ => None,
            })
            .collect()
    }
}

#[test]
fn a_word_arrives_from_its_first_packet_on() {
    let mut talk = Talk::of(8);
    talk.packets(60, &[]);
    talk.forget();
    let first = talk.seq as u8 + 1;
    talk.packets(6, &[(6, 30)]);
    let got = talk.world.media_of(&mut talk.people[0]);
    let word: Vec<&Got> = got.iter().filter(|got| got.payload[0] == 6).collect();
    let numbers: Vec<u8> = word
        .iter()
        .map(|got| got.payload[1])
        .filter(|seq| *seq >= first)
        .collect();
    assert_eq!(
        numbers,
        (first..first + 6).collect::<Vec<u8>>(),
        "each once, in order"
    );
    for pair in word.windows(2) {
        let [before, after] = [pair[0].header, pair[1].header];
        assert_eq!(after.sequence, before.sequence.wrapping_add(1));
        assert_eq!(after.timestamp.wrapping_sub(before.timestamp), 960);
    }
    talk.forget();
    talk.packets(1, &[(6, 30)]);
    assert_eq!(talk.heard(6).len(), 3, "who is heard hears three others");
}

#[test]
fn a_change_of_voice_is_one_stream_that_goes_on() {
    let mut talk = Talk::of(6);
    talk.packets(60, &[(1, 30), (2, 30), (3, 30)]);
    talk.packets(20, &[]);
    talk.forget();
    talk.packets(5, &[]);
    talk.packets(10, &[(5, 30)]);
    let got = talk.world.media_of(&mut talk.people[0]);
    let first = got
        .iter()
        .position(|got| got.payload[0] == 5)
        .expect("he is heard");
    let ssrc = got[first].header.ssrc;
    assert!(got[first].header.marker, "a talkspurt begins");
    let stream: Vec<&Got> = got.iter().filter(|got| got.header.ssrc == ssrc).collect();
    for pair in stream.windows(2) {
        let [before, after] = [pair[0].header, pair[1].header];
        assert_eq!(after.sequence, before.sequence.wrapping_add(1));
        assert_eq!(after.timestamp.wrapping_sub(before.timestamp), 960);
    }
    assert!(stream[0].payload[0] != 5, "somebody else was there before");
}

#[test]
fn what_a_listener_gets_does_not_grow_with_the_room() {
    let sealed = |people| {
        let mut talk = Talk::of(people);
        talk.packets(100, &[]);
        let before = talk.world.counter("rtp_out");
        talk.packets(50, &[(0, 30), (1, 35), (2, 40)]);
        (talk.world.counter("rtp_out") - before) / u64::from(people)
    };
    let [few, many] = [sealed(6), sealed(48)];
    assert_eq!(few, 150, "three slots, fifty packets");
    assert_eq!(many, few);
}

#[test]
fn who_speaks_is_told_and_is_in_the_snapshot() {
    let mut talk = Talk::of(3);
    talk.packets(60, &[]);
    assert!(talk.speakers().is_empty(), "nobody has spoken");
    talk.packets(60, &[(1, 30)]);
    assert_eq!(talk.speakers(), ["p1_mic"]);
    talk.packets(60, &[]);
    talk.packets(60, &[(2, 30)]);
    assert_eq!(talk.speakers(), ["p1_mic", "p2_mic"]);
    let speaks: Vec<bool> = talk
        .world
        .snapshot()
        .iter()
        .map(|session| session.tracks[0].speaks)
        .collect();
    assert_eq!(speaks, [false, false, true]);
}

#[test]
fn a_muted_voice_is_sealed_for_nobody_and_takes_no_place() {
    let mut talk = Talk::of(6);
    talk.packets(20, &[]);
    talk.packets(60, &[(1, 30)]);
    talk.world.mute(&talk.people[1], "p1_mic", true);
    talk.forget();
    let (dropped, out) = (talk.world.counter("drop_muted"), talk.world.counter("rtp_out"));
    talk.packets(100, &[(1, 10)]);
    for listener in 0..6 {
        assert!(!talk.heard(listener).contains(&1));
    }
    assert_eq!(talk.world.counter("drop_muted") - dropped, 100);
    assert_eq!(
        talk.world.counter("rtp_out") - out,
        6 * 300,
        "others have the place"
    );
    assert!(talk.speakers().is_empty());
    talk.world.mute(&talk.people[1], "p1_mic", false);
    talk.packets(4, &[(1, 30)]);
    assert!(talk.heard(0).contains(&1));
}

#[test]
fn who_leaves_hears_nothing_any_more_and_is_no_trace() {
    let mut talk = Talk::of(5);
    talk.packets(60, &[(1, 30), (2, 30)]);
    let gone = talk.people.remove(1);
    let close = Request::CloseSession { session: gone.id };
    talk.world.ask(close).expect("accepted");
    talk.packets(20, &[(1, 30)]);
    assert_eq!(talk.world.snapshot().len(), 4);
    for publication in talk
        .world
        .shard
        .publications
        .iter()
        .map(|(_, publication)| publication)
    {
        for subscriber in &publication.subscribers {
            assert!(talk.world.shard.sessions.get(subscriber.session).is_some());
        }
    }
    assert_eq!(talk.heard(0).len(), 3);
}

#[test]
fn more_slots_are_more_voices() {
    let mut talk = Talk::of(8);
    talk.packets(60, &[]);
    let mut lines = member("p0");
    lines.extend(["5", "6", "7", "8"].map(|mid| slot(mid, Kind::Audio)));
    let request = Request::UpdateSession {
        session: talk.people[0].id,
        label: None,
        params: params(lines),
    };
    talk.world.ask(request).expect("accepted");
    talk.forget();
    talk.packets(2, &[]);
    assert_eq!(talk.heard(0).len(), 7, "everybody, now that there are slots");
    assert_eq!(talk.heard(1).len(), 3);
}
