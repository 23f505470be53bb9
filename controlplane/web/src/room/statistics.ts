// The statistics table: a peer connection's figures under the names of the people they belong to. Pure.

import type { Layer, Source } from "../protocol";
import { layerOfRid } from "../rtc/encodings";
import type { ReceivedFigures, SentFigures, Size, Statistics } from "../rtc/statistics";
import { occupants } from "./selectors";
import type { RoomState } from "./store";

export interface StatisticsRow {
  /** Unique in a table. */
  readonly key: string;
  readonly name: string;
  readonly self: boolean;
  readonly source: Source;
  /** None for what has only one. */
  readonly layer: Layer | undefined;
  readonly state: "flowing" | "paused" | "off";
  readonly size: Size | undefined;
  readonly fps: number | undefined;
  readonly bitrate: number | undefined;
  readonly loss: number | undefined;
  readonly jitter: number | undefined;
}

/** Others first, in the order of their arrival, pictures before sound; own lines last. */
export function statisticsRows(room: RoomState, statistics: Statistics): StatisticsRow[] {
  const owners = occupants(room);
  const others = statistics.received.flatMap((figures): StatisticsRow[] => {
    const owner = owners.get(figures.mid);
    if (!owner) return [];
    return [
      {
        key: `in ${figures.mid}`,
        name: owner.name,
        self: false,
        source: owner.source,
        layer: owner.layer,
        state: owner.paused ? "paused" : "flowing",
        ...measured(figures),
      },
    ];
  });
  const place = (row: StatisticsRow): number => room.participants.findIndex(({ name }) => name === row.name);
  const sound = (source: Source): number => Number(source === "microphone" || source === "screen_audio");
  others.sort((a, b) => place(a) - place(b) || sound(a.source) - sound(b.source));
  const own = statistics.sent.map((figures): StatisticsRow => ({
    key: `out ${figures.source} ${figures.rid ?? ""}`,
    name: room.name,
    self: true,
    source: figures.source,
    layer: layerOfRid(figures.rid),
    state: figures.active ? "flowing" : "off",
    ...measured(figures),
  }));
  const area = ({ size }: StatisticsRow): number => (size ? size.width * size.height : 0);
  own.sort((a, b) => sound(a.source) - sound(b.source) || area(b) - area(a));
  return [...others, ...own];
}

function measured({ size, fps, bitrate, loss, jitter }: ReceivedFigures | SentFigures) {
  return { size, fps, bitrate, loss, jitter };
}
