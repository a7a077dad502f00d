import { h } from './dom';

/** Shows how loud a microphone is. */
export class LevelMeter {
  readonly element = h('div', { class: 'level', 'aria-hidden': 'true' }, h('div'));
  #context: AudioContext | undefined;
  #frame = 0;

  /** Listens to this one from now on, or to none. */
  watch(track: MediaStreamTrack | undefined): void {
    this.stop();
    if (!track) {
      return;
    }
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    analyser.fftSize = 512;
    context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    let shown = 0;
    const step = () => {
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      // From -60 dB (nothing) to 0 dB; it falls slower than it rises.
      const level = Math.max(0, 1 + (10 * Math.log10(power + 1e-9)) / 60);
      shown = Math.max(level, shown * 0.92);
      (this.element.firstElementChild as HTMLElement).style.transform = `scaleX(${shown.toFixed(3)})`;
      this.#frame = requestAnimationFrame(step);
    };
    this.#context = context;
    step();
  }

  stop(): void {
    cancelAnimationFrame(this.#frame);
    void this.#context?.close();
    this.#context = undefined;
    (this.element.firstElementChild as HTMLElement).style.transform = 'scaleX(0)';
  }
}
