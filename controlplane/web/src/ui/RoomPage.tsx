// One room from the first look to the last: pre-join, meeting, and what comes after. Holds the
// token and the devices, which outlive each of those pages.

import { createSignal, Match, onCleanup, Switch, type JSX } from "solid-js";
import { ApiError, guestToken, socketUrl } from "../api/meetings";
import { LevelMeter } from "../media/audio_level";
import { LocalMedia } from "../media/local";
import { ScreenShare } from "../media/screen";
import { Meeting, realEnvironment } from "../room/meeting";
import { ErrorPage } from "./ErrorPage";
import { LeftPage } from "./LeftPage";
import { MeetingPage } from "./MeetingPage";
import { Prejoin } from "./Prejoin";
import { deviceMemory, nameMemory, tokens } from "./storage";

export type PasswordState = "none" | "required" | "wrong";

type Phase =
  | { readonly name: "prejoin"; readonly password: PasswordState }
  | { readonly name: "meeting"; readonly meeting: Meeting }
  | { readonly name: "left" }
  | { readonly name: "error"; readonly code: string; readonly message: string };

const canChooseSpeaker = "setSinkId" in HTMLMediaElement.prototype;

/** Browsers of phones have no such method, and insecure pages no devices at all. */
const canShareScreen = window.isSecureContext && "getDisplayMedia" in navigator.mediaDevices;

/** A name for the question whether the room is there, asked before the person has typed one. */
const NAMELESS = "Guest";

/** Takes an invitation out of the address, so that it is neither seen nor copied by mistake. */
function takeInvitation(room: string): string | undefined {
  const url = new URL(location.href);
  const invitation = url.searchParams.get("token");
  if (invitation !== null) {
    tokens.save(room, invitation);
    url.searchParams.delete("token");
    history.replaceState(history.state, "", url);
  }
  return tokens.load(room);
}

function errorCode(error: unknown): { code: string; message: string } {
  if (!(error instanceof ApiError)) return { code: "internal", message: String(error) };
  if (error.code === "password_required" || error.code === "password_wrong") return error;
  if (error.status === 404) return { code: "room_not_found", message: "" };
  if (error.status === 401 || error.status === 403) return { code: "token_required", message: "" };
  if (error.status === 429) return { code: "rate_limited", message: "" };
  return error;
}

export function RoomPage(props: { room: string; onHome: () => void }): JSX.Element {
  const { room } = props;
  let invitation = takeInvitation(room);
  /** A guest token and the name it was made for. */
  let guest: { token: string; name: string } | undefined;

  const devices = (): LocalMedia =>
    new LocalMedia(window.isSecureContext ? navigator.mediaDevices : undefined, deviceMemory, canChooseSpeaker);
  const [local, setLocal] = createSignal(devices());
  const meter = new LevelMeter();
  const [phase, setPhase] = createSignal<Phase>(
    "RTCPeerConnection" in window
      ? { name: "prejoin", password: "none" }
      : { name: "error", code: "unsupported", message: "" },
  );

  const show = (code: string, message: string): void => {
    if (code === "password_required" || code === "password_wrong") {
      setPhase({ name: "prejoin", password: code === "password_required" ? "required" : "wrong" });
      return;
    }
    local().close();
    meter.follow(undefined);
    setPhase({ name: "error", code, message });
  };

  const backToPrejoin = (): void => {
    local().close();
    setLocal(devices());
    setPhase({ name: "prejoin", password: "none" });
    void askAhead();
  };

  /** Says early that there is no such room, or that it wants an invitation or a password. */
  const askAhead = async (): Promise<void> => {
    if (invitation !== undefined || phase().name !== "prejoin") return;
    const name = nameMemory.load() || NAMELESS;
    try {
      guest = { token: await guestToken(room, name), name };
    } catch (error) {
      const { code, message } = errorCode(error);
      // Trouble that may pass is met again, and told, when the person enters.
      if (phase().name === "prejoin" && code !== "server_away" && code !== "rate_limited") show(code, message);
    }
  };
  void askAhead();

  const enter = async (name: string, password: string | undefined): Promise<void> => {
    nameMemory.save(name);
    let token = invitation;
    if (token === undefined) {
      try {
        if (guest?.name !== name || password !== undefined) {
          guest = { token: await guestToken(room, name, password), name };
        }
        token = guest.token;
      } catch (error) {
        const { code, message } = errorCode(error);
        show(code, message);
        return;
      }
    }
    const meeting = new Meeting(
      { url: socketUrl(token), room, name, ...(password === undefined ? {} : { password }) },
      local(),
      { ...realEnvironment, ownLevel: () => meter.level() },
      new ScreenShare(canShareScreen ? navigator.mediaDevices : undefined),
    );
    meeting.onChange(({ connection }) => {
      if (connection.name !== "ended") return;
      if (connection.code === "left") {
        local().close();
        meter.follow(undefined);
        setPhase({ name: "left" });
      } else {
        guest = undefined;
        show(connection.code, connection.message);
      }
    });
    setPhase({ name: "meeting", meeting });
    meeting.start();
  };

  /** The way out of an error: again, and without an invitation that was refused. */
  const retry = (code: string): void => {
    if (code === "auth_failed") {
      invitation = undefined;
      guest = undefined;
      tokens.save(room, undefined);
    }
    backToPrejoin();
  };

  onCleanup(() => {
    const now = phase();
    if (now.name === "meeting") now.meeting.leave();
    local().close();
    meter.close();
  });

  return (
    <Switch>
      <Match when={phase().name === "prejoin" && (phase() as Extract<Phase, { name: "prejoin" }>)} keyed>
        {(now) => <Prejoin local={local()} meter={meter} room={room} password={now.password} onEnter={enter} />}
      </Match>
      <Match when={phase().name === "meeting" && (phase() as Extract<Phase, { name: "meeting" }>)} keyed>
        {(now) => <MeetingPage meeting={now.meeting} local={local()} meter={meter} room={room} />}
      </Match>
      <Match when={phase().name === "left"}>
        <LeftPage onRejoin={backToPrejoin} onHome={props.onHome} />
      </Match>
      <Match when={phase().name === "error" && (phase() as Extract<Phase, { name: "error" }>)} keyed>
        {(now) => (
          <ErrorPage code={now.code} message={now.message} onHome={props.onHome} onAction={() => retry(now.code)} />
        )}
      </Match>
    </Switch>
  );
}
