// A slider over the explained validations moves every photograph, map and chart of the page.
(() => {
  const { make, find, number, choice } = Page;
  const { frames, photographs, splits, columns, charts, changes, quantity } = Page.data;
  const state = { frame: frames.length - 1, split: splits[0], strength: 1 };
  const epochs = frames.map((frame) => frame.epoch);
  // Several validations of one epoch are told apart by their step.
  const byStep = new Set(epochs).size < epochs.length;
  const place = (index) => (byStep ? `step ${frames[index].step}` : `epoch ${frames[index].epoch}`);

  const cards = new Map();
  let turn = 0;

  // The card of a photograph: the photograph and a canvas for each map. It is made when it is first shown.
  function card(key) {
    if (!cards.has(key)) {
      const cell = (name) => {
        const canvas = make("canvas", { role: "img" }), words = make("figcaption");
        return { name, canvas, words, element: make("figure", {}, canvas, words) };
      };
      const photograph = cell(null), maps = columns.map(cell);
      const said = make("div", { class: "said" });
      const element = make("article", { class: "card" }, said, make("div", { class: "cells" }, photograph.element, ...maps.map((one) => one.element)));
      cards.set(key, { element, said, photograph, maps });
    }
    return cards.get(key);
  }

  function words(row, truth) {
    const sign = row.right === null ? "" : row.right ? "✓ " : "✗ ";
    const verdict = make("b", { class: row.right === null ? "" : row.right ? "right" : "wrong" }, `${sign}predicted ${row.predicted}`);
    return [verdict, `${quantity} = ${number(row.score, 2)}`, truth ? `true ${truth}` : null];
  }

  async function draw() {
    const mine = (turn += 1), rows = frames[state.frame].rows[state.split] ?? [];
    const images = await Promise.all(rows.map((row) => Maps.photograph(photographs[row.image].address)));
    if (mine !== turn) return; // a later step was asked for in the meantime
    const shown = rows.map((row, i) => {
      const one = card(row.image), truth = photographs[row.image].true;
      one.said.replaceChildren(...words(row, truth).filter(Boolean).map((part) => (part.nodeType ? part : make("span", {}, part))));
      Maps.paint(one.photograph.canvas, images[i], null);
      one.photograph.canvas.setAttribute("aria-label", truth ? `photograph of ${truth}` : "photograph");
      one.photograph.words.textContent = "image";
      for (const { name, canvas, words: below, element } of one.maps) {
        const map = row.maps[name], drift = row.drift[name.split(", ")[0]];
        element.hidden = !map;
        if (!map) continue;
        Maps.paint(canvas, images[i], map, state.strength);
        canvas.setAttribute("aria-label", `map of ${name} at ${place(state.frame)}`);
        below.textContent = drift === undefined || name.includes(", ") ? name : `${name}, drift ${number(drift, 2)}`;
      }
      return one.element;
    });
    find("#cards").replaceChildren(...(shown.length ? shown : [make("p", { class: "note" }, "No image of this loader was explained here.")]));
  }

  find("#cards").classList.toggle("few", columns.length < 3); // two photographs with their maps fit side by side
  const drawn = charts.map(({ title, series }, index) => {
    const box = make("div"), heading = make("h3", { id: `chart-${index}` }, title);
    find("#charts").append(make("div", {}, heading, box));
    return Charts.lines(box, {
      x: byStep ? frames.map((frame) => frame.step) : epochs,
      series: series.map((one, style) => ({ ...one, style })),
      xLabel: byStep ? "step" : "epoch",
      yLabel: title,
      title,
      height: 220,
      marks: changes.map(({ frame, correlation }) => [byStep ? frames[frame].step : epochs[frame], `the maps changed: rank correlation ${number(correlation, 2)}`]),
      onPick: (at) => slide.go(at),
    });
  });

  if (splits.length > 1) find("#controls").append(choice("data loader", splits.map((name) => [name, name]), (name) => { state.split = name; draw(); }, state.split));
  const strength = make("input", { type: "range", min: 0, max: 100, value: 100, input: () => { state.strength = strength.value / 100; draw(); } });
  find("#controls").append(make("label", { class: "choice" }, make("span", {}, "strength of the maps"), strength), Maps.bar(false));

  if (changes.length) find("#changes").append(make("span", { class: "soft" }, "Most change:"));
  for (const { frame, correlation } of changes) {
    const text = `${place(frame - 1)} → ${byStep ? frames[frame].step : epochs[frame]} (rank correlation ${number(correlation, 2)})`;
    find("#changes").append(make("button", { type: "button", class: "change", click: () => slide.go(frame) }, text));
  }

  const slide = player(find("#player"), {
    count: frames.length,
    start: state.frame,
    label: "explained validation",
    milliseconds: 500,
    text: (index) => `epoch ${frames[index].epoch}, step ${frames[index].step}` + (changes.some(({ frame }) => frame === index) ? " – the maps changed much before this" : ""),
    show: (index) => {
      state.frame = index;
      drawn.forEach((chart) => chart.at(index));
      draw();
    },
  });
})();
