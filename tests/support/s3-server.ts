/**
 * A real S3 server for tests: OpenStack Swift with its S3 interface, as Debian packages it; one node, one replica, on loopback, everything in
 * one directory. It checks signatures and payload hashes, and knows multipart uploads and ranges.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { AwsClient } from 'aws4fetch';

export const ACCESS_KEY = 'test:tester';
export const SECRET_KEY = 'testing';
const SERVERS = ['account', 'container', 'object'] as const;
const START_MS = 30_000;

/** Whether this machine can run it. */
export function hasS3Server(): boolean {
  return existsSync('/usr/bin/swift-proxy-server');
}

export class S3Server {
  readonly directory: string;
  endpoint = '';
  readonly #ports = new Map<string, number>();
  #children: ChildProcess[] = [];

  constructor(directory: string) {
    this.directory = directory;
  }

  /** Starts it, or starts it again with what it had. */
  async start(): Promise<void> {
    if (this.#ports.size === 0) await this.#prepare();
    for (const name of [...SERVERS, 'proxy']) {
      const child = spawn(`/usr/bin/swift-${name}-server`, [join(this.directory, `${name}.conf`)], { stdio: 'ignore' }); // prettier-ignore
      this.#children.push(child);
    }
    const deadline = Date.now() + START_MS;
    while (Date.now() < deadline) {
      const response = await fetch(`${this.endpoint}/healthcheck`).catch(() => null);
      if (response?.ok === true) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error('the S3 server does not answer');
  }

  /** Kills it: what was under way is lost. */
  async kill(): Promise<void> {
    const ended = this.#children.map((child) => new Promise((resolve) => child.once('close', resolve)));
    for (const child of this.#children) child.kill('SIGKILL');
    this.#children = [];
    await Promise.all(ended);
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Any request, signed. */
  async request(method: string, path: string): Promise<Response> {
    const client = new AwsClient({ accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY, region: 'us-east-1', service: 's3', retries: 0 }); // prettier-ignore
    return client.fetch(`${this.endpoint}/${path}`, { method });
  }

  /** Keys of a bucket. */
  async keys(bucket: string): Promise<string[]> {
    const text = await (await this.request('GET', bucket)).text();
    return [...text.matchAll(/<Key>([^<]+)<\/Key>/g)].map(([, key = '']) => key);
  }

  async #prepare(): Promise<void> {
    mkdirSync(join(this.directory, 'srv/sdb1'), { recursive: true });
    for (const name of [...SERVERS, 'proxy']) this.#ports.set(name, await freePort());
    for (const name of SERVERS) {
      const builder = join(this.directory, `${name}.builder`);
      for (const words of [
        ['create', '4', '1', '0'],
        ['add', `r1z1-127.0.0.1:${String(this.#ports.get(name))}/sdb1`, '1'],
        ['rebalance'],
      ])
        // prettier-ignore
        spawnSync('/usr/bin/swift-ring-builder', [builder, ...words], { stdio: 'ignore' });
      writeFileSync(
        join(this.directory, `${name}.conf`),
        `${this.#common(name)}devices = ${join(this.directory, 'srv')}\nmount_check = false\n[pipeline:main]\npipeline = ${name}-server\n[app:${name}-server]\nuse = egg:swift#${name}\nfallocate_reserve = 0\n`,
      );
    }
    writeFileSync(
      join(this.directory, 'proxy.conf'),
      `${this.#common('proxy')}[pipeline:main]\npipeline = catch_errors gatekeeper healthcheck cache listing_formats bulk s3api tempauth copy slo dlo proxy-server\n[app:proxy-server]\nuse = egg:swift#proxy\nallow_account_management = true\naccount_autocreate = true\n[filter:catch_errors]\nuse = egg:swift#catch_errors\n[filter:gatekeeper]\nuse = egg:swift#gatekeeper\n[filter:healthcheck]\nuse = egg:swift#healthcheck\n[filter:cache]\nuse = egg:swift#memcache\n[filter:listing_formats]\nuse = egg:swift#listing_formats\n[filter:bulk]\nuse = egg:swift#bulk\n[filter:s3api]\nuse = egg:swift#s3api\ns3_acl = false\nlocation = us-east-1\ncheck_bucket_owner = false\n[filter:tempauth]\nuse = egg:swift#tempauth\nuser_test_tester = ${SECRET_KEY} .admin\n[filter:copy]\nuse = egg:swift#copy\n[filter:slo]\nuse = egg:swift#slo\n[filter:dlo]\nuse = egg:swift#dlo\n`,
    );
    this.endpoint = `http://127.0.0.1:${String(this.#ports.get('proxy'))}`;
  }

  #common(name: string): string {
    return `[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = ${String(this.#ports.get(name))}\nworkers = 0\nuser = root\nswift_dir = ${this.directory}\nlog_level = ERROR\n`;
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => {
        resolve(port);
      });
    });
  });
}
