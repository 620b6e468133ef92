/** A host that passes requests on is told, louder when its MAC address says that it is somebody else; one that asks of its own accord is not. */
import { expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { arp, type Packet } from '../../packet/frame-testing.ts';
import { connection, modbus } from '../traffic-testing.ts';

const SECOND = 1_000_000;
const [OPERATOR, MIDDLE, CONTROLLER] = ['10.0.0.9', '10.0.0.66', '10.0.0.2'];
const MAC = '02:00:00:00:00:66';
const NOBODY = '00:00:00:00:00:00';

/** Asked each second; passed on so many microseconds later, `own` more questions between them. */
function relay(afterUs: number, own = 0): Packet[] {
  return Array.from({ length: 20 }, (_, i) => {
    const question = modbus(i, 3, 0, i % 3, 0, 1);
    return [
      ...connection(`${OPERATOR}:${5000 + i}`, `${MIDDLE}:502`, [['>', question]], i * SECOND),
      ...connection(`${MIDDLE}:${5000 + i}`, `${CONTROLLER}:502`, [['>', question]], i * SECOND + afterUs),
      ...Array.from({ length: own }, (_, n) => connection(`${MIDDLE}:${6000 + own * i + n}`, `${CONTROLLER}:502`, [['>', modbus(i, 3, 0, 50 + n, 0, 1)]], i * SECOND + 300_000 + n * 50_000)).flat(), // prettier-ignore
    ];
  }).flat().sort((a, b) => a.timeUs - b.timeUs);
} // prettier-ignore

function told(packets: readonly Packet[]): string[] {
  const rig = new Rig().add(packets).finish();
  return [...rig.alerts.values()].filter(({ rule }) => rule === 'ot-relay').map(({ severity, source }) => `${severity} ${source}`); // prettier-ignore
}

it('who passes on what it is asked is told', () => {
  expect(told(relay(20_000))).toEqual([`low ${MIDDLE}`]);
});

it('louder, when its MAC address says that it is the controller, too', () => {
  const claims = [MIDDLE, CONTROLLER].map((address, i) => ({ timeUs: i * 1000, frame: arp(2, MAC, address, NOBODY, OPERATOR) })); // prettier-ignore
  expect(told([...claims, ...relay(20_000)])).toEqual([`medium ${MIDDLE}`]);
});

it('who asks later, or mostly of its own accord, is not', () => {
  expect(told(relay(300_000))).toEqual([]);
  expect(told(relay(20_000, 3))).toEqual([]);
});
