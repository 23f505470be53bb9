// What the connection carries right now, one row for each picture and sound, over the pictures.

import { createMemo, createSignal, For, onCleanup, onMount, Show, type JSX } from "solid-js";
import type { Source } from "../protocol";
import { statisticsRows, type StatisticsRow } from "../room/statistics";
import type { RoomState } from "../room/store";
import type { Statistics } from "../rtc/statistics";
import { CloseIcon } from "./Icons";
import { bitrateWords, millisecondWords, percentWords } from "./words";

/** Rates are over this time, in milliseconds. */
const EVERY_MS = 1000;

const SOURCES: Record<Source, string> = {
  camera: "camera",
  microphone: "microphone",
  screen: "screen",
  screen_audio: "screen sound",
};

/** What stands where there is nothing to tell. */
const NOTHING = "–";

export function StatisticsPanel(props: {
  room: RoomState;
  read: () => Promise<Statistics | undefined>;
  onClose: () => void;
}): JSX.Element {
  const [statistics, setStatistics] = createSignal<Statistics>();
  let timer: number | undefined;
  let closed = false;
  const look = async (): Promise<void> => {
    const now = await props.read();
    if (closed) return;
    setStatistics(now);
    timer = window.setTimeout(() => void look(), EVERY_MS);
  };
  onMount(() => void look());
  onCleanup(() => {
    closed = true;
    window.clearTimeout(timer);
  });
  const rows = createMemo(() => {
    const now = statistics();
    return now ? statisticsRows(props.room, now) : [];
  });
  const keys = createMemo(() => rows().map(({ key }) => key), [], {
    equals: (a, b) => a.length === b.length && a.every((key, index) => key === b[index]),
  });

  return (
    <section class="statistics" aria-labelledby="statistics-title" data-testid="statistics">
      <header class="chat-header">
        <h2 id="statistics-title">Connection statistics</h2>
        <button type="button" class="icon-button" data-testid="close-statistics" aria-label="Close statistics" onClick={() => props.onClose()}>
          <CloseIcon />
        </button>
      </header>
      <dl class="statistics-summary">
        <Figure id="rtt" words="Round trip" value={millisecondWords(statistics()?.rtt)} />
        <Figure id="available" words="Upload available" value={bitrateWords(statistics()?.availableOutgoing)} />
        <Figure id="sending" words="Sending" value={bitrateWords(statistics()?.sending)} />
        <Figure id="receiving" words="Receiving" value={bitrateWords(statistics()?.receiving)} />
      </dl>
      <Show when={rows().length > 0} fallback={<p class="statistics-empty">Nothing flows yet.</p>}>
        {/* The roles are said because a table that is laid out as cards loses its own. */}
        <table class="statistics-table" role="table">
          <caption class="visually-hidden">One row for each picture and sound, others first, your own last</caption>
          <thead role="rowgroup">
            <tr role="row">
              <For each={["Stream", "Size", "Frames/s", "Bitrate", "Loss", "Jitter", "Layer"]}>
                {(words) => (
                  <th role="columnheader" scope="col">
                    {words}
                  </th>
                )}
              </For>
            </tr>
          </thead>
          <tbody role="rowgroup">
            <For each={keys()}>{(key) => <Row row={rows().find((row) => row.key === key)} />}</For>
          </tbody>
        </table>
      </Show>
    </section>
  );
}

function Figure(props: { id: string; words: string; value: string | undefined }): JSX.Element {
  return (
    <div>
      <dt>{props.words}</dt>
      <dd data-testid={`statistics-${props.id}`}>{props.value ?? NOTHING}</dd>
    </div>
  );
}

function Row(props: { row: StatisticsRow | undefined }): JSX.Element {
  return (
    <Show when={props.row}>
      {(row) => (
        <tr
          role="row"
          classList={{ "statistics-own": row().self }}
          data-testid="statistics-row"
          data-name={row().name}
          data-self={String(row().self)}
          data-source={row().source}
        >
          <th role="rowheader" scope="row">
            <span class="statistics-name">{row().self ? "You" : row().name}</span> <span>{SOURCES[row().source]}</span>
          </th>
          <Cell id="size" words="Size" value={sizeWords(row())} />
          <Cell id="fps" words="Frames/s" value={row().fps?.toFixed(0)} />
          <Cell id="bitrate" words="Bitrate" value={bitrateWords(row().bitrate)} />
          <Cell id="loss" words="Loss" value={percentWords(row().loss)} />
          <Cell id="jitter" words="Jitter" value={millisecondWords(row().jitter)} />
          <Cell id="layer" words="Layer" value={layerWords(row())} />
        </tr>
      )}
    </Show>
  );
}

function Cell(props: { id: string; words: string; value: string | undefined }): JSX.Element {
  return (
    <td role="cell" data-testid={props.id} data-words={props.words} classList={{ "statistics-nothing": props.value === undefined }}>
      {props.value ?? NOTHING}
    </td>
  );
}

function sizeWords({ size }: StatisticsRow): string | undefined {
  return size && `${size.width}×${size.height}`;
}

function layerWords({ layer, state }: StatisticsRow): string | undefined {
  const words = { flowing: "", paused: "paused", off: "off" }[state];
  return [layer, words].filter((word) => word !== undefined && word !== "").join(", ") || undefined;
}
