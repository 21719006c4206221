// The page of one subject: its curves, and the text of a dispute.

golf.subject = function () {
  const back = document.querySelector("[data-back]");
  // Back to the overview as it was, with its filters.
  if (back && history.length > 1 && document.referrer) back.addEventListener("click", (event) => {
    if (new URL(document.referrer).pathname.endsWith("index.html")) {
      event.preventDefault();
      history.back();
    }
  });
  const copy = document.querySelector("[data-copy]");
  copy.addEventListener("click", () => {
    const text = document.getElementById("dispute-text");
    text.select();
    const done = () => { copy.textContent = "Copied"; };
    if (navigator.clipboard) navigator.clipboard.writeText(text.value).then(done, () => document.execCommand("copy") && done());
    else if (document.execCommand("copy")) done();
  });

  const data = golf.data();
  if (data) {
    // Runs that carry the claim first: others are there to be asked for.
    const isDrawn = (run) => run.train.length > 1 || run.bpb.length > 1;
    const isClaimed = data.runs.some((run) => run.carries && isDrawn(run));
    const hidden = new Set(data.runs.flatMap((run, index) => (isClaimed && !run.carries ? [index] : [])));
    const isTimed = data.runs.some((run) => [...run.train, ...run.bpb].some((point) => point[1] !== null && point[1] > 0));
    let axis = "step";
    const plots = [...document.querySelectorAll("[data-curve]")].filter((plot) => {
      const isTold = data.runs.some((run) => run[plot.dataset.curve].length > 1);
      if (!isTold) plot.parentElement.remove();
      return isTold;
    });
    const draw = () => plots.forEach((plot) => golf.curves(plot, data, plot.dataset.curve, axis, hidden));
    if (isTimed) {
      const buttons = ["step", "seconds"].map((name) => golf.el("button", {
        type: "button", "aria-pressed": String(name === axis),
        onclick: (event) => {
          axis = name;
          buttons.forEach((button) => button.setAttribute("aria-pressed", String(button === event.currentTarget)));
          draw();
        },
      }, name === "step" ? "over steps" : "over time"));
      document.querySelector("[data-axis]").append(...buttons);
    }
    const kinds = [...new Set(data.runs.flatMap((run) => run.events.map(([kind]) => kind)))];
    document.querySelector("[data-legend]").append(
      ...data.runs.map((run, index) => golf.el("li", {}, golf.el("label", {},
        golf.el("input", { type: "checkbox", checked: !hidden.has(index), onchange: (event) => {
          if (event.target.checked) hidden.delete(index);
          else hidden.add(index);
          draw();
        } }),
        golf.svg("svg", { class: "swatch s" + (index % 6), viewBox: "0 0 28 10", "aria-hidden": "true" },
          golf.svg("path", { d: "M0,5H28", stroke: "currentColor", "stroke-width": 2.5, "stroke-dasharray": golf.DASHES[index % 6] })),
        run.name + (run.carries ? "" : " (not of the claim)")))),
      ...kinds.map((kind) => golf.el("li", {}, golf.EVENT_LETTERS[kind] + " " + golf.EVENT_WORDS[kind])));
    draw();
    let width = innerWidth;
    window.addEventListener("resize", () => {
      if (innerWidth === width) return;
      width = innerWidth;
      draw();
    });
  }
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
};

if (document.getElementById("subject")) golf.subject();
