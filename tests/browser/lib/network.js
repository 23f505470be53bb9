// Network namespaces and the path between them. `make shaped` runs the tests in a network namespace and
// a process namespace of their own: interfaces, emulator, servers and browsers are gone with the test,
// however it ends, and nothing of the machine's network is touched.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

import { program } from "./paths.js";

const run = promisify(execFile);

/** One after the other: an `ip` command that fails fails the test, with what it said. @param {string[]} commands */
async function ip(prefix, commands) {
  for (const command of commands) {
    const words = [...prefix, "ip", ...command.split(" ")];
    await run(words[0], words.slice(1));
  }
}

/** Commands for `ip` in the namespace of the test itself, where the server runs. @param {string[]} commands */
export function here(...commands) {
  return ip([], commands);
}

/** Fails where an interface is in use: there the test would change the network of others. */
export async function assertEmpty() {
  const { stdout } = await run("ip", ["-o", "link", "show", "up"]);
  const others = stdout.split("\n").filter((line) => line && !/^\d+: lo:/.test(line));
  if (others.length > 0) throw new Error("this test takes a network namespace of its own: run it by `make shaped`");
}

/** A network namespace that lives as long as a process which waits for its input to end. */
export class Namespace {
  static async make() {
    const space = new Namespace();
    space.holder = spawn("unshare", ["--net", "cat"], { stdio: ["pipe", "pipe", "inherit"] });
    const failed = once(space.holder, "exit").then(([code]) => {
      throw new Error(`no network namespace: unshare ended with ${code}`);
    });
    // `cat` answers once the namespace is there.
    space.holder.stdin.write("\n");
    await Promise.race([once(space.holder.stdout, "data"), failed]);
    failed.catch(() => undefined);
    await space.ip("link set lo up");
    return space;
  }

  get pid() {
    return this.holder.pid;
  }

  get #enter() {
    return ["nsenter", "--target", String(this.pid), "--net"];
  }

  /** @param {string[]} commands */
  ip(...commands) {
    return ip(this.#enter, commands);
  }

  /** Rules for `nft`, which are gone with the namespace. @param {string} rules */
  async nft(rules) {
    const [command, ...enter] = [...this.#enter, "nft", rules];
    await run(command, enter);
  }

  /** Datagrams go nowhere, neither out nor in. */
  dropUdp() {
    const chain = (hook) => `chain ${hook} { type filter hook ${hook} priority 0; meta l4proto udp drop; };`;
    return this.nft(`table inet blocked { ${chain("input")} ${chain("output")} }`);
  }

  letUdpPass() {
    return this.nft("delete table inet blocked");
  }

  /** A script that starts a program in here, with the arguments it is given. @param {string} folder @param {string} started */
  script(folder, started) {
    const file = path.join(folder, `in-${this.pid}`);
    fs.writeFileSync(file, `#!/bin/sh\nexec ${this.#enter.join(" ")} ${started} "$@"\n`, { mode: 0o755 });
    return file;
  }

  async remove() {
    this.holder.stdin.end();
    if (this.holder.exitCode === null) await once(this.holder, "exit");
  }
}

/** The path between two interfaces, see `tests/src/bin/link-emulator`. */
export class Emulator {
  #answers;
  #turn = Promise.resolve();

  /** Makes the two interfaces, in the namespace of the test. @param {string} near @param {string} far */
  static async start(near, far) {
    const emulator = new Emulator();
    emulator.process = spawn(program("link-emulator"), [near, far], { stdio: ["pipe", "pipe", "inherit"] });
    emulator.#answers = createInterface({ input: emulator.process.stdout })[Symbol.asyncIterator]();
    await emulator.#answer();
    return emulator;
  }

  async #answer() {
    const { value, done } = await this.#answers.next();
    if (done) throw new Error("the link emulator ended");
    const answer = JSON.parse(value);
    if (answer.error) throw new Error(`the link emulator: ${answer.error}`);
    return answer;
  }

  /** One question at a time: answers come in order. @param {string} line */
  #ask(line) {
    const answer = this.#turn.then(() => {
      this.process.stdin.write(`${line}\n`);
      return this.#answer();
    });
    this.#turn = answer.catch(() => undefined);
    return answer;
  }

  /** Towards the far end, in the words of the simulation's files. @param {string} properties */
  down(properties) {
    return this.#ask(`down ${properties}`);
  }

  /** Towards the near end. @param {string} properties */
  up(properties) {
    return this.#ask(`up ${properties}`);
  }

  /** Counts since the start, and waits since the last look, of both directions. */
  stats() {
    return this.#ask("stats");
  }

  async stop() {
    this.process.stdin.end();
    if (this.process.exitCode === null) await once(this.process, "exit");
  }
}
