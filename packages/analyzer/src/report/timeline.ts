/** Packets by time in at most STEPS_MAX equal steps, whatever the length turns out to be: when there are too many steps, two become one. */
const STEPS_MAX = 240;

export class Timeline {
  #stepUs = 1_000_000;
  #startUs = -1;
  #steps: number[] = [];

  add(timeUs: number, packets: number): void {
    if (this.#startUs === -1) this.#startUs = timeUs;
    let step = Math.max(0, Math.floor((timeUs - this.#startUs) / this.#stepUs));
    while (step >= STEPS_MAX) {
      const halved: number[] = [];
      for (let i = 0; i < this.#steps.length; i += 2)
        halved.push((this.#steps[i] ?? 0) + (this.#steps[i + 1] ?? 0));
      this.#steps = halved;
      this.#stepUs *= 2;
      step = Math.floor((timeUs - this.#startUs) / this.#stepUs);
    }
    while (this.#steps.length <= step) this.#steps.push(0);
    this.#steps[step] = (this.#steps[step] ?? 0) + packets;
  }

  result(): { stepSeconds: number; packets: number[] } {
    return { stepSeconds: this.#stepUs / 1e6, packets: this.#steps };
  }
}
