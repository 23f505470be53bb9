// What the browser keeps between pages. Storage may be forbidden; then nothing is kept.

import type { ChoiceMemory } from "../media/local";

function read(storage: () => Storage, key: string): string | undefined {
  try {
    return storage().getItem(key) ?? undefined;
  } catch {
    return undefined;
  }
}

function write(storage: () => Storage, key: string, value: string | undefined): void {
  try {
    if (value === undefined) storage().removeItem(key);
    else storage().setItem(key, value);
  } catch {
    // A full or forbidden storage costs only convenience.
  }
}

const session = (): Storage => sessionStorage;
const local = (): Storage => localStorage;

/** Tokens live as long as their tab. */
export const tokens = {
  load: (room: string): string | undefined => read(session, `kall.token.${room}`),
  save: (room: string, token: string | undefined): void => write(session, `kall.token.${room}`, token),
};

export const nameMemory = {
  load: (): string => read(local, "kall.name") ?? "",
  save: (name: string): void => write(local, "kall.name", name),
};

export const deviceMemory: ChoiceMemory = {
  load() {
    try {
      const value: unknown = JSON.parse(read(local, "kall.devices") ?? "{}");
      if (typeof value !== "object" || value === null) return {};
      return Object.fromEntries(
        Object.entries(value).filter(
          ([key, id]) => ["microphone", "camera", "speaker"].includes(key) && typeof id === "string",
        ),
      );
    } catch {
      return {};
    }
  },
  save: (chosen) => write(local, "kall.devices", JSON.stringify(chosen)),
};
