import { createSignal, type JSX } from "solid-js";
import { render } from "solid-js/web";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Statistics } from "../rtc/statistics";
import { initialRoom } from "../room/store";
import { settle } from "../signalling/fake";
import { SettingsIcon } from "./Icons";
import { MoreMenu } from "./MoreMenu";
import { StatisticsPanel } from "./StatisticsPanel";

let root: HTMLElement;
let dispose: () => void = () => undefined;

beforeEach(() => {
  root = document.createElement("div");
  document.body.append(root);
});

afterEach(() => {
  dispose();
  root.remove();
  vi.useRealTimers();
});

function show(page: () => JSX.Element): void {
  dispose = render(page, root);
}

function get(id: string): HTMLElement {
  const element = root.querySelector<HTMLElement>(`[data-testid="${id}"]`);
  if (!element) throw new Error(`no ${id} in ${root.innerHTML}`);
  return element;
}

function press(key: string): void {
  document.activeElement?.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
}

describe("the menu of the toolbar", () => {
  const ran: string[] = [];
  const menu = (): JSX.Element => (
    <MoreMenu
      entries={[
        { id: "first", words: "First", icon: SettingsIcon, run: () => ran.push("first") },
        { id: "second", words: "Second", icon: SettingsIcon, checked: true, run: () => ran.push("second") },
      ]}
    />
  );
  const isOpen = (): boolean => get("more").getAttribute("aria-expanded") === "true";

  it("is walked by arrow keys, and gives the focus back", () => {
    show(menu);
    get("more").click();
    expect(document.activeElement).toBe(get("first"));
    press("ArrowDown");
    expect(document.activeElement).toBe(get("second"));
    expect(get("second").getAttribute("aria-checked")).toBe("true");
    press("ArrowDown");
    expect(document.activeElement).toBe(get("first"));
    press("End");
    press("Escape");
    expect(isOpen()).toBe(false);
    expect(document.activeElement).toBe(get("more"));
  });

  it("closes with a choice, and with a click elsewhere", () => {
    show(menu);
    get("more").click();
    get("second").click();
    expect(ran).toEqual(["second"]);
    expect(isOpen()).toBe(false);
    get("more").click();
    document.body.dispatchEvent(new PointerEvent("pointerdown", { bubbles: true }));
    expect(isOpen()).toBe(false);
  });
});

describe("the statistics", () => {
  it("show figures as they change, until they are closed", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    let sending = 149_600;
    let reads = 0;
    const read = (): Promise<Statistics> => {
      reads += 1;
      const sent = [{ source: "camera", kind: "video", rid: "q", active: true, size: { width: 320, height: 180 }, fps: 20, bitrate: sending, loss: 0, jitter: 3 }] as const;
      return Promise.resolve({ rtt: 12.3, availableOutgoing: undefined, sending, receiving: 0, received: [], sent });
    };
    const [open, setOpen] = createSignal(true);
    show(() => <>{open() && <StatisticsPanel room={initialRoom("Ada")} read={read} onClose={() => setOpen(false)} />}</>);
    await vi.advanceTimersByTimeAsync(0);
    expect(get("statistics-rtt").textContent).toBe("12 ms");
    expect(get("statistics-available").textContent).toBe("–");
    const row = get("statistics-row");
    expect(row.textContent).toContain("You camera");
    expect(get("size").textContent).toBe("320×180");
    expect(get("bitrate").textContent).toBe("150 kbit/s");
    sending = 300_000;
    await vi.advanceTimersByTimeAsync(1000);
    expect(get("bitrate").textContent).toBe("300 kbit/s");
    expect(get("statistics-row"), "the row stays the same element").toBe(row);
    get("close-statistics").click();
    await vi.advanceTimersByTimeAsync(5000);
    expect(reads).toBe(2);
    vi.useRealTimers();
    await settle();
  });
});
