"use strict";
// Charts read the page's own colours, and are drawn anew when those change.
const charts = [];

function style() {
  const of = getComputedStyle(document.documentElement);
  const read = (name) => of.getPropertyValue(name).trim();
  return { ink: read("--ink"), faint: read("--faint"), line: read("--line") };
}

function course(data, s) {
  const axis = { axisLabel: { color: s.faint }, axisLine: { lineStyle: { color: s.line } }, splitLine: { lineStyle: { color: s.line } } };
  const line = (name, values, color, symbol, type) => ({ name, type: "line", data: values, symbol, symbolSize: 8, itemStyle: { color }, lineStyle: { color, type } });
  return {
    legend: { textStyle: { color: s.ink } }, grid: { left: 56, right: 16, top: 40, bottom: 32 },
    xAxis: { type: "category", data: data.runs, ...axis }, yAxis: { type: "value", min: 0, name: "%", nameTextStyle: { color: s.faint }, ...axis },
    series: [line("with rewrites", data.treated, "#0072b2", "circle", "solid"), line("held out", data.holdout, "#d55e00", "rect", "dashed")],
  };
}

function words(data, s) {
  const axis = { axisLabel: { color: s.faint }, axisLine: { lineStyle: { color: s.line } }, splitLine: { lineStyle: { color: s.line } } };
  return {
    grid: { left: 56, right: 16, top: 16, bottom: 32 }, xAxis: { type: "category", data: data.map((w) => w.word), ...axis }, yAxis: { type: "value", ...axis },
    series: [{ name: "surer with the word", type: "bar", data: data.map((w) => ({ value: w.change, itemStyle: { color: w.change < 0 ? "#d55e00" : "#0072b2" } })) }],
  };
}

const KINDS = { course, words };

function draw() {
  for (const place of document.querySelectorAll("[data-chart]")) {
    const kind = place.dataset.chart;
    const data = JSON.parse(document.getElementById(kind + "-data").textContent);
    const chart = echarts.init(place, null, { renderer: "svg" });
    chart.setOption({ animation: false, aria: { enabled: true }, textStyle: { fontFamily: "system-ui, sans-serif" }, ...KINDS[kind](data, style()) });
    charts.push(chart);
  }
}

document.addEventListener("DOMContentLoaded", () => {
  if (!window.echarts) return;
  draw();
  addEventListener("resize", () => charts.forEach((chart) => chart.resize()));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    charts.splice(0).forEach((chart) => chart.dispose());
    draw();
  });
});
