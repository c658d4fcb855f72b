// Numbers over time, drawn by uPlot; the same numbers stand in the chart's description.
import { html, useEffect, useRef } from "/vendor/preact.js";
import { load } from "/js/load.js";

let loading = null;
function library() {
  loading ??= new Promise((resolve) => {
    const sheet = Object.assign(document.createElement("link"), { rel: "stylesheet", href: "/vendor/uplot.css" });
    document.head.append(sheet);
    resolve(load("/vendor/uplot.js").then((module) => module.default));
  });
  return loading;
}

/** A colour of the theme as a canvas understands it. */
function colour(name, opacity = 1) {
  const probe = document.createElement("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const [r, g, b] = getComputedStyle(probe).color.match(/[\d.]+/g);
  probe.remove();
  return `rgba(${r}, ${g}, ${b}, ${opacity})`;
}

function options(title, lines, format, width, height) {
  const text = colour("quiet"), rule = colour("rule");
  const axis = { stroke: text, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule, width: 1 }, font: "12px system-ui" };
  return {
    width, height, padding: [8, 8, 0, 0], cursor: { points: { size: 6 }, drag: { x: false, y: false } },
    legend: { live: true }, scales: { y: { range: (_, low, high) => [0, Math.max(high * 1.1, 0.001)] } },
    axes: [{ ...axis, space: 52, values: "{HH}:{mm}" }, { ...axis, size: 62, values: (_, marks) => marks.map(format) }],
    series: [
      { label: "Time", value: "{HH}:{mm}:{ss}" },
      ...lines.map((line) => ({
        label: line.name, stroke: colour(line.colour), width: 2, dash: line.dash, spanGaps: true, points: { show: false },
        fill: line.fill ? colour(line.colour, 0.16) : undefined,
        value: (_, value) => (value === null || value === undefined ? "–" : format(value)),
      })),
    ],
  };
}

/** `times` in seconds; `lines`: { name, colour, values, fill, dash }; `format` of a value. */
export function Chart({ title, times, lines, format, height = 190 }) {
  const box = useRef(), plot = useRef(null);
  const shape = JSON.stringify([lines.map((line) => [line.name, line.colour, line.dash]), height]);
  const data = [times, ...lines.map((line) => line.values)];
  const now = useRef(data);
  now.current = data;
  useEffect(() => {
    let gone = false, watch = null, draw = null;
    library().then((Plot) => {
      if (gone) return;
      draw = () => {
        plot.current?.destroy();
        plot.current = new Plot(options(title, lines, format, box.current.clientWidth, height), now.current, box.current);
      };
      draw();
      let width = box.current.clientWidth;
      watch = new ResizeObserver(() => {
        if (box.current && box.current.clientWidth !== width) {
          width = box.current.clientWidth;
          plot.current?.setSize({ width, height });
        }
      });
      watch.observe(box.current);
      addEventListener("weft-theme", draw);
    });
    return () => {
      gone = true;
      watch?.disconnect();
      if (draw) removeEventListener("weft-theme", draw);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape]);
  useEffect(() => { plot.current?.setData(data); });
  const told = lines.map((line) => {
    const last = [...line.values].reverse().find((value) => value !== null && value !== undefined);
    return `${line.name} ${last === undefined ? "unknown" : format(last)}`;
  }).join(", ");
  return html`<figure class="chart"><figcaption>${title}</figcaption><div ref=${box} role="img" aria-label="${title}: now ${told}"></div></figure>`;
}
