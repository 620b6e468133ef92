/** The analyzer's books: what the engines and merges of all sensors counted, together and for each. */
import { sumOfBooks, type Books, type Sample } from '@tapline/shared/observe/books.ts';
import type { TrafficRow } from './count/traffic-table.ts';
import type { ScoringStation } from './scoring-station.ts';
import type { SensorStation } from './sensor-station.ts';

/** Rows in a log line or on the status page. */
const ROWS_SHOWN = 20;

/** All sensors together. */
export function sumOfEngines(stations: readonly SensorStation[]): Books {
  const all = stations.map(({ engine, merge }) => ({
    merge: { ...merge.counters, packetsHeldNow: merge.heldPackets, bytesHeldNow: merge.heldBytes },
    engine: { ...engine.counters },
    flows: { ...engine.flows.counters, flowsOpenNow: engine.flows.size },
    dissection: { ...engine.dissection.counters },
    desk: { ...engine.desk.counters },
    inventoryFull: { ...engine.inventory.full },
  }));
  return { sensorsNow: stations.length, ...sumOfBooks(all) };
}

/** The busiest sensors. */
export function sensorBooks(stations: readonly SensorStation[]): readonly Books[] {
  return stations
    .toSorted((a, b) => b.engine.counters.packets - a.engine.counters.packets)
    .slice(0, ROWS_SHOWN)
    .map(({ sensor, engine, merge }) => ({
      sensor,
      packets: engine.counters.packets,
      bytes: engine.counters.bytes,
      packetsLate: merge.counters.packetsLate,
      flows: engine.flows.counters.flows,
      flowsOpenNow: engine.flows.size,
      alerts: engine.desk.counters.alerts,
    }));
}

export function trafficRows(rows: readonly TrafficRow[]): readonly Books[] {
  return rows.slice(0, ROWS_SHOWN).map((row) => ({
    sensor: row.sensor,
    name: row.name,
    packets: row.packets,
    bytes: row.bytes,
    first: new Date(row.firstAtMs).toISOString(),
    last: new Date(row.lastAtMs).toISOString(),
  }));
}

/** The names of an older prototype, whose dashboards go on working. */
export function prototypeSamples(
  stations: Iterable<SensorStation>,
  { lastScore, lastWasTold }: ScoringStation,
): readonly Sample[] {
  const protocols = new Map<number, number>();
  for (const { engine } of stations)
    for (const [protocol, packets] of engine.protocols)
      protocols.set(protocol, (protocols.get(protocol) ?? 0) + packets);
  return [
    { name: 'anomalia_de_red_score', kind: 'gauge', labels: {}, value: lastScore },
    { name: 'anomalia_de_red_detectada', kind: 'gauge', labels: {}, value: Number(lastWasTold) },
    ...[...protocols].map(([protocol, packets]) => ({
      name: 'paquetes_de_red_procesados_total',
      kind: 'counter' as const,
      labels: { protocolo: protocol === -1 ? 'ethernet' : String(protocol) },
      value: packets,
    })),
  ];
}
