// What each state says to a person, and what it tells them to do.

import type { DeviceProblem } from "../media/problem";

export interface Words {
  readonly title: string;
  readonly text: string;
  /** Label of the button that may help; none where only waiting or asking somebody does. */
  readonly action?: string;
}

const ERRORS: Readonly<Record<string, Words>> = {
  room_not_found: {
    title: "This meeting does not exist",
    text: "The link may be mistyped, or the meeting has ended. Check the link with whoever sent it, or start a meeting of your own.",
  },
  token_required: {
    title: "This meeting needs an invitation link",
    text: "Only people with a personal link can enter. Ask the host to send you one: it contains a token.",
  },
  auth_failed: {
    title: "This invitation is not valid",
    text: "The link has expired or belongs to another meeting. Ask the host for a new one.",
    action: "Try without the invitation",
  },
  permission_denied: {
    title: "You can't enter this meeting",
    text: "Your invitation does not allow it. Ask the host for another one.",
  },
  room_full: {
    title: "The meeting is full",
    text: "As many people are here as the host allows, or the server can serve. Wait a minute, or until somebody has left, then try again.",
    action: "Try again",
  },
  room_locked: {
    title: "The meeting is locked",
    text: "The host lets nobody else in right now. Ask them to unlock it, then try again.",
    action: "Try again",
  },
  replaced: {
    title: "You joined from another tab",
    text: "This meeting goes on in the other tab or on the other device. One person can be in a meeting once at a time.",
    action: "Use this tab instead",
  },
  kicked: {
    title: "You were removed from the meeting",
    text: "A host ended your participation.",
  },
  lobby_rejected: {
    title: "You were not let in",
    text: "The host did not admit you to this meeting.",
  },
  banned: {
    title: "You can't enter this meeting",
    text: "A host has banned you from it.",
  },
  room_closed: {
    title: "The meeting has ended",
    text: "It was closed for everybody.",
  },
  rate_limited: {
    title: "Too many attempts",
    text: "The server asks for a short pause. Wait a minute, then try again.",
    action: "Try again",
  },
  server_away: {
    title: "The server does not answer",
    text: "Check your internet connection. If it works, the server may be restarting: try again in a moment.",
    action: "Try again",
  },
  unsupported: {
    title: "This browser can't hold video meetings",
    text: "It has no WebRTC, or it is switched off. A current Firefox, Chrome, Edge or Safari works.",
  },
};

export function errorWords(code: string, message: string): Words {
  return (
    ERRORS[code] ?? {
      title: "Something went wrong",
      text: message === "" ? "The server reported a problem. Try again." : message,
      action: "Try again",
    }
  );
}

/** Why devices are missing, for one or both of them. */
export function problemWords(problem: DeviceProblem, what: string): Words {
  switch (problem) {
    case "insecure":
      return {
        title: "Your browser gives no camera or microphone to this address",
        text: "Browsers allow them only on https:// addresses and on localhost. Open the page as http://localhost, put HTTPS in front of the server, or run “kall setup --self-signed”. You can still join to watch and listen.",
      };
    case "denied":
      return {
        title: `Access to your ${what} is blocked`,
        text: "Click the camera or lock symbol in the address bar, allow access for this page, then try again. You can also join without.",
        action: "Try again",
      };
    case "not_found":
      return {
        title: `No ${what} found`,
        text: "Plug one in and try again, or join without: you will see and hear the others.",
        action: "Try again",
      };
    case "in_use":
      return {
        title: `Your ${what} can't be started`,
        text: "Another program may be using it. Close that program and try again, or join without.",
        action: "Try again",
      };
    case "unknown":
      return {
        title: `Your ${what} can't be used`,
        text: "The browser gave no reason. Try again, or join without.",
        action: "Try again",
      };
  }
}

/** The same in one line, for somebody who is in the meeting already. */
export function problemLine(problem: DeviceProblem, what: string): string {
  const cure: Record<DeviceProblem, string> = {
    insecure: "Open the page by https:// or on localhost.",
    denied: "Allow it by the symbol in the address bar, then switch it on again.",
    not_found: "Plug one in, then switch it on again.",
    in_use: "Close the program that uses it, then switch it on again.",
    unknown: "Try again, or choose another one under Devices.",
  };
  return `${problemWords(problem, what).title}. ${cure[problem]}`;
}

/** One or two letters for a tile without a picture. */
export function initials(name: string): string {
  const words = name.trim().split(/\s+/).filter((word) => word !== "");
  const first = [...(words[0] ?? "?")][0] ?? "?";
  const last = words.length > 1 ? ([...(words.at(-1) ?? "")][0] ?? "") : "";
  return (first + last).toUpperCase();
}

/** A steady hue for a person, 0 to 359, so that avatars are told apart. */
export function hueOf(identity: string): number {
  // FNV-1a, so that identities which differ in one letter get distant hues.
  let hash = 0x811c9dc5;
  for (let i = 0; i < identity.length; i++) hash = Math.imul(hash ^ identity.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % 360;
}

/** A bitrate in bit/s. */
export function bitrateWords(value: number | undefined): string | undefined {
  if (value === undefined) return undefined;
  if (value < 999_500) return `${(value / 1e3).toFixed(0)} kbit/s`;
  return `${(value / 1e6).toFixed(value < 9_995_000 ? 2 : 1)} Mbit/s`;
}

/** A time in milliseconds; below ten the tenths say something. */
export function millisecondWords(value: number | undefined): string | undefined {
  return value === undefined ? undefined : `${value.toFixed(value < 9.95 ? 1 : 0)} ms`;
}

/** A share, 0 to 1. */
export function percentWords(value: number | undefined): string | undefined {
  return value === undefined ? undefined : `${(value * 100).toFixed(1)} %`;
}
