/** The command that puts an alert's packets into Wireshark: one that works where the packets are, an archive or a file. */
import { isIP } from 'node:net';
import { dirname } from 'node:path';
import { parseSegmentName } from '@tapline/shared/archive/segment-name.ts';
import type { Alert } from '../alert/alert-desk.ts';

/** So much is shown around an alert. */
const MARGIN_US = 5_000_000;

/** `tapline-collector export …` for an archive, tshark for any other file; '' when the alert has no packets. */
export function exportCommand(alert: Alert): string {
  const [slice] = alert.slices;
  if (slice === undefined) return '';
  const from = new Date(Math.floor((alert.scope.fromUs - MARGIN_US) / 1000)).toISOString();
  const to = new Date(Math.ceil((alert.scope.toUs + MARGIN_US) / 1000)).toISOString();
  const name = slice.file.slice(slice.file.lastIndexOf('/') + 1).replace(/\.(gz|zst)$/, '');
  const hosts = [alert.source, alert.destination].filter((host) => isIP(host) !== 0);
  if (parseSegmentName(name) !== null) {
    const archive = alert.sensor === '.' ? dirname(slice.file) : dirname(dirname(slice.file));
    const sensor = alert.sensor === '.' ? [] : ['--sensor', alert.sensor];
    const host = hosts[0] === undefined ? [] : ['--host', hosts[0]];
    return ['tapline-collector export -a', quote(archive), ...sensor, ...host, '--from', from, '--to', to, '-w - | wireshark -k -i -'].join(' '); // prettier-ignore
  }
  const filter = [
    `frame.time_epoch >= ${((alert.scope.fromUs - MARGIN_US) / 1e6).toFixed(6)}`,
    `frame.time_epoch <= ${((alert.scope.toUs + MARGIN_US) / 1e6).toFixed(6)}`,
    ...hosts.map((host) => `${host.includes(':') ? 'ipv6' : 'ip'}.addr == ${host}`),
  ].join(' && ');
  return `wireshark -r ${quote(slice.file)} -Y '${filter}'`;
}

function quote(path: string): string {
  return /^[\w./:-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
