/** The models there are: what each is fed with, what it is taught, and what it says when it finds something. */
import type { Severity } from '../alert/finding.ts';
import type { VectorName } from '../feature/schema.ts';

export const MODEL_NAMES = ['level1', 'level2-ddos', 'level2-ransomware', 'level3'] as const;
export type ModelName = (typeof MODEL_NAMES)[number];

/** Learnt from one plant's own traffic, without labels. */
export const BASELINE_MODEL_NAMES = ['autoencoder-flow', 'autoencoder-packet', 'isolation-forest'] as const;
export type BaselineModelName = (typeof BASELINE_MODEL_NAMES)[number];

export interface Level {
  readonly vector: VectorName;
  readonly title: string;
  readonly technique: string;
  readonly severity: Severity;
  /** Which kinds of attack it is taught to find, by their names in the labels; the others are left out of its training. */
  readonly attacks: RegExp;
  /** So many flows to one victim, within ten minutes, until the model is believed: one flow is no flood. */
  readonly flowsTold: number;
  /** Only flows between hosts of the plant. */
  readonly isInternal: boolean;
}

export const LEVELS: Readonly<Record<ModelName, Level>> = {
  level1: {
    vector: 'level1',
    title: 'Looks like an attack',
    technique: 'T0869',
    severity: 'low',
    attacks: /./,
    flowsTold: 1,
    isInternal: false,
  },
  'level2-ddos': {
    vector: 'level2',
    title: 'Looks like a denial of service',
    technique: 'T0814',
    severity: 'medium',
    attacks: /flood|ddos|amp|reflection|dos/,
    flowsTold: 20,
    isInternal: false,
  },
  'level2-ransomware': {
    vector: 'level2',
    title: 'Looks like ransomware or a worm',
    technique: 'T0866',
    severity: 'medium',
    attacks: /eternalblue|doublepulsar|ransom|cryptolocker|wannacry|worm|ms17|blaster|slammer|locker/,
    flowsTold: 1,
    isInternal: false,
  },
  level3: {
    vector: 'level3',
    title: 'Looks like lateral movement',
    technique: 'T0867',
    severity: 'low',
    attacks: /^ad-|lateral|eternalblue|doublepulsar|ms17|worm/,
    flowsTold: 1,
    isInternal: true,
  },
};

export const BASELINE_VECTORS: Readonly<Record<BaselineModelName, VectorName>> = {
  'autoencoder-flow': 'flow',
  'autoencoder-packet': 'packet',
  'isolation-forest': 'flow',
};
