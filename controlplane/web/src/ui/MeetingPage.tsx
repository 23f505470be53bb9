// The meeting: header, grid, toolbar, chat. Reads the meeting's state through memos, so that a
// change touches only what shows it.

import { createEffect, createMemo, createSignal, For, onCleanup, onMount, Show, type JSX } from "solid-js";
import type { LevelMeter } from "../media/audio_level";
import type { DeviceKind, LocalMedia, LocalState } from "../media/local";
import { meetingPath } from "../room/link";
import type { Meeting, MeetingState } from "../room/meeting";
import type { ScreenState } from "../media/screen";
import { audioSlots, participantCount } from "../room/selectors";
import { featured, screens, stageOrder, tileKey, type Shown } from "../room/stage";
import { AudioOut } from "./AudioOut";
import { Banner } from "./Banner";
import { Chat } from "./Chat";
import { copyText } from "./clipboard";
import { DeviceDialog } from "./DeviceDialog";
import { Grid } from "./Grid";
import { CheckIcon, LinkIcon, Logo, PeopleIcon } from "./Icons";
import { Invite } from "./Invite";
import { StatisticsPanel } from "./StatisticsPanel";
import { OtherTile, OwnScreenTile, OwnTile } from "./Tile";
import { Toolbar } from "./Toolbar";

const sameItems = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((item, index) => item === b[index]);

/** Tiles that one sees at once, and pictures that a connection receives. */
const PLACES = 9;

/** One word for both connections, for the page and for tests. */
export function connectionWord(state: MeetingState): "connecting" | "connected" | "reconnecting" | "failed" {
  const { connection, media } = state;
  if (connection.name === "ended" || media === "failed") return "failed";
  if (connection.name === "lobby") return "connecting";
  if (connection.name !== "joined") return connection.before ? "reconnecting" : "connecting";
  if (media === "connected") return "connected";
  return media === "interrupted" || state.restarting ? "reconnecting" : "connecting";
}

export function MeetingPage(props: {
  meeting: Meeting;
  local: LocalMedia;
  meter: LevelMeter;
  room: string;
}): JSX.Element {
  const { meeting, local, meter } = props;
  const [state, setState] = createSignal<MeetingState>(meeting.state);
  onCleanup(meeting.onChange(setState));
  const [devices, setDevices] = createSignal<LocalState>(local.state);
  onCleanup(local.onChange(setDevices));
  createEffect(() => meter.follow(devices().microphone.track));

  const room = createMemo(() => state().room);
  const [screen, setScreen] = createSignal<ScreenState>(meeting.screen.state);
  onCleanup(meeting.screen.onChange(setScreen));
  const others = createMemo(
    () => stageOrder(room().participants.map(({ identity }) => identity), room().spoken, PLACES),
    [],
    { equals: sameItems },
  );
  const shared = createMemo((before: string[]) => screens(room().participants, before), [], { equals: sameItems });
  const sounding = createMemo(() => audioSlots(room()).map(({ mid }) => mid), [], { equals: sameItems });
  const connection = createMemo(() => connectionWord(state()));
  const link = createMemo(() => location.origin + meetingPath(room().info?.slug ?? props.room));
  const title = createMemo(() => room().info?.name || props.room);
  const alone = createMemo(() => room().identity !== undefined && others().length === 0);
  const [copied, setCopied] = createSignal(false);
  const [blocked, setBlocked] = createSignal(false);
  const [choosing, setChoosing] = createSignal(false);
  const [measuring, setMeasuring] = createSignal(false);
  const [wantedPin, setWantedPin] = createSignal<Shown>();
  const [sentBack, setSentBack] = createSignal<ReadonlySet<string>>(new Set());
  /** Somebody who left is pinned no more, and again when they come back. */
  const large = createMemo(
    () => {
      const wanted = wantedPin();
      const there = wanted?.source === "screen" ? shared() : others();
      return featured(wanted && there.includes(wanted.identity) ? wanted : undefined, shared(), sentBack());
    },
    undefined,
    { equals: (a, b) => a?.identity === b?.identity && a?.source === b?.source },
  );
  const isLarge = (shown: Shown): boolean => {
    const now = large();
    return now !== undefined && tileKey(now) === tileKey(shown);
  };
  /** Makes a tile large, or as large as the others again: a screen that is sent back stays so. */
  const togglePin = (shown: Shown): void => {
    const back = isLarge(shown);
    setWantedPin(back ? undefined : shown);
    if (shown.source !== "screen") return;
    const others = [...sentBack()].filter((identity) => identity !== shown.identity);
    setSentBack(new Set(back ? [...others, shown.identity] : others));
  };
  // A share that is over is forgotten: the next one of the same person is news.
  createEffect(() => {
    const now = shared();
    const kept = [...sentBack()].filter((identity) => now.includes(identity));
    if (kept.length !== sentBack().size) setSentBack(new Set(kept));
  });
  const [readMutedBy, setReadMutedBy] = createSignal<string>();
  createEffect(() => {
    if (room().mutedBy["audio"] === undefined) setReadMutedBy(undefined);
  });
  const share = createMemo(() => {
    if (!meeting.screen.possible || room().permissions?.screen !== true) return undefined;
    const { video, busy } = screen();
    return { on: video !== undefined, busy, toggle: toggleShare };
  });
  const [expected, setExpected] = createSignal<ReadonlySet<DeviceKind>>(new Set());
  const expect = (kind: DeviceKind, yes: boolean): void => {
    if (expected().has(kind) === yes) return;
    setExpected(new Set((["camera", "microphone"] as const).filter((one) => (one === kind ? yes : expected().has(one)))));
  };
  createEffect(() => {
    if (devices().camera.track) expect("camera", true);
    if (devices().microphone.track) expect("microphone", true);
  });
  const retries = new Set<() => void>();

  createEffect(() => {
    document.title = room().unread > 0 ? `(${room().unread}) ${title()} · kall` : `${title()} · kall`;
  });

  let copiedTimer: number | undefined;
  const copyLink = async (): Promise<void> => {
    if (!(await copyText(link()))) return;
    setCopied(true);
    window.clearTimeout(copiedTimer);
    copiedTimer = window.setTimeout(() => setCopied(false), 2500);
  };
  onCleanup(() => window.clearTimeout(copiedTimer));

  // One that is wanted but missing is asked for again.
  const toggle = (kind: DeviceKind): void => {
    expect(kind, true);
    void local.setOn(kind, !local.state[kind].on || !local.state[kind].track);
  };

  function toggleShare(): void {
    if (meeting.screen.state.video) meeting.screen.stop();
    else void meeting.screen.start();
  }

  const shortcut = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.target instanceof Element && event.target.closest("input, textarea, select, dialog, [contenteditable]")) return;
    switch (event.key.toLowerCase()) {
      case "m":
        toggle("microphone");
        break;
      case "v":
        toggle("camera");
        break;
      case "s":
        share()?.toggle();
        break;
      case "i":
        setMeasuring(!measuring());
        break;
      case "c":
        meeting.setChatOpen(!room().chatOpen);
        // Or the letter lands in the field that takes the focus.
        event.preventDefault();
        break;
      default:
        break;
    }
  };
  // Leaving the page by any way is a departure, not a loss to wait for.
  const depart = (): void => meeting.leave();
  const online = (): void => meeting.retryNow();
  const visibility = (): void => meeting.setHidden(document.visibilityState === "hidden");
  onMount(() => {
    window.addEventListener("keydown", shortcut);
    window.addEventListener("pagehide", depart);
    window.addEventListener("online", online);
    document.addEventListener("visibilitychange", visibility);
  });
  onCleanup(() => {
    window.removeEventListener("keydown", shortcut);
    window.removeEventListener("pagehide", depart);
    window.removeEventListener("online", online);
    document.removeEventListener("visibilitychange", visibility);
  });

  const spoken = (): string => {
    const notice = room().notice?.what;
    if (!notice) return "";
    if (notice.kind === "chat") return room().chatOpen ? `${notice.name}: ${notice.text}` : `Message from ${notice.name}: ${notice.text}`;
    switch (notice.kind) {
      case "joined":
        return `${notice.name} joined`;
      case "left":
        return `${notice.name} left`;
      case "shares":
        return `${notice.name} shares a screen`;
      case "muted":
        return `${notice.name} muted your ${notice.track === "audio" ? "microphone" : notice.track}`;
    }
  };

  return (
    <div class="meeting" data-testid="meeting" data-connection={connection()} classList={{ "with-chat": room().chatOpen }}>
      <header class="meeting-header">
        <Logo />
        <h1 class="meeting-title" title={title()}>
          {title()}
        </h1>
        <span class="count" title="People in this meeting">
          <PeopleIcon />
          <span data-testid="participant-count">{participantCount(room())}</span>
          <span class="visually-hidden">in this meeting</span>
        </span>
        <div class="meeting-link">
          <span data-testid="meeting-link">{link()}</span>
          <button
            type="button"
            class="link-button"
            classList={{ "link-button-done": copied() }}
            data-testid="copy-link"
            aria-label={copied() ? "Copied the meeting link" : "Copy link to this meeting"}
            title="Copy link to this meeting"
            onClick={() => void copyLink()}
          >
            {copied() ? <CheckIcon /> : <LinkIcon />}
            <span class="link-button-word">{copied() ? "Copied" : "Copy link"}</span>
          </button>
        </div>
      </header>

      <Banner
        state={state()}
        soundBlocked={blocked()}
        devices={devices()}
        expected={expected()}
        mutedBy={readMutedBy() === undefined ? room().mutedBy["audio"] : undefined}
        onMutedRead={() => setReadMutedBy(room().mutedBy["audio"])}
        shareProblem={screen().problem}
        onDismiss={(kind) => expect(kind, false)}
        onSound={() => {
          setBlocked(false);
          for (const again of retries) again();
        }}
        onRetry={() => meeting.retryNow()}
      />

      <main class="stage">
        <Grid
          count={others().length + shared().length + (screen().video ? 1 : 0) + (alone() ? 2 : 1)}
          featured={large()?.source}
        >
          <For each={shared()}>
            {(identity) => (
              <OtherTile
                identity={identity}
                source="screen"
                room={room()}
                generation={state().generation}
                meeting={meeting}
                pinned={isLarge({ identity, source: "screen" })}
                onPin={() => togglePin({ identity, source: "screen" })}
              />
            )}
          </For>
          <Show when={screen().video}>
            <OwnScreenTile onStop={() => meeting.screen.stop()} />
          </Show>
          <For each={others()}>
            {(identity) => (
              <OtherTile
                identity={identity}
                source="camera"
                room={room()}
                generation={state().generation}
                meeting={meeting}
                pinned={isLarge({ identity, source: "camera" })}
                onPin={() => togglePin({ identity, source: "camera" })}
              />
            )}
          </For>
          <OwnTile room={room()} devices={devices()} />
          <Show when={alone()}>
            <Invite link={link()} copied={copied()} onCopy={() => void copyLink()} />
          </Show>
        </Grid>
      </main>

      <Show when={measuring()}>
        <StatisticsPanel room={room()} read={() => meeting.statistics()} onClose={() => setMeasuring(false)} />
      </Show>

      <Show when={room().chatOpen}>
        <Chat
          entries={room().chat}
          canSend={state().connection.name === "joined"}
          onSend={(text) => meeting.sendChat(text)}
          onClose={() => meeting.setChatOpen(false)}
        />
      </Show>

      <Toolbar
        devices={devices()}
        share={share()}
        chatOpen={room().chatOpen}
        unread={room().unread}
        statisticsOpen={measuring()}
        onMicrophone={() => toggle("microphone")}
        onCamera={() => toggle("camera")}
        onChat={() => meeting.setChatOpen(!room().chatOpen)}
        onDevices={() => setChoosing(true)}
        onStatistics={() => setMeasuring(!measuring())}
        onLeave={() => meeting.leave()}
      />

      <Show when={choosing()}>
        <DeviceDialog local={local} state={devices()} onClose={() => setChoosing(false)} />
      </Show>

      <For each={sounding()}>
        {(mid) => (
          <AudioOut
            stream={(state().generation, meeting.stream(mid))}
            speaker={devices().chosen.speaker}
            onBlocked={() => setBlocked(true)}
            retries={retries}
          />
        )}
      </For>
      <div class="visually-hidden" aria-live="polite" data-testid="announcements">
        {spoken()}
      </div>
    </div>
  );
}
