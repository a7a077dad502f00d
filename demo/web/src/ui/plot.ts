import { scaleEnd } from '../stats';
import { h, setAttribute, setText, svg } from './dom';

/** One line of a plot. */
export interface Line {
  label: string;
  /** 1 to 3: the colour. */
  colour: 1 | 2 | 3;
  values: readonly (number | null)[];
  /** An estimate rather than a measurement. */
  dashed?: boolean;
}

export interface PlotOptions {
  title: string;
  format: (value: number | null) => string;
  /** The end of the scale when all values are smaller; or always, when nothing can be larger. */
  least: number;
  fixed?: boolean;
  /** Values hold until the next one: layers. */
  steps?: boolean;
}

const [WIDTH, HEIGHT] = [240, 56];

/** Some lines over the last minute, with what they are now. */
export class Plot {
  readonly element: HTMLElement;
  readonly #options: PlotOptions;
  readonly #drawing: SVGElement;
  readonly #legend = h('div', { class: 'plot-legend' });
  readonly #end = h('span', { class: 'plot-end', 'aria-hidden': 'true' });

  constructor(options: PlotOptions) {
    this.#options = options;
    this.#drawing = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' });
    this.element = h('figure', { class: 'plot' },
      h('figcaption', {}, h('span', { class: 'plot-title' }, options.title), this.#legend),
      h('div', { class: 'plot-area' }, this.#drawing, this.#end));
  }

  update(lines: Line[]): void {
    const { format, least, fixed, title } = this.#options;
    const most = Math.max(least, ...lines.flatMap(({ values }) => values.map((value) => value ?? 0)));
    const end = fixed ? least : scaleEnd(most, least);
    const shapes = [0.25, 0.5, 0.75].map((part) =>
      svg('line', { x1: '0', x2: `${WIDTH}`, y1: `${HEIGHT * part}`, y2: `${HEIGHT * part}`, class: 'plot-grid' }));
    for (const { values, colour, dashed } of lines) {
      const runs = this.#runs(values, end);
      if (!dashed) {
        shapes.push(svg('path', { d: runs.map(({ area }) => area).join(''), class: `plot-fill colour-${colour}` }));
      }
      const d = runs.map(({ line }) => line).join('');
      shapes.push(svg('path', { d, class: `plot-line colour-${colour}${dashed ? ' dashed' : ''}` }));
    }
    this.#drawing.replaceChildren(...shapes);
    const now = lines.map(({ label, values }) => `${label} ${format(values.at(-1) ?? null)}`.trim());
    setAttribute(this.#drawing, 'aria-label', `${title}: ${now.join(', ')}`);
    setText(this.#end, format(end));
    this.#legend.replaceChildren(...lines.map(({ label, values, colour }) =>
      h('span', { class: `colour-${colour}` }, label && h('i', {}, label), format(values.at(-1) ?? null))));
  }

  /** The stretches without a gap. */
  #runs(values: readonly (number | null)[], end: number): { line: string; area: string }[] {
    const x = (index: number) => ((index * WIDTH) / Math.max(1, values.length - 1)).toFixed(1);
    const y = (value: number) => (HEIGHT - 1 - (Math.min(value, end) / end) * (HEIGHT - 4)).toFixed(1);
    const runs: { line: string; area: string }[] = [];
    let start = -1;
    let line = '';
    values.forEach((value, index) => {
      if (value === null) {
        start = -1;
        return;
      }
      if (start < 0) {
        [start, line] = [index, `M${x(index)} ${y(value)}`];
        runs.push({ line, area: '' });
      } else {
        line += this.#options.steps ? `H${x(index)}V${y(value)}` : `L${x(index)} ${y(value)}`;
      }
      runs[runs.length - 1] = { line, area: `${line}V${HEIGHT}H${x(start)}Z` };
    });
    return runs;
  }
}
