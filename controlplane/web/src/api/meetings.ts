// The two REST calls that pages make. Both answer a token; neither needs an API key.

import { LIMITS } from "../protocol";

export interface NewMeeting {
  readonly room: string;
  readonly slug: string;
  readonly token: string;
}

/** The server said no, or could not be reached (`status` 0, code `server_away`). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

export async function createMeeting(name: string): Promise<NewMeeting> {
  const body = await post("/meetings", name === "" ? {} : { name });
  return { room: text(body, "room"), slug: text(body, "slug"), token: text(body, "token") };
}

export async function guestToken(slug: string, name: string, password?: string): Promise<string> {
  const path = `/meetings/${encodeURIComponent(slug)}/guest`;
  return text(await post(path, { name: name.slice(0, LIMITS.name), ...(password === undefined ? {} : { password }) }), "token");
}

/** The address of the signalling socket on the page's own server. */
export function socketUrl(token: string, page: Pick<Location, "protocol" | "host"> = location): string {
  return `${page.protocol === "https:" ? "wss" : "ws"}://${page.host}/ws?token=${encodeURIComponent(token)}`;
}

async function post(path: string, body: object): Promise<Record<string, unknown>> {
  let response: Response;
  try {
    response = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, "server_away", "The server can't be reached.");
  }
  const answer: unknown = await response.json().catch(() => undefined);
  if (!response.ok) {
    const error = isFields(answer) && isFields(answer["error"]) ? answer["error"] : {};
    const code = typeof error["code"] === "string" ? error["code"] : response.status >= 500 ? "server_away" : "internal";
    throw new ApiError(response.status, code, typeof error["message"] === "string" ? error["message"] : "");
  }
  if (!isFields(answer)) throw new ApiError(response.status, "internal", "The answer was not understood.");
  return answer;
}

function isFields(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(fields: Record<string, unknown>, name: string): string {
  const value = fields[name];
  if (typeof value !== "string") throw new ApiError(200, "internal", `The answer has no ${name}.`);
  return value;
}
