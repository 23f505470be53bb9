// What a failed test leaves behind: both ends' statistics, the server's drop counters and logs.

import fs from "node:fs";
import path from "node:path";

import { reports } from "./browser.js";

/**
 * Runs `body`; when it fails, prints what both ends and the server saw, and fails all the same.
 *
 * @param {import("./server.js").Server} server
 * @param {() => import("./meeting.js").Person[]} people
 * @param {() => Promise<void>} body
 */
export async function withEvidence(server, people, body) {
  try {
    await body();
  } catch (error) {
    const kept = server.keepLogs();
    for (const person of people()) {
      const stats = await reports(person.page).catch((failure) => String(failure));
      console.error(`getStats of ${person.name}: ${JSON.stringify(stats)}`);
      console.error(`errors in the page of ${person.name}: ${JSON.stringify(person.complaints)}`);
      fs.writeFileSync(path.join(kept, `${person.name}.json`), JSON.stringify(stats, null, 2));
      await person.page.screenshot({ path: path.join(kept, `${person.name}.png`) }).catch(() => undefined);
    }
    console.error(`drop counters by core: ${JSON.stringify(await server.drops().catch(String))}`);
    console.error(`kept in ${kept}`);
    throw error;
  }
}
