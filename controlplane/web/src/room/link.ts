// Meeting links and codes: what a person may paste into "join", and what is shown to copy.

export type ParsedLink =
  | { readonly ok: true; readonly room: string; readonly token: string | undefined }
  | { readonly ok: false; readonly why: "empty" | "malformed" | "other_server" };

/** Ids (`rm_...`) and slugs. */
const ROOM = /^[A-Za-z0-9_-]{1,128}$/;

export function meetingPath(room: string): string {
  return `/r/${encodeURIComponent(room)}`;
}

/** Reads a code, a path or a full link to this server. */
export function parseLink(input: string, origin: string): ParsedLink {
  const text = input.trim();
  if (text === "") return { ok: false, why: "empty" };
  if (ROOM.test(text)) return { ok: true, room: text, token: undefined };
  let url: URL;
  try {
    // A link may come without its scheme, as "kall.example.com/r/standup-a1b2".
    url = new URL(/^[a-z]+:\/\//i.test(text) ? text : text.startsWith("/") ? origin + text : `https://${text}`);
  } catch {
    return { ok: false, why: "malformed" };
  }
  const room = roomOfPath(url.pathname);
  if (room === undefined) return { ok: false, why: "malformed" };
  if (url.host !== new URL(origin).host) return { ok: false, why: "other_server" };
  return { ok: true, room, token: url.searchParams.get("token") ?? undefined };
}

/** The room of a `/r/...` path. */
export function roomOfPath(path: string): string | undefined {
  const encoded = /^\/r\/([^/]+)\/?$/.exec(path)?.[1];
  if (encoded === undefined) return undefined;
  try {
    const room = decodeURIComponent(encoded);
    return ROOM.test(room) ? room : undefined;
  } catch {
    return undefined;
  }
}
