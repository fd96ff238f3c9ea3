// The smallest event source: named events, any number of listeners, one value per event.

export class Emitter {
  #listeners = new Map();

  /** Calls `listener(value)` at every `emit(name, value)`. Returns a function that stops it. */
  on(name, listener) {
    if (!this.#listeners.has(name)) this.#listeners.set(name, new Set());
    this.#listeners.get(name).add(listener);
    return () => this.#listeners.get(name).delete(listener);
  }

  emit(name, value) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) listener(value);
  }
}
