// What people do with the pages, by the names that the pages give their parts (data-testid).

import assert from "node:assert/strict";

import { instrument } from "./browser.js";
import { until } from "./wait.js";

export const DESKTOP = { width: 1440, height: 900 };
export const PHONE = { width: 390, height: 844 };

/** Firefox counts a socket that does not open among the errors of the page; Chromium only logs it. */
const LOST_SOCKET = /^(Firefox can’t establish a connection to the server at|The connection to) ws:/;

export class Person {
  /** @param {string} name @param {import("playwright-core").Page} page */
  constructor(name, page) {
    this.name = name;
    this.page = page;
    /** @type {string[]} */
    this.complaints = [];
    page.on("pageerror", (error) => {
      if (!LOST_SOCKET.test(error.message)) this.complaints.push(String(error));
    });
  }

  /** What the server said of a type since the page was opened, in order. @param {string} type @returns {Promise<any[]>} */
  said(type) {
    return this.page.evaluate((of) => window.heardMessages.filter((message) => message.type === of), type);
  }

  /**
   * A person with a browser profile of their own.
   *
   * @param {import("playwright-core").Browser} browser
   * @param {string} name
   * @param {{ viewport?: { width: number, height: number } }} [options]
   */
  static async arrive(browser, name, { viewport = DESKTOP } = {}) {
    const context = await browser.newContext({ viewport });
    context.setDefaultTimeout(30_000);
    await instrument(context);
    return new Person(name, await context.newPage());
  }

  /** @param {string} id */
  part(id) {
    return this.page.getByTestId(id);
  }

  /** Makes a meeting on the landing page and gives its address. @param {string} origin @param {string} title */
  async createMeeting(origin, title) {
    await this.page.goto(origin);
    await this.part("new-meeting-name").fill(title);
    await this.part("new-meeting").click();
    await this.page.waitForURL(/\/r\//);
  }

  /** Goes from the pre-join page into the meeting. */
  async enter() {
    await this.part("name").fill(this.name);
    await this.part("enter").click();
    await this.connected();
  }

  async connected() {
    await this.page.locator('[data-testid="meeting"][data-connection="connected"]').waitFor();
  }

  /** The link that the meeting page shows. */
  async link() {
    const shown = (await this.part("meeting-link").first().textContent())?.trim() ?? "";
    return new URL(shown.includes("://") ? shown : `${new URL(this.page.url()).protocol}//${shown}`).href;
  }

  /** The tile of another participant. @param {string} name */
  tile(name) {
    return this.page.locator(`[data-testid="tile"][data-name="${name}"][data-self="false"]`);
  }

  /** Makes somebody's tile large, or as large as the others again. @param {string} name */
  async pin(name) {
    await this.tile(name).getByTestId("pin").click();
  }

  /** Opens an entry of the menu in the toolbar. @param {string} id */
  async choose(id) {
    await this.part("more").click();
    await this.part(id).click();
  }

  /** @param {string} text */
  async say(text) {
    if (!(await this.part("chat-input").isVisible())) await this.part("open-chat").click();
    await this.part("chat-input").fill(text);
    await this.part("chat-input").press("Enter");
  }

  /** @param {string} text */
  async hears(text) {
    if (!(await this.part("chat-input").isVisible())) await this.part("open-chat").click();
    await this.part("chat-message").filter({ hasText: text }).first().waitFor();
  }

  async participantCount() {
    return Number(((await this.part("participant-count").first().textContent()) ?? "").replace(/\D/g, ""));
  }

  /** Nothing threw in the page. */
  assertContent() {
    assert.deepEqual(this.complaints, [], `errors in ${this.name}'s page`);
  }

  async leave() {
    await this.part("leave").click();
    await this.part("left-page").waitFor();
  }
}

/**
 * Two people in a meeting: the first makes it, the second opens the link.
 *
 * @param {import("playwright-core").Browser} browser of the first, and of the second if no `other` is given
 * @param {import("./server.js").Server} server
 * @param {import("playwright-core").Browser} [other]
 */
export async function twoPeople(browser, server, other = browser) {
  const alice = await Person.arrive(browser, "Alice");
  await alice.createMeeting(server.origin, "Two people");
  await alice.enter();
  const bob = await Person.arrive(other, "Bob");
  await bob.page.goto(await alice.link());
  await bob.enter();
  await alice.tile("Bob").waitFor();
  await bob.tile("Alice").waitFor();
  await until("both to count two", async () => (await alice.participantCount()) === 2 && (await bob.participantCount()) === 2);
  return [alice, bob];
}
