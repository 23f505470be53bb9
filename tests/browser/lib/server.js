// `kall` and its data plane in a temporary folder, on a free port of 127.0.0.1 or of another address.

import { spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";

import { artifactFolder, program } from "./paths.js";
import { until } from "./wait.js";

const API_KEY = "testkey:a-secret-for-the-tests-of-this-api";

/** A port of the address, below the range of outgoing connections, so that none takes it while a server restarts. */
async function freePort(address) {
  for (let step = 0; step < 1_000; step += 1) {
    const port = 20_000 + ((process.pid * 13 + step * 7) % 11_000);
    const free = await new Promise((resolve) => {
      const probe = net.createServer();
      probe.once("error", () => resolve(false));
      probe.listen(port, address, () => probe.close(() => resolve(true)));
    });
    if (free) return port;
  }
  throw new Error("no free port");
}

/** @param {number} pid the kernel's start time of a running process, or null */
function startTime(pid) {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? null : fields[19];
  } catch {
    return null;
  }
}

/** One process, told apart from a later one with the same number by its start time. */
export class Process {
  /** @param {number} pid */
  constructor(pid) {
    this.pid = pid;
    this.start = startTime(pid);
  }

  get alive() {
    return this.start !== null && startTime(this.pid) === this.start;
  }

  /** @param {NodeJS.Signals} signal */
  kill(signal) {
    if (this.alive) process.kill(this.pid, signal);
  }
}

export class Server {
  /**
   * @param {{ io?: "io_uring" | "syscall", name: string, address?: string, tcpPort?: number, config?: Record<string, string[]> }} options
   * `config` has further lines by section.
   */
  static async start({ io = "io_uring", name, address = "127.0.0.1", tcpPort = 0, config = {} }) {
    const server = new Server();
    server.address = address;
    server.name = `${name}-${io}`;
    server.io = io;
    server.port = await freePort(address);
    server.folder = fs.mkdtempSync(path.join(os.tmpdir(), "kall-browser-"));
    server.starts = 0;
    const extra = (section) => (config[section] ?? []).join("\n");
    fs.writeFileSync(
      path.join(server.folder, "kall.toml"),
      `[server]
host = "${address}"
port = ${server.port}
base_url = "${server.origin}"
log_level = "debug"
${extra("server")}
[auth]
secret = "a secret of more than thirty-two bytes for tests"
mode = "open"
${extra("auth")}
[[api.keys]]
key = "${API_KEY.split(":")[0]}"
secret = "${API_KEY.split(":")[1]}"

[room]
${extra("room")}
[media]
${extra("media")}
[database]
driver = "sqlite"
url = "${path.join(server.folder, "kall.db")}"

[dataplane]
bind = "${address}"
udp_port = 0
tcp_port = ${tcpPort}
cores = 1
io = "${io}"
${extra("dataplane")}
`,
    );
    await server.run();
    return server;
  }

  get origin() {
    return `http://${this.address}:${this.port}`;
  }

  /** Starts `kall` (again) and waits until both planes answer with the driver that was asked for. */
  async run() {
    this.starts += 1;
    const log = fs.openSync(path.join(this.folder, `kall-${this.starts}.log`), "w");
    this.child = spawn(program("kall"), ["--config", path.join(this.folder, "kall.toml"), "server"], {
      cwd: this.folder,
      stdio: ["ignore", log, log],
      env: { ...process.env, RUST_BACKTRACE: "1" },
    });
    fs.closeSync(log);
    this.exited = new Promise((resolve) => this.child.once("exit", (code, signal) => resolve({ code, signal })));
    this.kall = new Process(this.child.pid);
    const io = await until(
      "both planes to answer",
      async () => {
        if (!this.kall.alive) throw new Error(`kall ended; it said:\n${this.logs()}`);
        return (await this.stats().catch(() => null))?.dataplane?.io;
      },
      { describe: () => this.logs() },
    );
    if (io !== this.io) throw new Error(`the driver in use is ${io}, asked for was ${this.io}`);
  }

  /** @param {string} route */
  async get(route) {
    const answer = await fetch(this.origin + route, { headers: { authorization: `Bearer ${API_KEY}` } });
    if (!answer.ok) throw new Error(`GET ${route}: ${answer.status}`);
    return answer.json();
  }

  /** @param {string} route @param {unknown} body */
  async post(route, body) {
    const answer = await fetch(this.origin + route, {
      method: "POST",
      headers: { authorization: `Bearer ${API_KEY}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`POST ${route}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  stats() {
    return this.get("/stats");
  }

  /** Who sends and receives what in a room. @param {string} room id or slug */
  roomStats(room) {
    return this.get(`/stats?room=${encodeURIComponent(room)}`);
  }

  /** The Prometheus page: values by name and labels. */
  async metrics() {
    const answer = await fetch(`${this.origin}/metrics`);
    if (!answer.ok) throw new Error(`GET /metrics: ${answer.status}`);
    const lines = (await answer.text()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    return Object.fromEntries(
      lines.map((line) => {
        const end = line.lastIndexOf(" ");
        return [line.slice(0, end), Number(line.slice(end + 1))];
      }),
    );
  }

  /** Counters of the data plane that tell of drops and bugs. */
  async drops() {
    const cores = (await this.stats()).dataplane?.cores ?? [];
    return cores.map(({ counters }) =>
      Object.fromEntries(Object.entries(counters).filter(([name]) => /^(drop|bug)_/.test(name))),
    );
  }

  /** Living data planes of this server's folder. */
  dataplanes() {
    return fs
      .readdirSync("/proc")
      .filter((entry) => /^\d+$/.test(entry))
      .filter((pid) => {
        try {
          const name = path.basename(fs.readlinkSync(`/proc/${pid}/exe`)).replace(" (deleted)", "");
          const mentions = (file) => fs.readFileSync(`/proc/${pid}/${file}`).includes(this.folder);
          return name === "kall-dataplane" && (mentions("cmdline") || mentions("environ"));
        } catch {
          return false;
        }
      })
      .map((pid) => new Process(Number(pid)))
      .filter((found) => found.alive);
  }

  /** The one data plane. */
  dataplane() {
    const found = this.dataplanes();
    if (found.length !== 1) throw new Error(`one data plane should run, found ${found.length}`);
    return found[0];
  }

  /** SIGKILL by process id. */
  async kill() {
    this.kall.kill("SIGKILL");
    const { signal } = await this.exited;
    if (signal !== "SIGKILL") throw new Error(`kall ended by ${signal}`);
  }

  /** SIGTERM, as an operator does; the exit status must be 0. */
  async terminate() {
    this.kall.kill("SIGTERM");
    const { code, signal } = await this.exited;
    if (code !== 0) throw new Error(`kall ended with ${code ?? signal}; it said:\n${this.logs()}`);
  }

  logs() {
    return fs
      .readdirSync(this.folder)
      .filter((file) => file.endsWith(".log"))
      .sort()
      .map((file) => `--- ${file}\n${fs.readFileSync(path.join(this.folder, file), "utf8")}`)
      .join("\n");
  }

  /** Keeps the logs of a failed test. */
  keepLogs() {
    const kept = artifactFolder(`browser-${this.name}`);
    fs.writeFileSync(path.join(kept, "server.log"), this.logs());
    return kept;
  }

  /** Ends what still runs by force and removes the folder. */
  async remove() {
    this.kall.kill("SIGKILL");
    await this.exited;
    for (const dataplane of this.dataplanes()) dataplane.kill("SIGKILL");
    await until("the data plane to be gone", () => this.dataplanes().length === 0);
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}
