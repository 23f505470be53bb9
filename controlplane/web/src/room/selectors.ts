// Questions that pages ask of the room's state.

import type { Layer, Source } from "../protocol";
import type { ParticipantState, RoomState } from "./store";

export function participantCount(state: RoomState): number {
  return state.participants.length + (state.identity === undefined ? 0 : 1);
}

export function participant(state: RoomState, identity: string): ParticipantState | undefined {
  return state.participants.find((candidate) => candidate.identity === identity);
}

/** A participant without the track counts as muted: nobody hears or sees it. */
export function isMuted(state: RoomState, identity: string, source: Source): boolean {
  const track = participant(state, identity)?.tracks.find((candidate) => candidate.source === source);
  return track === undefined || track.muted;
}

/** The slot that carries a participant's source now. */
export function slotOf(state: RoomState, identity: string, source: Source): string | undefined {
  const track = participant(state, identity)?.tracks.find((candidate) => candidate.source === source);
  if (!track) return undefined;
  return Object.entries(state.slots).find(([, slot]) => slot.trackId === track.id)?.[0];
}

/** Why a participant's source can't be shown here, if the server said so. */
export function slotReason(state: RoomState, identity: string, source: Source): string | undefined {
  const mid = slotOf(state, identity, source);
  return mid === undefined ? undefined : state.slots[mid]?.reason;
}

/** Whether a participant's source is held back: the path here is too narrow, or the server has too much to do. */
export function isPaused(state: RoomState, identity: string, source: Source): boolean {
  const mid = slotOf(state, identity, source);
  return mid !== undefined && (state.slots[mid]?.paused ?? false);
}

/** What a slot carries, and whose it is. */
export interface Occupant {
  readonly identity: string;
  readonly name: string;
  readonly source: Source;
  readonly layer: Layer | undefined;
  readonly paused: boolean;
}

/** The occupants of all slots, by line. */
export function occupants(state: RoomState): ReadonlyMap<string, Occupant> {
  const found = new Map<string, Occupant>();
  for (const [mid, { trackId, layer, paused }] of Object.entries(state.slots)) {
    if (trackId === undefined) continue;
    for (const { identity, name, tracks } of state.participants) {
      const track = tracks.find(({ id }) => id === trackId);
      if (track) found.set(mid, { identity, name, source: track.source, layer, paused });
    }
  }
  return found;
}

/** Whether anything is to come: a slot shows or plays what somebody sends, and is not held back. */
export function isFed(state: RoomState): boolean {
  const sent = new Set(
    state.participants.flatMap(({ tracks }) => tracks.filter(({ muted }) => !muted).map(({ id }) => id)),
  );
  return Object.values(state.slots).some(({ trackId, paused }) => trackId !== undefined && !paused && sent.has(trackId));
}

/** Slots that carry sound, with the publisher's identity; of one source, or of any. */
export function audioSlots(state: RoomState, only?: Source): { readonly mid: string; readonly from: string }[] {
  const owners = new Map<string, string>();
  for (const { identity, tracks } of state.participants) {
    for (const { id, kind, source } of tracks) {
      if (kind === "audio" && (only === undefined || source === only)) owners.set(id, identity);
    }
  }
  return Object.entries(state.slots).flatMap(([mid, { trackId }]) => {
    const from = trackId === undefined ? undefined : owners.get(trackId);
    return from === undefined ? [] : [{ mid, from }];
  });
}
