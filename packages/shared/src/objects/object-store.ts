/**
 * An S3-compatible object store: files up (in parts when they are large), ranges down. Every request is signed with the hash of its
 * body (SigV4), so that the store refuses what was damaged on the way; what was uploaded is asked for once more, by size.
 * Requests that fail for the store's or the network's reasons are tried again; a refusal is not.
 */
import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { AwsClient } from 'aws4fetch';
import { OperatingError, messageOf } from '../base/errors.ts';
import { RetrySchedule } from '../base/retry-schedule.ts';

export interface ObjectStoreOptions {
  /** `https://s3.example:9000`: buckets are named in the path. */
  readonly endpoint: string;
  readonly bucket: string;
  readonly region: string;
  /** Before every key; empty or ending with a slash. */
  readonly prefix: string;
  readonly accessKey: string;
  readonly secretKey: string;
  /** `retention=90d`, for the store's own lifecycle rules. */
  readonly tag: string;
  /** Of a multipart upload; smaller files go in one piece. */
  readonly partBytes: number;
}

const ATTEMPTS_MAX = 4;
const RETRY = { firstMs: 250, capMs: 5000 };
const REQUEST_MS = 60_000;
const PARTS_AT_ONCE = 2;
/** Of an answer that is not an object: errors and upload ids are short. */
const ANSWER_BYTES_MAX = 64 * 1024;
const EMPTY_SHA256 = createHash('sha256').digest('hex');

export class ObjectStore {
  readonly #options: ObjectStoreOptions;
  readonly #client: AwsClient;
  #isTagRefused = false;

  constructor(options: ObjectStoreOptions) {
    this.#options = options;
    this.#client = new AwsClient({
      accessKeyId: options.accessKey,
      secretAccessKey: options.secretKey,
      region: options.region,
      service: 's3',
      retries: 0,
    });
  }

  /** Whether the store would not have objects with tags. */
  get isTagRefused(): boolean {
    return this.#isTagRefused;
  }

  /** Uploads a file, whose SHA-256 goes with it. Rejects with OBJECT_STORE_FAILED, or what the disk says. Returns its length. */
  async put(key: string, path: string, sha256: string, signal: AbortSignal): Promise<number> {
    const file = await open(path, 'r');
    try {
      const { size } = await file.stat();
      const headers = { 'x-amz-meta-sha256': sha256, ...this.#tagHeader() };
      try {
        await this.#upload(key, file, size, headers, signal);
      } catch (error) {
        if (!this.#mayBeTheTag(error)) throw error;
        this.#isTagRefused = true;
        await this.#upload(key, file, size, { 'x-amz-meta-sha256': sha256 }, signal);
      }
      const there = await this.size(key, signal);
      if (there === size) return size;
      throw this.#failed(key, `the store has ${there} bytes of it, not ${size}`, 0);
    } finally {
      await file.close();
    }
  }

  /** Length of an object. */
  async size(key: string, signal?: AbortSignal): Promise<number> {
    const response = await this.#request('HEAD', key, '', null, {}, signal);
    return Number(response.headers.get('content-length'));
  }

  /** Bytes of an object: exactly so many, from there. */
  async read(key: string, offset: number, byteLength: number): Promise<Uint8Array> {
    const range = `bytes=${offset}-${offset + byteLength - 1}`;
    const response = await this.#request('GET', key, '', null, { range });
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (bytes.byteLength === byteLength) return bytes;
    throw this.#failed(
      key,
      `the store gave ${bytes.byteLength} bytes where ${byteLength} were asked for`,
      response.status,
    );
  }

  async remove(key: string): Promise<void> {
    await this.#request('DELETE', key, '', null, {});
  }

  async #upload(
    key: string,
    file: FileHandle,
    size: number,
    headers: Record<string, string>,
    signal: AbortSignal,
  ): Promise<void> {
    const { partBytes } = this.#options;
    if (size <= partBytes) {
      await this.#request('PUT', key, '', await piece(file, 0, size), headers, signal);
      return;
    }
    const created = await this.#request('POST', key, '?uploads=', new Uint8Array(0), headers, signal);
    const uploadId = elementOf(await shortText(created), 'UploadId');
    if (uploadId === null) throw this.#failed(key, 'the store began no upload', created.status);
    const id = encodeURIComponent(uploadId);
    try {
      const tags: string[] = [];
      const numbers = Array.from({ length: Math.ceil(size / partBytes) }, (_, index) => index + 1).values();
      const worker = async (): Promise<void> => {
        for (const number of numbers) {
          const from = (number - 1) * partBytes;
          const body = await piece(file, from, Math.min(partBytes, size - from));
          const part = await this.#request(
            'PUT',
            key,
            `?partNumber=${number}&uploadId=${id}`,
            body,
            {},
            signal,
          );
          tags[number - 1] = part.headers.get('etag') ?? '';
        }
      };
      await Promise.all(Array.from({ length: PARTS_AT_ONCE }, worker));
      const parts = tags.map((tag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${tag.replace(/[<>&]/g, '')}</ETag></Part>`); // prettier-ignore
      const list = Buffer.from(`<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`);
      const done = await this.#request('POST', key, `?uploadId=${id}`, list, {}, signal);
      // Some stores say 200 first and think afterwards.
      const text = await shortText(done);
      if (text.includes('<Error>'))
        throw this.#failed(key, elementOf(text, 'Message') ?? 'the parts were not taken', 200);
    } catch (error) {
      // Parts that nobody completes are paid for until somebody takes them away.
      await this.#request('DELETE', key, `?uploadId=${id}`, null, {}).catch(() => undefined);
      throw error;
    }
  }

  async #request(
    method: string,
    key: string,
    query: string,
    body: Uint8Array | null,
    headers: Record<string, string>,
    signal?: AbortSignal,
  ): Promise<Response> {
    const { endpoint, bucket, prefix } = this.#options;
    const path = `${prefix}${key}`.split('/').map(encodeURIComponent).join('/');
    const url = `${endpoint.replace(/\/+$/, '')}/${bucket}/${path}${query}`;
    const retry = new RetrySchedule(RETRY, Math.random);
    for (let attempt = 1; ; attempt++) {
      let problem: OperatingError;
      try {
        const response = await this.#client.fetch(url, {
          method,
          headers: { ...headers, 'x-amz-content-sha256': body === null ? EMPTY_SHA256 : hashOf(body) },
          ...(body === null ? {} : { body: body as Uint8Array<ArrayBuffer> }),
          signal: AbortSignal.any([
            AbortSignal.timeout(REQUEST_MS),
            ...(signal === undefined ? [] : [signal]),
          ]),
        });
        if (response.ok) return response;
        const said = method === 'HEAD' ? '' : await shortText(response);
        problem = this.#failed(key, sentenceOf(response.status, said), response.status);
        if (response.status < 500 && response.status !== 429) throw problem;
      } catch (error) {
        if (error instanceof OperatingError) throw error;
        problem = this.#failed(key, messageOf((error as { cause?: unknown }).cause ?? error), 0);
      }
      if (attempt >= ATTEMPTS_MAX || signal?.aborted === true) throw problem;
      await sleep(retry.nextDelayMs());
    }
  }

  #tagHeader(): Record<string, string> {
    const { tag } = this.#options;
    return tag === '' || this.#isTagRefused ? {} : { 'x-amz-tagging': tag };
  }

  #mayBeTheTag(error: unknown): boolean {
    if (!(error instanceof OperatingError) || this.#options.tag === '' || this.#isTagRefused) return false;
    return [400, 501].includes(Number(error.context['status']));
  }

  #failed(key: string, why: string, status: number): OperatingError {
    const { endpoint, bucket, prefix } = this.#options;
    return new OperatingError(
      'OBJECT_STORE_FAILED',
      `the object store ${endpoint} and ${bucket}/${prefix}${key}: ${why}`,
      { endpoint, bucket, key: prefix + key, status },
    );
  }
}

function hashOf(body: Uint8Array): string {
  return createHash('sha256').update(body).digest('hex');
}

async function piece(file: FileHandle, offset: number, byteLength: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(byteLength);
  for (let at = 0; at < byteLength;) {
    const { bytesRead } = await file.read(bytes, at, byteLength - at, offset + at);
    if (bytesRead === 0) throw new Error('the file became shorter');
    at += bytesRead;
  }
  return bytes;
}

/** The beginning of an answer's text. */
async function shortText(response: Response): Promise<string> {
  let text = '';
  const decoder = new TextDecoder();
  if (response.body === null) return text;
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > ANSWER_BYTES_MAX) break;
  }
  return text;
}

/** The text of the first element of that name; `null` when there is none. Answers are small and flat: no parser is needed for them. */
export function elementOf(xml: string, name: string): string | null {
  const text = new RegExp(`<${name}>([^<]{0,4096})</${name}>`).exec(xml)?.[1];
  return text === undefined ? null : text.replace(/&(amp|lt|gt|quot|apos);/g, (_, entity: string) => ({ amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" })[entity] ?? ''); // prettier-ignore
}

function sentenceOf(status: number, said: string): string {
  const why = elementOf(said, 'Message') ?? elementOf(said, 'Code') ?? '';
  const remedy =
    status === 403
      ? ' (is the key right, may it write to this bucket, is the clock right?)'
      : status === 404
        ? ' (is there such a bucket?)'
        : '';
  return `${status} ${why}${remedy}`.trim();
}
