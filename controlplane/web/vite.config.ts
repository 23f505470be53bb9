import { defineConfig } from "vitest/config";
import solid from "vite-plugin-solid";

// Where `npm run dev` finds a running server.
const server = process.env["KALL_URL"] ?? "http://127.0.0.1:7880";

export default defineConfig({
  plugins: [solid()],
  build: {
    target: "es2022",
    // The server's content security policy allows no data: scripts and no inline ones.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    host: "127.0.0.1",
    port: 5173,
    proxy: {
      "/ws": { target: server, ws: true },
      "/meetings": server,
      "/health": server,
    },
  },
  test: {
    environment: "happy-dom",
    include: ["src/**/*.test.{ts,tsx}"],
  },
});
