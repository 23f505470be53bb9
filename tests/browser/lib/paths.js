// Where programs, pictures and servers of the tests are.

import { existsSync, mkdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const repository = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");

/** The address that `in-own-network.sh` gives to the tests beside 127.0.0.1. */
export const OWN_ADDRESS = "10.79.0.1";

/** Ignored by git; kept by CI. */
export const artifacts = path.join(repository, "artifacts");

/** A folder under `artifacts`, made if need be. @param {string} name */
export function artifactFolder(name) {
  const folder = path.join(artifacts, name);
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** The first of some programs that is there, or the first. @param {string[]} files */
export function installed(...files) {
  return files.find((file) => existsSync(file)) ?? files[0];
}

/** What `deploy/install-tools.sh` fetches by itself. @param {string} file */
export const fetched = (file) => path.join(repository, ".tools", file);

/** A program of the workspace. @param {string} name */
export function program(name) {
  const folder =
    process.env.KALL_BIN_DIR ?? path.join(process.env.CARGO_TARGET_DIR ?? path.join(repository, "target"), "debug");
  const file = path.join(folder, name);
  if (!existsSync(file)) throw new Error(`${file} is missing: build the programs first (make build)`);
  return file;
}
