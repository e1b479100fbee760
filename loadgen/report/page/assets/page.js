"use strict";
// Draws the charts from the data in the page. The tables hold the same numbers, so that nothing is
// lost where this does not run.
(() => {
  const { figures, markers, end } = JSON.parse(document.getElementById("data").textContent);
  const DASHES = [[], [7, 4], [2, 3], [10, 3, 2, 3], [4, 2], [1, 2]];
  const PRINT_WIDTH = 340; // CSS pixels: half of an A4 or Letter page inside its margins
  const root = document.documentElement;
  const family = getComputedStyle(document.body).fontFamily;
  const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();

  const digits = (value, n = 3) => {
    if (value === 0) return "0";
    const places = Math.max(0, n - 1 - Math.floor(Math.log10(Math.abs(value))));
    return value.toLocaleString("en-US", { maximumFractionDigits: Math.min(places, 12) });
  };
  const seconds = (value) => {
    if (value === 0) return "0 s";
    if (value < 0.9995e-3) return `${digits(value * 1e6)} µs`;
    return value < 0.9995 ? `${digits(value * 1e3)} ms` : `${digits(value)} s`;
  };
  const show = (value, quantity) => {
    if (value == null) return "–";
    if (quantity === "s") return seconds(value);
    const text = value >= 100 ? Math.round(value).toLocaleString("en-US") : digits(value);
    return quantity === "/s" ? `${text}/s` : text;
  };
  const tick = (value, quantity) => {
    if (value == null) return "";
    if (quantity === "s") return seconds(value);
    return value >= 1e6 ? `${digits(value / 1e6)}M` : value >= 1e3 ? `${digits(value / 1e3)}k` : digits(value);
  };
  const percentile = (x) => {
    const nines = Math.max(1, Math.ceil(Math.log10(x) - 1e-9) - 1);
    return `p${Number((100 * (1 - 1 / x)).toFixed(nines))}`;
  };

  // Labels of the percentile axis: those that would run into the one before are left out.
  function spaced(u, splits) {
    let last = -Infinity;
    return splits.map((value) => {
      const label = percentile(value);
      const here = u.valToPos(value, "x");
      if (here - last < 7 * label.length) return "";
      last = here;
      return label;
    });
  }

  function drawMarkers(u) {
    const { ctx, bbox } = u;
    const scale = devicePixelRatio;
    ctx.save();
    ctx.font = `600 ${11 * scale}px ${family}`;
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    const radius = 8 * scale;
    let last = -Infinity;
    let row = 0;
    for (const mark of [...markers].sort((a, b) => a.t - b.t)) {
      const x = u.valToPos(mark.t, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      row = x - last < 2 * radius ? row + 1 : 0;
      last = x;
      const y = bbox.top + radius + row * 2.2 * radius;
      ctx.strokeStyle = ctx.fillStyle = colour(mark.ink);
      ctx.lineWidth = scale;
      ctx.setLineDash([3 * scale, 3 * scale]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.setLineDash([]);
      ctx.fillStyle = colour("card");
      ctx.beginPath();
      ctx.arc(x, y, radius, 0, 2 * Math.PI);
      ctx.fill();
      ctx.stroke();
      ctx.fillStyle = colour(mark.ink);
      ctx.fillText(mark.key, x, y + 0.5 * scale);
    }
    ctx.restore();
  }

  function build(figure) {
    const box = document.getElementById(figure.id);
    const plot = box.querySelector(".plot");
    const outputs = [...box.querySelectorAll("output")];
    const data = [figure.x];
    const series = [{}];
    const bands = [];
    const places = [];
    const paths = figure.steps ? uPlot.paths.stepped({ align: -1 }) : undefined;
    for (const line of figure.lines) {
      const ink = colour(line.ink);
      places.push(series.length);
      data.push(line.values);
      series.push({
        stroke: ink,
        width: line.ink === "limit" ? 1.25 : 2,
        dash: DASHES[line.dash % DASHES.length],
        points: { show: figure.x.length < 3 || (figure.readings && line.ink !== "limit" && !line.dash), size: 7, fill: ink },
        spanGaps: figure.axis === "percentile" || figure.readings,
        paths,
      });
      if (line.high.length) {
        bands.push({ series: [series.length, series.length + 1], fill: `${ink}2e` });
        data.push(line.high, line.low);
        series.push(
          { stroke: null, width: 0, points: { show: false }, paths },
          { stroke: null, width: 0, points: { show: false }, paths },
        );
      }
    }
    const time = figure.axis === "time";
    const say = (index) =>
      places.forEach((place, line) => {
        outputs[line].textContent = index == null ? "" : show(data[place][index], figure.quantity);
      });
    // On a logarithmic axis only the decades get a line: nine a decade would be all that one sees.
    const decades = (u, splits) => splits.map((v) => (Math.abs(Math.log10(v) % 1) < 1e-6 ? v : null));
    const axis = {
      stroke: colour("muted"),
      font: `12px ${family}`,
      grid: { stroke: colour("grid"), width: 1 },
      ticks: { stroke: colour("line"), width: 1, size: 4 },
    };
    const printing = root.classList.contains("printing");
    const chart = new uPlot(
      {
        width: printing ? PRINT_WIDTH : Math.max(240, plot.clientWidth),
        height: printing ? 190 : plot.clientHeight,
        padding: [8, time ? 14 : 30, 0, 0],
        legend: { show: false },
        cursor: {
          y: false,
          drag: { x: false, y: false },
          sync: time ? { key: "time" } : undefined,
          points: { size: 7 },
        },
        scales: {
          x: time
            ? { time: false, range: () => [0, end] }
            : { time: false, distr: 3, log: 10, range: (u, low, high) => [low, Math.max(high, 10 * low)] },
          y: figure.log
            ? { distr: 3, log: 10 }
            : { range: (u, low, high) => [0, high > 0 ? high * 1.08 : 1] },
        },
        axes: [
          time
            ? {
                ...axis,
                size: 28,
                space: 64,
                incrs: [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200],
                values: (u, splits) => splits.map((v) => `${digits(v)} s`),
              }
            : {
                ...axis,
                size: 28,
                splits: (u, i, low, high) => [2, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7].filter((v) => v >= low && v <= high),
                filter: (u, splits) => splits,
                values: spaced,
              },
          {
            ...axis,
            size: figure.quantity === "s" ? 62 : 46,
            ...(figure.log ? { grid: { ...axis.grid, filter: decades }, ticks: { ...axis.ticks, filter: decades } } : {}),
            values: (u, splits) => splits.map((v) => tick(v, figure.quantity)),
          },
        ],
        series,
        bands,
        hooks: {
          draw: time ? [drawMarkers] : [],
          setCursor: [(u) => say(u.cursor.left >= 0 ? u.cursor.idx : null)],
        },
      },
      data,
      plot,
    );
    return { figure, box, plot, chart, data, places };
  }

  let drawn = [];
  function redraw() {
    for (const { chart } of drawn) chart.destroy();
    drawn = figures.map(build);
  }

  // Keys: the cursor walks along the points and says what it stands on.
  function walk(event) {
    const item = drawn.find(({ plot }) => plot === event.currentTarget);
    if (!item) return;
    const { figure, chart, box } = item;
    const last = figure.x.length - 1;
    const here = chart.cursor.left >= 0 && chart.cursor.idx != null ? chart.cursor.idx : -1;
    const there = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: last, Escape: null }[event.key];
    if (there === undefined) return;
    event.preventDefault();
    if (there === null) {
      chart.setCursor({ left: -10, top: -10 });
      return;
    }
    const index = Math.min(last, Math.max(0, there));
    chart.setCursor({ left: chart.valToPos(figure.x[index], "x"), top: chart.over.clientHeight / 2 });
    const labels = [...box.querySelectorAll(".legend li")].map((item) => item.textContent.trim());
    const place = figure.axis === "time" ? seconds(figure.x[index]) : percentile(figure.x[index]);
    box.querySelector("[aria-live]").textContent = `${place}: ${labels.join(", ")}`;
  }

  redraw();
  for (const { plot } of drawn) plot.addEventListener("keydown", walk);
  let width = 0;
  new ResizeObserver(() => {
    const now = drawn.length ? drawn[0].plot.clientWidth : 0;
    if (now === width || root.classList.contains("printing")) return;
    width = now;
    for (const { chart, plot } of drawn) chart.setSize({ width: plot.clientWidth, height: plot.clientHeight });
  }).observe(document.body);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("beforeprint", () => {
    root.classList.add("printing");
    redraw();
  });
  addEventListener("afterprint", () => {
    root.classList.remove("printing");
    redraw();
  });
})();
