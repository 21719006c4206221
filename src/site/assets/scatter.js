// Claims over time. Shape says what color says: circles are clean, squares fail.

/** The outline of a mark around a place, by severity. */
golf.markPath = function (severity, x, y, r) {
  switch (severity) {
    case "fail":
      return `M${x - r},${y - r}h${2 * r}v${2 * r}h${-2 * r}z`;
    case "warning":
      return `M${x},${y - 1.25 * r}L${x + 1.2 * r},${y + r}H${x - 1.2 * r}z`;
    case "review":
      return `M${x},${y - 1.35 * r}L${x + 1.35 * r},${y}L${x},${y + 1.35 * r}L${x - 1.35 * r},${y}z`;
    case "unknown":
      return golf.markPath("pass", x, y, r) + `M${x - r / 2},${y}a${r / 2},${r / 2} 0 1 1 ${r},0a${r / 2},${r / 2} 0 1 1 ${-r},0`;
    default:
      return `M${x - r},${y}a${r},${r} 0 1 0 ${2 * r},0a${r},${r} 0 1 0 ${-2 * r},0`;
  }
};

/** Draws the rows that are shown, and the line of records. */
golf.scatter = function (plot, rows, board, words) {
  plot.replaceChildren();
  const placed = rows.filter((row) => row.time !== null && row.bpb !== null);
  const days = placed.map((row) => row.time);
  const records = board.map(([day, bpb, name]) => ({ time: golf.day(day), bpb, name })).filter((r) => r.time !== null);
  const values = placed.map((row) => row.bpb).sort((a, b) => a - b);
  if (values.length === 0) {
    plot.append(golf.el("p", { class: "soft" }, "No shown submission has both a date and a number."));
    return;
  }
  // Odd claims must not squeeze the others into a line: what lies outside is drawn at the edge, hollow.
  const crowd = [golf.quantile(values, 0.12), golf.quantile(values, 0.88)];
  const room = Math.max(0.01, 0.6 * (crowd[1] - crowd[0]));
  const first = days.reduce((a, b) => Math.min(a, b));
  const last = days.reduce((a, b) => Math.max(a, b));
  const standing = records.filter((record) => record.time <= last).map((record) => record.bpb);
  const best = Math.max(standing.length ? Math.min(...standing) : Infinity, crowd[0] - 2 * room);
  const low = Math.min(best - 0.1 * room, Math.max(values[0] - 0.1 * room, crowd[0] - room));
  const high = Math.min(values[values.length - 1] + 0.1 * room, crowd[1] + room);
  const frame = golf.frame(plot, {
    name: "scatter", height: 380,
    x: [first - golf.DAY, last + golf.DAY], y: [low, high],
    xTicks: (count) => golf.dayTicks(first, last, count), xText: (time) => golf.dayText(time).slice(5), xName: "",
    yText: (value) => golf.short(value, 3),
    label: words.length + " kinds of marks: " + placed.length + " claims from " + golf.dayText(first) + " to "
      + golf.dayText(last) + ", " + golf.short(values[0], 4) + " to " + golf.short(values[values.length - 1], 4)
      + " bits per byte; the table has the numbers",
  });
  golf.frontier(frame, records);
  for (const row of placed) {
    const isOut = row.bpb < low || row.bpb > high;
    const x = frame.x(row.time);
    const y = frame.y(Math.min(high, Math.max(low, row.bpb)));
    const mark = golf.svg("path", {
      class: "point " + row.verdict + (isOut ? " out" : ""), d: golf.markPath(row.verdict, x, y, 4.2),
      "fill-rule": "evenodd", "fill-opacity": 0.85,
    });
    row.at = { x, y, mark };
    frame.above.append(mark);
  }
  plot.append(frame.picture);
  golf.pointing(plot, frame, placed);
};

/** The standing record, a step down for each that was better. */
golf.frontier = function (frame, records) {
  let best = Infinity;
  let path = "";
  const dots = [];
  for (const record of records) {
    if (record.bpb >= best) continue;
    const [x, y] = [frame.x(record.time), frame.y(record.bpb)];
    path += best === Infinity ? `M${x},${y}` : `H${x}V${y}`;
    best = record.bpb;
    dots.push(golf.svg("circle", { class: "frontier-dot", cx: x, cy: y, r: 3 },
      golf.svg("title", {}, record.name + ": " + record.bpb)));
  }
  if (path) frame.inside.append(golf.svg("path", { class: "frontier", d: path + `H${frame.width}` }), ...dots);
};

/** Names what is pointed at, and opens it when it is chosen. */
golf.pointing = function (plot, frame, rows) {
  const tip = golf.tip(plot);
  let nearest = null;
  const find = function (event) {
    const area = frame.picture.getBoundingClientRect();
    const scale = frame.width / area.width;
    const [x, y] = [(event.clientX - area.left) * scale, (event.clientY - area.top) * scale];
    let best = 24 * 24;
    let found = null;
    for (const row of rows) {
      const distance = (row.at.x - x) ** 2 + (row.at.y - y) ** 2;
      if (distance < best) [best, found] = [distance, row];
    }
    return [found, scale];
  };
  const leave = function () {
    if (nearest) nearest.at.mark.classList.remove("hit");
    nearest = null;
    tip.hide();
  };
  frame.picture.addEventListener("pointermove", (event) => {
    const [row, scale] = find(event);
    if (row === nearest) return;
    leave();
    if (!row) return;
    nearest = row;
    row.at.mark.classList.add("hit");
    tip.show(row.bpbText + " · " + row.day + "\n" + (row.title || row.name) + "\n" + row.author + "\n" + row.summary,
      row.at.x / scale, row.at.y / scale);
  });
  frame.picture.addEventListener("pointerleave", leave);
  frame.picture.addEventListener("click", (event) => {
    const [row] = find(event);
    if (row) location.href = row.page;
  });
};
