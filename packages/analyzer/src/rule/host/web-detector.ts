/**
 * Attacks on web servers (an HMI's, a gateway's, a historian's): a request that carries what only an attack does, scanning tools that say their
 * own name, and addresses behind which secrets lie. Looked for in the request line and the headers, as the server would decode them; of bodies only forms are searched like that: elsewhere a text about SQL is no attack.
 */
import type { Flow } from '../../flow/flow.ts';
import { PROTO_TCP, type PacketView } from '../../packet/packet-view.ts';
import type { Detector } from '../detector.ts';
import type { Rules } from '../rule-file.ts';
import type { Seen, Tell } from '../tell.ts';

const TEXT_BYTES_MAX = 4096;

/**
 * In the target, percent-decoded twice: some decode it twice, and attackers know who does. Nothing here repeats without a bound: what is searched comes from
 * attackers, and a pattern that can be made to search for ever ends the analyzer.
 */
const TARGETS: readonly (readonly [RegExp, string])[] = [
  // First, since what they have done may look like any of the others.
  [/\bT\s{0,4}\(\s{0,4}java\.|@java\.(?:lang|io|util)\.\w|\bgetRuntime\s{0,4}\(\s{0,4}\)\s{0,4}\.\s{0,4}exec\b|\.\s{0,4}(?:getClass\s{0,4}\(\s{0,4}\)\s{0,4}\.|forName\s{0,4}\(|getEngineByName\s{0,4}\()|\bnew\s{1,4}java\.(?:lang|io|util)\./i, 'an expression for a Java framework'],
  // What it makes of 7*7 says whether, and in which language, a template is filled in.
  [/\bfreemarker\.template\.utility\.|\?new\(\)\s{0,4}\(|(?:[$#%@*]\{|\{\{|<%=)\s{0,4}['"]?\d{1,9}['"]?\s{0,4}\*\s{0,4}['"]?\d{1,9}['"]?\s{0,4}(?:\}|%>)|#set\s{0,4}\(\s{0,4}\$\w/i, 'a template to be filled in by the server'],
  [/__(?:mro|subclasses|globals|builtins)__|\.\s{0,4}popen\s{0,4}\(|\|\s{0,4}(?:filter|map|sort)\s{0,4}\(\s{0,4}['"](?:system|exec|passthru|shell_exec)\b/i, 'a template to be filled in by the server'],
  [/[?&=;].{0,200}?(?:\.\.[/\\]){2}|\/etc\/(?:passwd|shadow)\b|\b(?:boot|win)\.ini\b|[/\\]windows[/\\]system32/i, 'a path out of the web root'],
  [/['")\s]\s{0,4}(?:or|and)\s{1,4}['"(]{0,3}(?:(\w{1,16})['")]{0,3}\s{0,4}(?:=|like)\s{0,4}['"(]{0,3}\1\b|\d{1,9}\s{0,4}[=<>]\s{0,4}\d)/i, 'a condition for an SQL statement'],
  [/\bunion(?:\s|\/\*[^*]{0,60}\*\/){1,16}(?:all\s{1,4})?select\b|\binformation_schema\b|\bxp_cmdshell\b/i, 'a part of an SQL statement'],
  [/\b(?:sleep|benchmark|pg_sleep)\(\s{0,4}\d|\bwaitfor\s{1,4}delay\b|;\s{0,4}(?:drop|insert|update|delete)\s{1,4}(?:table|into|from|\w{1,64}\s{1,4}set)\b/i, 'an SQL statement'],
  [/[;|&`\n]\s{0,4}(?:\/bin\/|\/usr\/bin\/)?(?:cat|ls|id|wget|curl|tftp|nc|bash|sh|whoami|uname|chmod|busybox|ping)(?:[\s;|&`<>]|$)|\$\((?:[^)]{1,80})\)|\bcmd\.exe\b/i, 'a command for a shell'],
  [/<script\b|\bon(?:error|load|mouseover)\s{0,4}=\s{0,4}['"(\w]|\bjavascript:\s{0,4}\w{1,64}\(/i, 'a script'],
  [/\/(?:c99|r57|b374k|wso\d*|web-?shell|backdoor|weevely|chopper|caidao)[\w-]{0,32}\.(?:php\d?|phtml|jspx?|aspx?|cfm)\b/i, 'a web shell by its name'],
  [/\b(?:php|data|expect|zip):\/\/|<\?php|\ballow_url_include\b|@ini_set\s{0,4}\(|\b(?:eval|assert|system|passthru|shell_exec|exec)\s{0,4}\(\s{0,4}@?(?:base64_decode|gzinflate|str_rot13|\$_|['"]\w)/i, 'code for PHP'],
  [/[?&;](?:cmd|command|exec|execute|shell|run)=(?:whoami|id|ls|dir|cat|type|if?pconfig|ifconfig|netstat|uname|pwd|net user|systeminfo|ps|wget|curl|nc|bash|sh|python\d?|powershell|cmd)(?:[\s&;|]|$)/i, 'a command for a web shell'],
  [/\.id[aq]\?(.)\1{100}|(?:%u9090){2}/i, 'an overflow of an index server (Code Red)'],
  [/\.\.(?:\xc0[\xaf\x2f\x5c]|\xc1[\x1c\x9c\xaf]|\xe0\x80\xaf)|\/root\.exe\?/, 'a path out of the web root, in other letters (Nimda)'],
  [/%\{\s{0,4}\(?#|#_memberAccess|\bclass\.module\.classLoader\b/i, 'an expression for a Java framework'],
]; // prettier-ignore

/** Requests that are no attack in themselves, by method and path, and what their answers give away. */
const SECRETS: readonly { readonly line: RegExp; readonly title: string; readonly what: string }[] = [
  {
    // How the servers of a farm stay alike.
    line: /^POST \/adfs\/services\/policystoretransfer(?:[/? ]|$)/i,
    title: 'The configuration of AD FS is read, with the keys that sign for everybody',
    what: 'as servers of its farm do, and tools that forge identities',
  },
];

/** In the body too: whatever an application logs. */
const ANYWHERE: readonly (readonly [RegExp, string])[] = [
  [/\$\{\s{0,4}(?:jndi|lower|upper|env|::-)/i, 'a lookup for Log4j'],
  [
    /\bjava\.lang\.(?:ProcessBuilder|Runtime)\b|<(?:java|void) class="java\.|\bjava\.beans\.XMLDecoder\b/,
    'an object for Java to build',
  ],
  [
    /<\?php[^]{0,400}?(?:\b(?:system|exec|shell_exec|passthru|eval|assert)\s{0,4}\(|\$_(?:get|post|request)\b)/i,
    'a program for PHP that takes orders',
  ],
];
/** In the whole head of the request. */
const HEADS: readonly (readonly [RegExp, string])[] = [
  [/\(\)\s{0,4}\{\s{0,4}:?\s{0,4};?\s{0,4}\}\s{0,4};/, 'a function for a shell (Shellshock)'],
  [/^content-type:[^\r\n]*(?:%\{|#_memberAccess)/im, 'an expression for a Java framework'],
  [/^proxy:[ \t]*\S/im, 'a proxy for programs behind the server (httpoxy)'],
  [/^accept-encoding:[^\r\n]{300}/im, 'encodings without end (CVE-2021-31166, CVE-2022-21907)'],
  [/^range:[ \t]{0,4}bytes=[^\r\n]*-1844674407370955\d{4}/im, 'a range that overflows (CVE-2015-1635)'],
];

const FORM = /^content-type:\s*application\/x-www-form-urlencoded/im;

const TOOLS =
  /^user-agent:[^\r\n]*\b(nikto|sqlmap|nmap scripting engine|masscan|zgrab|zmeu|dirbuster|gobuster|feroxbuster|ffuf|wfuzz|hydra|wpscan|acunetix|nessus|openvas|nuclei|w3af|arachni|havij|morfeus|metasploit)\b/im;

export function createWebDetector(rules: Rules, tell: Tell): Detector {
  const rule = rules.web_attack;

  function told(flow: Flow, seen: Omit<Seen, 'rule'>): void {
    const { client, server, serverPort } = flow;
    tell(flow, {
      ...seen,
      rule: 'web-attack',
      score: 0.85,
      group: `${client} ${server} ${serverPort} ${seen.title}`,
      scope: { client, server, serverPort },
    });
  }

  return {
    state: {},

    packet(view, flow, isFromClient) {
      if (
        !rule.enabled ||
        flow === null ||
        !isFromClient ||
        flow.service !== 'http' ||
        view.protocol !== PROTO_TCP
      )
        return;
      const text = requestText(view);
      if (text === '') return;
      const head = headOf(text);
      const line = head.slice(0, lineEnd(head));
      const target = decoded(decoded(line.split(' ')[1] ?? ''));
      const what = leavesRoot(target)
        ? 'a path out of the web root'
        : (reasonOf(TARGETS, target) ??
          reasonOf(HEADS, decoded(head)) ??
          reasonOf(ANYWHERE, decoded(text)) ??
          reasonOf(TARGETS, formOf(head, text)));
      if (what !== undefined)
        told(flow, {
          title: 'A request that attacks a web server',
          technique: 'T0819',
          evidence: `${what} in ${JSON.stringify(line.slice(0, 160))}`,
          timeUs: view.timeUs,
        });
      const secret = SECRETS.find((one) => one.line.test(line));
      if (secret !== undefined)
        told(flow, {
          title: secret.title,
          technique: 'T0859',
          evidence: `${flow.client} asks ${flow.server} for ${JSON.stringify(line.slice(0, 160))}, ${secret.what}`,
          timeUs: view.timeUs,
        });
      const tool = TOOLS.exec(head)?.[1];
      if (tool !== undefined)
        told(flow, {
          title: 'A scanning tool looks through a web server',
          technique: 'T0888',
          evidence: `${flow.client} calls itself ${tool.toLowerCase()}`,
          timeUs: view.timeUs,
        });
    },
  };
}

function reasonOf(patterns: typeof TARGETS, text: string): string | undefined {
  return patterns.find(([pattern]) => pattern.test(text))?.[1];
}

/** Whether the path goes up more often than down. One step too many is a client's mistake. */
function leavesRoot(target: string): boolean {
  let depth = 0;
  for (const part of (target.split('?', 1)[0] as string).split(/[/\\]/)) {
    if (part === '..') depth--;
    else if (part !== '' && part !== '.') depth++;
    if (depth < -1) return true;
  }
  return false;
}

/** The request that the segment begins with, as Latin-1; '' when none does. */
function requestText(view: PacketView): string {
  const { bytes, payloadOffset: at, payloadEnd } = view;
  const end = Math.min(payloadEnd, at + TEXT_BYTES_MAX);
  // Capital letters and a space, up to OPTIONS or PROPFIND.
  let i = at;
  while (i < end && i < at + 10 && (bytes[i] as number) >= 65 && (bytes[i] as number) <= 90) i++;
  if (i < at + 3 || i >= end || bytes[i] !== 0x20) return '';
  return Buffer.from(bytes.buffer, bytes.byteOffset + at, end - at).toString('latin1');
}

function headOf(text: string): string {
  const body = text.indexOf('\r\n\r\n');
  return body === -1 ? text : text.slice(0, body);
}

/** The form that is sent, decoded; '' for any other body. */
function formOf(head: string, text: string): string {
  return FORM.test(head) ? decoded(decoded(text.slice(head.length + 4))) : '';
}

function lineEnd(head: string): number {
  const end = head.search(/[\r\n]/);
  return end === -1 ? head.length : end;
}

/** Percent signs and plus signs as a server reads them; what is no such sign stays. */
function decoded(text: string): string {
  return text
    .replaceAll('+', ' ')
    .replaceAll(/%([0-9a-f]{2})/gi, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
}
