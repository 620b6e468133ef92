/** How well scores tell attack from benign: counts at a threshold, the curve over all thresholds, and the threshold for a wanted rate of false alarms. */

export interface Confusion {
  truePositive: number;
  falsePositive: number;
  trueNegative: number;
  falseNegative: number;
}

export interface Scored {
  readonly score: number;
  readonly isAttack: boolean;
}

export function confusionAt(rows: Iterable<Scored>, threshold: number): Confusion {
  const confusion = { truePositive: 0, falsePositive: 0, trueNegative: 0, falseNegative: 0 };
  for (const { score, isAttack } of rows) {
    const isTold = score >= threshold;
    if (isAttack) confusion[isTold ? 'truePositive' : 'falseNegative']++;
    else confusion[isTold ? 'falsePositive' : 'trueNegative']++;
  }
  return confusion;
}

/** Of what was told, how much was true; NaN when nothing was told. */
export function precision({ truePositive, falsePositive }: Confusion): number {
  return truePositive / (truePositive + falsePositive);
}

/** Of what was true, how much was told. */
export function recall({ truePositive, falseNegative }: Confusion): number {
  return truePositive / (truePositive + falseNegative);
}

export function f1(confusion: Confusion): number {
  return (
    (2 * confusion.truePositive) /
    (2 * confusion.truePositive + confusion.falsePositive + confusion.falseNegative)
  );
}

export function falsePositiveRate({ falsePositive, trueNegative }: Confusion): number {
  return falsePositive / (falsePositive + trueNegative);
}

export interface RocPoint {
  readonly threshold: number;
  readonly falsePositiveRate: number;
  readonly recall: number;
}

/** Points of the ROC curve from strict to lax, and the area under it. */
export function rocCurve(rows: readonly Scored[]): {
  readonly points: readonly RocPoint[];
  readonly area: number;
} {
  const sorted = [...rows].sort((a, b) => b.score - a.score);
  const attacks = sorted.filter(({ isAttack }) => isAttack).length;
  const benign = sorted.length - attacks;
  const points: RocPoint[] = [{ threshold: Infinity, falsePositiveRate: 0, recall: 0 }];
  let told = 0;
  let wrong = 0;
  let area = 0;
  for (let i = 0; i < sorted.length;) {
    const { score } = sorted[i] as Scored;
    // Equal scores are one point: which of them comes first says nothing.
    for (; i < sorted.length && sorted[i]?.score === score; i++) {
      if (sorted[i]?.isAttack === true) told++;
      else wrong++;
    }
    const last = points.at(-1) as RocPoint;
    const point = {
      threshold: score,
      falsePositiveRate: benign === 0 ? 0 : wrong / benign,
      recall: attacks === 0 ? 0 : told / attacks,
    };
    area += ((point.falsePositiveRate - last.falsePositiveRate) * (point.recall + last.recall)) / 2;
    points.push(point);
  }
  return { points, area };
}

/** The lowest threshold at which at most `rate` of the benign rows are told. */
export function thresholdFor(rows: readonly Scored[], rate: number): number {
  const benign = rows.filter(({ isAttack }) => !isAttack).map(({ score }) => score).sort((a, b) => b - a); // prettier-ignore
  if (benign.length === 0) return 0.5;
  const allowed = Math.floor(rate * benign.length);
  const score = benign[Math.min(allowed, benign.length - 1)] ?? 0;
  return score + Math.max(1e-6, Math.abs(score) * 1e-6);
}

/** The curve as a self-contained SVG. */
export function rocSvg(title: string, points: readonly RocPoint[], area: number): string {
  const size = 320;
  const margin = 40;
  const at = (point: RocPoint): string =>
    `${(margin + point.falsePositiveRate * size).toFixed(1)},${(margin + (1 - point.recall) * size).toFixed(1)}`;
  const step = Math.max(1, Math.floor(points.length / 500));
  const shown = points.filter((_, i) => i % step === 0 || i === points.length - 1);
  const box = size + 2 * margin;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${box} ${box}" width="${box}" height="${box}" font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>
<rect x="${margin}" y="${margin}" width="${size}" height="${size}" fill="none" stroke="#999"/><line x1="${margin}" y1="${margin + size}" x2="${margin + size}" y2="${margin}" stroke="#ccc" stroke-dasharray="4"/>
<polyline points="${shown.map(at).join(' ')}" fill="none" stroke="#2a6f97" stroke-width="2"/>
<text x="${margin}" y="24">${title} – area ${area.toFixed(3)}</text><text x="${margin}" y="${box - 12}">false positive rate</text><text x="14" y="${margin + size}" transform="rotate(-90 14 ${margin + size})">recall</text></svg>
`;
}
