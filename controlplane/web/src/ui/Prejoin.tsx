// Before the meeting: how one looks and sounds, which devices, which name.

import { createEffect, createSignal, onCleanup, onMount, Show, type JSX } from "solid-js";
import type { LevelMeter } from "../media/audio_level";
import type { DeviceKind, LocalMedia, LocalState } from "../media/local";
import type { DeviceProblem } from "../media/problem";
import { LIMITS } from "../protocol";
import { DevicePicker } from "./DevicePicker";
import { CameraIcon, CameraOffIcon, LockIcon, Logo, MicIcon, MicOffIcon, WarningIcon } from "./Icons";
import { LevelBar } from "./LevelBar";
import type { PasswordState } from "./RoomPage";
import { nameMemory } from "./storage";
import { Video } from "./Video";
import { initials, problemWords, type Words } from "./words";

export function Prejoin(props: {
  local: LocalMedia;
  meter: LevelMeter;
  room: string;
  password: PasswordState;
  onEnter: (name: string, password: string | undefined) => Promise<void>;
}): JSX.Element {
  const { local, meter } = props;
  const [state, setState] = createSignal<LocalState>(local.state);
  onCleanup(local.onChange(setState));
  const [name, setName] = createSignal(nameMemory.load());
  const [nameProblem, setNameProblem] = createSignal("");
  const [password, setPassword] = createSignal("");
  const [busy, setBusy] = createSignal(false);
  let nameInput: HTMLInputElement | undefined;
  let passwordInput: HTMLInputElement | undefined;

  onMount(() => {
    document.title = "Join · kall";
    // Coming back for a password, the devices are still open.
    if (!state().camera.track && !state().microphone.track) void local.openBoth();
    if (props.password !== "none") passwordInput?.focus();
    else nameInput?.focus();
  });
  createEffect(() => meter.follow(state().microphone.track));

  const stream = (): MediaStream | undefined => {
    const { track } = state().camera;
    return track && new MediaStream([track]);
  };

  const problem = (): { words: Words; retry: () => void } | undefined => {
    const { microphone, camera } = state();
    if (microphone.problem && microphone.problem === camera.problem) {
      return { words: problemWords(microphone.problem, "camera and microphone"), retry: () => void local.openBoth() };
    }
    const one = (kind: DeviceKind, found: DeviceProblem | undefined) =>
      found && { words: problemWords(found, kind), retry: () => void local.setOn(kind, true) };
    return one("camera", camera.problem) ?? one("microphone", microphone.problem);
  };

  const enter = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (busy()) return;
    if (name().trim() === "") {
      setNameProblem("Others need a name to call you by.");
      nameInput?.focus();
      return;
    }
    setBusy(true);
    await props.onEnter(name().trim(), props.password === "none" ? undefined : password());
    setBusy(false);
  };

  // One that is wanted but missing is asked for again.
  const toggle = (kind: DeviceKind): void => {
    const { on, track, problem: found } = state()[kind];
    void local.setOn(kind, !on || (!track && found !== undefined && found !== "insecure"));
  };
  const asking = (): boolean => state().camera.busy || state().microphone.busy;

  return (
    <div class="page prejoin">
      <header class="page-header">
        <Logo />
        <span class="room-code" title="Meeting code">
          {props.room}
        </span>
      </header>
      <main class="prejoin-main">
        <section class="prejoin-look" aria-label="Your camera and microphone">
          <div class="preview" data-testid="preview">
            <Show
              when={stream()}
              fallback={
                <div class="preview-empty">
                  <span class="avatar">{initials(name() || "?")}</span>
                  <span>{asking() ? "Starting… Your browser may ask for permission." : state().camera.on && state().camera.problem ? "No picture" : "Your camera is off"}</span>
                </div>
              }
            >
              {(shown) => <Video stream={shown()} mirrored label="Your own picture" />}
            </Show>
            <div class="preview-controls">
              <button
                type="button"
                class="round-button"
                classList={{ "round-button-off": !state().microphone.on || !state().microphone.track }}
                data-testid="toggle-mic"
                aria-label={state().microphone.on ? "Microphone on. Turn off" : "Microphone off. Turn on"}
                onClick={() => toggle("microphone")}
              >
                {state().microphone.on && state().microphone.track ? <MicIcon /> : <MicOffIcon />}
              </button>
              <button
                type="button"
                class="round-button"
                classList={{ "round-button-off": !state().camera.track }}
                data-testid="toggle-camera"
                aria-label={state().camera.on ? "Camera on. Turn off" : "Camera off. Turn on"}
                onClick={() => toggle("camera")}
              >
                {state().camera.track ? <CameraIcon /> : <CameraOffIcon />}
              </button>
            </div>
          </div>
          <LevelBar meter={meter} on={state().microphone.on && state().microphone.track !== undefined} />
          <Show when={problem()}>
            {(shown) => (
              <div class="device-problem" role="status" data-testid="device-problem">
                <WarningIcon />
                <div>
                  <strong>{shown().words.title}</strong>
                  <p>{shown().words.text}</p>
                  <Show when={shown().words.action}>
                    <button type="button" class="button button-small" onClick={() => shown().retry()}>
                      {shown().words.action}
                    </button>
                  </Show>
                </div>
              </div>
            )}
          </Show>
        </section>
        <section class="prejoin-side">
          <form class="card" onSubmit={(event) => void enter(event)} novalidate>
            <h1>Ready to join?</h1>
            <label class="field">
              <span>Your name</span>
              <input
                type="text"
                data-testid="name"
                ref={nameInput}
                autocomplete="name"
                maxLength={LIMITS.name}
                placeholder="How others see you"
                value={name()}
                onInput={(event) => {
                  setName(event.currentTarget.value);
                  setNameProblem("");
                }}
                aria-invalid={nameProblem() !== ""}
                aria-describedby={nameProblem() === "" ? undefined : "name-problem"}
              />
            </label>
            <Show when={nameProblem() !== ""}>
              <p class="form-problem" id="name-problem" role="alert">
                {nameProblem()}
              </p>
            </Show>
            <Show when={props.password !== "none"}>
              <label class="field">
                <span class="with-icon">
                  <LockIcon /> This meeting has a password
                </span>
                <input
                  type="password"
                  data-testid="password"
                  ref={passwordInput}
                  autocomplete="off"
                  maxLength={LIMITS.password}
                  value={password()}
                  onInput={(event) => setPassword(event.currentTarget.value)}
                  aria-invalid={props.password === "wrong"}
                />
              </label>
              <Show when={props.password === "wrong"}>
                <p class="form-problem" role="alert" data-testid="password-problem">
                  That is not the password. Ask the host for it.
                </p>
              </Show>
            </Show>
            <DevicePicker local={local} state={state()} />
            <button type="submit" class="button button-primary button-wide" data-testid="enter" disabled={busy()}>
              {busy() ? "Joining…" : state().camera.track || state().microphone.track ? "Join now" : "Join without devices"}
            </button>
          </form>
        </section>
      </main>
    </div>
  );
}
