// Charts as SVG: sharp in print, in the colours of the page, and drawn again when their box changes its width.
const Charts = (() => {
  const { make, number } = Page;

  // Numbers between two ends that a reader expects on an axis, at most `count` steps.
  function ticks(low, high, count) {
    const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(k * step);
    return { values: found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
  }

  // Draw into a box now, and again whenever its width changes.
  function redrawn(box, draw) {
    let width = 0;
    const observer = new ResizeObserver(() => {
      if (box.clientWidth && box.clientWidth !== width) draw((width = box.clientWidth));
    });
    observer.observe(box);
    if (box.clientWidth) draw((width = box.clientWidth));
  }

  // The class of a line; eight colours, then the same with another dash.
  const style = (number) => `series c${number % 8} d${Math.floor(number / 8) % 3}`;

  // A key with a button for each series, which hides and shows it.
  function key(series, onChange) {
    const list = make("div", { class: "key", role: "group", "aria-label": "lines to show" });
    for (const one of series) {
      const line = make("svg", { width: 26, height: 10, "aria-hidden": "true" }, make("line", { class: style(one.style), x1: 1, x2: 25, y1: 5, y2: 5 }));
      const toggle = () => {
        one.hidden = !one.hidden;
        button.setAttribute("aria-pressed", !one.hidden);
        onChange();
      };
      const button = make("button", { type: "button", "aria-pressed": !one.hidden, click: toggle }, line, one.name);
      list.append(button);
    }
    return list;
  }

  // Lines with a key, and the values under the pointer or at the place that the arrow keys choose.
  //   x: the horizontal values; series: [{name, y: values or null, style: number}]; xLabel, yLabel, title: texts
  //   from: a value that the vertical axis must hold; marks: [[x, text]] are drawn as vertical lines with a title
  //   onPick(index): called after a click or Enter. Returns {at(index)}, which moves the cursor of the page.
  function lines(box, { x, series, xLabel, yLabel, title, from = null, marks = [], onPick = null, height = 260, digits = 3, keyed = true }) {
    const frame = make("div", { class: "chart", tabindex: "0", role: "img", "aria-label": `${title}. ${xLabel} against ${yLabel}. The arrow keys read the values.` });
    const said = make("div", { class: "reading", role: "status" });
    let chosen = null, cursor = null, width = 0, scale = null;
    const draw = (size = width) => {
      width = size;
      if (!width) return;
      const shown = series.filter((one) => !one.hidden), every = shown.flatMap((one) => one.y).filter((value) => value !== null);
      let low = Math.min(...every, ...(from === null ? [] : [from])), high = Math.max(...every, ...(from === null ? [] : [from]));
      if (!every.length) [low, high] = [0, 1];
      if (low === high) [low, high] = [low - 0.5, high + 0.5];
      const up = ticks(low, high, 5), left = 16 + 7.5 * Math.max(...up.values.map((value) => number(value, up.digits).length));
      const inner = { left: left + 16, right: width - 12, top: 12, bottom: height - 42 };
      const ends = [x[0], x.at(-1) === x[0] ? x[0] + 1 : x.at(-1)];
      const across = (value) => inner.left + ((value - ends[0]) / (ends[1] - ends[0])) * (inner.right - inner.left);
      const upward = (value) => inner.bottom - ((value - low) / (high - low)) * (inner.bottom - inner.top);
      scale = { across, inner };
      const svg = make("svg", { width, height, viewBox: `0 0 ${width} ${height}` });
      for (const value of up.values) {
        svg.append(make("line", { class: "grid", x1: inner.left, x2: inner.right, y1: upward(value), y2: upward(value) }));
        svg.append(make("text", { class: "tick", x: inner.left - 7, y: upward(value) + 4, "text-anchor": "end" }, number(value, up.digits)));
      }
      const along = ticks(ends[0], ends[1], Math.max(2, Math.min(10, Math.floor(width / 80))));
      for (const value of along.values) svg.append(make("text", { class: "tick", x: across(value), y: inner.bottom + 18, "text-anchor": "middle" }, number(value, along.digits)));
      svg.append(make("text", { class: "label", x: (inner.left + inner.right) / 2, y: height - 6, "text-anchor": "middle" }, xLabel));
      svg.append(make("text", { class: "label", transform: `translate(12 ${(inner.top + inner.bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, yLabel));
      for (const [value, text] of marks) svg.append(make("line", { class: "mark", x1: across(value), x2: across(value), y1: inner.top, y2: inner.bottom }, make("title", {}, text)));
      for (const one of shown) {
        let path = "", open = false;
        one.y.forEach((value, i) => {
          if (value !== null) path += `${open ? "L" : "M"}${across(x[i]).toFixed(1)} ${upward(value).toFixed(1)}`;
          open = value !== null;
        });
        svg.append(make("path", { class: style(one.style), d: path }));
        if (one.y.filter((value) => value !== null).length === 1) one.y.forEach((value, i) => value !== null && svg.append(make("circle", { class: style(one.style), cx: across(x[i]), cy: upward(value), r: 3 })));
      }
      if (cursor !== null) svg.append(make("line", { class: "cursor", x1: across(x[cursor]), x2: across(x[cursor]), y1: inner.top, y2: inner.bottom }));
      if (chosen !== null) {
        svg.append(make("line", { class: "hair", x1: across(x[chosen]), x2: across(x[chosen]), y1: inner.top, y2: inner.bottom }));
        for (const one of shown) if (one.y[chosen] !== null) svg.append(make("circle", { class: style(one.style) + " dot", cx: across(x[chosen]), cy: upward(one.y[chosen]), r: 3.5 }));
      }
      frame.replaceChildren(svg);
    };
    const read = (index) => {
      chosen = index;
      const step = x.length > 1 ? Math.abs(x[1] - x[0]) : 1;
      const place = index === null ? "" : number(x[index], Number.isInteger(step) && Number.isInteger(x[0]) ? 0 : 1);
      const values = index === null ? [] : series.filter((one) => !one.hidden && one.y[index] !== null).sort((a, b) => b.y[index] - a.y[index]);
      said.replaceChildren(...(index === null ? [] : [make("b", {}, `${xLabel}: ${place}`), ...values.map((one) => make("span", {}, `${one.name} ${number(one.y[index], digits)}`))]));
      draw();
    };
    const nearest = (event) => {
      const place = event.clientX - frame.getBoundingClientRect().left;
      return x.reduce((best, value, i) => (Math.abs(scale.across(value) - place) < Math.abs(scale.across(x[best]) - place) ? i : best), 0);
    };
    frame.addEventListener("pointermove", (event) => scale && read(nearest(event)));
    frame.addEventListener("pointerleave", () => read(null));
    frame.addEventListener("click", (event) => scale && onPick && onPick(nearest(event)));
    frame.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) read(Math.min(Math.max((chosen ?? (step > 0 ? -1 : x.length)) + step, 0), x.length - 1));
      else if (event.key === "Enter" && chosen !== null && onPick) onPick(chosen);
      else return;
      event.preventDefault();
    });
    frame.addEventListener("blur", () => read(null));
    box.append(...(keyed ? [key(series, () => draw())] : []), frame, said);
    redrawn(frame, draw);
    return {
      at(index) {
        cursor = index;
        draw();
      },
    };
  }

  return { lines, redrawn, style };
})();
