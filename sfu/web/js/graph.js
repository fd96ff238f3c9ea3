// A sparkline: one series as a line over a soft area, in SVG so that it follows the theme.

import { svg } from './dom.js';

const WIDTH = 100;
const HEIGHT = 28;
/** Room for the stroke at the edges. */
const MARGIN = 2;
/** Seconds that the width stands for. */
const SPAN = 60;

export class Sparkline {
  #line = svg('path', { class: 'spark-line' });
  #area = svg('path', { class: 'spark-area' });
  element;

  /** `tone` names the colour: 'down', 'up', 'loss', 'rtt', 'fps' or 'layer'. */
  constructor(tone) {
    this.element = svg(
      'svg',
      { class: `spark spark-${tone}`, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
      this.#area,
      this.#line,
    );
  }

  /** Draws `points` ({time in ms, value}); the scale reaches at least up to `ceiling`. */
  draw(points, { ceiling = 0, step = false } = {}) {
    const path = linePath(points, { ceiling, step });
    this.#line.setAttribute('d', path.line);
    this.#area.setAttribute('d', path.area);
  }
}

/** The paths of a sparkline. The newest point is at the right edge. */
export function linePath(points, { ceiling = 0, step = false } = {}) {
  const newest = points.at(-1)?.time ?? 0;
  const shown = points.filter((point) => newest - point.time <= SPAN * 1000);
  if (shown.length < 2) return { line: '', area: '' };
  const top = Math.max(ceiling, ...shown.map((point) => point.value)) || 1;
  const x = (time) => round(WIDTH - ((newest - time) / (SPAN * 1000)) * WIDTH);
  const y = (value) => round(HEIGHT - MARGIN - (value / top) * (HEIGHT - 2 * MARGIN));
  let line = `M${x(shown[0].time)},${y(shown[0].value)}`;
  for (const point of shown.slice(1)) {
    line += step ? `H${x(point.time)}V${y(point.value)}` : `L${x(point.time)},${y(point.value)}`;
  }
  return { line, area: `${line}V${HEIGHT}H${x(shown[0].time)}Z` };
}

function round(value) {
  return Math.round(value * 10) / 10;
}
