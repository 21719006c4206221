// The state of the overview. It lives behind the # of the address, so that a link shows what its sender saw.

golf.FILTERS = ["q", "verdict", "rule", "level", "track", "month", "author", "budget", "change", "sort"];

/** The state that the address names; a query works like a fragment. */
golf.readState = function () {
  const state = {};
  for (const part of [location.search, location.hash]) {
    for (const [name, value] of new URLSearchParams(part.slice(1))) {
      if (golf.FILTERS.includes(name) && value) state[name] = value;
    }
  }
  return state;
};

/** The fragment that names a state. */
golf.stateText = function (state) {
  const parameters = new URLSearchParams();
  for (const name of golf.FILTERS) if (state[name]) parameters.set(name, state[name]);
  return parameters.toString();
};

/** Whether a row is shown in a state. */
golf.shows = function (row, state) {
  return (!state.q || state.q.toLowerCase().split(/\s+/).every((word) => row.text.includes(word)))
    && (!state.verdict || row.verdict === state.verdict)
    && (!state.rule || row.rules.some(([rule]) => rule === state.rule))
    && (!state.level || row.level === state.level)
    && (!state.track || row.track === state.track)
    && (!state.month || row.month === state.month)
    && (!state.author || row.author === state.author)
    && (!state.budget || row.budget === state.budget)
    && (!state.change || (state.change === "any" ? row.change !== "" : row.change === state.change));
};

/** The values a filter can take, with how many rows have each, the most frequent or the first in order at the top. */
golf.choices = function (rows, of, byCount) {
  const counts = new Map();
  for (const row of rows) {
    for (const value of [].concat(of(row))) if (value) counts.set(value, (counts.get(value) || 0) + 1);
  }
  const choices = [...counts];
  choices.sort((a, b) => (byCount ? b[1] - a[1] : 0) || (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
  return choices;
};

/** Rows in an order: `bpb`, or `-bpb` for the other way round. What has no value comes last either way. */
golf.sorted = function (rows, columns, sort) {
  const isDown = (sort || "").startsWith("-");
  const column = columns.find((candidate) => candidate.id === (sort || "").replace("-", ""));
  if (!column) return rows;
  const sign = isDown ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [x, y] = [column.value(a), column.value(b)];
    const [noX, noY] = [x === null || x === "", y === null || y === ""];
    if (noX || noY) return noX === noY ? a.index - b.index : noX ? 1 : -1;
    return sign * (x < y ? -1 : x > y ? 1 : 0) || a.index - b.index;
  });
};

/** A cell of RFC 4180 that no spreadsheet takes for a formula. */
golf.csvCell = function (value) {
  let text = value === null || value === undefined ? "" : String(value);
  if (/^[=+\-@\t\r]/.test(text) && !Number.isFinite(Number(text))) text = "'" + text;
  return /[",\r\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
};
