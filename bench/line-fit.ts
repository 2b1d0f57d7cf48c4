/** A straight line through points, by least squares. */

export interface Fit {
  readonly intercept: number;
  readonly slope: number;
  /** Coefficient of determination, R². */
  readonly rSquared: number;
  /** Largest distance of a point to the line, as a share of the point. */
  readonly largestDeviation: number;
}

/** `points`: at least two with different x. */
export function fitLine(points: readonly (readonly [x: number, y: number])[]): Fit {
  const mean = (values: readonly number[]): number =>
    values.reduce((sum, value) => sum + value, 0) / values.length;
  const [meanX, meanY] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))];
  const slope =
    mean(points.map(([x, y]) => (x - meanX) * (y - meanY))) / mean(points.map(([x]) => (x - meanX) ** 2));
  const intercept = meanY - slope * meanX;
  const residuals = points.map(([x, y]) => y - intercept - slope * x);
  const spread = mean(points.map(([, y]) => (y - meanY) ** 2));
  return {
    intercept,
    slope,
    rSquared: 1 - mean(residuals.map((value) => value ** 2)) / spread,
    largestDeviation: Math.max(...points.map(([, y], index) => Math.abs((residuals[index] as number) / y))),
  };
}
