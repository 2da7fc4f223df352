// Two methods over one photograph with a slider between them, and their pixels deleted or inserted step by step.
(() => {
  const { make, find, choice, number } = Page;
  const { methods, metrics, images, photographs, regression } = Page.data;
  if (!images.length) return void (find("#compare").hidden = find('nav a[href="#compare"]').hidden = true);
  let row = null, sides = [methods[0], methods[1] ?? methods[0]], strength = 1, mode = "insertion", running = null;

  const under = make("canvas"), over = make("canvas", { class: "over" }), line = make("div", { class: "line" });
  const names = [make("b"), make("b")];
  const cut = (share) => {
    over.style.clipPath = `inset(0 ${100 - share}% 0 0)`;
    line.style.left = `${share}%`;
  };
  const slider = make("input", { id: "between", type: "range", min: 0, max: 100, value: 50, "aria-label": "where one method ends and the other begins", input: () => cut(slider.value) });
  const stage = make("div", { class: "stage" }, under, over, line, ...names, slider);
  const facts = make("div", { class: "facts" }), values = make("div"), controls = make("div", { class: "controls" });
  const strong = make("input", { id: "strength", type: "range", min: 0, max: 100, value: 100, input: () => { strength = strong.value / 100; paint(); } });
  const turn = make("div", { class: "turn" },
    make("button", { type: "button", id: "previous", click: () => show(Gallery.beside(row, -1)) }, "← Previous"),
    make("button", { type: "button", id: "next", click: () => show(Gallery.beside(row, 1)) }, "Next →"),
    make("span", { id: "bars" }));
  const small = [make("canvas", { class: "step" }), make("canvas", { class: "step" })], captions = [make("figcaption"), make("figcaption")];
  const chart = make("div", { class: "chart-box" }), playerBox = make("div"), note = make("p", { class: "note" });
  const steps = make("div", { class: "steps" }, ...small.map((canvas, i) => make("figure", {}, canvas, captions[i])), chart);

  const side = (which, label) => choice(label, methods.map((name) => [name, name]), (name) => { sides[which] = name; show(row); }, sides[which]);
  const modes = choice("Pixels", [["insertion", "inserted"], ["deletion", "deleted"]], (to) => { mode = to; show(row); }, mode);
  controls.append(side(0, "Left"), side(1, "Right"), make("label", { class: "choice" }, make("span", {}, "Strength of the colours"), strong));
  controls.querySelectorAll("select").forEach((select, i) => (select.id = `side-${i}`));
  modes.lastChild.id = "mode";
  find("#viewer").append(controls, make("div", { class: "viewer" }, make("div", {}, stage, turn),
    make("div", {}, facts, values, make("h3", {}, "Step by step"), make("div", { class: "controls" }, modes), steps, playerBox, note)));

  async function paint() {
    const image = await Maps.photograph(photographs[row.image].photograph);
    Maps.paint(over, image, row.maps[sides[0]], strength);
    Maps.paint(under, image, row.maps[sides[1]], strength);
  }

  function table() {
    const lines = metrics.map((metric) => {
      const both = sides.map((name) => row.values[metric.name][methods.indexOf(name)]);
      const better = both.includes(null) || both[0] === both[1] ? -1 : (both[0] > both[1]) === metric.higher ? 0 : 1;
      return make("tr", {}, make("th", { scope: "row" }, `${metric.name} ${Report.arrow(metric)}`), ...both.map((x, i) => make("td", { class: i === better ? "better" : null }, Report.value(x, metric.name) + (i === better ? " ●" : ""))));
    });
    const head = make("tr", {}, make("td", {}, ""), ...sides.map((name) => make("th", { scope: "col" }, name)));
    return make("div", { class: "scroll" }, make("table", { class: "values" }, make("thead", {}, head), make("tbody", {}, ...lines)));
  }

  // The photograph with the first pixels of the map replaced (deletion) or the others (insertion).
  async function prepared(name) {
    const own = photographs[row.image], image = await Maps.photograph(own.photograph);
    const width = image.naturalWidth, height = image.naturalHeight;
    const address = mode === "deletion" ? own.deleted : own.inserted_into, other = address ? await Maps.photograph(address) : null;
    const pixels = (from) => {
      const context = make("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
      context.fillStyle = "#808080";
      context.fillRect(0, 0, width, height);
      if (from) context.drawImage(from, 0, 0);
      return context.getImageData(0, 0, width, height);
    };
    const whole = new Uint32Array(pixels(image).data.buffer), replaced = new Uint32Array(pixels(other).data.buffer);
    const turns = Maps.turns(row.maps[name], width, height);
    return (canvas, share) => {
      const context = canvas.getContext("2d", { willReadFrequently: true }), result = context.createImageData(width, height), to = new Uint32Array(result.data.buffer);
      const count = Math.round(share * turns.length);
      for (let i = 0; i < turns.length; i++) to[i] = (mode === "deletion") === turns[i] < count ? replaced[i] : whole[i];
      [canvas.width, canvas.height] = [width, height];
      context.putImageData(result, 0, 0);
    };
  }

  async function play() {
    if (running) running.stop();
    const mine = row, which = mode === "deletion" ? 0 : 1, two = sides.slice(0, sides[0] === sides[1] ? 1 : 2);
    const draws = await Promise.all(two.map(prepared));
    if (mine !== row) return;
    const curves = two.map((name) => (row.curves[name] ? row.curves[name][which] : null)), length = (curves.find(Boolean) ?? Array(29)).length;
    const share = (step) => step / (length - 1), percent = (step) => `${number(100 * share(step), 0)} % of the pixels ${mode === "deletion" ? "removed" : "shown"}`;
    small[1].parentElement.hidden = two.length < 2;
    chart.replaceChildren();
    const series = two.map((name, i) => ({ name, y: curves[i], style: Report.styles[name] })).filter((one) => one.y);
    const lines = series.length ? Charts.lines(chart, { x: Array.from({ length }, (_, i) => 100 * share(i)), series, title: `${mode} on image ${row.image}`, xLabel: mode === "deletion" ? "pixels removed (%)" : "pixels shown (%)", yLabel: regression ? "value" : "probability", from: regression ? null : 0, height: 190, onPick: (i) => running.go(i) }) : { at() {} };
    running = player(playerBox, {
      count: length, label: `step of the ${mode}`, text: percent,
      show(step) {
        two.forEach((name, i) => {
          draws[i](small[i], share(step));
          captions[i].textContent = curves[i] ? `${name}: ${number(curves[i][step], 3)}` : name;
        });
        lines.at(step);
      },
    });
    const own = photographs[row.image], known = mode === "deletion" ? own.deleted : own.inserted_into;
    const order = "The pixels go in the order of the maps of this page, which are at most 64 pixels wide.";
    note.textContent = series.length ? (known ? order : `${order} Grey stands for pixels that the metric filled from their neighbours.`) : `${order} No curve was measured; grey stands for the removed pixels.`;
  }

  function show(next, jump = false) {
    row = next;
    const signed = sides.some((name) => row.maps[name].signed), fine = sides.filter((name) => row.maps[name].fine);
    names.forEach((label, i) => (label.textContent = sides[i]));
    stage.style.aspectRatio = null;
    facts.replaceChildren(make("h3", {}, `Image ${row.image}, explained class: ${Gallery.named(row, row.class)}`), Gallery.truth(row));
    if (row.disagreement !== null) facts.append(make("div", { class: "note" }, `Disagreement of all methods: ${number(row.disagreement, 2)} (0 alike, 1 unrelated)`));
    if (fine.length) facts.append(make("div", { class: "note" }, `${[...new Set(fine)].join(" and ")}: smoothed, cut at percentile 99`));
    find("#bars").replaceChildren(Maps.bar(signed));
    values.replaceChildren(table());
    paint();
    play();
    Gallery.mark(row);
    if (jump) {
      find("#compare").scrollIntoView({ behavior: "instant", block: "start" });
      find("#compare").focus({ preventScroll: true });
    }
  }

  cut(50);
  Gallery.listen(show);
  show(Gallery.first());
})();
