// How loud a microphone track is, by Web Audio.

/** Full scale of the meter: ordinary speech reaches it. */
const SPEECH_PEAK = 0.25;

export class LevelMeter {
  #context = null;
  #source = null;
  #analyser = null;
  #samples = new Float32Array(512);

  /** Measures this track from now on; null measures nothing. */
  watch(track) {
    this.#source?.disconnect();
    this.#source = null;
    if (!track) return;
    this.#context ??= new AudioContext();
    this.#analyser ??= new AnalyserNode(this.#context, { fftSize: 512 });
    this.#source = this.#context.createMediaStreamSource(new MediaStream([track]));
    this.#source.connect(this.#analyser);
  }

  /** The level now, 0 to 1. */
  read() {
    if (!this.#source) return 0;
    this.#analyser.getFloatTimeDomainData(this.#samples);
    const power = this.#samples.reduce((total, sample) => total + sample * sample, 0) / this.#samples.length;
    return Math.min(1, Math.sqrt(power) / SPEECH_PEAK);
  }

  close() {
    this.watch(null);
    this.#context?.close();
    this.#context = null;
    this.#analyser = null;
  }
}
