/** The worker that runs the models: batches of rows in, scores out, in order. ONNX Runtime blocks its thread while it runs, so it has one of its own. */
import { parentPort } from 'node:worker_threads';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { ScoringReply, ScoringRequest } from './scorer.ts';

const sessions = new Map<number, InferenceSession>();
let order: Promise<void> = Promise.resolve();

parentPort?.on('message', (request: ScoringRequest) => {
  order = order.then(() => handle(request)).then(
    (reply) => parentPort?.postMessage(reply),
    (error: unknown) => parentPort?.postMessage({ id: request.id, scores: null, problem: String(error) }),
  );
}); // prettier-ignore

async function handle(request: ScoringRequest): Promise<ScoringReply> {
  if (request.kind === 'load') {
    // More threads were slower for models this small.
    const options = { intraOpNumThreads: 1, interOpNumThreads: 1 };
    sessions.set(request.model, await InferenceSession.create(request.onnx, options));
    return { id: request.id, scores: null, problem: '' };
  }
  const session = sessions.get(request.model);
  if (session === undefined) return { id: request.id, scores: null, problem: 'no such model' };
  const rows = request.rows.length / request.width;
  const output = await session.run({ input: new Tensor('float32', request.rows, [rows, request.width]) });
  return { id: request.id, scores: Float32Array.from(output['score']?.data as Float32Array), problem: '' };
}
