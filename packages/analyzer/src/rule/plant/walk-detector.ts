/**
 * Walks through a controller: every station behind it, address after address, function after function, each once, by a client that has just come, whatever it is answered. Who operates a plant asks for
 * the same again, cycle for cycle, and knows what is there. A connection that goes on is no walk yet: it may be the first cycle. It is judged when it ends.
 */
import { dropOldest } from '@tapline/shared/base/drop-oldest.ts';
import { OT_SERVICES } from '../../asset/inventory.ts';
import type { Flow } from '../../flow/flow.ts';
import type { Operation } from '../../protocol/dissector.ts';
import type { Detector } from '../detector.ts';
import type { Rules } from '../rule-file.ts';
import type { Tell } from '../tell.ts';

const PAIRS_MAX = 2048;
/** Questions of one pair that are told apart. */
const QUESTIONS_MAX = 512;
/** A tool may ask again what is not answered; of a cycle everything comes again. */
const REPEATED_SHARE = 0.25;

/** What a new client has asked of a server so far. Plain data. */
interface Walk {
  startUs: number;
  count: number;
  /** Null when the client is no longer new. */
  questions: Set<string> | null;
  functions: number[];
  /** Of the last question; and how many stations, or addresses, came one behind the other, now and at the most. */
  unit: number;
  question: string;
  units: number;
  unitsMax: number;
  place: string;
  nextAddress: number;
  addresses: number;
  addressesMax: number;
}

type Way = 'stations' | 'addresses' | 'functions';

export function createWalkDetector(rules: Rules, tell: Tell): Detector {
  const rule = rules.ot_walk;
  const walks = new Map<string, Walk>();

  function found(flow: Flow, walk: Walk, way: Way, count: number, nowUs: number): void {
    const { client, server, service } = flow;
    tell(flow, {
      rule: 'ot-walk',
      title: `A controller is searched for its ${way}`,
      score: 0.8,
      technique: way === 'stations' ? 'T0846' : way === 'addresses' ? 'T0861' : 'T0888',
      evidence: `${client}, which is new to ${server}, asked for ${count} ${way} of it, ${way === 'functions' ? 'hardly one twice' : 'one behind the other'}, in ${((flow.lastUs - walk.startUs) / 1e6).toFixed(1)} s`,
      group: `${client} ${server} ${service} ${way}`,
      scope: { client, server, service },
      fromUs: walk.startUs,
      toUs: Math.max(nowUs, flow.lastUs),
      timeUs: nowUs,
    });
  }

  return {
    state: { walks },

    operation(flow, operation, nowUs) {
      if (!rule.enabled || operation.isResponse || !operation.isFromClient || flow.protocol === -1) return;
      if (!OT_SERVICES.has(operation.protocol) || operation.action === 'session') return;
      let walk = walks.get(flow.line);
      if (walk === undefined) {
        if (walks.size >= PAIRS_MAX) dropOldest(walks);
        walks.set(flow.line, (walk = beginWalk(nowUs)));
      }
      if (walk.questions === null) return;
      if (nowUs - walk.startUs > rule.within * 1000) {
        walk.questions = null;
        walk.functions = [];
      } else step(walk, walk.questions, operation);
    },

    flowEnded(flow, _values, nowUs) {
      if (!rule.enabled || flow.ending !== 'closed' || !OT_SERVICES.has(flow.service)) return;
      const walk = walks.get(flow.line);
      if (walk === undefined || walk.questions === null) return;
      if (walk.count - walk.questions.size > REPEATED_SHARE * walk.count) return;
      if (walk.unitsMax >= rule.units) found(flow, walk, 'stations', walk.unitsMax, nowUs);
      if (walk.addressesMax >= rule.addresses) found(flow, walk, 'addresses', walk.addressesMax, nowUs);
      if (walk.functions.length >= rule.functions)
        found(flow, walk, 'functions', walk.functions.length, nowUs);
    },
  };
}

function beginWalk(nowUs: number): Walk {
  return {
    startUs: nowUs,
    count: 0,
    questions: new Set(),
    functions: [],
    unit: -1,
    question: '',
    units: 0,
    unitsMax: 0,
    place: '',
    nextAddress: -1,
    addresses: 0,
    addressesMax: 0,
  };
}

function step(walk: Walk, questions: Set<string>, operation: Operation): void {
  const { unit, name, object, code, count } = operation;
  const what = `${name} ${object}`;
  walk.count++;
  if (questions.size < QUESTIONS_MAX) questions.add(`${unit} ${what}`);
  if (code >= 0 && !walk.functions.includes(code) && walk.functions.length < 256) walk.functions.push(code);
  if (unit >= 0 && unit === walk.unit + 1 && what === walk.question) walk.units++;
  else if (unit !== walk.unit || what !== walk.question) walk.units = 1;
  walk.unitsMax = Math.max(walk.unitsMax, walk.units);
  walk.unit = unit;
  walk.question = what;
  const colon = object.lastIndexOf(':');
  const address = colon === -1 ? NaN : Number(object.slice(colon + 1));
  const place = `${unit} ${name} ${object.slice(0, colon + 1)}`;
  if (place === walk.place && address === walk.nextAddress) walk.addresses++;
  // The same again is one that was not answered.
  else if (place !== walk.place || address + Math.max(1, count) !== walk.nextAddress) walk.addresses = 1;
  walk.addressesMax = Math.max(walk.addressesMax, walk.addresses);
  walk.place = place;
  walk.nextAddress = address + Math.max(1, count);
}
