// Scales and axes: what both pictures stand on.

/** A linear scale from values to places. */
golf.scale = function (low, high, from, to) {
  const span = high - low || 1;
  const scale = (value) => from + ((value - low) / span) * (to - from);
  scale.invert = (place) => low + ((place - from) / (to - from)) * span;
  scale.low = low;
  scale.high = high;
  return scale;
};

/** Round values between two, about so many. */
golf.ticks = function (low, high, count) {
  const rough = (high - low) / Math.max(1, count);
  if (!(rough > 0)) return [low];
  const power = Math.pow(10, Math.floor(Math.log10(rough)));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) {
    ticks.push(Number((i * step).toPrecision(12)));
  }
  return ticks;
};

golf.DAY = 86400000;

/** A day `YYYY-MM-DD` as milliseconds; nothing if it is none. */
golf.day = function (text) {
  if (!/^\d{4}-\d{2}-\d{2}/.test(text)) return null;
  const time = Date.parse(text.slice(0, 10) + "T00:00:00Z");
  return Number.isFinite(time) ? time : null;
};

golf.dayText = (time) => new Date(time).toISOString().slice(0, 10);

/** Days for an axis: weeks or months, about so many. */
golf.dayTicks = function (low, high, count) {
  const days = (high - low) / golf.DAY;
  const step = [1, 2, 7, 14, 28, 61, 122, 366].find((candidate) => days / candidate <= count) || Math.ceil(days / count);
  const ticks = [];
  for (let time = Math.ceil(low / golf.DAY) * golf.DAY; time <= high; time += step * golf.DAY) ticks.push(time);
  return ticks;
};

/** The value below which this part of the sorted values lies. */
golf.quantile = function (sorted, part) {
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(part * (sorted.length - 1))))];
};

/** A frame with axes; gives the picture, its scales and a group for what is drawn. */
golf.frame = function (plot, options) {
  const width = Math.max(280, plot.clientWidth || 640);
  const height = options.height;
  const box = { left: 52, right: 12, top: 12, bottom: 40 };
  const x = golf.scale(options.x[0], options.x[1], box.left, width - box.right);
  const y = golf.scale(options.y[0], options.y[1], height - box.bottom, box.top);
  const picture = golf.svg("svg", {
    class: "chart", viewBox: "0 0 " + width + " " + height, role: "img", "aria-label": options.label,
  });
  for (const tick of options.yTicks || golf.ticks(y.low, y.high, height / 55)) {
    picture.append(
      golf.svg("line", { class: "grid", x1: box.left, x2: width - box.right, y1: y(tick), y2: y(tick) }),
      golf.svg("text", { x: box.left - 8, y: y(tick) + 4, "text-anchor": "end" }, options.yText(tick)),
    );
  }
  const xTicks = options.xTicks ? options.xTicks(width / 95) : golf.ticks(x.low, x.high, width / 95);
  for (const tick of xTicks) {
    picture.append(
      golf.svg("line", { class: "axis", x1: x(tick), x2: x(tick), y1: height - box.bottom, y2: height - box.bottom + 5 }),
      golf.svg("text", { x: x(tick), y: height - box.bottom + 19, "text-anchor": "middle" }, options.xText(tick)),
    );
  }
  picture.append(
    golf.svg("line", {
      class: "axis", x1: box.left, x2: width - box.right, y1: height - box.bottom, y2: height - box.bottom,
    }),
    golf.svg("text", { x: width - box.right, y: height - 5, "text-anchor": "end" }, options.xName || ""),
  );
  const id = "clip-" + options.name;
  picture.append(
    golf.svg("clipPath", { id }, golf.svg("rect", {
      x: box.left, y: box.top - 6, width: width - box.left - box.right, height: height - box.top - box.bottom + 6,
    })),
  );
  const inside = golf.svg("g", { "clip-path": "url(#" + id + ")" });
  const above = golf.svg("g");
  picture.append(inside, above);
  return { picture, inside, above, x, y, width, height, box };
};
