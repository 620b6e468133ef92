/**
 * Who says that it is the root of the switches' tree. The root is the switch through which everything goes, and any host may say that it is a better one;
 * so a bridge that was never heard and claims a better identifier than the root's is told, and so are storms of changes and of made-up bridges, at each of
 * which the switches forget what they know. A bridge that is known and becomes the root because another failed is how spanning tree is meant.
 */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import type { PacketView } from '../../packet/packet-view.ts';
import { bridgeMac, bridgeText, readBpdu, type Bpdu } from '../../protocol/bpdu.ts';
import { KeyedWindows, memberCount, seconds } from '../keyed-window.ts';
import type { Rules } from '../rule-file.ts';
import { NOBODY, type Tell } from '../tell.ts';

const TREES_MAX = 1024;
const BRIDGES_MAX = 16_384;
/** Each port says its part every two seconds: four times is enough to hear every bridge that can be heard. */
const LEARNING_US = 8_000_000;
/** A root that was silent for its maximum age (20 s) and two forwarding delays (15 s each) is gone. */
const ROOT_GONE_US = 50_000_000;

interface Tree {
  root: string;
  readonly sinceUs: number;
  /** When somebody said last that it is the root. */
  rootUs: number;
}

export interface SpanningTreeWatch {
  packet(view: PacketView, at: number, mac: string): void;
  readonly state: Record<string, unknown>;
}

export function createSpanningTreeWatch(rules: Rules, tell: Tell): SpanningTreeWatch {
  const { stp_root: rootRule, stp_flood: floodRule } = rules;
  /** By VLAN tag, Cisco's apart. */
  const trees = new Map<string, Tree>();
  /** Tree and MAC address of every bridge that spoke or was spoken of. */
  const bridges = new Map<string, number>();
  const changes = new KeyedWindows(floodRule.within * 1000, TREES_MAX);
  const senders = new KeyedWindows(floodRule.within * 1000, TREES_MAX);

  return {
    state: { trees, bridges, changes, senders },

    packet(view, at, mac) {
      const bpdu = readBpdu(view.bytes, at, view.end);
      if (bpdu === null) return;
      const key = `${bpdu.isPerVlan ? 'pvst ' : ''}${view.frame.vlanId}`;
      if (bpdu.kind === 'topology-change') countChange(key, mac, view.timeUs);
      else {
        countSender(key, bpdu, view.timeUs);
        meet(key, bpdu, mac, view.timeUs);
      }
    },
  };

  function meet(key: string, bpdu: Bpdu, mac: string, nowUs: number): void {
    const tree = trees.get(key);
    if (tree === undefined) {
      if (trees.size >= TREES_MAX) dropOldest(trees);
      trees.set(key, { root: bpdu.root, sinceUs: nowUs, rootUs: nowUs });
    } else if (bpdu.root === tree.root) tree.rootUs = nowUs;
    else if (bpdu.root < tree.root) {
      if (Math.abs(nowUs - tree.sinceUs) >= LEARNING_US) takeOver(key, tree, bpdu.root, mac, nowUs);
      tree.root = bpdu.root;
      tree.rootUs = nowUs;
    } else if (Math.abs(nowUs - tree.rootUs) >= ROOT_GONE_US) {
      tree.root = bpdu.root;
      tree.rootUs = nowUs;
    }
    know(key, bpdu.root, nowUs);
    know(key, bpdu.bridge, nowUs);
  }

  function know(key: string, identifier: string, nowUs: number): void {
    const bridge = `${key} ${bridgeMac(identifier)}`;
    if (bridges.has(bridge)) return;
    if (bridges.size >= BRIDGES_MAX) dropOldest(bridges);
    bridges.set(bridge, nowUs);
  }

  function takeOver(key: string, tree: Tree, root: string, mac: string, nowUs: number): void {
    if (!rootRule.enabled) return;
    const isKnown = bridges.has(`${key} ${bridgeMac(root)}`);
    tell(null, {
      rule: 'stp-root',
      title: isKnown
        ? 'A switch is given a better claim to be the root'
        : 'A newcomer says that it is the root of the switches',
      severity: isKnown ? 'low' : rootRule.severity,
      technique: 'T0830',
      protocol: 'stp',
      source: mac,
      destination: bridgeMac(tree.root),
      evidence: `${mac} says that the root is ${bridgeText(root)}${isKnown ? '' : ', a bridge that was never heard'}; it was ${bridgeText(tree.root)}`,
      group: `${key} ${isKnown ? 'known' : 'new'}`,
      scope: { host: mac },
      timeUs: nowUs,
    });
  }

  function countChange(key: string, mac: string, nowUs: number): void {
    const window = changes.add(key, nowUs, mac);
    if (!floodRule.enabled || window.count % floodRule.changes !== 0) return;
    tell(null, {
      rule: 'stp-flood',
      title: 'Changes of the switches’ tree, one after the other',
      technique: 'T0814',
      protocol: 'stp',
      source: mac,
      evidence: `${window.count} topology changes in ${seconds(window, nowUs)}, the last from ${mac}; at each the switches forget where everybody is`,
      group: `changes ${key}`,
      scope: { host: mac },
      fromUs: Math.min(window.startUs, nowUs),
      timeUs: nowUs,
    });
  }

  function countSender(key: string, { bridge }: Bpdu, nowUs: number): void {
    const window = senders.at(key, nowUs);
    const before = memberCount(window);
    senders.add(key, nowUs, bridge);
    const count = memberCount(window);
    if (!floodRule.enabled || count === before || count % floodRule.bridges !== 0) return;
    tell(null, {
      rule: 'stp-flood',
      title: 'More bridges than there can be',
      technique: 'T0814',
      protocol: 'stp',
      source: '',
      evidence: `${count} different bridges spoke in ${seconds(window, nowUs)}`,
      group: `bridges ${key}`,
      scope: NOBODY,
      fromUs: Math.min(window.startUs, nowUs),
      timeUs: nowUs,
    });
  }
}
