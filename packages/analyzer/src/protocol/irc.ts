/**
 * IRC (RFC 1459, RFC 2812), lines of text; of interest for those who order machines about with it:
 *
 *   [:who SP] command SP arguments [SP : text] CR LF
 *
 * Told are names and channels, and a text that is an order to bots: fact `bot-order`. What people write to each other is neither told nor kept.
 */
import { text } from './byte-reader.ts';
import {
  NEED_MORE,
  NOT_OURS,
  OBJECT_CHARACTERS_MAX,
  createOperation,
  resetOperation,
  type Action,
  type Dissector,
} from './dissector.ts';

const LINE_BYTES_MAX = 1024;
const COMMANDS: ReadonlyMap<string, Action> = new Map<string, Action>([
  ['NICK', 'session'],
  ['JOIN', 'session'],
  ['QUIT', 'session'],
]);
/** PRIVMSG, NOTICE, TOPIC, and 332, the topic of a channel that one joins; behind the channel the text. */
const TEXT = /^(?::\S{1,200} )?(?:PRIVMSG|NOTICE|TOPIC|332)(?: \S{1,64}){1,2} :(.{4,400})/i;
/** Orders of Agobot, SDBot and Rbot, their kind, and of Kaiten: words that nobody writes to somebody. */
const ORDER =
  /^(?:[.!@$&~`-](?:adv(?:anced)?scan \S|ntscan \d|scan\.start\w*|scanstop|ddos\.(?:syn|ack|udp|random|http)\w*|(?:syn|udp|icmp|tcp|ping|wisdom)flood\b.{0,3} ?\d|(?:http\.)?(?:download|update|dl|execute|visit) (?:https?|ftp):\/\/|bot\.(?:die|remove|execute|dns|sysinfo)\b)|!\S{0,16} (?:TSUNAMI|UDP|SYN|PAN|UNKNOWN) \d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3} \d)/i;

const operation = createOperation('irc');

export const irc: Dissector = {
  name: 'irc',
  tcpPorts: [6660, 6661, 6662, 6663, 6664, 6665, 6666, 6667, 6668, 6669],
  udpPorts: [],
  etherTypes: [],

  messageBytes(bytes, at, end) {
    if (end <= at) return NEED_MORE;
    const first = bytes[at] as number;
    if (first < 0x20 && first !== 10 && first !== 13) return NOT_OURS;
    for (let i = at; i < Math.min(end, at + LINE_BYTES_MAX); i++) if (bytes[i] === 10) return i + 1 - at;
    return end - at >= LINE_BYTES_MAX ? NOT_OURS : NEED_MORE;
  },

  looksLike(bytes, at, end) {
    if (end - at < 8 || bytes[at] !== 0x4e || bytes[at + 1] !== 0x49) return false;
    return /^NICK :?[^ .]{1,32}\.{0,2}(?:USER \S+ |$)/.test(text(bytes, at, end, 80));
  },

  dissect({ bytes, at, end, isFromClient }, sink) {
    let last = Math.min(end, at + LINE_BYTES_MAX);
    while (last > at && (bytes[last - 1] === 10 || bytes[last - 1] === 13)) last--;
    const line = text(bytes, at, last, LINE_BYTES_MAX);
    const order = TEXT.exec(line)?.[1];
    if (order !== undefined) {
      if (ORDER.test(order)) sink.fact('bot-order', order.slice(0, 120));
      return;
    }
    if (!isFromClient) return;
    const [word = '', first = ''] = line.split(' ', 2);
    const action = COMMANDS.get(word.toUpperCase());
    if (action === undefined) return;
    resetOperation(operation);
    operation.action = action;
    operation.name = word.toLowerCase();
    if (word !== 'QUIT') operation.object = first.slice(0, OBJECT_CHARACTERS_MAX);
    sink.operation(operation);
  },
};
