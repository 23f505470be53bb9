// Speech for a fake microphone: syllables with gaps between them, as a WAV file. The beeps that a browser
// makes by itself are too short for a voice.

import fs from "node:fs";
import os from "node:os";
import path from "node:path";

const RATE = 48_000;
/** In seconds: the sound of a syllable, the gap after it, and the whole, which the browser repeats. */
const SYLLABLE = 0.22;
const GAP = 0.06;
const LENGTH = 8.4;

/** A harsh tone like that of vocal cords, its pitch another one in each syllable. */
function sample(at) {
  const within = at % (SYLLABLE + GAP);
  if (within >= SYLLABLE) return 0;
  const syllable = Math.floor(at / (SYLLABLE + GAP));
  const pitch = 110 + 17 * ((syllable * 7) % 9);
  let sum = 0;
  for (let harmonic = 1; harmonic <= 14; harmonic += 1) {
    sum += Math.sin(2 * Math.PI * pitch * harmonic * (at + 0.01 * Math.sin(9 * at))) / harmonic;
  }
  const edge = Math.min(1, within / 0.02, (SYLLABLE - within) / 0.02);
  return 0.45 * edge * sum;
}

/** Writes the file and gives the flag by which Chromium takes it for its microphone. */
export function voiceFlag() {
  const samples = Math.round(RATE * LENGTH);
  const file = Buffer.alloc(44 + samples * 2);
  file.write("RIFF", 0);
  file.writeUInt32LE(36 + samples * 2, 4);
  file.write("WAVEfmt ", 8);
  file.writeUInt32LE(16, 16);
  file.writeUInt16LE(1, 20);
  file.writeUInt16LE(1, 22);
  file.writeUInt32LE(RATE, 24);
  file.writeUInt32LE(RATE * 2, 28);
  file.writeUInt16LE(2, 32);
  file.writeUInt16LE(16, 34);
  file.write("data", 36);
  file.writeUInt32LE(samples * 2, 40);
  for (let index = 0; index < samples; index += 1) {
    const value = Math.max(-1, Math.min(1, sample(index / RATE)));
    file.writeInt16LE(Math.round(value * 32_000), 44 + index * 2);
  }
  const name = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "kall-voice-")), "voice.wav");
  fs.writeFileSync(name, file);
  return `--use-file-for-fake-audio-capture=${name}`;
}
