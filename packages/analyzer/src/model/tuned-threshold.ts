/** A threshold that learns from what people said about its alerts. */

/** Above the loudest false alert, but below the quietest true one; as it was when there is nothing false, or no room between them. */
export function tunedThreshold(
  threshold: number,
  labels: readonly { readonly score: number; readonly isTrue: boolean }[],
): number {
  const quietestTrue = labels
    .filter(({ isTrue }) => isTrue)
    .reduce((least, { score }) => Math.min(least, score), Infinity);
  // False ones that are as loud as a true one cannot be told apart by their score: those are for a retraining.
  const silenced = labels
    .filter(({ score, isTrue }) => !isTrue && score < quietestTrue)
    .map(({ score }) => score);
  if (silenced.length === 0) return threshold;
  const loudestFalse = Math.max(...silenced);
  if (loudestFalse < threshold) return threshold;
  const next = loudestFalse + Math.max(1e-6, Math.abs(loudestFalse) * 1e-6);
  return next < quietestTrue ? next : threshold;
}
