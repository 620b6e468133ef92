/**
 * The feature schema: one list with a version, the order of every model's inputs, and a hash over all of it. A model names the hash it
 * was trained with; another hash means another meaning of its inputs, and the model is refused.
 */
import { createHash } from 'node:crypto';
import { FLOW_FEATURES, type FeatureDefinition } from './flow-features.ts';
import { LEVEL1_FEATURES } from './level1-features.ts';
import { PACKET_FEATURES } from './packet-features.ts';
import { WINDOW_FEATURES } from './window-features.ts';

/** Changes with every change of meaning, also one that names and formulas do not show. */
export const SCHEMA_VERSION = 1;

/** The four of level 3: duration, packets each way, bytes; taken from the 83. */
export const LEVEL3_FLOW_FEATURES = ['duration', 'spkts', 'dpkts', 'sbytes'] as const;

/** What a model can be fed with. */
export const VECTORS = {
  /** Attack or benign. */
  level1: LEVEL1_FEATURES,
  /** DDoS, ransomware: the flow and its windows. */
  level2: [...FLOW_FEATURES, ...WINDOW_FEATURES],
  /** Lateral movement inside. */
  level3: [
    ...LEVEL3_FLOW_FEATURES.map(
      (name) => FLOW_FEATURES.find((feature) => feature.name === name) as FeatureDefinition,
    ),
    ...WINDOW_FEATURES,
  ],
  /** The baseline's autoencoder and isolation forest, per flow. */
  flow: FLOW_FEATURES,
  /** The autoencoder, per packet. */
  packet: PACKET_FEATURES,
} as const satisfies Record<string, readonly FeatureDefinition[]>;

export type VectorName = keyof typeof VECTORS;

/** SHA-256 over version, names, units and formulas of a vector, in order; hexadecimal. */
export function schemaHash(vector: VectorName): string {
  const lines = VECTORS[vector].map(({ name, unit, formula }) => `${name}\t${unit}\t${formula}\n`);
  return createHash('sha256').update(`tapline features ${SCHEMA_VERSION} ${vector}\n${lines.join('')}`).digest('hex'); // prettier-ignore
}
