/**
 * Stations that are thrown off a wireless network one frame after the other. Whoever is near can say so in the access point's name, as long as management frames are not
 * protected (802.11w); a plant's wireless devices are then deaf and mute. Counted by network (BSSID): the transmitter's address is the one that is forged.
 */
import { formatMac } from '@tapline/shared/packet/ip-address.ts';
import type { PacketView } from '../../packet/packet-view.ts';
import { readParting, reasonText } from '../../protocol/wifi.ts';
import { KeyedWindows, memberCount, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

const NETWORKS_MAX = 4096;

export interface DeauthWatch {
  /** A frame of a link layer that is not dissected: Wi-Fi, perhaps. */
  packet(view: PacketView): void;
  readonly state: Record<string, unknown>;
}

export function createDeauthWatch(rules: Rules, tell: Tell): DeauthWatch {
  const rule = rules.wifi_deauth;
  /** By BSSID; members: who is told to go. */
  const partings = new KeyedWindows(rule.within * 1000, NETWORKS_MAX);

  return {
    state: { partings },

    packet({ linkType, bytes, start, end, timeUs }) {
      if (!rule.enabled) return;
      const parting = readParting(linkType, bytes, start, end);
      if (parting === null) return;
      const bssid = formatMac(bytes, parting.bssidOffset);
      const receiver = formatMac(bytes, parting.receiverOffset);
      const window = partings.add(bssid, timeUs, receiver);
      if (window.count % rule.frames !== 0) return;
      const transmitter = formatMac(bytes, parting.transmitterOffset);
      const receivers = memberCount(window);
      const what = parting.isDeauthentication ? 'deauthentication' : 'disassociation';
      tell(null, {
        rule: 'wifi-deauth',
        title: 'Stations are thrown off a wireless network',
        technique: 'T0814',
        protocol: 'wifi',
        source: transmitter,
        destination: receiver,
        evidence: `${window.count} frames in ${seconds(window, timeUs)} end places in the network ${bssid}, of ${receivers} ${receivers === 1 ? 'receiver' : 'receivers'}; the last is a ${what} from ${transmitter} to ${receiver} with reason ${reasonText(parting.reason)}`,
        group: bssid,
        scope: { host: transmitter },
        fromUs: Math.min(window.startUs, timeUs),
        timeUs,
      });
    },
  };
}
