import { render } from "solid-js/web";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { settle } from "../signalling/fake";
import { App } from "./App";

/** The page as the person sees it, at an address. */
let dispose: () => void = () => undefined;
let root: HTMLElement;

function open(path: string): void {
  history.replaceState(null, "", path);
  dispose = render(() => <App />, root);
}

function find<T extends HTMLElement>(id: string): T | undefined {
  return root.querySelector<T>(`[data-testid="${id}"]`) ?? undefined;
}

function get<T extends HTMLElement>(id: string): T {
  const element = find<T>(id);
  if (!element) throw new Error(`no ${id} on the page: ${root.textContent}`);
  return element;
}

function type(id: string, text: string): void {
  const input = get<HTMLInputElement>(id);
  input.value = text;
  input.dispatchEvent(new InputEvent("input", { bubbles: true }));
}

async function submit(id: string): Promise<void> {
  get(id).closest("form")?.dispatchEvent(new Event("submit", { bubbles: true, cancelable: true }));
  await settle();
}

const requests: { path: string; body: unknown }[] = [];

/** The server's answer to every POST from now on. */
function server(status: number, body: unknown): void {
  vi.stubGlobal("fetch", (path: string, init: RequestInit) => {
    requests.push({ path, body: JSON.parse(String(init.body)) as unknown });
    return Promise.resolve(new Response(JSON.stringify(body), { status }));
  });
}

const refusal = (code: string) => ({ error: { code, message: "" } });

beforeEach(() => {
  requests.length = 0;
  sessionStorage.clear();
  localStorage.clear();
  root = document.createElement("div");
  document.body.append(root);
  vi.stubGlobal("RTCPeerConnection", class {});
  vi.stubGlobal(
    "AudioContext",
    class {
      createAnalyser = () => ({ fftSize: 0 });
      close = () => Promise.resolve();
    },
  );
});

afterEach(() => {
  dispose();
  root.remove();
  vi.unstubAllGlobals();
});

describe("the start page", () => {
  it("starts a meeting and goes there with its token", async () => {
    server(201, { room: "rm_1", slug: "standup-a1b2", token: "host-token" });
    open("/");
    type("new-meeting-name", " Standup ");
    await submit("new-meeting");
    expect(requests).toEqual([{ path: "/meetings", body: { name: "Standup" } }]);
    expect(location.pathname).toBe("/r/standup-a1b2");
    expect(sessionStorage.getItem("kall.token.standup-a1b2")).toBe("host-token");
    expect(find("enter")).toBeDefined();
  });

  it("says what to do where meetings need an invitation", async () => {
    server(403, refusal("forbidden"));
    open("/");
    await submit("new-meeting");
    expect(get("new-problem").textContent).toContain("invited");
    expect(location.pathname).toBe("/");
  });

  it("joins by link and keeps the invitation out of the address", async () => {
    server(200, { token: "guest" });
    open("/join");
    type("join-code", `${location.origin}/r/standup-a1b2?token=invited`);
    await submit("join");
    expect(location.href).toBe(`${location.origin}/r/standup-a1b2`);
    expect(sessionStorage.getItem("kall.token.standup-a1b2")).toBe("invited");
    expect(requests).toEqual([]);
  });

  it("refuses what is no link", async () => {
    open("/");
    type("join-code", "no link at all");
    await submit("join");
    expect(get("join-problem").textContent).toContain("not a meeting link");
  });
});

describe("a room's page", () => {
  it("takes an invitation out of the address", async () => {
    open("/r/standup-a1b2?token=invited&x=1");
    await settle();
    expect(location.search).toBe("?x=1");
    expect(sessionStorage.getItem("kall.token.standup-a1b2")).toBe("invited");
  });

  it.each([
    [404, "room_not_found", "room_not_found"],
    [403, "forbidden", "token_required"],
  ])("says early that it can't be entered (%i %s)", async (status, code, shown) => {
    server(status, refusal(code));
    open("/r/standup-a1b2");
    await settle();
    expect(get("error-page").dataset["code"]).toBe(shown);
  });

  it("asks for a password, and says when it is wrong", async () => {
    server(403, refusal("password_required"));
    open("/r/standup-a1b2");
    await settle();
    type("name", "Ada");
    type("password", "guess");
    server(403, refusal("password_wrong"));
    await submit("enter");
    expect(requests.at(-1)).toEqual({ path: "/meetings/standup-a1b2/guest", body: { name: "Ada", password: "guess" } });
    expect(get("password-problem").textContent).toContain("not the password");
    expect(find("error-page")).toBeUndefined();
  });

  it("wants a name before it enters", async () => {
    server(200, { token: "guest" });
    open("/r/standup-a1b2");
    await settle();
    await submit("enter");
    expect(root.textContent).toContain("Others need a name");
    expect(find("meeting")).toBeUndefined();
  });

  it("says that the server is away when it is, and offers another attempt", async () => {
    vi.stubGlobal("fetch", () => Promise.reject(new TypeError("failed to fetch")));
    open("/r/standup-a1b2");
    await settle();
    expect(find("error-page")).toBeUndefined();
    type("name", "Ada");
    await submit("enter");
    expect(get("error-page").dataset["code"]).toBe("server_away");
    get("error-action").click();
    expect(find("enter")).toBeDefined();
  });

  it("knows no other addresses", () => {
    open("/nowhere");
    expect(get("error-page").dataset["code"]).toBe("room_not_found");
  });

  it("tells a browser without WebRTC so", () => {
    vi.unstubAllGlobals();
    vi.stubGlobal("AudioContext", class {
      createAnalyser = () => ({ fftSize: 0 });
      close = () => Promise.resolve();
    });
    open("/r/standup-a1b2?token=t");
    expect(get("error-page").dataset["code"]).toBe("unsupported");
  });
});
