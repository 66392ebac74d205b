"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 640px)");
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // The buttons of Plotly by name: of those that it shows unasked one sends charts to its makers.
  const config = () => ({
    displaylogo: false,
    displayModeBar: narrow.matches ? false : "hover",
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    plotlyServerURL: "",
    responsive: true,
    showSendToCloud: false,
  });
  const ARRAYS = new Set(["x", "text", "hovertext"]);

  // Arrays that traces share, and colours of the page, take the place of their names.
  const resolved = (value, shared, key = "") => {
    if (typeof value === "string") {
      if (ARRAYS.has(key) && /^@\d+$/.test(value)) return shared[value.slice(1)];
      return /color(scale)?$/.test(key) && value.startsWith("--") ? css(value) : value;
    }
    if (Array.isArray(value)) return value.map((own) => resolved(own, shared, key));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, own]) => [name, resolved(own, shared, name)]));
  };

  const styled = (layout, shown) => {
    const font = { size: narrow.matches ? 11 : 13, color: css("--muted") };
    const axis = { gridcolor: css("--grid"), linecolor: css("--line"), zeroline: false, automargin: true, tickfont: font };
    const merged = (own = {}) => ({ ...axis, ...own, title: { ...own.title, font, standoff: 8 } });
    return {
      ...layout,
      xaxis: merged(layout.xaxis),
      yaxis: { ...merged(layout.yaxis), uirevision: shown },
      font: { family: css("--font"), size: narrow.matches ? 11 : 13, color: css("--text") },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 48, r: 12, t: 28, b: 40 },
      legend: { orientation: "h", x: 0, y: -0.16, yanchor: "top", ...layout.legend },
      hovermode: "closest",
      hoverlabel: { bgcolor: css("--card"), bordercolor: css("--line"), font: { color: css("--text"), family: css("--font") } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--muted"), activecolor: css("--accent") },
      uirevision: "kept",
    };
  };

  const figures = [...document.querySelectorAll(".chart")].map((figure) => {
    const chart = charts[Number(figure.dataset.chart)];
    const controls = [...figure.querySelectorAll("select, input")];
    const plot = figure.querySelector(".plot");
    const output = figure.querySelector("output");
    const draw = () => {
      const chosen = controls.map((control) => Number(control.value));
      const view = chart.views[chosen.join(",")];
      if (output) output.textContent = chart.labels.find(Boolean)[chosen[chart.labels.findIndex(Boolean)]];
      const data = resolved(view.data, chart.shared);
      const named = data.filter((trace) => trace.name && trace.showlegend !== false).length;
      if (narrow.matches) for (const trace of data) trace.showscale = false;
      plot.style.height = `${chart.height + (narrow.matches ? 17 * named : 0)}px`;
      return Plotly.react(plot, data, styled(resolved(view.layout, {}), chosen.join(",")), config());
    };
    for (const control of controls) control.addEventListener("input", draw);
    playable(figure.querySelector(".play"), figure.querySelector("input"));
    return draw;
  });

  function playable(button, slider) {
    if (!button) return;
    let timer = null;
    const stop = () => {
      clearInterval(timer);
      timer = null;
      button.textContent = "▶";
      button.ariaLabel = "play";
    };
    const advance = () => {
      if (Number(slider.value) >= Number(slider.max)) return stop();
      slider.value = Number(slider.value) + 1;
      slider.dispatchEvent(new Event("input"));
    };
    button.addEventListener("click", () => {
      if (timer !== null) return stop();
      if (slider.value === slider.max) slider.value = -1;
      button.textContent = "❚❚";
      button.ariaLabel = "pause";
      timer = setInterval(advance, Math.max(80, Math.min(500, 6000 / Number(slider.max))));
    });
  }

  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
      button.textContent = "copied";
    });
  }

  // One after the other, so that the page can be read meanwhile.
  const drawAll = async () => {
    for (const draw of figures) {
      await draw();
      await new Promise((resolve) => setTimeout(resolve));
    }
    document.documentElement.dataset.drawn = "true";
  };
  dark.addEventListener("change", drawAll);
  narrow.addEventListener("change", drawAll);
  drawAll();
})();
