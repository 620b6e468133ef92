/** Commands to controllers: what is told of each protocol's, how loud, and about whom. */
import { describe, expect, it } from 'vitest';
import { describeWithCorpus } from '../../../../../tests/support/corpus.ts';
import { Rig, analyzeCapture } from '../../engine-testing.ts';
import { ethernet, udp, type Packet } from '../../packet/frame-testing.ts';
import { connection, modbus } from '../traffic-testing.ts';

const CLIENT = '10.0.0.66';
const SERVER = '10.0.0.2';

function told(packets: readonly Packet[], rules: object = {}): string[] {
  const rig = new Rig({ rules }).add(packets).finish();
  return [...rig.alerts.values()]
    .filter(({ rule }) => rule === 'ot-control')
    .map(({ severity, technique, source, destination }) => `${severity} ${technique} ${source} ${destination}`); // prettier-ignore
}

function over(port: number, hex: string): Packet[] {
  return connection(`${CLIENT}:5000`, `${SERVER}:${port}`, [['>', Buffer.from(hex.replaceAll(' ', ''), 'hex')]], 0); // prettier-ignore
}

function overUdp(port: number, hex: string): Packet[] {
  const payload = Buffer.from(hex.replaceAll(' ', ''), 'hex');
  return [{ timeUs: 0, frame: udp(`${CLIENT}:5000`, `${SERVER}:${port}`, { payload }) }];
}

const at = (severity: string, technique: string): string[] => [
  `${severity} ${technique} ${CLIENT} ${SERVER}`,
];

describe('Modbus diagnostics', () => {
  const diagnostics = (...pdu: number[]): Packet[] =>
    connection(`${CLIENT}:5000`, `${SERVER}:502`, [['>', modbus(1, 8, ...pdu)]], 0);

  it.each([
    ['force listen only silences a slave', [0, 4, 0, 0], 'medium', 'T0814'],
    ['restart communications restarts it', [0, 1, 0xff, 0], 'medium', 'T0816'],
    ['clear counters removes traces', [0, 10, 0, 0], 'low', 'T0872'],
    ['another delimiter changes how it talks', [0, 3, 0x0d, 0], 'low', 'T0858'],
  ] as const)('%s', (_, pdu, severity, technique) => {
    expect(told(diagnostics(...pdu))).toEqual(at(severity, technique));
  });

  it('that only ask are no commands', () => {
    for (const sub of [0, 2, 11, 12, 18]) expect(told(diagnostics(0, sub, 0, 0))).toEqual([]);
  });
});

describe('IEC 60870-5-104', () => {
  it('setting the clock and freezing counters are told, a reset louder', () => {
    expect(told(over(2404, '6814 00000000 67010600 0100 000000 00000000010118'))).toEqual(at('low', 'T0836'));
    expect(told(over(2404, '680e 00000000 65010600 0100 000000 85'))).toEqual(at('low', 'T0855'));
    expect(told(over(2404, '680e 00000000 69010600 0100 000000 01'))).toEqual(at('medium', 'T0816'));
  });

  it('reading counters, and taking a reset back, are not', () => {
    expect(told(over(2404, '680e 00000000 65010600 0100 000000 05'))).toEqual([]);
    expect(told(over(2404, '680e 00000000 69010800 0100 000000 01'))).toEqual([]);
  });

  it('a master that takes over and sets the clock is no stranger; one that operates is', () => {
    const SECOND = 1_000_000;
    const say = (client: string, hex: string, timeUs: number): Packet[] =>
      connection(`${client}:5000`, `${SERVER}:2404`, [['>', Buffer.from(hex, 'hex')]], timeUs);
    const first = [0, 40, 80].flatMap((s) => say('10.0.0.9', '680e0000000064010600010000000014', s * SECOND));
    const rules = (hex: string): string[] =>
      new Rig().add([...first, ...say(CLIENT, hex, 120 * SECOND)]).finish().rules;
    expect(rules('6814000000006701060001000000000000000000010118'.slice(0, 44))).not.toContain(
      'ot-new-writer',
    );
    expect(rules('680e000000002d010600010000000001')).toContain('ot-new-writer');
  });
});

describe('BACnet', () => {
  it('silencing a device and restarting it are outages, enabling it and its backup are not', () => {
    const confirmed = (service: string): Packet[] => {
      const body = `01 04 00 05 01 ${service}`.replaceAll(' ', '');
      return overUdp(47808, `810a${(4 + body.length / 2).toString(16).padStart(4, '0')}${body}`);
    };
    expect(told(confirmed('11 19 01'))).toEqual(at('medium', 'T0814'));
    expect(told(confirmed('11 19 00'))).toEqual(at('low', 'T0858'));
    expect(told(confirmed('14 09 00'))).toEqual(at('medium', 'T0816'));
    expect(told(confirmed('14 09 02'))).toEqual(at('low', 'T0858'));
  });
});

describe('PROFINET', () => {
  /** DCP set of one block. */
  const set = (block: string): Packet[] => {
    const length = (block.replaceAll(' ', '').length / 2).toString(16).padStart(4, '0');
    const hex = `fefd 04 00 00000001 0000 ${length} ${block}`.replaceAll(' ', '');
    return [{ timeUs: 0, frame: ethernet(0x8892, Buffer.from(hex, 'hex'), undefined, '02:00:00:00:00:66') }]; // prettier-ignore
  };
  const from = (severity: string, technique: string): string[] => [
    `${severity} ${technique} 02:00:00:00:00:66 02:00:00:00:00:02`,
  ];

  it('names and addresses that are given are told, a device that is reset is louder, a lamp that blinks is not', () => {
    expect(told(set('0202 0006 0001 706c6331'))).toEqual(from('low', 'T0836'));
    expect(told(set('0102 000e 0001 0a000002 ffffff00 0a000001'))).toEqual(from('low', 'T0836'));
    expect(told(set('0506 0002 0002'))).toEqual(from('medium', 'T0816'));
    expect(told(set('0505 0002 0000'))).toEqual(from('medium', 'T0816'));
    expect(told(set('0503 0004 0000 0100'))).toEqual([]);
  });
});

describe('the severity of an outage', () => {
  it('is a threshold of its own', () => {
    const stop = over(2404, '680e 00000000 69010600 0100 000000 01');
    expect(told(stop, { ot_control: { outage_severity: 'critical' } })).toEqual(at('critical', 'T0816'));
  });
});

describe('a command that changes little', () => {
  it('is an outage when it is given again and again', () => {
    const clock = Buffer.from('6814000000006701060001000000000000000000010118', 'hex').subarray(0, 22);
    const many = (times: number): Packet[] =>
      Array.from({ length: times }, (_, i) =>
        connection(`${CLIENT}:${5000 + i}`, `${SERVER}:2404`, [['>', clock]], i * 1_000_000),
      ).flat();
    const rules = { ot_control: { repeats: 5 } };
    expect(told(many(4), rules)).toEqual(at('low', 'T0836'));
    expect(told(many(5), rules)).toEqual(at('medium', 'T0836'));
  });
});

describeWithCorpus('on real captures:', () => {
  it.each([
    ['ot/s7/step7_s300_stop.pcap', 'medium', 'T0816'],
    ['ot/s7/s7comm_reading_setting_plc_time.pcap', 'low', 'T0836'],
    ['ot/enip-cip/cip_stop_plc.pcap', 'medium', 'T0816'],
    ['ot/enip-cip/cip_start_plc.pcap', 'low', 'T0858'],
    ['ot/dnp3/dnp3-2.pcap', 'medium', 'T0816'],
    ['ot/bacnet/bacnet_services.pcap', 'medium', 'T0814'],
    ['ot/iec61850/mms-killRequest.pcap', 'medium', 'T0816'],
    ['attacks/enip-quickdraw/EIP-FirmwareChange.pcap.gz', 'medium', 'T0816'],
  ])('%s is %s, %s', async (name, severity, technique) => {
    const { alerts } = await analyzeCapture(name);
    expect(alerts).toContainEqual(expect.objectContaining({ rule: 'ot-control', severity, technique }));
    expect(alerts.filter((alert) => alert.rule === 'ot-control' && alert.severity === 'high')).toEqual([]);
  });
});
