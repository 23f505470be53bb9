// The start page: a new meeting, or into one by its link.

import { createSignal, onMount, Show, type JSX } from "solid-js";
import { ApiError, createMeeting } from "../api/meetings";
import { LIMITS } from "../protocol";
import { meetingPath, parseLink } from "../room/link";
import { ArrowIcon, Logo, PlusIcon } from "./Icons";
import { tokens } from "./storage";

function createProblem(error: unknown): string {
  if (!(error instanceof ApiError)) return "Something went wrong. Try again.";
  switch (error.status) {
    case 0:
      return "The server can't be reached. Check your connection and try again.";
    case 401:
    case 403:
      return "On this server only invited people can start a meeting. Ask its operator for an invitation link.";
    case 429:
      return "Too many meetings were started from here. Wait a minute and try again.";
    default:
      return error.message === "" ? "The server could not start a meeting. Try again." : error.message;
  }
}

const JOIN_PROBLEMS = {
  empty: "Paste a meeting link or type its code.",
  malformed: "That is not a meeting link. It looks like “standup-a1b2” or ends in “/r/standup-a1b2”.",
  other_server: "This link belongs to another server. Open it in the address bar instead.",
} as const;

export function Landing(props: { navigate: (to: string) => void }): JSX.Element {
  const [name, setName] = createSignal("");
  const [code, setCode] = createSignal("");
  const [busy, setBusy] = createSignal(false);
  const [newProblem, setNewProblem] = createSignal("");
  const [joinProblem, setJoinProblem] = createSignal("");
  onMount(() => {
    document.title = "kall";
  });

  const create = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (busy()) return;
    setBusy(true);
    setNewProblem("");
    try {
      const meeting = await createMeeting(name().trim());
      tokens.save(meeting.slug, meeting.token);
      props.navigate(meetingPath(meeting.slug));
    } catch (error) {
      setNewProblem(createProblem(error));
    } finally {
      setBusy(false);
    }
  };

  const join = (event: Event): void => {
    event.preventDefault();
    const link = parseLink(code(), location.origin);
    if (!link.ok) {
      setJoinProblem(JOIN_PROBLEMS[link.why]);
      return;
    }
    if (link.token !== undefined) tokens.save(link.room, link.token);
    props.navigate(meetingPath(link.room));
  };

  return (
    <div class="page landing">
      <header class="page-header">
        <Logo />
      </header>
      <main class="landing-main">
        <section class="landing-words">
          <h1>
            Talk face to face, <em>on a server you trust.</em>
          </h1>
          <p class="lead">
            Start a meeting, send its link, and whoever opens it is in. Nothing to install, no account: sound and
            picture travel through this server.
          </p>
          <TilesDrawing />
        </section>
        <section class="landing-cards" aria-label="Meetings">
          <form class="card" onSubmit={(event) => void create(event)}>
            <h2>New meeting</h2>
            <label class="field">
              <span>
                Name <small>optional</small>
              </span>
              <input
                type="text"
                data-testid="new-meeting-name"
                placeholder="Team standup"
                maxLength={LIMITS.name}
                autocomplete="off"
                value={name()}
                onInput={(event) => setName(event.currentTarget.value)}
                aria-describedby={newProblem() === "" ? undefined : "new-problem"}
              />
            </label>
            <Show when={newProblem() !== ""}>
              <p class="form-problem" id="new-problem" role="alert" data-testid="new-problem">
                {newProblem()}
              </p>
            </Show>
            <button type="submit" class="button button-primary button-wide" data-testid="new-meeting" disabled={busy()}>
              <PlusIcon />
              {busy() ? "Starting…" : "Start a meeting"}
            </button>
          </form>
          <form class="card" onSubmit={join}>
            <h2>Join a meeting</h2>
            <label class="field">
              <span>Link or code</span>
              <input
                type="text"
                data-testid="join-code"
                placeholder="standup-a1b2"
                autocomplete="off"
                autocapitalize="off"
                spellcheck={false}
                value={code()}
                onInput={(event) => {
                  setCode(event.currentTarget.value);
                  setJoinProblem("");
                }}
                aria-describedby={joinProblem() === "" ? undefined : "join-problem"}
                aria-invalid={joinProblem() !== ""}
              />
            </label>
            <Show when={joinProblem() !== ""}>
              <p class="form-problem" id="join-problem" role="alert" data-testid="join-problem">
                {joinProblem()}
              </p>
            </Show>
            <button type="submit" class="button button-wide" data-testid="join">
              Join
              <ArrowIcon />
            </button>
          </form>
        </section>
      </main>
      <footer class="page-footer">kall is free software under the MIT licence.</footer>
    </div>
  );
}

/** A meeting in outline: four tiles, one of them speaking. */
function TilesDrawing(): JSX.Element {
  return (
    <svg class="tiles-drawing" viewBox="0 0 520 250" aria-hidden="true">
      <g class="drawn-tile">
        <rect x="2" y="2" width="252" height="120" rx="18" />
        <circle cx="128" cy="50" r="20" />
        <path d="M88 108c4-24 20-34 40-34s36 10 40 34" />
      </g>
      <g class="drawn-tile drawn-speaking">
        <rect x="266" y="2" width="252" height="120" rx="18" />
        <circle cx="392" cy="50" r="20" />
        <path d="M352 108c4-24 20-34 40-34s36 10 40 34" />
        <path class="drawn-wave" d="M446 44a22 22 0 0 1 0 30M456 36a34 34 0 0 1 0 46" />
      </g>
      <g class="drawn-tile">
        <rect x="2" y="134" width="252" height="114" rx="18" />
        <circle cx="128" cy="180" r="20" />
        <path d="M88 236c4-23 20-32 40-32s36 9 40 32" />
      </g>
      <g class="drawn-tile">
        <rect x="266" y="134" width="252" height="114" rx="18" />
        <circle cx="392" cy="180" r="20" />
        <path d="M352 236c4-23 20-32 40-32s36 9 40 32" />
      </g>
    </svg>
  );
}
