// A play button and a slider over steps 0 … count − 1. show(step) draws a step, text(step) says it in words.
// Returns {go(step)}. The player stops at the end, and starts again from the first step.
function player(box, { count, show, text, label, milliseconds = 120, start = 0 }) {
  const { make } = Page;
  let timer = null, step = start;
  const go = (to) => {
    step = to;
    slider.value = step;
    slider.setAttribute("aria-valuetext", text(step));
    said.textContent = text(step);
    show(step);
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    button.textContent = "▶ Play";
  };
  const play = () => {
    if (timer !== null) return stop();
    if (step >= count - 1) go(0);
    button.textContent = "⏸ Pause";
    timer = setInterval(() => (step >= count - 1 ? stop() : go(step + 1)), milliseconds);
  };
  const button = make("button", { type: "button", class: "play", click: play }, "▶ Play");
  const slide = () => {
    if (timer !== null) stop();
    go(Number(slider.value));
  };
  const slider = make("input", { type: "range", min: 0, max: count - 1, value: start, "aria-label": label, input: slide });
  const said = make("output", {}, "");
  box.replaceChildren(make("div", { class: "player" }, button, slider, said));
  go(start);
  return { go, stop };
}
