// What one client did, in order, and waiting for what it does next.

export const PATIENCE = 20_000;

export class Diary {
  #events = [];
  #waiting = new Set();

  constructor(name) {
    this.name = name;
  }

  /** Kinds: request, socket, sent, received, console. `at` is in milliseconds. */
  note(kind, facts) {
    this.#events.push({ kind, at: performance.now(), ...facts });
    for (const look of this.#waiting) look();
  }

  all(kind) {
    return this.#events.filter((event) => event.kind === kind);
  }

  /** How many events there are, to look only at later ones with `since`. */
  get length() {
    return this.#events.length;
  }

  since(length, kind) {
    return this.#events.slice(length).filter((event) => event.kind === kind);
  }

  /** The latest events, for a person who wonders what went wrong. */
  last(count) {
    return this.#events.slice(-count);
  }

  /** Waits until `find` returns something, and returns it. */
  async until(what, find, patience = PATIENCE) {
    return new Promise((resolve, reject) => {
      const end = setTimeout(() => {
        this.#waiting.delete(look);
        const told = this.last(30).map((event) => JSON.stringify(event)).join("\n  ");
        reject(new Error(`${this.name}: not within ${patience} ms: ${what}\n  ${told}`));
      }, patience);
      const look = () => {
        const found = find();
        if (!found) return;
        clearTimeout(end);
        this.#waiting.delete(look);
        resolve(found);
      };
      this.#waiting.add(look);
      look();
    });
  }
}
