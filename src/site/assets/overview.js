// The overview: reads the rows, draws what the state of the address asks for.

golf.BUDGET_WORDS = { over: "over the cap", near: "within 50 kB of it", fits: "fits", none: "no size known" };

golf.readRows = function (data) {
  return data.rows.map((cells, index) => {
    const [page, name, title, author, day, track, bpbText, level, [verdict, status], counts, size, seeds, record, rules,
      change] = cells;
    const bpb = bpbText !== "" && Number.isFinite(Number(bpbText)) ? Number(bpbText) : null;
    const left = size ? size[1] - size[0] : null;
    const named = rules.map(([rule, severity]) => [data.rules[rule][0], data.severities[severity]]);
    const row = {
      index, page, name, title, author, day, track, bpbText, bpb, seeds, left, counts,
      month: /^\d{4}-\d{2}/.test(day) ? day.slice(0, 7) : "",
      time: golf.day(day),
      level: data.levels[level], levelNumber: level,
      verdict: data.severities[verdict], verdictNumber: verdict, status,
      total: size ? size[0] : null, basis: size ? size[2] : "",
      budget: left === null ? "none" : left < 0 ? "over" : left < 50000 ? "near" : "fits",
      p: record ? record[0] : null, improvement: record ? record[1] : null,
      standing: record ? record[2] : "", recordVerdict: record ? record[3] : "",
      rules: named, change: change ? change[0] : "", changes: change ? change[1] : [],
    };
    row.summary = counts[0] + " failing, " + counts[1] + " warnings, " + counts[2] + " to review";
    row.text = [name, title, author, day, track, bpbText, row.level, ...named.map(([rule]) => rule)].join(" ").toLowerCase();
    return row;
  });
};

golf.VERDICT_WORDS = {
  fail: "failing", warning: "with warnings", review: "to review", unknown: "not examined", pass: "clean",
};

golf.COLUMNS = [
  { id: "name", name: "submission", value: (row) => (row.title || row.name).toLowerCase() },
  { id: "author", name: "author", value: (row) => row.author.toLowerCase() },
  { id: "date", name: "date", value: (row) => row.day },
  { id: "track", name: "track", value: (row) => row.track },
  { id: "bpb", name: "claimed bpb", isNumber: true, value: (row) => row.bpb },
  { id: "left", name: "bytes left", isNumber: true, value: (row) => row.left },
  { id: "seeds", name: "seeds", isNumber: true, value: (row) => row.seeds },
  { id: "p", name: "p", isNumber: true, value: (row) => row.p },
  { id: "level", name: "level", value: (row) => row.levelNumber },
  { id: "found", name: "found", value: (row) => row.counts[0] * 1e6 + row.counts[1] * 1e3 + row.counts[2] },
];

golf.tableRow = function (row, isCompared) {
  const cell = (label, attributes, ...children) => golf.el("td", { "data-label": label, ...attributes }, ...children);
  const severity = golf.VERDICT_WORDS[row.verdict] || row.verdict;
  const chips = row.rules.slice(0, 4).map(([rule, word]) => golf.el("span", { class: word, title: word }, rule));
  if (row.rules.length > 4) chips.push(golf.el("span", { class: "soft" }, "+" + (row.rules.length - 4)));
  return golf.el("tr", {},
    cell("", { class: "wide" }, golf.el("div", { class: "subject" },
      golf.el("a", { href: row.page },
        golf.el("span", { class: "mark " + row.verdict, "data-mark": row.verdict, role: "img", "aria-label": severity, title: severity }),
        " ", row.title || row.name),
      golf.el("span", { class: "small soft mono" }, row.title ? row.name : ""),
      isCompared && row.change ? golf.el("span", {}, golf.el("span", { class: "tag " + golf.CHANGE_CLASS[row.change] }, row.change)) : null)),
    cell("author", { class: "author" }, row.author),
    cell("date", { class: "number" }, row.day),
    cell("track", { class: "small brief" }, row.track.replace("_16mb", "").replace("_", "-")),
    cell("claimed bpb", { class: "number", title: row.bpbText }, row.bpb === null && row.bpbText ? "no number" : row.bpbText.slice(0, 8)),
    cell("bytes left", { class: "number" + (row.budget === "over" ? " over" : ""), title: row.total === null ? null : golf.group(row.total) + " bytes, " + row.basis },
      row.left === null ? "" : golf.group(row.left)),
    cell("seeds", { class: "number" }, row.seeds ? String(row.seeds) : ""),
    cell("p", { class: "number", title: row.standing ? "against " + row.standing + ": " + row.recordVerdict : null },
      row.p === null ? "" : golf.pText(row.p)),
    cell("level", { class: "brief" }, row.level === "no level" ? golf.el("span", { class: "soft" }, "none") : row.level),
    cell("", { class: "wide" }, golf.el("div", { class: "chips" }, ...chips)));
};

golf.CHANGE_CLASS = { better: "pass", worse: "fail", changed: "review", new: "unknown" };

golf.pText = (p) => (p < 0.0001 ? "<0.0001" : p > 0.9999 ? ">0.9999" : p.toPrecision(2));

golf.overview = function () {
  const data = golf.data();
  const rows = golf.readRows(data);
  const find = (name) => document.querySelector("[data-" + name + "]");
  let state = golf.readState();
  let shown = rows;
  let pending = 0;

  const go = function (change, isTyping) {
    state = { ...state, ...change };
    const text = "#" + golf.stateText(state);
    // Typing is one step back, not one a letter.
    if (isTyping) history.replaceState(null, "", text);
    else if (location.hash !== text && (location.hash || text !== "#")) history.pushState(null, "", text);
    draw();
  };
  const toggle = (name, value) => go({ [name]: state[name] === value ? "" : value });

  const tiles = function () {
    const counts = new Map(golf.choices(rows.filter((row) => golf.shows(row, { ...state, verdict: "" })), (row) => row.verdict));
    find("tiles").replaceChildren(...["fail", "warning", "review", "unknown", "pass"].map((verdict) => golf.el("li", { class: "bare" },
      golf.el("button", { type: "button", class: "tile", "aria-pressed": String(state.verdict === verdict), onclick: () => toggle("verdict", verdict) },
        golf.el("b", {}, golf.group(counts.get(verdict) || 0)),
        golf.el("span", { class: "soft" }, golf.el("span", { class: "mark " + verdict, "data-mark": verdict, "aria-hidden": "true" }), " " + golf.VERDICT_WORDS[verdict])))));
  };

  const fields = {};
  const select = function (name, label, choices, words) {
    const options = choices.map(([value, count]) => golf.el("option", { value }, (words ? words[value] : value) + " (" + count + ")"));
    fields[name] = golf.el("select", { onchange: (event) => go({ [name]: event.target.value }) },
      golf.el("option", { value: "" }, "all"), ...options);
    return golf.el("label", {}, label, fields[name]);
  };
  const form = find("filters");
  fields.q = golf.el("input", { type: "search", placeholder: "name, author, rule, number", oninput: (event) => go({ q: event.target.value }, true) });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.append(
    golf.el("label", { class: "wide" }, "search", fields.q),
    select("rule", "rule", golf.choices(rows, (row) => row.rules.map(([rule]) => rule), true)),
    select("level", "level", golf.choices(rows, (row) => row.level, true)),
    select("track", "track", golf.choices(rows, (row) => row.track, true)),
    select("budget", "byte budget", golf.choices(rows, (row) => row.budget, true), golf.BUDGET_WORDS),
    select("month", "month", golf.choices(rows, (row) => row.month)),
    select("author", "author", golf.choices(rows, (row) => row.author, true)));
  if (data.compared) {
    const changed = golf.choices(rows, (row) => (row.change ? [row.change, "any"] : []), true);
    form.append(select("change", "changed since", changed, { any: "anything", better: "better", worse: "worse", changed: "changed", new: "new" }));
  }

  let allRules = false;
  const bars = function () {
    const counts = new Map();
    for (const row of rows.filter((candidate) => golf.shows(candidate, { ...state, rule: "" }))) {
      for (const [rule, severity] of row.rules) {
        const count = counts.get(rule) || { fail: 0, warning: 0, review: 0, unknown: 0, all: 0 };
        count[severity in count ? severity : "unknown"] += 1;
        count.all += 1;
        counts.set(rule, count);
      }
    }
    const list = [...counts].sort((a, b) => b[1].fail - a[1].fail || b[1].all - a[1].all || (a[0] < b[0] ? -1 : 1));
    const most = list.reduce((most, [, count]) => Math.max(most, count.all), 1);
    const statements = new Map(data.rules);
    const visible = list.filter(([rule], index) => allRules || index < 12 || rule === state.rule);
    find("bars").replaceChildren(...visible.map(([rule, count]) => {
      const part = (severity) => {
        const span = golf.el("span", { class: severity });
        span.style.width = (100 * count[severity]) / most + "%";
        return span;
      };
      const words = ["fail", "warning", "review", "unknown"].filter((severity) => count[severity]).map((severity) => count[severity] + " " + severity).join(", ");
      return golf.el("li", {}, golf.el("button", { type: "button", title: statements.get(rule), "aria-pressed": String(state.rule === rule), onclick: () => toggle("rule", rule) },
        golf.el("span", { class: "name" }, rule), golf.el("span", { class: "count" }, String(count.all), golf.el("span", { class: "sr" }, " submissions: " + words)),
        golf.el("span", { class: "track", "aria-hidden": "true" }, part("fail"), part("warning"), part("review"), part("unknown"))));
    }));
    const more = find("more-rules");
    more.hidden = list.length <= 12;
    more.textContent = allRules ? "Show the first 12" : "Show all " + list.length + " rules";
  };
  find("more-rules").addEventListener("click", () => {
    allRules = !allRules;
    bars();
  });

  const head = golf.el("tr", {});
  const body = golf.el("tbody", {});
  find("table").append(golf.el("table", { class: "rows" },
    golf.el("caption", { class: "sr" }, "Submissions; the buttons of the header sort"), golf.el("thead", {}, head), body));
  const header = function () {
    const [by, isDown] = [(state.sort || "").replace("-", ""), (state.sort || "").startsWith("-")];
    const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.sort : null;
    head.replaceChildren(...golf.COLUMNS.map((column) => golf.el("th", {
      scope: "col", class: column.isNumber ? "number" : null,
      "aria-sort": by === column.id ? (isDown ? "descending" : "ascending") : null,
    }, golf.el("button", { type: "button", "data-sort": column.id, onclick: () => go({ sort: by === column.id ? (isDown ? "" : "-" + column.id) : column.id }) },
      column.name + (by === column.id ? (isDown ? " ↓" : " ↑") : "")))));
    if (focused) head.querySelector('[data-sort="' + focused + '"]').focus();
  };
  // The first screens at once, the rest while the reader looks at them.
  const fillTable = function () {
    const mine = ++pending;
    let next = 0;
    const add = function (count) {
      body.append(...shown.slice(next, next + count).map((row) => golf.tableRow(row, data.compared)));
      next += count;
    };
    body.replaceChildren();
    add(60);
    const rest = function () {
      if (mine !== pending || next >= shown.length) return;
      add(200);
      setTimeout(rest, 0);
    };
    setTimeout(rest, 30);
  };

  const fullTable = function () {
    pending += 1;
    body.replaceChildren(...shown.map((row) => golf.tableRow(row, data.compared)));
  };
  window.addEventListener("beforeprint", fullTable);

  const legend = find("scatter-legend");
  legend.append(...["pass", "review", "warning", "fail", "unknown"].map((verdict) => golf.el("li", {},
    golf.el("span", { class: "mark " + verdict, "data-mark": verdict, "aria-hidden": "true" }), " " + golf.VERDICT_WORDS[verdict])),
    golf.el("li", { class: "soft" }, "hollow at the edge: outside the picture"));

  const draw = function () {
    shown = golf.sorted(rows.filter((row) => golf.shows(row, state)), golf.COLUMNS, state.sort);
    for (const [name, field] of Object.entries(fields)) if (field.value !== (state[name] || "")) field.value = state[name] || "";
    const over = shown.filter((row) => row.budget === "over");
    find("count").textContent = golf.group(shown.length) + " of " + golf.group(rows.length) + " shown"
      + (over.length ? "; " + over.length + " over the byte budget, by up to " + golf.group(Math.max(...over.map((row) => -row.left))) + " bytes" : "");
    tiles();
    header();
    fillTable();
    bars();
    golf.scatter(find("scatter"), shown, data.board, Object.keys(golf.VERDICT_WORDS));
  };

  const changes = find("changes");
  if (changes) {
    const changed = rows.filter((row) => row.change);
    changes.append(...(changed.length ? changed.slice(0, 200).map((row) => golf.el("li", {},
      golf.el("span", { class: "tag " + golf.CHANGE_CLASS[row.change] }, row.change), " ",
      golf.el("a", { href: row.page }, row.title || row.name), " ", golf.el("span", { class: "soft small" }, row.changes.join("; ")))) : [golf.el("li", {}, "Nothing changed.")]));
    if (changed.length > 200) changes.append(golf.el("li", { class: "soft" }, "and " + (changed.length - 200) + " more: filter by what changed"));
  }

  find("clear").addEventListener("click", () => go(Object.fromEntries(golf.FILTERS.map((name) => [name, ""]))));
  const table = () => shown.map((row) => ({
    submission: row.name, claim: row.title, author: row.author, date: row.day, track: row.track, val_bpb: row.bpbText,
    level: row.level, verdict: row.verdict, failures: row.counts[0], warnings: row.counts[1], review: row.counts[2],
    bytes: row.total, bytes_left: row.left, seeds: row.seeds, p: row.p, standing: row.standing,
    rules: row.rules.map(([rule, severity]) => rule + ":" + severity).join(" "), change: row.change,
  }));
  find("csv").addEventListener("click", () => {
    const list = table();
    const names = Object.keys(list[0] || { submission: "" });
    const lines = [names, ...list.map((row) => names.map((name) => row[name]))];
    golf.save("audit.csv", "text/csv", lines.map((cells) => cells.map(golf.csvCell).join(",")).join("\r\n") + "\r\n");
  });
  find("json").addEventListener("click", () => golf.save("audit.json", "application/json", JSON.stringify(table(), null, 1) + "\n"));

  const restore = function () {
    state = golf.readState();
    draw();
  };
  window.addEventListener("popstate", restore);
  window.addEventListener("hashchange", restore);
  let width = innerWidth;
  window.addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    golf.scatter(find("scatter"), shown, data.board, Object.keys(golf.VERDICT_WORDS));
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) {
      event.preventDefault();
      fields.q.focus();
    }
  });
  draw();
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
};

if (document.getElementById("overview")) golf.overview();
