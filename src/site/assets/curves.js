// Training curves of all runs of a submission, over steps or time.

golf.DASHES = ["", "6 3", "2 3", "8 3 2 3", "", "6 3"];
golf.EVENT_WORDS = { averaging: "averaging of weights begins", quantizing: "training with quantized weights begins", stop: "the clock stops training" };
golf.EVENT_LETTERS = { averaging: "A", quantizing: "Q", stop: "■" };

/** The place of a point on the chosen axis: steps, or seconds. */
golf.along = (point, axis) => (axis === "seconds" ? point[1] : point[0]);

/** The seconds at which a step was done, by the points around it. */
golf.secondsAt = function (points, step) {
  const timed = points.filter((point) => point[1] !== null);
  const after = timed.findIndex((point) => point[0] >= step);
  if (after < 0) return null;
  const [b, a] = [timed[after], timed[Math.max(0, after - 1)]];
  return b[0] === a[0] ? b[1] : a[1] + ((step - a[0]) / (b[0] - a[0])) * (b[1] - a[1]);
};

/** Draws one series of the runs that are shown. */
golf.curves = function (plot, data, series, axis, hidden) {
  plot.replaceChildren();
  const runs = data.runs.map((run, index) => ({
    ...run, index, points: run[series].filter((point) => golf.along(point, axis) !== null),
  }));
  const drawn = runs.filter((run) => run.points.length > 1 && !hidden.has(run.index));
  if (drawn.length === 0) {
    plot.append(golf.el("p", { class: "soft" }, "No shown log tells this" + (axis === "seconds" ? " over time." : ".")));
    return;
  }
  const all = drawn.flatMap((run) => run.points);
  let end = all.reduce((most, point) => Math.max(most, golf.along(point, axis)), 0);
  const cap = axis === "seconds" ? data.cap : null;
  if (cap && end > 0.5 * cap) end = Math.max(end, cap * 1.03);
  // The fall of the first steps is the same for everybody, and hides what follows.
  const settled = all.filter((point) => golf.along(point, axis) >= 0.08 * end).map((point) => point[2]).sort((a, b) => a - b);
  const values = settled.length > 3 ? settled : all.map((point) => point[2]).sort((a, b) => a - b);
  const low = values[0];
  const high = golf.quantile(values, 0.985);
  const room = 0.06 * (high - low || 0.1);
  const isBpb = series === "bpb";
  const floor = isBpb && data.claimed !== null && data.claimed > low - 0.5 * (high - low) ? Math.min(low, data.claimed) : low;
  const frame = golf.frame(plot, {
    name: series, height: 300, x: [0, end || 1], y: [floor - room, high + room],
    xText: (value) => golf.group(Math.round(value)), yText: (value) => golf.short(value, 3),
    xName: axis === "seconds" ? "seconds of training" : "steps",
    label: (isBpb ? "Validation bits per byte" : "Training loss") + " of " + drawn.length + " runs over " + axis + ", ending at "
      + drawn.map((run) => run.name + " " + golf.short(run.points[run.points.length - 1][2], 4)).join(", "),
  });
  if (cap && end >= cap) {
    frame.inside.append(golf.svg("line", { class: "cap", x1: frame.x(cap), x2: frame.x(cap), y1: 0, y2: frame.height - frame.box.bottom }));
    frame.above.append(golf.svg("text", { class: "cap-text", x: frame.x(cap) - 5, y: 24, "text-anchor": "end" }, "cap " + cap + " s"));
  }
  if (isBpb && data.claimed !== null && floor - room < data.claimed && data.claimed < high + room) {
    const y = frame.y(data.claimed);
    frame.inside.append(golf.svg("line", { class: "frontier", "stroke-dasharray": "2 4", x1: 0, x2: frame.width, y1: y, y2: y }));
    frame.above.append(golf.svg("text", { x: frame.box.left + 6, y: y - 5 }, "claimed " + data.claimed));
  }
  for (const run of drawn) {
    const path = run.points.map((point, index) => (index ? "L" : "M") + frame.x(golf.along(point, axis)).toFixed(1) + "," + frame.y(point[2]).toFixed(1)).join("");
    const color = "s" + (run.index % 6);
    frame.inside.append(golf.svg("path", {
      class: "line " + color + (run.carries ? "" : " other"), d: path, stroke: "currentColor",
      "stroke-dasharray": golf.DASHES[run.index % 6],
    }));
    if (run.points.length <= 12) {
      frame.inside.append(...run.points.map((point) => golf.svg("circle", {
        class: "dot " + color, cx: frame.x(golf.along(point, axis)), cy: frame.y(point[2]), r: 3,
      })));
    }
    golf.events(frame, run, axis, color);
  }
  plot.append(frame.picture);
  golf.reading(plot, frame, drawn, axis);
};

/** Marks on the axis where something happens in a run. */
golf.events = function (frame, run, axis, color) {
  for (const [kind, step] of run.events) {
    const timed = [...run.points, ...run.train, ...run.bpb].sort((a, b) => a[0] - b[0]);
    const place = axis === "seconds" ? golf.secondsAt(timed, step) : step;
    if (place === null || place > frame.x.high) continue;
    const x = frame.x(place);
    const y = frame.height - frame.box.bottom;
    frame.above.append(golf.svg("g", { class: color },
      golf.svg("line", { stroke: "currentColor", x1: x, x2: x, y1: y - 10, y2: y }),
      golf.svg("text", { x, y: y - 13, "text-anchor": "middle", class: "event" }, golf.EVENT_LETTERS[kind]),
      golf.svg("title", {}, run.name + ", step " + golf.group(step) + ": " + golf.EVENT_WORDS[kind])));
  }
};

/** Reads the values of all runs at the place pointed at. */
golf.reading = function (plot, frame, runs, axis) {
  const tip = golf.tip(plot);
  const cursor = golf.svg("line", { class: "cursor", y1: frame.box.top, y2: frame.height - frame.box.bottom, visibility: "hidden" });
  frame.above.append(cursor);
  frame.picture.addEventListener("pointermove", (event) => {
    const area = frame.picture.getBoundingClientRect();
    const scale = frame.width / area.width;
    const place = frame.x.invert((event.clientX - area.left) * scale);
    if (place < 0 || place > frame.x.high) return;
    const nearest = runs.map((run) => run.points.reduce((best, point) =>
      (Math.abs(golf.along(point, axis) - place) < Math.abs(golf.along(best, axis) - place) ? point : best)));
    const x = frame.x(golf.along(nearest[0], axis));
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.setAttribute("visibility", "visible");
    const lines = runs.map((run, index) => run.name + ": " + golf.short(nearest[index][2], 5));
    const at = "step " + golf.group(nearest[0][0]) + (nearest[0][1] === null ? "" : ", " + golf.short(nearest[0][1], 1) + " s");
    tip.show([at, ...lines].join("\n"), x / scale, (event.clientY - area.top));
  });
  frame.picture.addEventListener("pointerleave", () => {
    tip.hide();
    cursor.setAttribute("visibility", "hidden");
  });
};
