// The lines from each client through tidelock to its node, over the picture as it is laid out at this moment.

const SVG = "http://www.w3.org/2000/svg";
const PULSE_MS = 750;
const PULSES_MAX = 24;
const SETTLE_MS = 1_000;
const isStill = matchMedia("(prefers-reduced-motion: reduce)");

export class Lines {
  #paths = new Map();
  #until = 0;
  #pulses = 0;

  /** `ends` returns `{key, chip, dot, ...}` for each line; without a dot it ends at `proxy`. */
  constructor(svg, proxy, ends) {
    Object.assign(this, { svg, proxy, ends });
    new ResizeObserver(() => this.draw()).observe(svg);
  }

  /** Draws them until what moves has come to rest. */
  follow() {
    const isAtIt = this.#until > performance.now();
    this.#until = performance.now() + SETTLE_MS;
    if (!isAtIt) this.#frame();
  }

  /** Where the picture stands on end the dots alone say which node it is. */
  get #isHidden() { return getComputedStyle(this.svg).display === "none"; }

  #frame() {
    this.draw();
    if (this.#until > performance.now()) requestAnimationFrame(() => this.#frame());
  }

  draw() {
    if (this.#isHidden) return;
    const origin = this.svg.getBoundingClientRect();
    const box = (element) => {
      const { left, top, right, bottom } = element.getBoundingClientRect();
      return { left: left - origin.left, top: top - origin.top, right: right - origin.left, bottom: bottom - origin.top };
    };
    const proxy = box(this.proxy);
    const ends = this.ends();
    ends.forEach(({ key, chip, dot, transport, state, isYou }, index) => {
      const path = this.#paths.get(key) ?? this.#make(key);
      const share = (index + 1) / (ends.length + 1);
      path.setAttribute("d", way(box(chip), proxy, dot && this.#landing(dot, box), share));
      path.dataset.transport = transport ?? "";
      path.dataset.state = state;
      path.classList.toggle("you", isYou);
    });
  }

  /** Where the line of a dot meets its card: the lines of a row are spread over its height. */
  #landing(dot, box) {
    const [row, card] = [box(dot.parentElement), box(dot.closest(".node"))];
    const place = [...dot.parentElement.children].indexOf(dot);
    const count = dot.parentElement.children.length;
    return { left: card.left, top: row.top + ((row.bottom - row.top) * (place + 1)) / (count + 1) };
  }

  #make(key) {
    const path = document.createElementNS(SVG, "path");
    this.#paths.set(key, path);
    this.svg.append(path);
    return path;
  }

  /** Something goes along a line. */
  pulse(key) {
    const path = this.#paths.get(key);
    if (!path || this.#isHidden || isStill.matches || document.hidden || this.#pulses >= PULSES_MAX) return;
    this.#pulses += 1;
    const circle = document.createElementNS(SVG, "circle");
    circle.setAttribute("r", "3.5");
    this.svg.append(circle);
    const began = performance.now();
    const step = (now) => {
      const done = Math.min(1, Math.max(0, (now - began) / PULSE_MS));
      const { x, y } = path.getPointAtLength(path.getTotalLength() * done);
      circle.setAttribute("cx", x);
      circle.setAttribute("cy", y);
      if (done < 1) return requestAnimationFrame(step);
      this.#pulses -= 1;
      circle.remove();
    };
    requestAnimationFrame(step);
  }
}

/** From a chip into tidelock, at a place of its own, and out again to the edge of a node's card, beside its dot. */
function way(chip, proxy, dot, share) {
  const y = proxy.top + (proxy.bottom - proxy.top) * share;
  const into = curve(chip.right, middle(chip.top, chip.bottom), proxy.left, y);
  return dot ? `${into} ${curve(proxy.right, y, dot.left, dot.top)}` : into;
}

function curve(x0, y0, x1, y1) {
  const x = middle(x0, x1);
  return `M ${x0} ${y0} C ${x} ${y0} ${x} ${y1} ${x1} ${y1}`;
}

function middle(from, to) {
  return (from + to) / 2;
}
