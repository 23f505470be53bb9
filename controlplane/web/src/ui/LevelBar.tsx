// A bar that moves with the voice, so that one sees the microphone work.

import { onCleanup, onMount, type JSX } from "solid-js";
import type { LevelMeter } from "../media/audio_level";

export function LevelBar(props: { meter: LevelMeter; on: boolean }): JSX.Element {
  let bar: HTMLElement | undefined;
  let frame = 0;
  onMount(() => {
    const draw = (): void => {
      // Loudness is felt on a logarithmic scale: -60 dB is empty, -10 dB is full.
      const decibels = 20 * Math.log10(Math.max(props.meter.level(), 1e-4));
      const filled = Math.min(1, Math.max(0, (decibels + 60) / 50));
      bar?.style.setProperty("transform", `scaleX(${filled.toFixed(3)})`);
      frame = requestAnimationFrame(draw);
    };
    draw();
  });
  onCleanup(() => cancelAnimationFrame(frame));
  return (
    <div class="level" classList={{ "level-off": !props.on }}>
      <span>{props.on ? "Microphone" : "Microphone off"}</span>
      <span class="level-track" aria-hidden="true">
        <span class="level-fill" ref={(element) => (bar = element)} />
      </span>
    </div>
  );
}
